//! The whole agent in a simulation: its own wiring on a disk and an offset store that forget, in
//! front of a destination in every mood, with clients that keep count, through lives that end in
//! every way; on one thread, on a clock that jumps from event to event, and from one seed.
//!
//! `cargo test` runs some seeds. `SIMULATION_SEEDS=10000 cargo test --release --test simulation`
//! runs many, from `SIMULATION_FROM` on. `SIMULATION_SEED=17` runs one and prints its trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and is told by its environment how long to go on"
)]

use std::time::{Duration, Instant};

#[path = "simulation/audit.rs"]
mod audit;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/chorus.rs"]
mod chorus;
#[path = "simulation/clients.rs"]
mod clients;
#[path = "simulation/ground.rs"]
mod ground;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/life.rs"]
mod life;
#[path = "simulation/panics.rs"]
mod panics;
#[path = "simulation/payload.rs"]
mod payload;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/sink.rs"]
mod sink;
#[path = "simulation/store.rs"]
mod store;
#[path = "simulation/trace.rs"]
mod trace;

/// Where the simulated agent keeps everything, and its logs.
const DATA_DIR: &str = "/data";
/// See [`DATA_DIR`].
const STREAMS_DIR: &str = "/data/streams";

/// Seeds that are run twice.
const TWICE: u64 = 3;

/// Seeds of a bounded run.
const SEEDS: u64 = 25;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Before anything else is believed: a seed names one run and no other.
#[test]
fn the_same_seed_writes_the_same_trace() {
    for seed in 1000..1000 + number("SIMULATION_SEEDS").unwrap_or(TWICE) {
        let (once, again) = (run::run(seed, false), run::run(seed, false));
        let differs =
            once.trace.lines().zip(again.trace.lines()).enumerate().find(|(_, (a, b))| a != b);
        assert!(differs.is_none(), "seed {seed}: {differs:?}");
        assert_eq!(once.trace.len(), again.trace.len(), "seed {seed}");
    }
    assert_ne!(run::run(1, false).trace, run::run(2, false).trace, "the seed decides nothing");
}

#[test]
fn every_promise_holds_in_every_life() {
    let one = number("SIMULATION_SEED");
    let from = one.or_else(|| number("SIMULATION_FROM")).unwrap_or(0);
    let seeds = if one.is_some() { 1 } else { number("SIMULATION_SEEDS").unwrap_or(SEEDS) };
    let began = Instant::now();
    let (mut lives, mut acknowledged, mut delivered, mut dead_letters) = (0, 0, 0, 0);
    let mut simulated = Duration::ZERO;
    for seed in from..from + seeds {
        let outcome = run::run(seed, one.is_some());
        let hash = trace::hash(&outcome.trace);
        assert!(
            outcome.violations.is_empty(),
            "SIMULATION_SEED={seed} (trace {hash:016x}) breaks promises:\n{}",
            outcome.violations.join("\n")
        );
        lives += outcome.lives;
        acknowledged += outcome.acknowledged;
        delivered += outcome.delivered;
        dead_letters += outcome.dead_letters;
        simulated += outcome.simulated;
    }
    println!(
        "{seeds} seeds from {from}: {lives} lives, {} simulated in {:.1} s, {acknowledged} events \
         acknowledged, {delivered} delivered, {dead_letters} dead letters",
        humantime::format_duration(Duration::from_secs(simulated.as_secs())),
        began.elapsed().as_secs_f64(),
    );
}
