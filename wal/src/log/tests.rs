//! The log on a real disk, looked at from outside: what goes in comes out.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::events;
use crate::fs::RealFs;
use crate::segment::SegmentId;
use crate::tail::{Cause, Step, Tail};

/// Random numbers that are the same in every run.
#[derive(Debug)]
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

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
    pub(crate) fs: Arc<dyn Fs>,
    root: tempfile::TempDir,
    pub(crate) options: Options,
}

impl World {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let entropy = Arc::new(Seeded::new(1));
        let options = Options { segment_bytes, entropy, pool: None };
        Self { fs: Arc::new(RealFs), root: tempfile::tempdir().unwrap(), options }
    }

    pub(crate) fn with_pool(mut self, bytes_max: u64) -> Self {
        let dir = self.root.path().join("pool");
        let pool = Pool::open(Arc::clone(&self.fs), dir, bytes_max, Duration::MAX).unwrap();
        self.options.pool = Some(Arc::new(pool));
        self
    }

    fn streams(&self) -> PathBuf {
        let dir = self.root.path().join("streams");
        let _there = self.fs.create_dir(&dir).is_ok();
        dir
    }

    pub(crate) fn open(&self, committed: u64) -> (Log, Recovery) {
        self.open_at(committed, 1)
    }

    pub(crate) fn open_at(&self, committed: u64, now_ms: u64) -> (Log, Recovery) {
        let stream = "orders".parse().unwrap();
        let committed = Offset::new(committed);
        Log::open(&self.fs, &self.streams(), &stream, &self.options, committed, now_ms).unwrap()
    }

    pub(crate) fn tail(&self, from: u64) -> Tail {
        Tail::open(Arc::clone(&self.fs), self.streams().join("orders"), Offset::new(from))
    }

    pub(crate) fn place(&self) -> (&dyn Fs, PathBuf, StreamName) {
        (&*self.fs, self.streams(), "orders".parse().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.streams().join("orders").join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.fs.list(&self.streams().join("orders")).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// The bytes of a file in the stream's directory.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let file = self.fs.open(&self.path(name), crate::fs::Access::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        crate::segment::read_full(&*file, &mut bytes, 0).unwrap();
        bytes
    }

    /// What the frames of the first segment repeat.
    pub(crate) fn salt(&self) -> u64 {
        let bytes = self.read(&name(0));
        let begin = crate::limits::SEGMENT_HEADER_BYTES + crate::segment::scan::SALT_POSITION;
        u64::from_le_bytes(bytes[begin..begin + 8].try_into().unwrap())
    }

    /// Puts a file into the stream's directory.
    pub(crate) fn plant(&self, name: &str, bytes: &[u8]) {
        let file = self.fs.create(&self.path(name)).unwrap();
        write_all(&*file, &mut [std::io::IoSlice::new(bytes)], 0).unwrap();
    }

    /// Changes bytes of a segment behind the log's back.
    pub(crate) fn damage(&self, name: &str, position: u64, bytes: &[u8]) {
        let file = self.fs.open(&self.path(name), crate::fs::Access::ReadWrite).unwrap();
        write_all(&*file, &mut [std::io::IoSlice::new(bytes)], position).unwrap();
    }
}

pub(crate) fn offsets(range: Range<u64>) -> Range<Offset> {
    Offset::new(range.start)..Offset::new(range.end)
}

/// Events whose payloads are their offsets, padded to a size.
pub(crate) fn numbered(range: Range<u64>, payload_bytes: usize) -> Events {
    let mut events = Events::default();
    for offset in range {
        let digits = offset.to_string();
        let zeros = "0".repeat(payload_bytes.saturating_sub(digits.len()));
        events.push(format!("{zeros}{digits}").as_bytes());
    }
    events
}

/// A frame of ten such events of 96 bytes, as it stands in a segment.
pub(crate) fn frame_of_ten(salt: u64, base: u64, durable: u64) -> Vec<u8> {
    let body = numbered(base..base + 10, 96);
    let header = crate::frame::Header {
        salt,
        base: Offset::new(base),
        count: 10,
        flags: body.flags(),
        seal: false,
        durable: Offset::new(durable),
        time_ms: 1,
    };
    [&header.encode([body.body()].into_iter()), body.body()].concat()
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

/// Pushes and syncs runs of ten events each.
pub(crate) fn write_tens(log: &mut Log, runs: Range<u64>, payload_bytes: usize) {
    for run in runs {
        log.push(numbered(run * 10..run * 10 + 10, payload_bytes), run);
        log.sync(run).unwrap();
    }
}

/// The name of the segment that begins at an offset.
pub(crate) fn name(base: u64) -> String {
    SegmentId::new(Offset::new(base)).file_name()
}

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

#[test]
fn a_full_segment_is_sealed_and_followed_by_the_next() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    // Six frames of 48 + 10 * 1004 bytes fill a segment.
    write_tens(&mut log, 0..20, 1000);
    assert_eq!(world.names(), [name(0), name(60), name(120), name(180)]);
    assert_eq!(log.segments(), 4);
    let on_disk: usize = world.names().iter().map(|name| world.read(name).len()).sum();
    assert_eq!(log.disk_bytes(), on_disk as u64);
    assert_eq!(read(&mut world.tail(0), log.durable()), ((0..200).collect(), vec![]));
}

#[test]
fn one_sync_may_fill_several_segments_and_one_event_may_be_larger_than_a_frame() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    log.push(numbered(0..1, 1_000_000), 1);
    for run in 0..30 {
        let first = 1 + run * 100;
        log.push(numbered(first..first + 100, 200), 1);
    }
    assert_eq!(log.sync(1).unwrap().durable, Offset::new(3001));
    assert_eq!(log.unsynced_bytes(), 0);
    assert!(log.segments() > 2);
    assert_eq!(read(&mut world.tail(0), log.durable()), ((0..3001).collect(), vec![]));
}

#[test]
fn trimmed_segments_go_and_the_newest_stays() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..20, 1000);
    let mut tail = world.tail(30);
    let trimmed = log.trim(Offset::new(119), &[], 1).unwrap();
    assert_eq!((trimmed.segments, trimmed.oldest), (1, Offset::new(60)));
    let trimmed = log.trim(Offset::new(200), &[offsets(70..75)], 1).unwrap();
    assert_eq!((trimmed.segments, trimmed.oldest), (2, Offset::new(180)));
    assert_eq!(world.names(), [name(180), "quarantine".into()]);
    assert_eq!(world.read(&format!("quarantine/{}", name(60))).len() as u64, trimmed.bytes / 2);
    let missing = vec![(offsets(30..180), Cause::Trimmed)];
    assert_eq!(read(&mut tail, log.durable()), ((180..200).collect(), missing));
}

#[test]
fn an_idle_log_gives_everything_back_but_a_header() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    log.roll_idle(1).unwrap();
    assert_eq!(world.names(), [""; 0], "there is nothing to give back");
    write_tens(&mut log, 0..1, 100);
    log.roll_idle(1).unwrap();
    log.roll_idle(1).unwrap();
    log.trim(Offset::new(10), &[], 1).unwrap();
    assert_eq!(world.names(), [name(10)]);
    assert_eq!((log.disk_bytes(), world.read(&name(10)).len()), (4096, 4096));
    drop(log);
    let (mut log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.gap), (Offset::new(10), None), "offsets are remembered");
    write_tens(&mut log, 1..2, 100);
    assert_eq!(world.names(), [name(10)], "a segment without events is replaced");
    assert_eq!(read(&mut world.tail(10), log.durable()), ((10..20).collect(), vec![]));
}

#[test]
fn a_pooled_file_gets_another_life_and_its_old_bytes_are_not_believed() {
    let world = World::new(SEGMENT).with_pool(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..12, 1000);
    log.trim(Offset::new(60), &[], 1).unwrap();
    let pool = world.options.pool.clone().unwrap();
    assert!(pool.bytes() > 0);
    write_tens(&mut log, 12..13, 1000);
    assert_eq!(pool.bytes(), 0, "the third segment is written into the file of the first");
    let bytes = world.read(&name(120));
    assert!(bytes.len() > 60_000, "the old length stays");
    assert!(memchr::memmem::find(&bytes, b"000000059").is_some(), "and so do old bytes");
    drop(log);
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.rewritten_events, recovery.unproven_bytes), (10, 0));
    assert!(!recovery.new_log_id);
    assert_eq!(read(&mut world.tail(60), log.durable()), ((60..130).collect(), vec![]));
}

#[test]
fn what_is_taken_back_gives_its_offsets_back() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..1, 10);
    log.push(numbered(10..15, 10), 1);
    assert_eq!(log.take_unsynced().iter().map(Events::count).sum::<u32>(), 5);
    assert_eq!((log.next(), log.unsynced_bytes()), (Offset::new(10), 0));
    write_tens(&mut log, 1..2, 10);
    assert_eq!(read(&mut world.tail(0), log.durable()), ((0..20).collect(), vec![]));
}

#[test]
fn identities_and_salts_are_random() {
    let numbers: std::collections::BTreeSet<u64> = (0..8).map(|_| OsEntropy.u64()).collect();
    assert_eq!(numbers.len(), 8);
    let seeded = Seeded::new(5);
    let (high, low) = (seeded.u64(), seeded.u64());
    let id = new_log_id(&Seeded::new(5));
    assert_eq!(id.as_bytes(), &[low.to_le_bytes(), high.to_le_bytes()].concat()[..]);
}

#[test]
fn what_waits_for_a_sync_is_counted_until_it_is_durable() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    assert_eq!(log.unsynced_bytes(), 0);
    log.push(numbered(0..10, 16), 1);
    assert_eq!(log.unsynced_bytes(), 10 * (4 + 16));
    log.sync(1).unwrap();
    assert_eq!(log.unsynced_bytes(), 0);
}
