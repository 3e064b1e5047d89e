//! Power cuts. The real program runs in a virtual machine (user-mode Linux) with an ext4 of its own;
//! the machine is killed in the middle of its work, again and again, and started again. What it had
//! in memory, the page cache included, is gone then: only what was synced is on its disk. Its clients
//! write down outside of it what was acknowledged, and so does the destination: in the end nothing
//! that was acknowledged may be missing there.
//!
//! Needs root, the packages user-mode-linux and e2fsprogs, so it is no part of `cargo test`:
//! `POWERCUT_CYCLES=50 cargo test --test powercut` runs it, `POWERCUT_SEED` repeats the choices of an
//! earlier run. The seed is printed. It has a `main` of its own, since inside of the machine it is
//! the clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, is told by its environment how long to go on, and talks to \
              the outside of its machine by printing"
)]

use std::collections::BTreeMap;
use std::path::Path;

#[path = "agent/client.rs"]
mod client;
#[path = "powercut/guest.rs"]
mod guest;
#[path = "powercut/machine.rs"]
mod machine;

use guest::{Event, Said};
use machine::Machine;

const CYCLES: u64 = 3;

/// The power is cut after at most this many acknowledgements of a life: some while the first log is
/// made, some after segments were delivered and written again.
const ACKNOWLEDGEMENTS_MAX_LOG2: u32 = 12;

fn told_by_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// How many events of each life and stream were acknowledged: all before this number.
type Acknowledged = BTreeMap<(u64, u64), u64>;

/// One life of the machine, until the power is cut or everything is delivered. Returns how often
/// something was acknowledged in it.
fn live(machine: &Machine, life: u64, cut_after: Option<u64>, ledger: &mut Acknowledged) -> u64 {
    let mut running = machine.boot(life, cut_after.is_none());
    let mut acknowledgements = 0;
    while cut_after.is_none_or(|enough| acknowledgements < enough) {
        match running.hear() {
            Said::Acknowledged { stream, before } => {
                let known = ledger.entry((life, stream)).or_default();
                *known = before.max(*known);
                acknowledgements += 1;
            }
            Said::Delivered => break,
        }
    }
    running.cut_power();
    acknowledgements
}

/// What was acknowledged and did not arrive. What arrived must have been sent, byte for byte; but the
/// machine also writes the destination's files, so each life may end in the middle of a line there.
fn missing(delivered: &Path, ledger: &Acknowledged, lives: u64) -> Vec<(u64, u64, u64)> {
    let mut arrived = BTreeMap::new();
    let mut torn = 0;
    for line in machine::lines(delivered) {
        match Event::parse(&line) {
            Some(event) => *arrived.entry(event).or_insert(0_u64) += 1,
            None => torn += 1,
        }
    }
    let repeated: u64 = arrived.values().map(|count| count - 1).sum();
    let acknowledged: u64 = ledger.values().sum();
    println!(
        "{acknowledged} acknowledged, {} arrived, {repeated} again, {torn} lines cut off",
        arrived.len()
    );
    assert!(torn <= lives * guest::STREAMS, "lines that nobody sent");
    let all = ledger.iter().flat_map(|(&(life, stream), &before)| {
        (0..before).map(move |number| (life, stream, number))
    });
    let arrived = |&(life, stream, number): &(u64, u64, u64)| {
        arrived.contains_key(&Event { life, stream, number })
    };
    all.filter(|event| !arrived(event)).collect()
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, role, socket, life, drain] = arguments.as_slice()
        && role == guest::ROLE
    {
        return guest::run(socket, life.parse().unwrap(), drain == "drain");
    }
    let cycles = told_by_environment("POWERCUT_CYCLES").unwrap_or(CYCLES);
    let seed = told_by_environment("POWERCUT_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("POWERCUT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let machine = Machine::new();
    let mut ledger = Acknowledged::new();
    for life in 0..cycles {
        let enough_max = 1 << random.u32(..=ACKNOWLEDGEMENTS_MAX_LOG2);
        let enough = random.u64(..enough_max);
        let acknowledgements = live(&machine, life, Some(enough), &mut ledger);
        println!("life {life}: power cut after {acknowledgements} acknowledgements");
    }
    live(&machine, cycles, None, &mut ledger);
    let missing = missing(&machine.delivered(), &ledger, cycles);
    let first: Vec<_> = missing.iter().take(20).collect();
    assert!(missing.is_empty(), "{} acknowledged and lost: {first:?} …", missing.len());
    assert!(ledger.values().sum::<u64>() > 0, "nothing was acknowledged");
    println!("{cycles} power cuts: nothing that was acknowledged is missing");
}
