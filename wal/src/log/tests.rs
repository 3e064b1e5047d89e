//! The log on a real disk, looked at from outside: what goes in comes out.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::events;
use crate::fs::RealFs;
use crate::tail::{Cause, Step, Tail};

/// Random numbers that are the same in every run.
#[derive(Debug)]
struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn u64(&self) -> u64 {
        // SplitMix64: any two of its outputs differ.
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What every run of an agent shares.
#[derive(Debug)]
pub(crate) struct World {
    fs: Arc<dyn Fs>,
    root: tempfile::TempDir,
    pub(crate) options: Options,
}

impl World {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let entropy = Arc::new(Seeded(AtomicU64::new(1)));
        let options = Options { segment_bytes, entropy, pool: None };
        Self { fs: Arc::new(RealFs), root: tempfile::tempdir().unwrap(), options }
    }

    pub(crate) fn with_pool(mut self, bytes_max: u64) -> Self {
        let dir = self.root.path().join("pool");
        let pool = Pool::open(Arc::clone(&self.fs), dir, bytes_max).unwrap();
        self.options.pool = Some(Arc::new(pool));
        self
    }

    fn streams(&self) -> PathBuf {
        let dir = self.root.path().join("streams");
        let _there = self.fs.create_dir(&dir).is_ok();
        dir
    }

    pub(crate) fn open(&self, committed: u64) -> (Log, Recovery) {
        let stream = "orders".parse().unwrap();
        let committed = Offset::new(committed);
        Log::open(&self.fs, &self.streams(), &stream, &self.options, committed, 1).unwrap()
    }

    pub(crate) fn tail(&self, from: u64) -> Tail {
        Tail::open(Arc::clone(&self.fs), self.streams().join("orders"), Offset::new(from))
    }

    pub(crate) fn place(&self) -> (&dyn Fs, PathBuf, StreamName) {
        (&*self.fs, self.streams(), "orders".parse().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.streams().join("orders").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = self.fs.list(&self.streams().join("orders")).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// Changes bytes of a segment behind the log's back.
    pub(crate) fn damage(&self, name: &str, position: u64, bytes: &[u8]) {
        let file = self.fs.open(&self.path(name), crate::fs::Access::ReadWrite).unwrap();
        write_all(&*file, &mut [std::io::IoSlice::new(bytes)], position).unwrap();
    }
}

fn offsets(range: Range<u64>) -> Range<Offset> {
    Offset::new(range.start)..Offset::new(range.end)
}

/// Events whose payloads are their offsets, padded to a size.
pub(crate) fn numbered(range: Range<u64>, payload_bytes: usize) -> Events {
    let mut events = Events::default();
    for offset in range {
        events.push(format!("{offset:0payload_bytes$}").as_bytes());
    }
    events
}

/// Everything up to `until`: events as their numbers, ranges that are missing.
pub(crate) fn read(tail: &mut Tail, until: Offset) -> (Vec<u64>, Vec<(Range<Offset>, Cause)>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    loop {
        match tail.next(until).unwrap() {
            Step::Frame(frame) => {
                let numbers = events::iter(frame.body)
                    .map(|event| std::str::from_utf8(event).unwrap().parse::<u64>().unwrap());
                let before = found.len();
                found.extend(numbers);
                assert_eq!(found.len() - before, frame.count as usize);
                assert_eq!(found[before], frame.base.get());
            }
            Step::Missing { range, cause } => missing.push((range, cause)),
            Step::UpToDate => return (found, missing),
        }
    }
}

pub(crate) const SEGMENT: u64 = 64 * 1024;

#[test]
fn what_was_synced_is_read_before_and_after_a_clean_stop() {
    let world = World::new(SEGMENT);
    let (mut log, recovery) = world.open(0);
    assert_eq!(recovery, Recovery::default());
    let mut tail = world.tail(0);
    assert_eq!(tail.next(log.durable()).unwrap(), Step::UpToDate);
    assert_eq!(log.push(numbered(0..3, 5), 1), offsets(0..3));
    assert_eq!(log.push(numbered(3..5, 5), 1), offsets(3..5));
    assert_eq!((log.durable(), log.next()), (Offset::ZERO, Offset::new(5)));
    assert!(log.sync(1).unwrap().failed_over.is_none());
    assert_eq!(log.durable(), Offset::new(5));
    assert_eq!(read(&mut tail, log.durable()), ((0..5).collect(), vec![]));
    log.push(numbered(5..6, 5), 1);
    log.close(1).unwrap();
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.rewritten_events, recovery.next), (0, Offset::new(6)));
    assert!(!recovery.new_log_id && recovery.quarantined.is_empty());
    assert_eq!(read(&mut tail, log.durable()), (vec![5], vec![]));
    assert_eq!(read(&mut world.tail(0), log.durable()), ((0..6).collect(), vec![]));
}

#[test]
fn after_a_kill_what_is_not_proven_is_written_again() {
    let world = World::new(SEGMENT);
    for run in 0..4_u64 {
        let (mut log, recovery) = world.open(0);
        assert_eq!(recovery.next, Offset::new(run * 20));
        // Proven is what the last frame of a run knew: the first half.
        assert_eq!(recovery.rewritten_events, if run == 0 { 0 } else { 10 });
        for half in 0..2 {
            let first = run * 20 + half * 10;
            log.push(numbered(first..first + 10, 9), 1);
            log.sync(1).unwrap();
        }
    }
    let (log, _) = world.open(0);
    assert_eq!(read(&mut world.tail(0), log.durable()), ((0..80).collect(), vec![]));
    let (again, recovery) = world.open(80);
    assert_eq!(again.durable(), Offset::new(80));
    assert_eq!(recovery.rewritten_events, 0, "what is committed is proven");
    assert_eq!(again.log_id(), log.log_id());
}
