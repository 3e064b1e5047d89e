//! Segments that were brought here from another life of the log, and frames that are no part of it.

use super::*;
use crate::inspect::verify::{Request, verify};
use crate::log::tests::frame_of_ten;

#[test]
fn a_segment_of_another_life_does_not_hide_the_real_ones() {
    let other = World::new(SEGMENT);
    let (mut log, _) = other.open(25);
    log.push(numbered(25..40, 96), 1);
    log.sync(1).unwrap();
    drop(log);
    let world = World::new(SEGMENT);
    world.options.entropy.u64();
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..3, 96);
    log.close(1).unwrap();
    world.plant(&name(25), &other.read(&name(25)));
    let (log, recovery) = world.open(0);
    // Which of two alike is the stranger cannot be known; what counts is that reading never mixes
    // them, and that the other is kept.
    assert_eq!(recovery.set_aside.len(), 1, "{recovery:?}");
    let (found, _) = all(&log, &world, 0);
    assert!(found.is_sorted() && found.len() >= 15, "{found:?}");
}

/// A log of another life with events of ten bytes, whose segment is begun at a time.
fn another_life(offsets: Range<u64>, begun_ms: u64) -> World {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open_at(offsets.start, begun_ms);
    log.push(numbered(offsets, 10), 1);
    log.sync(begun_ms).unwrap();
    world
}

#[test]
fn of_two_lives_that_overlap_the_one_that_was_begun_later_is_believed() {
    let other = another_life(25..40, 5);
    for (begun_ms, found, set_aside) in [(6, 0..30, 25), (4, 25..40, 0)] {
        let world = World::new(SEGMENT);
        world.options.entropy.u64();
        let (mut log, _) = world.open(0);
        log.push(numbered(0..30, 10), 1);
        log.sync(begun_ms).unwrap();
        log.close(begun_ms).unwrap();
        world.plant(&name(25), &other.read(&name(25)));
        let (log, recovery) = world.open(0);
        assert_eq!(recovery.set_aside, [world.path("quarantine").join(name(set_aside))]);
        assert_eq!(all(&log, &world, found.start).0, found.collect::<Vec<_>>());
    }
}

#[test]
fn a_segment_of_another_life_is_a_stranger_before_two_that_know_each_other() {
    let world = World::new(SEGMENT);
    world.options.entropy.u64();
    let (mut log, _) = world.open(25);
    log.push(numbered(25..40, 10), 1);
    log.sync(1).unwrap();
    log.roll_idle(1).unwrap();
    log.push(numbered(40..50, 10), 1);
    log.close(1).unwrap();
    // It was begun later, which is no reason to believe it.
    world.plant(&name(0), &another_life(0..30, 9).read(&name(0)));
    let (log, recovery) = world.open(0);
    assert_eq!(recovery.set_aside, [world.path("quarantine").join(name(0))]);
    assert_eq!(all(&log, &world, 25).0, (25..50).collect::<Vec<_>>());
}

/// Whatever stands at the beginning of its segment, the one behind it knows its salt.
#[test]
fn the_salt_of_a_damaged_header_is_the_one_that_the_next_header_names() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..3, 96);
    log.roll_idle(1).unwrap();
    world.damage(&name(0), position(0), &frame_of_ten(77, 0, 0));
    world.damage(&name(0), 0, &[0xff; 300]);
    let (_log, recovery) = world.open(0);
    assert_eq!(recovery.damaged_headers, [world.path(&name(0))]);
    let (fs, dir, stream) = world.place();
    let request = Request { committed: Offset::ZERO, durable: None };
    let checked = verify(fs, &dir, &stream, request, &mut |_| {}).unwrap();
    assert_eq!(checked.segments[0].events, 20);
    assert_eq!(checked.lost(), [offsets(0..10)]);
}

#[test]
fn a_log_of_which_nothing_can_be_read_is_another_one() {
    let world = World::new(SEGMENT);
    let (fs, dir, stream) = world.place();
    fs.create_dir(&dir.join(stream.as_str())).unwrap();
    world.plant(&name(0), b"garbage");
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.unproven_bytes, recovery.new_log_id), (7, true));
    assert_eq!(log.next(), Offset::ZERO);
    let world = World::new(SEGMENT);
    assert!(!world.open(0).1.new_log_id, "it was none before");
}

#[test]
fn what_is_no_file_is_set_aside_and_what_is_gone_is_left_out() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..3, 96);
    log.close(1).unwrap();
    let (pipe, gone) = (world.path(&name(70)), world.path(&name(80)));
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // A name that leads nowhere, as one does that was removed after the directory was listed.
    rustix::fs::symlink("nowhere", &gone).unwrap();
    let (log, recovery) = world.open(0);
    assert_eq!(recovery.set_aside, [world.path("quarantine").join(name(70))]);
    assert_eq!((recovery.next, recovery.unproven_bytes), (Offset::new(30), 0));
    assert_eq!(all(&log, &world, 0).0, (0..30).collect::<Vec<_>>());
}

#[test]
fn a_log_that_got_another_identity_is_one_log_although_a_segment_was_removed() {
    let world = World::new(SEGMENT);
    killed(&world, 3);
    world.damage(&name(0), position(2) + 500, &[0; 100]);
    // Under a new identity: the second of the three is written again, and these follow.
    let (mut log, recovery) = world.open(0);
    assert!(recovery.new_log_id);
    write_tens(&mut log, 2..3, 96);
    log.roll_idle(1).unwrap();
    write_tens(&mut log, 3..4, 96);
    log.close(1).unwrap();
    assert_eq!(world.names(), [name(0), name(10), name(30), "quarantine".into()]);
    world.fs.remove(&world.path(&name(10))).unwrap();
    let (log, recovery) = world.open(0);
    assert_eq!(recovery.set_aside.len(), 0, "{recovery:?}");
    assert_eq!(all(&log, &world, 0).0, (0..20).chain(30..40).collect::<Vec<_>>());
}

/// Bytes that went to the wrong place are no torn frame where the offsets on both sides go on.
#[test]
fn bytes_between_frames_that_continue_each_other_are_not_kept() {
    let world = World::new(SEGMENT);
    killed(&world, 2);
    let next = frame_of_ten(world.salt(), 20, 10);
    world.damage(&name(0), position(2), &[[b'?'; 100].as_slice(), &next].concat());
    let (log, recovery) = world.open(0);
    assert_eq!((recovery.unproven_bytes, recovery.new_log_id), (0, false));
    assert_eq!(recovery.rewritten_events, 20);
    assert_eq!(all(&log, &world, 0), ((0..30).collect(), vec![]));
}
