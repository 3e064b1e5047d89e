//! What must hold after every crash and every fault.
//!
//! - P1: an acknowledged event can be read at its offset with its bytes, unless it is committed.
//! - P3: nothing at or above the durable committed offset was deleted.
//! - P4: a start works on whatever the disk kept; then events can be appended, synced and read,
//!   and survive the next crash.
//! - Offsets are never given twice, no event is altered, moved or duplicated, and no loss is
//!   reported where there is none.

use std::path::{Path, PathBuf};

use standpipe_wal::Offset;
use standpipe_wal::error::Error;
use standpipe_wal::fs::sim::{Loss, SimFs};
use standpipe_wal::inspect;
use standpipe_wal::recovery::Recovery;
use standpipe_wal::tail::Cause;

use crate::host::{Host, STREAMS, STREAMS_DIR};
use crate::ledger::Ledger;
use crate::offset_twin::OffsetTwin;
use crate::reading::{Found, drain};

/// Checks what a reader found against what was promised.
pub(crate) fn check_found(
    ledger: &Ledger,
    committed: Offset,
    found: &[Found],
) -> Result<(), String> {
    for one in found {
        match one {
            Found::Event(offset, payload) => ledger.check_event(*offset, payload, committed)?,
            Found::Missing(range, cause) => {
                ledger.check_missing(range, committed)?;
                if *cause == Cause::Lost {
                    ledger.check_lost(range, committed)?;
                }
            }
        }
    }
    Ok(())
}

/// Starts on what a crash left, and checks it. A look at it comes first.
pub(crate) fn check_start(before: &Host, disk: &SimFs) -> Result<Host, String> {
    check_looking(disk)?;
    check_start_at_once(before, disk)
}

/// The same without the look.
pub(crate) fn check_start_at_once(before: &Host, disk: &SimFs) -> Result<Host, String> {
    let mut host = before.after_crash(disk);
    let on_disk = OffsetTwin::on(disk);
    for (durable, found) in before.committed.iter().zip(on_disk) {
        assert!(found >= *durable, "the twin forgot a committed offset that was synced");
    }
    host.start().map_err(|error| format!("cannot start: {error:?}"))?;
    check_started(&mut host, ReadErrors::Forbidden)?;
    Ok(host)
}

/// A command that looks works on whatever a crash left, and changes nothing.
fn check_looking(disk: &SimFs) -> Result<(), String> {
    let disk = disk.fork();
    disk.clear_faults();
    disk.record_trace();
    let dir = Path::new(STREAMS_DIR);
    let failed = |error: Error| format!("cannot look: {error:?}");
    for stream in inspect::streams(&disk, dir).map_err(failed)? {
        let report = inspect::stream(&disk, dir, &stream).map_err(failed)?;
        inspect::backlog(&disk, dir, &stream, Offset::ZERO).map_err(failed)?;
        if report.oldest > report.next || report.proven > report.next {
            return Err(format!("looking says {report:?}"));
        }
    }
    match disk.trace().iter().find(|operation| operation.kind.changes_the_disk()) {
        None => Ok(()),
        Some(operation) => Err(format!("looking did {operation:?}")),
    }
}

/// Whether the disk may still be failing while the checks read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadErrors {
    Allowed,
    Forbidden,
}

/// Checks what a start found, and promises it from now on.
pub(crate) fn check_started(host: &mut Host, read_errors: ReadErrors) -> Result<(), String> {
    for stream in 0..STREAMS {
        let recovery = host.recoveries[stream].clone();
        if recovery.new_log_id {
            host.ledger_mut(stream).renewed();
        }
        check_report(host, stream, &recovery)
            .and_then(|()| match read_all(host, stream) {
                Ok(found) => take_over(host, stream, found),
                Err(_) if read_errors == ReadErrors::Allowed => {
                    host.ledger_mut(stream).recovered_unseen(recovery.next);
                    Ok(())
                }
                Err(error) => Err(format!("cannot read: {error:?}")),
            })
            .map_err(|problem| format!("stream {stream}: {problem}; {recovery:?}"))?;
    }
    Ok(())
}

fn check_report(host: &Host, stream: usize, recovery: &Recovery) -> Result<(), String> {
    let next = host.log(stream).next();
    let committed = host.committed[stream];
    let ledger = &host.ledgers[stream];
    if recovery.next != next || recovery.durable != next {
        return Err(format!("the log says next is {next}, the report does not"));
    }
    if next < committed {
        return Err(format!("offsets from {next} would be given again: {committed} is committed"));
    }
    ledger.check_next(next)?;
    for lost in &recovery.lost {
        ledger.check_lost(lost, committed)?;
    }
    let wrongly = |path: &&PathBuf| {
        !segment_base(path).is_some_and(|base| ledger.may_be_disowned(base, committed))
    };
    let strangers = recovery.set_aside.iter().filter(wrongly).count() + recovery.strays.len();
    if strangers > 0 && !ledger.may_find_strangers() {
        return Err("the log takes its own files for a stranger's".to_owned());
    }
    if !ledger.may_find_damaged_headers() && !recovery.damaged_headers.is_empty() {
        return Err("a header is called damaged that is not".to_owned());
    }
    Ok(())
}

/// Where a segment began, by the name that it has in the quarantine.
fn segment_base(path: &Path) -> Option<Offset> {
    let digits = path.file_name()?.to_str()?.split('.').next()?;
    digits.parse().ok().map(Offset::new)
}

fn take_over(host: &mut Host, stream: usize, found: Vec<Found>) -> Result<(), String> {
    check_found(&host.ledgers[stream], host.committed[stream], &found)?;
    let next = host.log(stream).next();
    host.ledger_mut(stream).recovered(&events_of(found), next);
    Ok(())
}

pub(crate) fn events_of(found: Vec<Found>) -> Vec<(u64, Vec<u8>)> {
    found
        .into_iter()
        .filter_map(|one| match one {
            Found::Event(offset, payload) => Some((offset, payload)),
            Found::Missing(..) => None,
        })
        .collect()
}

/// Everything that a fresh reader finds, from the oldest or the committed offset on.
pub(crate) fn read_all(host: &Host, stream: usize) -> Result<Vec<Found>, Error> {
    let log = host.log(stream);
    let from = log.oldest().min(host.committed[stream]);
    drain(&mut host.tail(stream, from), log.durable())
}

/// Checks a host that is running on a disk that works again.
pub(crate) fn check_running(host: &Host) -> Result<(), String> {
    for stream in 0..STREAMS {
        let found = read_all(host, stream)
            .map_err(|error| format!("stream {stream}: cannot read: {error:?}"))?;
        check_found(&host.ledgers[stream], host.committed[stream], &found)
            .map_err(|problem| format!("stream {stream}: {problem}"))?;
    }
    Ok(())
}

/// Appends to every stream, syncs, commits and reads: the host must be able to work.
pub(crate) fn check_work(host: &mut Host) -> Result<(), String> {
    for round in 0..2_u64 {
        for stream in 0..STREAMS {
            host.push(stream, true, &[10, 700]);
            host.push(stream, false, &[300, 0]);
            host.sync(stream).map_err(|error| format!("stream {stream} cannot sync: {error:?}"))?;
        }
        check_running(host)?;
        host.commit(round).map_err(|error| format!("cannot commit: {error:?}"))?;
    }
    check_running(host)
}

/// The whole of it after a crash: start, check, work, and the same again after a second crash.
pub(crate) fn check_crash(
    before: &Host,
    disk: &SimFs,
    second: Loss,
    seed: u64,
) -> Result<(), String> {
    let mut host = check_start(before, disk)?;
    let right_after = host.disk.crash(second, seed);
    check_start(&host, &right_after)
        .map_err(|problem| format!("after a second crash ({second:?}): {problem}"))?;
    check_work(&mut host)?;
    let after_work = host.disk.crash(second, seed);
    check_start(&host, &after_work)
        .map_err(|problem| format!("after work and a second crash ({second:?}): {problem}"))?;
    Ok(())
}
