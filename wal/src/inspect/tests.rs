//! What is said about a log, and that it is true.

#[cfg(feature = "sim")]
use std::sync::Arc;

use super::*;
#[cfg(feature = "sim")]
use crate::fs::sim::{Fault, Kind, SimFs};
#[cfg(feature = "sim")]
use crate::log::tests::Seeded;
use crate::log::tests::{SEGMENT, World, numbered};
#[cfg(feature = "sim")]
use crate::{Log, Options};

#[test]
fn a_live_log_is_described_and_its_backlog_counted() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    for round in 0..30 {
        log.push(numbered(round * 100..(round + 1) * 100, 96), 1000 + round);
        log.sync(1).unwrap();
    }
    let (fs, dir, name) = world.place();
    assert_eq!(streams(fs, &dir).unwrap(), std::slice::from_ref(&name));
    let report = stream(fs, &dir, &name).unwrap();
    assert_eq!((report.oldest, report.next), (Offset::ZERO, Offset::new(3000)));
    assert_eq!(report.proven, Offset::new(2900), "the last frame knew of those before it");
    assert_eq!(report.log_id, Some(log.log_id()));
    assert_eq!(report.segments.len(), log.segments());
    assert_eq!(report.disk_bytes, log.disk_bytes());
    let bounds: Vec<_> = report.segments.iter().map(|one| (one.base, one.end)).collect();
    assert!(bounds.windows(2).all(|pair| pair[0].1 == pair[1].0), "{bounds:?}");
    let (first, last) = (&report.segments[0], report.segments.last().unwrap());
    assert_eq!((first.reason, first.created_ms), (Some(Reason::First), Some(1)));
    assert_eq!((last.state, last.reason), (SegmentState::Active, Some(Reason::Roll)));
    assert!(report.segments.iter().all(|one| !one.recycled));
    for from in [0, 1, 150, 2999, 3000, 4000] {
        let found = backlog(fs, &dir, &name, Offset::new(from)).unwrap();
        let events = 3000_u64.saturating_sub(from);
        let oldest_time_ms = (events > 0).then(|| 1000 + from / 100);
        assert_eq!(found, Backlog { events, bytes: events * 96, oldest_time_ms }, "{from}");
    }
}

#[test]
fn looking_at_nothing_finds_nothing() {
    let world = World::new(SEGMENT);
    let (fs, dir, name) = world.place();
    assert_eq!(streams(fs, &dir.join("missing")).unwrap(), []);
    assert!(stream(fs, &dir, &name).unwrap_err().is_not_found());
}

#[test]
fn damage_costs_the_backlog_only_what_is_damaged() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    for round in 0..5 {
        log.push(numbered(round * 10..(round + 1) * 10, 16), 1000 + round);
        log.sync(1).unwrap();
    }
    // In the second of five frames of 48 + 10 * 20 bytes.
    world.damage("00000000000000000000.seg", 4096 + 248 + 100, b"xx");
    let (fs, dir, name) = world.place();
    let found = backlog(fs, &dir, &name, Offset::ZERO).unwrap();
    assert_eq!(found.events, 50, "the headers are whole, and are believed");
    world.damage("00000000000000000000.seg", 4096 + 248 + 8, b"xx");
    let found = backlog(fs, &dir, &name, Offset::ZERO).unwrap();
    assert_eq!(found, Backlog { events: 40, bytes: 640, oldest_time_ms: Some(1000) });
}

#[test]
fn a_recycled_segment_says_so() {
    let world = World::new(SEGMENT).with_pool(1 << 30);
    let (mut log, _) = world.open(0);
    for round in 0..60 {
        log.push(numbered(round * 100..(round + 1) * 100, 96), 1);
        log.sync(1).unwrap();
        log.trim(log.durable(), &[], 1).unwrap();
    }
    let (fs, dir, name) = world.place();
    let report = stream(fs, &dir, &name).unwrap();
    assert!(report.segments.iter().all(|one| one.recycled), "{report:?}");
}

#[test]
fn a_log_that_changes_is_looked_at_again_and_one_that_cannot_be_read_is_not() {
    let failing = |kind: io::ErrorKind| Error::io("open", Path::new("x"), kind.into());
    let mut looks = 0;
    let found = retry_vanished(|| {
        looks += 1;
        if looks < 3 { Err(failing(io::ErrorKind::NotFound)) } else { Ok(looks) }
    });
    assert_eq!(found.unwrap(), 3);
    for (kind, looks_expected) in
        [(io::ErrorKind::NotFound, LOOKS_MAX), (io::ErrorKind::PermissionDenied, 1)]
    {
        let mut looks = 0;
        let found: Result<(), Error> = retry_vanished(|| {
            looks += 1;
            Err(failing(kind))
        });
        assert_eq!((looks, found.unwrap_err().is_not_found()), (looks_expected, looks > 1));
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_not_an_empty_one() {
    let world = World::new(SEGMENT);
    let (fs, dir, _) = world.place();
    let file = dir.join("file");
    drop(fs.create(&file).unwrap());
    assert!(streams(fs, &file).is_err());
}

/// A disk with the directory of a stream in which there is a log of one event.
#[cfg(feature = "sim")]
fn simulated() -> (SimFs, StreamName) {
    let disk = SimFs::new(1);
    disk.create_dir(Path::new("/streams")).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let entropy = Arc::new(Seeded::new(1));
    let options = Options { segment_bytes: SEGMENT, entropy, pool: None };
    let name: StreamName = "orders".parse().unwrap();
    let streams = Path::new("/streams");
    let (mut log, _) = Log::open(&fs, streams, &name, &options, Offset::ZERO, 1).unwrap();
    log.push(numbered(0..1, 16), 1);
    log.sync(1).unwrap();
    (disk, name)
}

#[test]
fn whatever_else_is_in_a_directory_is_named_with_its_size() {
    let world = World::new(SEGMENT);
    let _log = world.open(0);
    let other = |name: &str, bytes, kind| Other { name: name.into(), bytes, kind };
    let (fs, dir, name) = world.place();
    assert_eq!(stream(fs, &dir, &name).unwrap().others, []);
    world.plant("00000000000000000007.seg.new", b"12345");
    world.plant("readme", b"123");
    fs.create_dir(&world.path("attic")).unwrap();
    let expected = [
        other("00000000000000000007.seg.new", Some(5), OtherKind::Draft),
        other("attic", None, OtherKind::Stray),
        other("readme", Some(3), OtherKind::Stray),
    ];
    assert_eq!(stream(fs, &dir, &name).unwrap().others, expected);
    fs.create_dir(&world.path("quarantine")).unwrap();
    world.plant("quarantine/00000000000000000003.seg", b"1234567");
    let kept = other("quarantine/00000000000000000003.seg", Some(7), OtherKind::Quarantined);
    assert_eq!(stream(fs, &dir, &name).unwrap().others[3..], [kept]);
}

#[test]
fn a_file_in_the_place_of_the_quarantine_is_a_stray() {
    let world = World::new(SEGMENT);
    let _log = world.open(0);
    world.plant("quarantine", b"12");
    let (fs, dir, name) = world.place();
    let stray = Other { name: "quarantine".into(), bytes: Some(2), kind: OtherKind::Stray };
    assert_eq!(stream(fs, &dir, &name).unwrap().others, [stray]);
}

#[test]
fn the_files_of_the_pool_are_counted_and_read_if_asked() {
    let world = World::new(SEGMENT).with_pool(1 << 30);
    let dir = world.options.pool.as_ref().unwrap().dir();
    let (fs, _, _) = world.place();
    let look = |read| {
        let mut said = 0;
        let report = pool(fs, dir, read, &mut |bytes| said += bytes).unwrap();
        assert_eq!(said, report.bytes);
        report
    };
    assert_eq!(look(true), PoolReport::default());
    let (mut log, _) = world.open(0);
    while log.segments() < 4 {
        log.push(numbered(0..100, 96), 1);
        log.sync(1).unwrap();
    }
    // One sync is in the newest segment, and each of the three has a seal.
    let frames = log.durable().get() / 100 - 1 + 3;
    let bytes: u64 = world.names()[..3].iter().map(|name| world.read(name).len() as u64).sum();
    log.trim(log.durable(), &[], 1).unwrap();
    fs.create_dir(&dir.join("attic")).unwrap();
    let report = look(false);
    assert_eq!((report.files, report.bytes, report.frames), (3, bytes, 0));
    assert_eq!(look(true), PoolReport { frames, ..report });
    assert_eq!(pool(fs, &world.path("missing"), true, &mut |_| {}).unwrap(), PoolReport::default());
    let file = world.path(&world.names()[0]);
    assert_eq!(pool(fs, &file, true, &mut |_| {}).unwrap(), PoolReport::default());
}

#[cfg(feature = "sim")]
#[test]
fn a_directory_that_cannot_be_listed_is_no_empty_one() {
    let (disk, name) = simulated();
    let dir = Path::new("/streams");
    disk.create_dir(Path::new("/streams/orders/quarantine")).unwrap();
    disk.record_trace();
    assert!(stream(&disk, dir, &name).is_ok());
    let numbered = (0_u64..).zip(disk.trace());
    let lists: Vec<_> = numbered.filter(|(_, done)| done.kind == Kind::List).collect();
    assert_eq!(lists.len(), 2, "of the stream and of its quarantine");
    for (number, list) in lists {
        disk.inject_on(Kind::List, Fault::Io, disk.operations() + number, 1);
        let error = stream(&disk, dir, &name).unwrap_err();
        assert!(error.to_string().contains(&*list.path.to_string_lossy()), "{error}");
    }
    disk.inject_on(Kind::List, Fault::Io, 0, 1);
    assert!(pool(&disk, dir, true, &mut |_| {}).is_err());
}
