//! Any sequence of operations, faults, stops and crashes, against a model: a list of what was
//! acknowledged. The disk is simulated, and forgets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::Seeded;
use super::*;
use crate::events::{self, Flags};
use crate::fs::sim::{Fault, Loss, SimFs};
use crate::inspect::verify::{NextStart, Request, verify};
use crate::tail::{Cause, Step, Tail};

const SEGMENT: u64 = 16 * 1024;

#[derive(Clone, Debug)]
enum Act {
    Push {
        events: u64,
        payload_bytes: usize,
        raw: bool,
    },
    Sync,
    /// Something fails soon, once or for good; what is refused is taken back or kept.
    Trouble {
        fault: Fault,
        after: u64,
        times: u64,
        take_back: bool,
    },
    /// Confirms a part of what is durable, and trims.
    Commit {
        percent: u64,
    },
    RollIdle,
    /// The reader catches up.
    Read,
    Stop,
    Crash {
        loss: Loss,
        seed: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let fault = prop::sample::select(&Fault::SURVIVABLE[..]);
    let loss = prop::sample::select(&Loss::ALL[..]);
    prop_oneof![
        8 => (1..20_u64, 8..600_usize, any::<bool>())
            .prop_map(|(events, payload_bytes, raw)| Act::Push { events, payload_bytes, raw }),
        8 => Just(Act::Sync),
        3 => (fault, 0..12_u64, prop_oneof![1..4_u64, Just(50)], any::<bool>())
            .prop_map(|(fault, after, times, take_back)| {
                Act::Trouble { fault, after, times, take_back }
            }),
        3 => (0..=100_u64).prop_map(|percent| Act::Commit { percent }),
        2 => Just(Act::RollIdle),
        4 => Just(Act::Read),
        1 => Just(Act::Stop),
        2 => (loss, any::<u64>()).prop_map(|(loss, seed)| Act::Crash { loss, seed }),
    ]
}

/// The world and what is known about it.
#[derive(Debug)]
struct Model {
    disk: SimFs,
    options: Options,
    log: Option<Log>,
    tail: Tail,
    /// What was acknowledged, by offset. Absent: offsets that recovery left out.
    acknowledged: BTreeMap<u64, Vec<u8>>,
    /// What was pushed at each offset beyond, any number of times: some of it may come back.
    maybe: BTreeMap<u64, Vec<Vec<u8>>>,
    durable: u64,
    committed: u64,
    serial: u64,
}

/// What opening a log comes to: the next offset, what is written again, kept aside, left out, and
/// whether the log has another name.
type Outcome = (Offset, u64, u64, Option<Range<Offset>>, bool);

/// What a look at the log says that opening it would do; nothing where there is none yet.
fn foretell(fs: &dyn Fs, stream: &StreamName, committed: Offset) -> Option<Outcome> {
    let request = Request { committed, durable: None };
    let start = match verify(fs, Path::new("/streams"), stream, request, &mut |_| {}) {
        Err(error) if error.is_not_found() => return None,
        verified => verified.unwrap().next_start,
    };
    let NextStart { next, rewritten_events, unproven_bytes, gap, new_log_id, .. } = start;
    Some((next, rewritten_events, unproven_bytes, gap, new_log_id))
}

fn said(recovery: &Recovery) -> Outcome {
    let Recovery { next, rewritten_events, unproven_bytes, gap, new_log_id, .. } = recovery;
    (*next, *rewritten_events, *unproven_bytes, gap.clone(), *new_log_id)
}

impl Model {
    fn new(seed: u64) -> Self {
        let disk = SimFs::new(seed);
        disk.create_dir(Path::new("/streams")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let entropy = Arc::new(Seeded::new(seed));
        let options = Options { segment_bytes: SEGMENT, entropy, pool: None };
        let mut model = Self {
            tail: tail(&disk, 0),
            disk,
            options,
            log: None,
            acknowledged: BTreeMap::new(),
            maybe: BTreeMap::new(),
            durable: 0,
            committed: 0,
            serial: 0,
        };
        model.start();
        model
    }

    fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(self.disk.clone())
    }

    /// Opens the log as a new process does, and checks that nothing acknowledged is gone.
    fn start(&mut self) {
        let pool = Pool::open(self.fs(), "/pool".into(), 4 * SEGMENT, Duration::MAX).unwrap();
        self.options.pool = Some(Arc::new(pool));
        let stream = "orders".parse().unwrap();
        let committed = Offset::new(self.committed);
        let foretold = foretell(&*self.fs(), &stream, committed);
        let (log, recovery) =
            Log::open(&self.fs(), Path::new("/streams"), &stream, &self.options, committed, 1)
                .unwrap();
        if let Some(foretold) = foretold {
            assert_eq!(foretold, said(&recovery), "whoever looks is told what happens");
        }
        assert!(recovery.lost.is_empty(), "{recovery:?}");
        assert!(recovery.set_aside.is_empty(), "{recovery:?}");
        assert_eq!((log.next(), log.durable()), (recovery.next, recovery.next));
        assert!(recovery.next.get() >= self.durable, "offsets are given out again");
        self.tail = tail(&self.disk, self.committed);
        let before = self.durable;
        self.durable = recovery.next.get();
        self.log = Some(log);
        self.adopt(before);
        self.maybe.clear();
    }

    /// Reads everything from the committed offset on. What comes back beyond what was acknowledged
    /// is durable from now on.
    fn adopt(&mut self, before: u64) {
        let mut reader = tail(&self.disk, self.committed);
        loop {
            match reader.next(Offset::new(self.durable)).unwrap() {
                Step::Frame(frame) => {
                    for (offset, event) in (frame.base.get()..).zip(events::iter(frame.body)) {
                        if offset < before {
                            assert_eq!(self.acknowledged[&offset], event);
                        } else {
                            let pushed = &self.maybe[&offset];
                            assert!(pushed.iter().any(|one| one == event), "a strange event");
                            self.acknowledged.insert(offset, event.to_vec());
                        }
                    }
                }
                Step::Missing { range, cause } => {
                    assert_eq!(cause, Cause::Unproven, "{range:?}");
                    for offset in range.start.get()..range.end.get() {
                        assert!(!self.acknowledged.contains_key(&offset), "{offset} is gone");
                    }
                }
                Step::UpToDate => return,
            }
        }
    }

    /// The reader that was there all the time sees the same as the model.
    fn read(&mut self) {
        loop {
            match self.tail.next(Offset::new(self.durable)).unwrap() {
                Step::Frame(frame) => {
                    for (offset, event) in (frame.base.get()..).zip(events::iter(frame.body)) {
                        assert_eq!(self.acknowledged[&offset], event, "offset {offset}");
                    }
                }
                Step::Missing { range, cause } => {
                    for offset in range.start.get()..range.end.get() {
                        let known = self.acknowledged.contains_key(&offset);
                        match cause {
                            Cause::Trimmed => assert!(offset < self.committed, "{range:?}"),
                            Cause::Unproven => assert!(!known, "{range:?}"),
                            Cause::Lost => panic!("{range:?} is lost"),
                        }
                    }
                }
                Step::UpToDate => return,
            }
        }
    }

    fn push(&mut self, count: u64, payload_bytes: usize, raw: bool) {
        let mut run = Events::with_capacity(0, Flags { raw });
        let log = self.log.as_mut().unwrap();
        let first = log.next().get();
        for offset in first..first + count {
            self.serial += 1;
            let payload = format!("{:0payload_bytes$}", self.serial).into_bytes();
            run.push(&payload);
            self.maybe.entry(offset).or_default().push(payload);
        }
        let range = log.push(run, self.serial);
        assert_eq!((range.start.get(), range.end.get()), (first, first + count));
    }

    /// Takes note of what the log says is durable.
    fn acknowledge(&mut self) {
        let log = self.log.as_ref().unwrap();
        assert!(log.durable() <= log.next());
        for offset in self.durable..log.durable().get() {
            let pushed = self.maybe.remove(&offset).unwrap();
            self.acknowledged.insert(offset, pushed.last().unwrap().clone());
        }
        self.durable = log.durable().get();
    }

    fn trouble(&mut self, fault: Fault, after: u64, times: u64, take_back: bool) {
        self.push(3, 100, false);
        self.disk.inject(fault, self.disk.operations() + after, times);
        let log = self.log.as_mut().unwrap();
        let synced = log.sync(1);
        let rolled = log.roll_idle(1);
        let _trimmed = log.trim(Offset::new(self.committed), &[], 1).is_ok();
        self.disk.clear_faults();
        self.acknowledge();
        let log = self.log.as_mut().unwrap();
        if synced.is_ok() {
            assert_eq!(log.unsynced_bytes(), 0);
        } else {
            assert!(rolled.is_ok() || take_back || log.unsynced_bytes() > 0);
            if take_back {
                log.take_unsynced();
                assert_eq!(log.next(), log.durable());
            }
        }
    }

    fn commit(&mut self, percent: u64) {
        self.committed += (self.durable - self.committed) * percent / 100;
        let log = self.log.as_mut().unwrap();
        let trimmed = log.trim(Offset::new(self.committed), &[], 1).unwrap();
        assert_eq!(trimmed.oldest, log.oldest());
        let gone =
            self.acknowledged.range(self.committed..trimmed.oldest.get().max(self.committed));
        assert_eq!(gone.count(), 0, "more than what is committed was trimmed");
    }

    fn step(&mut self, act: &Act) {
        match *act {
            Act::Push { events, payload_bytes, raw } => self.push(events, payload_bytes, raw),
            Act::Sync => {
                assert!(self.log.as_mut().unwrap().sync(1).unwrap().failed_over.is_none());
                self.acknowledge();
                assert_eq!(self.log.as_ref().unwrap().durable(), self.log.as_ref().unwrap().next());
            }
            Act::Trouble { fault, after, times, take_back } => {
                self.trouble(fault, after, times, take_back);
            }
            Act::Commit { percent } => self.commit(percent),
            Act::RollIdle => self.log.as_mut().unwrap().roll_idle(1).unwrap(),
            Act::Read => self.read(),
            Act::Stop => {
                let mut log = self.log.take().unwrap();
                log.sync(1).unwrap();
                self.log = Some(log);
                self.acknowledge();
                self.log.take().unwrap().close(1).unwrap();
                self.start();
            }
            Act::Crash { loss, seed } => {
                self.log = None;
                self.disk = self.disk.crash(loss, seed);
                self.start();
            }
        }
    }
}

fn tail(disk: &SimFs, from: u64) -> Tail {
    Tail::open(Arc::new(disk.clone()), "/streams/orders".into(), Offset::new(from))
}

/// A file whose old name may still be durable must not be written again: after a crash it would
/// stand there with the header of another segment.
#[test]
fn a_file_is_not_pooled_before_it_is_durable_that_its_name_is_gone() {
    let mut model = Model::new(1);
    for _ in 0..8 {
        model.push(10, 400, false);
        model.step(&Act::Sync);
    }
    let pool = model.options.pool.clone().unwrap();
    let log = model.log.as_mut().unwrap();
    let second = log.segments[1].base;
    model.disk.inject(Fault::Io, model.disk.operations() + 1, 1);
    let failed = log.trim(second, &[], 1).unwrap_err();
    assert!(failed.to_string().starts_with("cannot sync"), "{failed}");
    assert_eq!((log.oldest(), pool.bytes()), (second, 0));
    log.trim(log.segments[1].base, &[], 1).unwrap();
    assert!(pool.bytes() > 0, "the next one is pooled");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_acknowledged_events_are_read(
        seed: u64, acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut model = Model::new(seed);
        for act in &acts {
            model.step(act);
        }
        model.read();
        model.step(&Act::Crash { loss: Loss::EverythingUnsynced, seed });
        model.read();
    }
}
