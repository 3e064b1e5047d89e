//! Opening logs that were left in every kind of state.

use super::*;
use crate::log::Log;
use crate::log::tests::{SEGMENT, World, name, numbered, offsets, read, write_tens};
use crate::tail::Cause;

mod strangers;

/// Of a frame of ten events of 96 bytes.
const FRAME: u64 = 48 + 10 * 100;

fn position(frame: u64) -> u64 {
    4096 + frame * FRAME
}

/// A log that was killed after some runs of ten events, less the first thousand of `world`.
fn killed(world: &World, runs: u64) -> LogId {
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..runs, 96);
    log.log_id()
}

fn all(log: &Log, world: &World, from: u64) -> (Vec<u64>, Vec<(Range<Offset>, Cause)>) {
    read(&mut world.tail(from), log.durable())
}

/// What the headers say of why their segments were begun.
fn begun_because(world: &World) -> Vec<Reason> {
    let (fs, dir, stream) = world.place();
    let report = crate::inspect::stream(fs, &dir, &stream).unwrap();
    report.segments.iter().filter_map(|segment| segment.reason).collect()
}

#[test]
fn a_torn_last_frame_is_unproven_and_kept_aside() {
    let world = World::new(SEGMENT);
    let id = killed(&world, 3);
    world.damage(&name(0), position(2) + 500, &[0; 100]);
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.lost.as_slice()), (Offset::new(20), [].as_slice()));
    assert_eq!(recovery.rewritten_events, 10, "nothing proves the second frame");
    assert_eq!(recovery.unproven_bytes, FRAME);
    assert_eq!(recovery.quarantined.len(), 1);
    assert!(recovery.new_log_id && log.log_id() != id, "its offsets are given out again");
    assert_eq!(recovery.known_ids, [id], "what was noted about it stays true");
    let kept = world.read(&format!("quarantine/{:020}.{}", 0, position(2)));
    assert_eq!(kept.len() as u64, FRAME);
    assert_eq!(begun_because(&world), [Reason::First, Reason::Recovery]);
    assert_eq!(all(&log, &world, 0), ((0..20).collect(), vec![]));
    let newer = log.log_id();
    drop(log);
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.unproven_bytes, recovery.new_log_id), (0, false), "it is said once");
    assert_eq!(log.log_id(), newer);
    assert_eq!(recovery.known_ids, [id, newer]);
}

#[test]
fn damage_before_what_is_proven_is_lost_and_behind_it_unproven() {
    // The last frame proves everything before 40. What lies there is not read at the start: whoever
    // reads it checks it.
    for place in [position(3) + 100, position(3) + 4] {
        let world = World::new(SEGMENT);
        killed(&world, 5);
        world.damage(&name(0), place, b"??");
        let (log, recovery) = world.open(0);
        assert_eq!((recovery.unproven_bytes, recovery.rewritten_events), (0, 10));
        let expected: Vec<u64> = (0..30).chain(40..50).collect();
        assert_eq!(all(&log, &world, 0), (expected, vec![(offsets(30..40), Cause::Lost)]));
    }
}

#[test]
fn a_header_that_leads_past_damage_is_believed_by_nobody() {
    // The length of the third frame claims the fourth as well, so the headers do not continue.
    let world = World::new(SEGMENT);
    killed(&world, 5);
    let length = u32::try_from(2 * FRAME - 48).unwrap().to_le_bytes();
    world.damage(&name(0), position(2) + 4, &length);
    let (log, _) = world.open(0);
    let expected: Vec<u64> = (0..20).chain(30..50).collect();
    assert_eq!(all(&log, &world, 0), (expected, vec![(offsets(20..30), Cause::Lost)]));
    // The last header claims to prove everything, but its checksum is not right.
    let world = World::new(SEGMENT);
    killed(&world, 5);
    world.damage(&name(0), position(4) + 32, &40_u64.to_le_bytes());
    world.damage(&name(0), position(4) + 100, b"??");
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.lost.len(), recovery.unproven_bytes), (0, FRAME));
    assert_eq!(recovery.rewritten_events, 10, "the fourth frame is proven by none");
    assert_eq!(all(&log, &world, 0), ((0..40).collect(), vec![]));
}

/// The end of a log is looked for at the end of its data, from the middle of whatever stands there.
#[test]
fn an_event_that_holds_a_copy_of_the_segment_is_not_taken_for_it() {
    for events_before in [0, 1, 2] {
        let world = World::new(16 << 20);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..8, 96);
        let copied = world.read(&name(0))[4096..][..8 * 1048].to_vec();
        let mut push = |bytes: usize| {
            // It ends with the copy, which is all that a short look would see.
            let mut payload = vec![b'x'; bytes - copied.len()];
            payload.extend_from_slice(&copied);
            let mut events = crate::Events::with_capacity(bytes, crate::Flags::default());
            events.push(&payload);
            log.push(events, 1);
            log.sync(1).unwrap();
        };
        (0..events_before).for_each(|_| push(1_024_000));
        push(1_024_000);
        push(900_000);
        drop(log);
        let (log, recovery) = world.open(0);
        let next = 80 + events_before + 2;
        assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(next), 1));
        assert_eq!((recovery.lost.as_slice(), recovery.unproven_bytes), ([].as_slice(), 0));
        let mut tail = world.tail(0);
        while tail.offset() < log.durable() {
            assert!(matches!(tail.next(log.durable()).unwrap(), crate::Step::Frame(_)));
        }
    }
}

#[test]
fn the_end_of_a_long_log_is_found_without_its_beginning() {
    let world = World::new(16 << 20);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..4000, 96);
    drop(log);
    // Nobody looks there: what is proven is checked by whoever reads it.
    world.damage(&name(0), position(7) + 4, b"??");
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(40_000), 10));
    assert_eq!(recovery.lost, []);
    assert_eq!(all(&log, &world, 0).1, vec![(offsets(70..80), Cause::Lost)]);
}

#[test]
fn a_torn_end_of_a_long_log_is_found_without_its_beginning() {
    let world = World::new(16 << 20);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..400, 96);
    drop(log);
    world.damage(&name(0), position(7) + 4, b"??");
    world.damage(&name(0), position(399) + 100, b"??");
    let (_log, recovery) = world.open(0);
    // The frame before the torn one proves all but itself.
    assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(3990), 10));
    assert_eq!((recovery.lost.as_slice(), recovery.unproven_bytes), ([].as_slice(), FRAME));
}

#[test]
fn a_sync_of_many_frames_is_written_again_as_a_whole() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..1, 96);
    for run in 1..41 {
        // Frames of their own: those beside them have another flag.
        let mut events = crate::Events::with_capacity(0, crate::Flags { raw: run % 2 == 0 });
        events.push(format!("{run:096}").as_bytes());
        log.push(events, 1);
    }
    log.sync(1).unwrap();
    drop(log);
    let (_log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(50), 40));
}

#[test]
fn when_the_last_frames_are_all_torn_everything_is_read() {
    let world = World::new(SEGMENT);
    killed(&world, 30);
    for frame in 10..30 {
        world.damage(&name(0), position(frame) + 100, b"??");
    }
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(100), 10));
    assert_eq!(recovery.unproven_bytes, 20 * FRAME);
    assert_eq!(all(&log, &world, 0), ((0..100).collect(), vec![]));
}

#[test]
fn a_hole_that_nothing_proves_is_left_out_and_said_so_by_the_log() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..1, 96);
    // Three frames of one sync: each proves only the first.
    for run in 1..4 {
        let mut events = crate::Events::with_capacity(0, crate::Flags { raw: run == 2 });
        for offset in run * 10..run * 10 + 10 {
            events.push(format!("{offset:096}").as_bytes());
        }
        log.push(events, 1);
    }
    log.sync(1).unwrap();
    drop(log);
    world.damage(&name(0), position(1) + 100, b"??");
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.rewritten_events, recovery.unproven_bytes), (20, FRAME));
    assert_eq!((recovery.next, recovery.lost.len()), (Offset::new(40), 0));
    assert_eq!(world.names(), [name(0), name(20), "quarantine".into()]);
    assert_eq!(begun_because(&world), [Reason::First, Reason::Gap]);
    let expected: Vec<u64> = (0..10).chain(20..40).collect();
    let missing = vec![(offsets(10..20), Cause::Unproven)];
    assert_eq!(all(&log, &world, 0), (expected, missing));
    assert_eq!(all(&log, &world, 15).1, [(offsets(15..20), Cause::Unproven)]);
}

#[test]
fn a_committed_offset_beyond_the_end_is_where_the_log_goes_on() {
    let world = World::new(SEGMENT);
    killed(&world, 2);
    let (mut log, recovery) = world.open(100);
    assert_eq!((recovery.next, recovery.gap), (Offset::new(100), Some(offsets(20..100))));
    assert_eq!(log.segments(), 2);
    write_tens(&mut log, 10..11, 96);
    drop(log);
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.gap), (Offset::new(110), None));
    let expected: Vec<u64> = (0..20).chain(100..110).collect();
    assert_eq!(all(&log, &world, 0), (expected, vec![(offsets(20..100), Cause::Unproven)]));
}

#[test]
fn frames_that_a_failed_write_left_behind_are_not_believed() {
    let world = World::new(SEGMENT);
    killed(&world, 3);
    // Another log of the same stream goes on at 20, as after a failed sync of the third frame.
    let (mut log, recovery) = world.open(20);
    assert_eq!(recovery.rewritten_events, 10);
    write_tens(&mut log, 3..4, 96);
    let old = world.read(&name(0));
    assert!(memchr::memmem::find(&old, b"0000029").is_some(), "they are there");
    let found = all(&log, &world, 0);
    assert_eq!(found, ((0..40).collect(), vec![]), "each offset is read once");
    assert_eq!(world.names(), [name(0), name(20)]);
}

#[test]
fn a_newest_segment_without_a_header_is_read_by_its_frames() {
    let world = World::new(SEGMENT);
    killed(&world, 3);
    world.damage(&name(0), 0, &[0; 4096]);
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(30), 10));
    assert!(recovery.new_log_id, "nothing says which log this was");
    assert_eq!(all(&log, &world, 0), ((0..30).collect(), vec![]));
    assert_eq!(recovery.damaged_headers, [world.path(&name(0))]);
}

#[test]
fn a_damaged_header_of_any_segment_is_said_and_kept_although_its_file_goes() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..100, 96);
    assert!(log.segments() >= 2);
    drop(log);
    world.damage(&name(0), 100, b"damage");
    let header = world.read(&name(0))[..4096].to_vec();
    for _ in 0..2 {
        let (log, recovery) = world.open(0);
        assert_eq!(recovery.damaged_headers, [world.path(&name(0))]);
        assert_eq!(recovery.quarantined.len(), 1, "{recovery:?}");
        assert_eq!(all(&log, &world, 0), ((0..1000).collect(), vec![]));
    }
    let (mut log, _) = world.open(1000);
    log.roll_idle(1).unwrap();
    log.trim(Offset::new(1000), &[], 1).unwrap();
    assert!(!world.names().contains(&name(0)));
    assert_eq!(world.read(&format!("quarantine/{:020}.0", 0)), header);
}

/// Found by the lives of `tests/crash/lives.rs`: the frames were another stream's.
#[test]
fn a_recycled_segment_without_header_and_frames_does_not_show_its_earlier_life() {
    let world = World::new(SEGMENT).with_pool(SEGMENT);
    let (fs, dir, _) = world.place();
    let dir_of_others = dir.join("others");
    fs.create_dir(&dir_of_others).unwrap();
    let other = "clicks".parse().unwrap();
    let (mut other, _) =
        Log::open(&world.fs, &dir_of_others, &other, &world.options, Offset::new(125), 1).unwrap();
    write_tens(&mut other, 0..12, 1000);
    other.trim(Offset::new(185), &[], 1).unwrap();
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..7, 1000);
    drop(log);
    let frame = 48 + 10 * 1004;
    let second = usize::try_from(4096 + frame).unwrap();
    let stale = world.read(&name(60))[second..second + 10_088].to_vec();
    world.damage(&name(60), 0, &[0xFF; 4096]);
    // As the new header left it, and as an older version did.
    for first in [&[0; 48], stale.as_slice()] {
        world.damage(&name(60), 4096, first);
        let original = world.read(&name(60));
        let (log, recovery) = world.open(0);
        assert_eq!(recovery.next, Offset::new(60), "{recovery:?}");
        assert_eq!(recovery.unproven_bytes, original.len() as u64);
        assert_eq!(all(&log, &world, 0), ((0..60).collect(), vec![]));
        drop(log);
        world.fs.remove(&world.path(&name(60))).unwrap_or_default();
        world.plant(&name(60), &original);
    }
}

#[test]
fn one_event_whose_header_is_damaged_is_written_again_and_the_header_kept() {
    let world = World::new(SEGMENT);
    killed(&world, 1);
    world.damage(&name(0), 100, b"damage");
    let header = world.read(&name(0))[..4096].to_vec();
    let (log, recovery) = world.open(0);
    assert_eq!((log.segments(), recovery.rewritten_events), (1, 10), "the file is replaced");
    assert_eq!(world.read(&format!("quarantine/{:020}.0", 0)), header);
    assert_eq!(all(&log, &world, 0), ((0..10).collect(), vec![]));
}

#[test]
fn an_unfinished_draft_is_removed_and_foreign_files_are_set_aside() {
    let world = World::new(SEGMENT);
    killed(&world, 3);
    let copy = world.read(&name(0));
    world.plant(&format!("{}.new", name(20)), b"half a header");
    world.plant(&name(500), &copy);
    world.plant(&name(700), b"garbage");
    world.fs.create_dir(&world.path(&name(900))).unwrap();
    world.plant("notes.txt", b"do not touch");
    let (log, recovery) = world.open(0);
    assert_eq!(recovery.next, Offset::new(30));
    assert_eq!(recovery.strays, [world.path("notes.txt")]);
    assert_eq!(recovery.set_aside.len(), 2);
    assert_eq!((recovery.quarantined.len(), recovery.unproven_bytes), (1, 7));
    assert_eq!(all(&log, &world, 0), ((0..30).collect(), vec![]));
    assert_eq!(world.names(), [&name(0), &name(20), "notes.txt", "quarantine"]);
    assert_eq!(world.read(&format!("quarantine/{}", name(500))), copy);
}

#[test]
fn a_file_in_the_place_of_a_directory_is_moved_out_of_the_way() {
    let world = World::new(SEGMENT);
    let (fs, dir, stream) = world.place();
    fs.create(&dir.join(stream.as_str())).unwrap();
    let (mut log, recovery) = world.open(0);
    assert_eq!(recovery.set_aside, [dir.join("~orders")]);
    write_tens(&mut log, 0..1, 96);
    drop(log);
    world.plant("quarantine", b"");
    world.plant(&name(700), b"garbage");
    let (log, recovery) = world.open(0);
    assert_eq!(recovery.quarantined, [world.path("quarantine").join(name(700))]);
    assert_eq!(all(&log, &world, 0), ((0..10).collect(), vec![]));
}
