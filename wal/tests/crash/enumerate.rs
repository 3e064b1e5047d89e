//! Trouble at every operation of a script.

use standpipe_wal::fs::sim::{Fault, Kind, Loss, Operation};

use crate::case::{Tally, scale};
use crate::check::{check_crash, check_running, check_start, check_work};
use crate::host::{AfterFailure, Host};
use crate::script::{Step, script};

/// A script that ran once without trouble: what it does, and which operations it took.
struct Clean {
    seed: u64,
    script: Vec<Step>,
    first: u64,
    operations: Vec<Operation>,
}

impl Clean {
    fn run(seed: u64) -> Self {
        let script = script(seed);
        let mut host = Host::new(seed, AfterFailure::Keep);
        let first = host.disk.operations();
        host.run(&script).unwrap();
        let operations = host.disk.trace().split_off(first as usize);
        check_running_or_start(&mut host).unwrap();
        Self { seed, script, first, operations }
    }

    /// The numbers of the operations that `which` accepts, with what they are.
    fn numbers(&self, which: impl Fn(Kind) -> bool) -> impl Iterator<Item = (u64, &Operation)> {
        (self.first..).zip(&self.operations).filter(move |(_, operation)| which(operation.kind))
    }

    fn host(&self, after_failure: AfterFailure) -> Host {
        Host::new(self.seed, after_failure)
    }
}

/// The losses to look at, each with the seeds that make a difference.
fn losses(torn: u64) -> impl Iterator<Item = (Loss, u64)> {
    let seeds = move |loss| if loss == Loss::Torn { torn } else { 1 };
    Loss::ALL.into_iter().flat_map(move |loss| (0..seeds(loss)).map(move |seed| (loss, seed)))
}

/// What is lost when the power goes soon after a start that followed the first loss. After a killed
/// process that start has looked at things that were not durable.
fn second_losses(first: Loss, number: u64) -> Vec<Loss> {
    if first == Loss::Process {
        return vec![Loss::EverythingUnsynced, Loss::UnsyncedNames, Loss::Torn];
    }
    vec![Loss::ALL[number as usize % Loss::ALL.len()]]
}

fn check_running_or_start(host: &mut Host) -> Result<(), String> {
    if host.is_running() {
        return check_running(host);
    }
    *host = check_start(host, &host.disk.clone())?;
    Ok(())
}

#[test]
fn a_crash_at_every_operation() {
    let mut tally = Tally::new("crash at every operation");
    for seed in 0..2 * scale() {
        let clean = Clean::run(seed);
        for (number, operation) in clean.numbers(Kind::changes_the_disk) {
            let mut host = clean.host(AfterFailure::Keep);
            host.disk.inject(Fault::Crash, number, 1);
            host.run(&clean.script).unwrap();
            assert!(host.disk.is_off());
            for (loss, torn) in losses(3) {
                let case = format!("script {seed}, before {number} {operation:?}, {loss:?} {torn}");
                tally.case(case, || {
                    let disk = host.disk.crash(loss, torn);
                    for second in second_losses(loss, number + torn) {
                        check_crash(&host, &disk.fork(), second, torn)
                            .map_err(|problem| problem + &host.last_operations())?;
                    }
                    Ok(())
                });
            }
        }
    }
    tally.finish(1000);
}

#[test]
fn a_crash_at_every_operation_of_a_recovery_from_a_crash() {
    let mut tally = Tally::new("crash during recovery");
    for seed in 0..scale() {
        let clean = Clean::run(seed + 100);
        for (number, operation) in clean.numbers(Kind::changes_the_disk) {
            let mut host = clean.host(AfterFailure::Keep);
            host.disk.inject(Fault::Crash, number, 1);
            host.run(&clean.script).unwrap();
            let loss = [Loss::Torn, Loss::EverythingUnsynced, Loss::Process][number as usize % 3];
            let found = host.disk.crash(loss, number);
            let mut whole = host.after_crash(&found.fork());
            whole.disk.record_trace();
            whole.start().unwrap();
            for (step, during) in (0..).zip(whole.disk.trace()) {
                if !during.kind.changes_the_disk() {
                    continue;
                }
                let mut again = host.after_crash(&found.fork());
                again.disk.inject(Fault::Crash, step, 1);
                again.start().unwrap_err();
                let second =
                    [Loss::Torn, Loss::EverythingUnsynced, Loss::Process][step as usize % 3];
                let case = format!(
                    "script {}, before {number} {operation:?}, {loss:?}, then before {step} \
                     {during:?}, {second:?}",
                    clean.seed
                );
                tally.case(case, || {
                    let disk = again.disk.crash(second, step);
                    if second == Loss::Process {
                        check_crash(&host, &disk, Loss::EverythingUnsynced, step)
                    } else {
                        check_start(&host, &disk).map(drop)
                    }
                    .map_err(|problem| problem + &host.last_operations())
                });
            }
        }
    }
    tally.finish(500);
}

#[test]
fn a_fault_at_every_operation_once_and_until_it_is_repaired() {
    let mut tally = Tally::new("fault at every operation");
    for seed in 0..scale() {
        let clean = Clean::run(seed + 200);
        for fault in Fault::SURVIVABLE {
            for (number, operation) in clean.numbers(|kind| fault.can_strike(kind)) {
                for times in [1, 2, u64::MAX] {
                    let after_failure = match number.wrapping_add(times) % 2 {
                        0 => AfterFailure::Keep,
                        _ => AfterFailure::TakeBack,
                    };
                    let case = format!(
                        "script {}, {fault:?} from {number} {operation:?}, {times} times, \
                         {after_failure:?}",
                        clean.seed
                    );
                    tally.case(case, || {
                        let host = clean.host(after_failure);
                        host.disk.inject(fault, number, times);
                        survive(host, &clean.script, number)
                    });
                }
            }
        }
    }
    tally.finish(1000);
}

/// One kind of operation fails from some point on and all others work: unlinks, syncs of
/// directories, syncs of files, …
#[test]
fn one_kind_of_operation_that_fails_for_ever() {
    const KINDS: [Kind; 8] = [
        Kind::SyncData,
        Kind::SyncDir,
        Kind::Remove,
        Kind::Rename,
        Kind::Create,
        Kind::Write,
        Kind::Allocate,
        Kind::Truncate,
    ];
    let mut tally = Tally::new("one kind of operation");
    for seed in 0..scale() {
        let clean = Clean::run(seed + 600);
        for kind in KINDS {
            for (number, operation) in clean.numbers(|one| one == kind) {
                let after_failure =
                    if number % 2 == 0 { AfterFailure::Keep } else { AfterFailure::TakeBack };
                let case = format!(
                    "script {}, every {kind:?} from {number} {operation:?} on, {after_failure:?}",
                    clean.seed
                );
                tally.case(case, || {
                    let host = clean.host(after_failure);
                    host.disk.inject_on(kind, Fault::Io, number, u64::MAX);
                    survive(host, &clean.script, number)
                });
            }
        }
    }
    tally.finish(100);
}

/// The process goes on through the trouble. When it stops, everything works again without a
/// restart, and a crash finds all that was acknowledged.
fn survive(mut host: Host, script: &[Step], number: u64) -> Result<(), String> {
    host.run(script)?;
    host.disk.clear_faults();
    check_running_or_start(&mut host)?;
    check_work(&mut host)?;
    for loss in [Loss::EverythingUnsynced, Loss::Torn] {
        check_start(&host, &host.disk.crash(loss, number))
            .map_err(|problem| format!("after {loss:?}: {problem}{}", host.last_operations()))?;
    }
    Ok(())
}

/// A failed write or sync makes the log begin a new segment; here the power goes while it does.
#[test]
fn a_crash_soon_after_a_failed_write_or_sync() {
    let mut tally = Tally::new("crash soon after a failure");
    let strikes =
        |kind| matches!(kind, Kind::Write | Kind::SyncData | Kind::SyncDir | Kind::Rename);
    for seed in 0..scale() {
        let clean = Clean::run(seed + 300);
        for (number, operation) in clean.numbers(strikes) {
            for later in 1..=14 {
                let after_failure =
                    if later % 2 == 0 { AfterFailure::Keep } else { AfterFailure::TakeBack };
                let mut host = clean.host(after_failure);
                host.disk.inject(Fault::Io, number, 1 + later % 3);
                host.disk.inject(Fault::Crash, number + later, 1);
                let case = format!(
                    "script {}, EIO at {number} {operation:?}, crash {later} later, \
                     {after_failure:?}",
                    clean.seed
                );
                let case = &case;
                tally.case(case, || host.run(&clean.script));
                for (loss, torn) in [(Loss::EverythingUnsynced, 0), (Loss::Torn, number)] {
                    tally.case(format!("{case}, {loss:?}"), || {
                        check_start(&host, &host.disk.crash(loss, torn))
                            .map(drop)
                            .map_err(|problem| problem + &host.last_operations())
                    });
                }
                // What a failed sync left in the page cache looks like a file that is well.
                tally.case(format!("{case}, killed, then power loss"), || {
                    let disk = host.disk.crash(Loss::Process, number);
                    check_crash(&host, &disk, Loss::EverythingUnsynced, number)
                        .map_err(|problem| problem + &host.last_operations())
                });
            }
        }
    }
    tally.finish(1000);
}

/// The disk is full at each possible size; then there is room again.
#[test]
fn a_disk_of_every_size() {
    let mut tally = Tally::new("disk of every size");
    for seed in 0..3 * scale() {
        let clean = Clean::run(seed + 400);
        for blocks in 1..24 {
            let after_failure =
                if blocks % 2 == 0 { AfterFailure::Keep } else { AfterFailure::TakeBack };
            tally.case(format!("script {}, {blocks} blocks", clean.seed), || {
                let mut host = clean.host(after_failure);
                host.disk.limit(Some(blocks * 4096));
                host.run(&clean.script)?;
                host.disk.limit(None);
                survive(host, &[], blocks)
            });
        }
    }
    tally.finish(60);
}

/// A script that never rolled or recycled would show nothing about rolling and recycling.
#[test]
fn the_scripts_do_what_they_are_for() {
    for seed in [0, 1, 100, 200, 300] {
        let clean = Clean::run(seed);
        let count = |kind, part: &str| {
            let of_kind = clean.numbers(|one| one == kind);
            of_kind.filter(|(_, one)| one.path.to_string_lossy().contains(part)).count()
        };
        let begun = count(Kind::Create, ".new") + count(Kind::Rename, "pool/");
        assert!(begun >= 8, "script {seed} begins only {begun} segments");
        assert!(count(Kind::Rename, "pool/") >= 1, "script {seed} recycles nothing");
        assert!(count(Kind::Rename, ".seg") > count(Kind::Rename, ".new"), "script {seed}");
        assert!(count(Kind::SyncData, "offsets") >= 6, "script {seed} hardly commits");
    }
}

/// The alarm itself: a log that forgets must be noticed.
#[test]
fn a_disk_that_loses_synced_bytes_is_noticed() {
    let clean = Clean::run(500);
    let mut host = clean.host(AfterFailure::Keep);
    let half = clean.script.len() / 2;
    host.run(&clean.script[..half]).unwrap();
    let before = host.disk.crash(Loss::EverythingUnsynced, 0);
    host.run(&clean.script[half..]).unwrap();
    // The start finds the disk of an earlier time: everything acknowledged since then is gone.
    host.committed = Host::on(&before, 0).committed;
    let problem = check_start(&host, &before).unwrap_err();
    assert!(problem.contains("would be given again"), "{problem}");
}
