//! What a check says is what is so: every damaged frame is named, and nothing else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

use std::path::Path;
use std::sync::Arc;

use super::segment::PROGRESS_BYTES;
use super::*;
use crate::fs::sim::{Fault, Kind, SimFs};
use crate::log::tests::{SEGMENT, Seeded, World, numbered, offsets, write_tens};
use crate::log::{Log, Options};

/// Of a frame of ten events of 96 bytes.
const FRAME: u64 = 48 + 10 * 100;

fn position(frame: u64) -> u64 {
    4096 + frame * FRAME
}

fn checked(world: &World, committed: u64, durable: Option<u64>) -> Verified {
    let (fs, dir, stream) = world.place();
    let (committed, durable) = (Offset::new(committed), durable.map(Offset::new));
    let (mut told, request) = (0, Request { committed, durable });
    let verified = verify(fs, &dir, &stream, request, &mut |bytes| told += bytes).unwrap();
    assert_eq!(told, verified.bytes(), "a progress bar ends where it should");
    verified
}

/// A closed log of several segments with a thousand events.
fn closed(world: &World) -> Vec<SegmentCheck> {
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..100, 96);
    log.close(1).unwrap();
    let verified = checked(world, 0, None);
    assert!(verified.is_clean() && verified.segments.len() > 1, "{verified:?}");
    let sum = |what: fn(&SegmentCheck) -> u64| verified.segments.iter().map(what).sum::<u64>();
    assert_eq!((sum(|one| one.events), sum(|one| one.superseded)), (1000, 0));
    assert_eq!(sum(|one| one.frames), 100 + verified.segments.len() as u64, "each has a seal");
    assert!(verified.segments.iter().all(|one| one.gaps.is_empty() && one.taken_out.is_empty()));
    assert_eq!(verified.next_start.action, Action::Keep);
    verified.segments
}

#[test]
fn a_log_that_is_being_written_is_clean_as_far_as_it_is_durable() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..30, 96);
    // Half of a frame that is being written: nobody has promised it to anybody.
    let newest = log.segments() - 1;
    let (fs, dir, stream) = world.place();
    let report = crate::inspect::stream(fs, &dir, &stream).unwrap();
    let segment = &report.segments[newest];
    let behind = 4096 + (segment.end.since(segment.base) / 10) * FRAME;
    world.damage(&segment.name, behind, b"half of a frame");
    assert!(checked(&world, 0, Some(300)).is_clean());
    let stopped = checked(&world, 0, None);
    assert_eq!(stopped.segments[newest].damage.len(), 1, "{stopped:?}");
    assert_eq!(stopped.next_start.unproven_bytes, 15);
    assert_eq!(stopped.lost(), []);
}

#[test]
fn every_damaged_frame_is_named_with_what_it_costs() {
    let world = World::new(SEGMENT);
    let segments = closed(&world);
    for segment in &segments {
        for frame in 0..segment.events / 10 {
            let (path, place) = (&segment.name, position(frame));
            let before = world.read(path);
            world.damage(path, place + 60, b"??");
            let first = segment.base.get() + frame * 10;
            for (committed, lost) in
                [(0, first..first + 10), (first + 3, first + 3..first + 10), (1000, 0..0)]
            {
                let verified = checked(&world, committed, None);
                assert!(!verified.is_clean());
                let expected: Vec<_> =
                    (!lost.is_empty()).then(|| offsets(lost)).into_iter().collect();
                assert_eq!(verified.lost(), expected);
                let damaged: Vec<_> = verified.segments.iter().flat_map(|s| &s.damage).collect();
                let [damage] = damaged.as_slice() else { panic!("{damaged:?}") };
                assert_eq!(damage.offsets, offsets(first..first + 10));
                assert_eq!(damage.bytes, place..place + FRAME);
                assert_eq!(verified.segments.iter().map(|s| s.events).sum::<u64>(), 990);
            }
            assert_eq!(checked(&world, 0, Some(1000)).trimmed, 0, "it is no other life of a file");
            world.damage(path, 0, &before);
        }
    }
    assert!(checked(&world, 0, None).is_clean());
}

#[test]
fn a_file_that_was_cut_or_is_gone_shows_as_the_events_that_are_missing() {
    let world = World::new(SEGMENT);
    let segments = closed(&world);
    let [first, second, ..] = segments.as_slice() else { panic!("{segments:?}") };
    let (fs, dir, stream) = world.place();
    let path = dir.join(stream.as_str()).join(&first.name);
    let file = fs.open(&path, Access::ReadWrite).unwrap();
    file.truncate(position(3) + 5).unwrap();
    let verified = checked(&world, 0, None);
    assert_eq!(verified.lost(), [Offset::new(30)..second.base]);
    assert_eq!(verified.segments[0].damage[0].bytes, position(3)..position(3) + 5);
    file.truncate(0).unwrap();
    let verified = checked(&world, 0, None);
    assert_eq!(verified.useless, std::slice::from_ref(&first.name));
    assert!(!verified.is_clean());
    fs.remove(&path).unwrap();
    // Who trims removes the oldest, so this cannot be told from a log that was trimmed.
    assert!(checked(&world, second.base.get(), None).is_clean());
}

#[test]
fn what_is_lost_on_both_sides_of_a_boundary_is_one_range() {
    let world = World::new(SEGMENT);
    let segments = closed(&world);
    let [first, second, ..] = segments.as_slice() else { panic!("{segments:?}") };
    world.damage(&first.name, position(first.events / 10 - 1) + 60, b"??");
    world.damage(&second.name, position(0) + 60, b"??");
    world.damage(&second.name, position(2) + 60, b"??");
    let base = second.base.get();
    let lost = [offsets(base - 10..base + 10), offsets(base + 20..base + 30)];
    assert_eq!(checked(&world, 0, None).lost(), lost);
}

#[test]
fn of_a_segment_that_was_removed_only_what_it_held_is_lost() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..2, 96);
    log.roll_idle(1).unwrap();
    write_tens(&mut log, 2..3, 96);
    log.close(1).unwrap();
    // Begins a segment at 40, which says that the log ended at 30.
    drop(world.open(40));
    world.fs.remove(&world.path("00000000000000000020.seg")).unwrap();
    assert_eq!(checked(&world, 0, None).lost(), [offsets(20..30)]);
}

#[test]
fn segments_that_are_trimmed_meanwhile_are_counted_and_no_error() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    while log.segments() < 5 {
        log.push(numbered(log.next().get()..log.next().get() + 10, 96), 1);
        log.sync(1).unwrap();
    }
    let (fs, dir, stream) = world.place();
    let request = Request { committed: Offset::ZERO, durable: Some(log.durable()) };
    let mut words = 0;
    let verified = verify(fs, &dir, &stream, request, &mut |_| {
        words += 1;
        if words == 1 {
            assert_eq!(log.trim(log.durable(), &[], 1).unwrap().segments, 4);
        }
    });
    let verified = verified.unwrap();
    assert_eq!((verified.segments.len(), verified.trimmed), (2, 3), "the first and the newest");
    assert!(verified.is_clean());
}

#[test]
fn a_segment_that_cannot_be_opened_is_not_taken_for_trimmed() {
    let (disk, stream) = simulated();
    let dir = Path::new("/streams");
    let request = Request { committed: Offset::ZERO, durable: None };
    let verified = verify(&disk, dir, &stream, request, &mut |_| {
        disk.inject_on(Kind::Open, Fault::TooManyFiles, 0, 1);
    });
    assert!(verified.unwrap_err().to_string().contains("cannot open"));
    // Damage is looked at again: the file may have been given another life meanwhile.
    let first = Path::new("/streams/orders/00000000000000000000.seg");
    let mut bytes = disk.read(first).unwrap();
    bytes[usize::try_from(position(1)).unwrap() + 60] ^= 1;
    disk.plant(first, &bytes).unwrap();
    let request = Request { committed: Offset::ZERO, durable: Some(Offset::new(1000)) };
    assert!(!verify(&disk, dir, &stream, request, &mut |_| {}).unwrap().is_clean());
    let mut words = 0;
    let verified = verify(&disk, dir, &stream, request, &mut |_| {
        words += 1;
        if words == 1 {
            disk.inject_on(Kind::Open, Fault::Io, 0, 1);
        }
    });
    assert!(verified.unwrap_err().to_string().contains("cannot open"));
}

#[test]
fn what_recovery_left_out_is_a_gap_and_no_damage() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..1, 96);
    // Three frames of one sync: each proves only the first.
    for run in 1..4 {
        let mut events = crate::Events::with_capacity(0, crate::Flags { raw: run == 2 });
        (0..10).for_each(|_| events.push(&[b'x'; 96]));
        log.push(events, 1);
    }
    log.sync(1).unwrap();
    drop(log);
    world.damage("00000000000000000000.seg", position(2) + 100, b"??");
    drop(world.open(0));
    let verified = checked(&world, 0, None);
    assert!(verified.is_clean(), "{verified:?}");
    let newest = verified.segments.last().unwrap();
    assert_eq!((newest.gaps.as_slice(), newest.taken_out.len()), ([offsets(20..30)].as_slice(), 0));
}

#[test]
fn a_long_check_says_every_few_megabytes_how_far_it_is() {
    let world = World::new(64 << 20);
    let (mut log, _) = world.open(0);
    for round in 0..100 {
        log.push(numbered(round * 250..(round + 1) * 250, 1000), 1);
        log.sync(1).unwrap();
    }
    let (fs, dir, stream) = world.place();
    let request = Request { committed: Offset::ZERO, durable: None };
    let mut said = Vec::new();
    let verified = verify(fs, &dir, &stream, request, &mut |bytes| said.push(bytes)).unwrap();
    assert_eq!(said.iter().sum::<u64>(), verified.bytes());
    let (rest, steps) = said.split_last().unwrap();
    let frame = 48 + 250 * 1004;
    assert!(steps.iter().all(|step| (PROGRESS_BYTES..PROGRESS_BYTES + frame).contains(step)));
    let read = 100 * frame - steps.iter().sum::<u64>();
    assert!(steps.len() == 2 && read < PROGRESS_BYTES && *rest > read, "{said:?}");
}

#[test]
fn a_damaged_header_costs_no_event() {
    let world = World::new(SEGMENT);
    let segments = closed(&world);
    world.damage(&segments[0].name, 20, b"damage");
    let verified = checked(&world, 0, None);
    assert!(!verified.is_clean() && !verified.segments[0].header);
    let (_, recovery) = world.open(0);
    let kept: Vec<_> = verified.next_start.damaged_headers.iter().map(|n| world.path(n)).collect();
    assert_eq!(recovery.damaged_headers, kept);
    assert_eq!(verified.segments.iter().map(|segment| segment.events).sum::<u64>(), 1000);
    assert_eq!(verified.lost(), []);
}

#[test]
fn frames_of_a_failed_write_are_no_damage() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..5, 96);
    log.close(1).unwrap();
    // As if the last frame had been written again: the next segment begins before it.
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 5..8, 96);
    drop(log);
    let before = checked(&world, 0, None);
    assert!(before.is_clean());
    assert_eq!(before.next_start.rewritten_events, 10, "the last frame is proven by none");
    world.open(0);
    let verified = checked(&world, 0, None);
    assert!(verified.is_clean(), "{verified:?}");
    let superseded: u64 = verified.segments.iter().map(|segment| segment.superseded).sum();
    assert_eq!(superseded, 1, "it stands in two segments now");
}

/// A log of several segments.
fn simulated() -> (SimFs, StreamName) {
    let disk = SimFs::new(1);
    let dir = Path::new("/streams");
    disk.create_dir(dir).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let entropy = Arc::new(Seeded::new(1));
    let options = Options { segment_bytes: SEGMENT, entropy, pool: None };
    let stream: StreamName = "orders".parse().unwrap();
    let (mut log, _) = Log::open(&fs, dir, &stream, &options, Offset::ZERO, 1).unwrap();
    for round in 0..100 {
        log.push(numbered(round * 10..(round + 1) * 10, 96), 1);
        log.sync(1).unwrap();
    }
    (disk, stream)
}

#[test]
fn a_log_in_a_simulated_disk_is_read_and_nothing_else() {
    let (disk, stream) = simulated();
    let dir = Path::new("/streams");
    disk.record_trace();
    let request = Request { committed: Offset::ZERO, durable: None };
    assert!(verify(&disk, dir, &stream, request, &mut |_| {}).unwrap().is_clean());
    let looked = crate::inspect::stream(&disk, dir, &stream).unwrap();
    assert!(looked.segments.len() > 1);
    crate::inspect::pool(&disk, Path::new("/pool"), true, &mut |_| {}).unwrap();
    let trace = disk.trace();
    assert!(trace.len() > 10 && trace.iter().all(|one| !one.kind.changes_the_disk()));
}

#[test]
fn a_file_that_is_given_another_life_while_it_is_read_is_no_damage() {
    const LARGE: u64 = 20 << 20;
    let world = World::new(LARGE).with_pool(LARGE);
    let (mut log, _) = world.open(0);
    let grow = |log: &mut Log, segments: usize| {
        while log.segments() < segments {
            log.push(numbered(log.next().get()..log.next().get() + 250, 1000), 1);
            log.sync(1).unwrap();
        }
    };
    grow(&mut log, 2);
    let (fs, dir, stream) = world.place();
    let request = Request { committed: Offset::ZERO, durable: Some(log.durable()) };
    let mut words = 0;
    let verified = verify(fs, &dir, &stream, request, &mut |_| {
        words += 1;
        if words == 1 {
            // In the middle of the first segment: it is trimmed, and its file written again.
            assert_eq!(log.trim(log.durable(), &[], 1).unwrap().segments, 1);
            grow(&mut log, 2);
            let half = log.durable().after(10_000);
            while log.durable() < half {
                log.push(numbered(log.next().get()..log.next().get() + 250, 1000), 1);
                log.sync(1).unwrap();
            }
        }
    });
    let verified = verified.unwrap();
    assert!(words > 1 && verified.is_clean(), "{verified:?}");
    assert_eq!(verified.trimmed, 1);
}
