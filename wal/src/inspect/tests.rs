//! What is said about a log, and that it is true.

use super::*;
use crate::log::tests::{SEGMENT, World, numbered};

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
    for round in 0..3 {
        log.push(numbered(round * 10..(round + 1) * 10, 16), 1000 + round);
        log.sync(1).unwrap();
    }
    // In the second of three frames of 48 + 10 * 20 bytes.
    world.damage("00000000000000000000.seg", 4096 + 248 + 100, b"xx");
    let (fs, dir, name) = world.place();
    let found = backlog(fs, &dir, &name, Offset::ZERO).unwrap();
    assert_eq!(found.events, 30, "the headers are whole, and are believed");
    world.damage("00000000000000000000.seg", 4096 + 248 + 8, b"xx");
    let found = backlog(fs, &dir, &name, Offset::ZERO).unwrap();
    assert_eq!(found, Backlog { events: 20, bytes: 320, oldest_time_ms: Some(1000) });
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
