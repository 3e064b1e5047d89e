//! The real program and real faults: a disk that is full, out of names or broken, system calls that
//! fail, processes that stand still. Whatever happens, nothing that was acknowledged may be missing
//! in the end, the agent may not panic, it says what is wrong, and goes on by itself when that is
//! over.
//!
//! Needs root, strace, e2fsprogs and faketime, so it is no part of `cargo test`: `cargo test --test faults`
//! runs it, `.ci/run` does, and where something is missing it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "faults/calls.rs"]
mod calls;
#[path = "agent/client.rs"]
mod client;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/host.rs"]
mod host;
#[path = "faults/injection.rs"]
mod injection;
#[path = "faults/ledger.rs"]
mod ledger;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/mount.rs"]
mod mount;
#[path = "agent/process.rs"]
mod process;
#[path = "faults/standstill.rs"]
mod standstill;
#[path = "faults/start.rs"]
mod start;

use host::{Agent, Host};
use injection::Injection;
use ledger::Ledger;
use mount::Disk;
