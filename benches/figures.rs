//! The figures of the README, measured: `cargo bench --bench figures -- [f1|f2|f3|f4|f6|f7|f8|all]`.
//!
//! Each figure runs the real agent as a process of its own, makes its load here, and prints the
//! ratio to a raw ceiling that is measured in the same run. Nothing here judges: it prints.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a measuring program: it prints, and it ends at the first surprise"
)]

#[path = "figures/agent.rs"]
mod agent;
#[path = "figures/ceiling.rs"]
mod ceiling;
#[path = "figures/delivery.rs"]
mod delivery;
#[path = "figures/first_acks.rs"]
mod first_acks;
#[path = "figures/ingest.rs"]
mod ingest;
#[path = "figures/latency.rs"]
mod latency;
#[path = "figures/packing.rs"]
mod packing;
#[path = "figures/rates.rs"]
mod rates;
#[path = "figures/receiver.rs"]
mod receiver;
#[path = "figures/report.rs"]
mod report;
#[path = "figures/restart.rs"]
mod restart;

#[path = "../tests/support/stream.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod stream;

use std::path::PathBuf;

use clap::Parser;

/// Measures the figures and prints them.
#[derive(Debug, Parser)]
struct Options {
    /// Which figures: f1 (with f2), f3, f4, f6 (with f8), f7; all of them unless named.
    figures: Vec<String>,
    /// Where the agent's log and the ceiling's files go: the disk to measure.
    #[arg(long, default_value = "target/figures")]
    dir: PathBuf,
    /// Bytes of payload to take in for F1 and F2, in GiB.
    #[arg(long, default_value_t = 8)]
    gib: u64,
    /// Bytes of payload in the backlog of F6 and F8, in GiB.
    #[arg(long, default_value_t = 10)]
    backlog_gib: u64,
    /// Events to deliver for F3, in millions.
    #[arg(long, default_value_t = 20)]
    millions: u64,
    /// Samples for F4.
    #[arg(long, default_value_t = 20_000)]
    samples: usize,
    /// Streams that the connections of F1 and F3 write to.
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Events to deliver for F7, in millions.
    #[arg(long, default_value_t = 4)]
    packed_millions: u64,
    /// Runs of each figure.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Print the raw numbers as JSON as well.
    #[arg(long)]
    json: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let wanted = |figure: &str| {
        options.figures.is_empty() || options.figures.iter().any(|f| f == figure || f == "all")
    };
    std::fs::create_dir_all(&options.dir).unwrap();
    let dir = options.dir.canonicalize().unwrap();
    let mut report = report::Report::new(options.json);
    for run in 1..=options.runs {
        if wanted("f1") || wanted("f2") {
            ingest::measure(&dir, options.gib, options.streams, run, &mut report);
        }
        if wanted("f3") {
            delivery::measure(&dir, options.millions, options.streams, run, &mut report);
        }
        if wanted("f4") {
            latency::measure(&dir, options.samples, run, &mut report);
        }
        if wanted("f6") || wanted("f8") {
            restart::measure(&dir, options.backlog_gib, run, &mut report);
        }
        if wanted("f7") {
            packing::measure(&dir, options.packed_millions, run, &mut report);
        }
    }
    if wanted("f7") {
        rates::print();
    }
    report.print();
}
