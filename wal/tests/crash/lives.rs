//! Whole lives of a log: append, roll, commit, trim, recycle, restart, damage, again. At every
//! operation of all of it the host is cut off in every way, and starts again.
//!
//! `STANDPIPE_CRASH_SCALE=… cargo test --release -p standpipe-wal --test crash lives --
//! --nocapture` is the large run; `STANDPIPE_CRASH_WORKLOAD=7` runs one workload alone.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use standpipe_wal::fs::sim::{Fault, Loss, SimFs};
use standpipe_wal::recovery::Recovery;

use crate::case::scale;
use crate::check::{check_crash, check_start, check_start_at_once};
use crate::coverage::{Coverage, States};
use crate::host::{AfterFailure, Host, Seen};
use crate::outcomes::{Outcome, each_power_cut, killed};
use crate::rot::{Rot, rot};
use crate::script::{Random, life};

/// Workloads of a run of scale one.
const WORKLOADS: u64 = 12;

/// Lives of one workload.
const LIVES: u64 = 4;

/// Power cuts to look at, at each operation: all of them where there are no more.
const POWER_CUTS: usize = 24;

/// Kinds of damage to look at, at the end of each life.
const ROTS: u64 = 32;

/// Of so many new states, one is looked at without being written, and one also works on and is cut
/// off again.
const LOOK_EVERY: u64 = 4;
const WORK_EVERY: u64 = 16;

/// One workload and what was seen of it.
struct Workload<'a> {
    states: &'a States,
    own_states: HashSet<u64>,
    random: Random,
    coverage: Coverage,
    /// Disks with the promises that were checked on them, and what a start said about each.
    checked: HashMap<(u64, u64), Vec<Recovery>>,
    /// How the lives before began.
    history: Vec<String>,
    /// What went wrong in this life, apart from its end.
    trouble: Option<&'static str>,
    /// Where the next life may begin.
    cut_off: Option<(Arc<Host>, SimFs)>,
    outcomes: u64,
    new_states: u64,
    /// Operations of which all outcomes were looked at, and others.
    whole: u64,
    sampled: u64,
}

impl Workload<'_> {
    /// Leads one workload from its first start to the last end.
    fn live(&mut self, seed: u64) -> Result<(), String> {
        let after_failure = match self.random.below(2) {
            0 => AfterFailure::Keep,
            _ => AfterFailure::TakeBack,
        };
        let mut host = Host::new(seed, after_failure);
        for _ in 0..LIVES {
            self.one_life(&mut host).map_err(|problem| problem + &host.last_operations())?;
            host = self.next_life(host)?;
        }
        Ok(())
    }

    fn one_life(&mut self, host: &mut Host) -> Result<(), String> {
        host.watch();
        self.cut_off = None;
        if self.random.below(2) == 0 {
            let fault = Fault::SURVIVABLE[self.random.below(6) as usize];
            let from = host.disk.operations() + self.random.below(300);
            host.disk.inject(fault, from, [1, 1, 2, 5][self.random.below(4) as usize]);
            self.trouble.get_or_insert(name(fault));
        }
        for step in life(&mut self.random) {
            host.run(std::slice::from_ref(&step))?;
            self.look_at(host.take_seen())?;
        }
        host.disk.clear_faults();
        Ok(())
    }

    /// Ends a life in one of the ways in which lives end.
    fn next_life(&mut self, mut host: Host) -> Result<Host, String> {
        self.trouble = None;
        let end = self.random.below(4);
        if self.random.below(2) == 0 && host.is_running() {
            drop(host.commit(0));
        }
        if end == 0 {
            host.stop();
        }
        host.die();
        self.look_at(host.take_seen())?;
        let (damaged, rot) = self.damage(&host)?;
        let (next, how) = match (end, self.cut_off.take()) {
            (1, Some((before, disk))) => (before.after_crash(&disk), "cut off".to_owned()),
            (2, _) => {
                self.trouble = Some(rot.kind);
                (damaged, format!("{} {}", rot.kind, rot.what))
            }
            _ => (host.after_crash(&host.disk.crash(Loss::Process, 0)), "ended".to_owned()),
        };
        self.history.push(how);
        Ok(next)
    }

    /// Damages what a life has left in many ways, each on a disk of its own, and starts. Gives the
    /// last of them back, not started.
    fn damage(&mut self, host: &Host) -> Result<(Host, Rot), String> {
        let disk = host.disk.crash(Loss::Nothing, 0);
        let mut last = None;
        for _ in 0..ROTS {
            let damaged = disk.fork();
            let rot = rot(&damaged, &mut self.random);
            let mut after = host.after_crash(&damaged);
            rot.excuse(&mut after);
            let outcome = Outcome { kind: rot.kind, picks: Vec::new(), disk: damaged.fork() };
            let fingerprint = damaged.fingerprint();
            self.check(&after, &outcome, fingerprint)
                .map_err(|problem| format!("{} {}: {problem}", rot.kind, rot.what))?;
            last = Some((after, rot));
        }
        last.ok_or_else(|| "nothing was damaged".to_owned())
    }

    fn look_at(&mut self, seen: Vec<Seen>) -> Result<(), String> {
        for Seen { before, moment } in seen {
            let mut problem = None;
            let mut choices = Random(self.random.u64());
            let stamp = before.stamp();
            let mut visit = |this: &mut Self, outcome: Outcome| {
                this.outcomes += 1;
                let fingerprint = outcome.disk.fingerprint();
                if let Some(recoveries) = this.checked.get(&(fingerprint, stamp)) {
                    let trouble = this.trouble.unwrap_or(outcome.kind);
                    for one in recoveries {
                        this.coverage.note(trouble, one);
                    }
                    return;
                }
                if problem.is_some() {
                    return;
                }
                if this.random.below(64) == 0 || this.cut_off.is_none() {
                    this.cut_off = Some((Arc::clone(&before), outcome.disk.fork()));
                }
                problem = this.check(&before, &outcome, fingerprint).err().map(|problem| {
                    let (number, operation) = (moment.number, &moment.operation);
                    let Outcome { kind, picks, .. } = &outcome;
                    format!("before {number} {operation:?}, {kind} {picks:?}: {problem}")
                });
            };
            visit(self, killed(&moment.disk));
            let whole = each_power_cut(&moment.disk, POWER_CUTS, &mut choices, |outcome| {
                visit(self, outcome);
            });
            if let Some(problem) = problem {
                return Err(problem);
            }
            if whole { self.whole += 1 } else { self.sampled += 1 }
        }
        Ok(())
    }

    /// Starts on a disk. Some of the disks that nobody has seen before are looked at more closely.
    fn check(&mut self, before: &Host, outcome: &Outcome, fingerprint: u64) -> Result<(), String> {
        self.new_states += u64::from(self.states.insert(fingerprint));
        // What other workloads have seen must not change what this one does.
        let is_new = self.own_states.insert(fingerprint);
        let number = self.own_states.len() as u64;
        let disk = &outcome.disk;
        if is_new && number.is_multiple_of(WORK_EVERY) {
            let second = Loss::ALL[self.random.below(6) as usize];
            check_crash(before, &disk.fork(), second, fingerprint)?;
        }
        let started = if is_new && number.is_multiple_of(LOOK_EVERY) {
            check_start(before, disk)
        } else {
            check_start_at_once(before, disk)
        }?;
        let trouble = self.trouble.unwrap_or(outcome.kind);
        for recovery in &started.recoveries {
            self.coverage.note(trouble, recovery);
        }
        self.checked.insert((fingerprint, before.stamp()), started.recoveries);
        Ok(())
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Io => "EIO, then cut off",
        Fault::NoSpace => "ENOSPC, then cut off",
        Fault::Quota => "EDQUOT, then cut off",
        Fault::TooManyFiles => "EMFILE, then cut off",
        Fault::Interrupted => "EINTR, then cut off",
        Fault::Short => "short, then cut off",
        Fault::Crash => "a crash",
    }
}

/// What all workloads together have shown.
#[derive(Default)]
struct Sum {
    coverage: Coverage,
    outcomes: u64,
    whole: u64,
    sampled: u64,
}

/// Leads a workload and says what came of it.
///
/// # Panics
/// With its number and what happened to it, where something promised does not hold.
fn workload(seed: u64, states: &States) -> Workload<'_> {
    let mut workload = Workload {
        states,
        own_states: HashSet::new(),
        random: Random(seed ^ 0x11FE),
        coverage: Coverage::default(),
        checked: HashMap::new(),
        history: Vec::new(),
        trouble: None,
        cut_off: None,
        outcomes: 0,
        new_states: 0,
        whole: 0,
        sampled: 0,
    };
    let lived = catch_unwind(AssertUnwindSafe(|| workload.live(seed)));
    let history = &workload.history;
    match lived {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => panic!("workload {seed}, {history:?}: {problem}"),
        Err(panic) => {
            println!("workload {seed} panicked, {history:?}");
            resume_unwind(panic);
        }
    }
    let Workload { outcomes, new_states, .. } = workload;
    println!("workload {seed}: {outcomes} outcomes, {new_states} new states");
    workload
}

#[test]
fn every_crash_of_whole_lives() {
    let only = std::env::var("STANDPIPE_CRASH_WORKLOAD").ok().and_then(|one| one.parse().ok());
    let seeds = only.map_or(0..WORKLOADS * scale(), |one: u64| one..one + 1);
    let workloads = seeds.end - seeds.start;
    let (states, next) = (States::new(), AtomicU64::new(seeds.start));
    let sum = Mutex::new(Sum::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let workload = workload(seed, &states);
            let mut sum = sum.lock().unwrap();
            sum.outcomes += workload.outcomes;
            sum.whole += workload.whole;
            sum.sampled += workload.sampled;
            sum.coverage.merge(workload.coverage);
        }
    };
    std::thread::scope(|threads| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            threads.spawn(work);
        }
    });
    let Sum { coverage, outcomes, whole, sampled } = sum.into_inner().unwrap();
    coverage.print();
    println!(
        "whole lives: {} distinct states of {outcomes} outcomes, {workloads} workloads; at {whole} \
         operations every outcome of a power cut, at {sampled} some of them",
        states.len(),
    );
    assert!(
        only.is_some() || coverage.missing().is_empty(),
        "not reached: {:?}",
        coverage.missing()
    );
    assert!(states.len() as u64 >= 200 * workloads, "only {} states", states.len());
}
