//! A reader that is behind when a write fails: the file that it is in holds events that were never
//! acknowledged, at the offsets of others that are.

use standpipe_wal::fs::sim::Fault;

use crate::case::{Tally, scale};
use crate::host::{AfterFailure, Host};

const STREAM: usize = 0;

/// Two frames are written and one is read; the next write fails so often that its events are taken
/// back, and others get their offsets.
fn fall_behind(seed: u64, operation: u64, times: u64) -> Result<(), String> {
    let mut host = Host::new(seed, AfterFailure::TakeBack);
    host.start().map_err(|error| format!("cannot start: {error:?}"))?;
    host.push(STREAM, false, &[20]);
    host.push(STREAM, true, &[30]);
    host.sync(STREAM).map_err(|error| format!("cannot sync: {error:?}"))?;
    host.read_on(STREAM, 1)?;
    host.disk.inject(Fault::Io, host.disk.operations() + operation, times);
    host.push(STREAM, false, &[40, 50]);
    // Whether it fails depends on the case; the ledger knows what was acknowledged.
    drop(host.sync(STREAM));
    host.disk.clear_faults();
    host.push(STREAM, false, &[60]);
    host.push(STREAM, true, &[70]);
    host.sync(STREAM).map_err(|error| format!("cannot sync: {error:?}"))?;
    host.read_on(STREAM, usize::MAX)
}

#[test]
fn a_reader_that_is_behind_reads_what_was_acknowledged() {
    let mut tally = Tally::new("readers behind a failure");
    for seed in 0..16 * scale() {
        for operation in 0..6 {
            for times in 1..=6 {
                let case = format!("seed {seed}, EIO {times} times after {operation} operations");
                tally.case(case, || fall_behind(seed, operation, times));
            }
        }
    }
    tally.finish(500);
}
