//! A log of version 1, as it lies on disks out there: later versions must stay able to read it.
//!
//! `golden/v1` holds the stream `orders`: segments begun for every reason there is, one of them in a
//! recycled file, another with frames of a failed write, and a torn frame at the end. While version
//! 1 is the newest, the code that made it must still make the very same bytes. When they change on
//! purpose, `STANDPIPE_GOLDEN_WRITE=1 cargo test -p standpipe-wal --test golden` writes them anew;
//! for a new version of the format the old sample stays as it is, and gets a new neighbour.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and its sample is on the real disk"
)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standpipe_wal::fs::sim::{Fault, SimFs};
use standpipe_wal::fs::{Fs, RealFs};
use standpipe_wal::log::{Entropy, Log, Options};
use standpipe_wal::segment::{Decoded, Header, Reason};
use standpipe_wal::tail::{Cause, Step, Tail};
use standpipe_wal::{Events, Flags, Offset, Pool, StreamName, events};

/// Room for a header and a few events.
const SEGMENT_BYTES: u64 = 4096 + 512;

#[derive(Debug)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) | 1
    }
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/orders")
}

fn stream() -> StreamName {
    "orders".parse().unwrap()
}

fn open(fs: &Arc<dyn Fs>, dir: &Path, options: &Options, committed: u64) -> Log {
    Log::open(fs, dir, &stream(), options, Offset::new(committed), 1_700_000_000_000).unwrap().0
}

/// Makes durable `count` events that say their offsets, raw ones too.
fn write(log: &mut Log, count: u64) {
    for offset in log.next().get()..log.next().get() + count {
        let mut event = Events::with_capacity(64, Flags { raw: offset % 7 == 3 });
        event.push(format!("event {offset:04}, {}", "x".repeat(60)).as_bytes());
        log.push(event, 1_700_000_000_000 + offset);
        if offset % 3 == 0 {
            log.sync(1_700_000_001_000).unwrap();
        }
    }
    log.sync(1_700_000_002_000).unwrap();
}

/// The files of a log that has lived through everything.
fn make() -> BTreeMap<String, Vec<u8>> {
    let disk = SimFs::new(1);
    for dir in ["/streams", "/pool"] {
        disk.create_dir(Path::new(dir)).unwrap();
    }
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let pool = Pool::open(Arc::clone(&fs), "/pool".into(), 1 << 20, Duration::MAX).unwrap();
    let entropy = Arc::new(Counting(AtomicU64::new(42)));
    let options = Options { segment_bytes: SEGMENT_BYTES, entropy, pool: Some(Arc::new(pool)) };
    let dir = Path::new("/streams");

    let mut log = open(&fs, dir, &options, 0);
    write(&mut log, 20);
    log.trim(Offset::new(12), &[], 1).unwrap();
    write(&mut log, 20);
    disk.inject(Fault::Io, disk.operations() + 1, 1);
    write(&mut log, 2);
    log.roll_idle(1_700_000_003_000).unwrap();
    write(&mut log, 4);
    drop(log);
    let mut log = open(&fs, dir, &options, 12);
    write(&mut log, 2);
    log.close(1_700_000_004_000).unwrap();
    let mut log = open(&fs, dir, &options, 60);
    write(&mut log, 3);
    drop(log);

    let dir = dir.join("orders");
    let names = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name);
    let mut files: BTreeMap<String, Vec<u8>> =
        names.map(|name| (name.clone(), disk.read(&dir.join(name)).unwrap())).collect();
    let mut newest = files.last_entry().unwrap();
    let written = newest.get().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    newest.get_mut().truncate(written - 30);
    files
}

fn committed() -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(sample()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), fs::read(path).unwrap())).collect()
}

#[test]
fn the_writer_of_version_1_writes_the_sample() {
    let made = make();
    if std::env::var_os("STANDPIPE_GOLDEN_WRITE").is_some() {
        fs::create_dir_all(sample()).unwrap();
        for (name, bytes) in &made {
            fs::write(sample().join(name), bytes).unwrap();
        }
    }
    let committed = committed();
    assert_eq!(made.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (name, bytes) in made {
        assert!(bytes == committed[&name], "{name} has other bytes than the sample");
    }
}

#[test]
fn the_sample_holds_what_it_is_there_for() {
    let mut reasons = Vec::new();
    let mut recycled = 0;
    for (name, bytes) in committed() {
        let Decoded::Header(header) = Header::decode(&bytes) else { panic!("{name}") };
        recycled += u32::from(header.recycled);
        reasons.push(header.reason);
    }
    for reason in [Reason::Roll, Reason::Recovery, Reason::FailedWrite, Reason::Gap, Reason::Idle] {
        assert!(reasons.contains(&reason), "{reason:?} is not in {reasons:?}");
    }
    assert!(recycled > 0);
}

/// The offsets of the events that are found, and what is missing.
fn read(tail: &mut Tail, until: Offset) -> (Vec<u64>, Vec<(Range<u64>, Cause)>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    loop {
        match tail.next(until).unwrap() {
            Step::Frame(frame) => {
                for (offset, event) in (frame.base.get()..).zip(events::iter(frame.body)) {
                    assert!(event.starts_with(format!("event {offset:04}, ").as_bytes()));
                    assert_eq!(frame.flags.raw, offset % 7 == 3);
                    found.push(offset);
                }
            }
            Step::Missing { range, cause } => {
                missing.push((range.start.get()..range.end.get(), cause));
            }
            Step::UpToDate => return (found, missing),
        }
    }
}

#[test]
fn a_log_of_version_1_is_read_and_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("orders");
    fs::create_dir(&dir).unwrap();
    for (name, bytes) in committed() {
        fs::write(dir.join(name), bytes).unwrap();
    }
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let entropy = Arc::new(Counting(AtomicU64::new(7)));
    let options = Options { segment_bytes: SEGMENT_BYTES, entropy, pool: None };
    let name = stream();
    let (mut log, recovery) =
        Log::open(&fs, root.path(), &name, &options, Offset::new(12), 1).unwrap();
    assert_eq!((log.oldest().get(), log.next().get()), (11, 61));
    assert!(recovery.unproven_bytes > 0 && recovery.new_log_id, "its end is torn");
    assert!(recovery.lost.is_empty() && recovery.damaged_headers.is_empty());
    write(&mut log, 2);
    let mut tail = Tail::open(fs, dir, log.oldest());
    let (found, missing) = read(&mut tail, log.durable());
    assert_eq!(found, (11..48).chain(60..63).collect::<Vec<_>>());
    assert_eq!(missing, [(48..60, Cause::Unproven)]);
}
