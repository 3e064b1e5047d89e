//! Every operation × every fault: what was promised holds, whatever the disk does.
//!
//! A small host (two streams, a pool of recycled segments, an offset store, readers) runs a script
//! on the simulated disk. It is run once without trouble to count the operations, and then again
//! and again with trouble at each of them: a crash, after which the disk is looked at with all
//! kinds of loss, or a fault that it has to survive. `crash/check.rs` says what must hold.
//!
//! The number of runs is bounded. `STANDPIPE_CRASH_SCALE=20 cargo test -p standpipe-wal --test
//! crash` runs twenty times as many seeds. A failure names its case; the same case fails again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

#[path = "crash/bit_rot.rs"]
mod bit_rot;
#[path = "crash/case.rs"]
mod case;
#[path = "crash/check.rs"]
mod check;
#[path = "crash/coverage.rs"]
mod coverage;
#[path = "crash/damage.rs"]
mod damage;
#[path = "crash/enumerate.rs"]
mod enumerate;
#[path = "crash/host.rs"]
mod host;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/lives.rs"]
mod lives;
#[path = "crash/offset_twin.rs"]
mod offset_twin;
#[path = "crash/outcomes.rs"]
mod outcomes;
#[path = "crash/readers.rs"]
mod readers;
#[path = "crash/reading.rs"]
mod reading;
#[path = "crash/rot.rs"]
mod rot;
#[path = "crash/script.rs"]
mod script;
