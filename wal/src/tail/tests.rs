//! The tail over damage, gaps, and files that change under it.

use super::*;
use crate::log::tests::{SEGMENT, World, frame_of_ten, name, numbered, offsets, read, write_tens};

/// Of a frame of ten events of 96 bytes.
const FRAME: u64 = 48 + 10 * 100;

fn position(frame: u64) -> u64 {
    4096 + frame * FRAME
}

#[test]
fn a_step_begins_and_ends_in_the_middle_of_a_frame() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..3, 96);
    let mut tail = world.tail(13);
    assert_eq!(read(&mut tail, Offset::new(17)), ((13..17).collect(), vec![]));
    assert_eq!(read(&mut tail, Offset::new(18)), (vec![17], vec![]));
    assert_eq!(read(&mut tail, Offset::new(30)), ((18..30).collect(), vec![]));
    tail.seek(Offset::new(25));
    assert_eq!(read(&mut tail, Offset::new(30)), ((25..30).collect(), vec![]));
    tail.seek(Offset::new(5));
    assert_eq!(read(&mut tail, Offset::new(30)), ((5..30).collect(), vec![]));
}

#[test]
fn a_header_that_leads_astray_costs_no_more_than_its_frame() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..9, 96);
    // The length of the second frame: it would end in the middle of the fourth, or at the end of it.
    for length in [2 * FRAME, 3 * FRAME - 48] {
        let length = u32::try_from(length).unwrap().to_le_bytes();
        world.damage(&name(0), position(1) + 4, &length);
        let found = read(&mut world.tail(5), log.durable());
        let lost = vec![(offsets(10..20), Cause::Lost)];
        assert_eq!(found, ((5..10).chain(20..90).collect(), lost));
        for from in [25, 35, 45, 85] {
            let found = read(&mut world.tail(from), log.durable());
            assert_eq!(found, ((from..90).collect(), vec![]));
        }
    }
}

#[test]
fn going_back_within_what_was_lent_reads_nothing_again() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..3, 96);
    let mut tail = world.tail(12);
    for from in [12, 15, 19, 14] {
        tail.seek(Offset::new(from));
        assert!(tail.cursor.is_some() || from == 12);
        let Step::Frame(frame) = tail.next(log.durable()).unwrap() else { panic!("no frame") };
        assert_eq!((frame.base.get(), u64::from(frame.count)), (from, 20 - from));
    }
    assert_eq!(read(&mut tail, log.durable()), ((20..30).collect(), vec![]));
}

#[test]
fn what_is_behind_the_durable_offset_is_not_read() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    let mut tail = world.tail(0);
    for run in 0..4 {
        write_tens(&mut log, run..run + 1, 96);
        assert_eq!(read(&mut tail, log.durable()).0, (run * 10..run * 10 + 10).collect::<Vec<_>>());
        log.push(numbered(run * 10 + 10..run * 10 + 11, 96), 1);
        assert_eq!(tail.next(log.durable()).unwrap(), Step::UpToDate);
        log.take_unsynced();
    }
}

#[test]
fn what_was_read_ahead_is_read_again_when_it_is_written() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    let mut tail = world.tail(0);
    for run in 0..6 {
        write_tens(&mut log, run..run + 1, 96);
        // Never up to date, so it keeps what it holds in memory.
        let Step::Frame(frame) = tail.next(log.durable()).unwrap() else { panic!("no frame") };
        assert_eq!(frame.base, Offset::new(run * 10));
    }
}

#[test]
fn damage_is_lost_to_the_event_and_reading_goes_on_behind_it() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..5, 96);
    world.damage(&name(0), position(1) + 60, b"?");
    world.damage(&name(0), position(3), &[0; 60]);
    let lost = |range| (offsets(range), Cause::Lost);
    let mut tail = world.tail(0);
    let all: Vec<u64> = (0..10).chain(20..30).chain(40..50).collect();
    assert_eq!(read(&mut tail, Offset::new(50)), (all, vec![lost(10..20), lost(30..40)]));
    let mut tail = world.tail(15);
    assert_eq!(read(&mut tail, Offset::new(18)), (vec![], vec![lost(15..18)]));
    assert_eq!(read(&mut tail, Offset::new(21)), (vec![20], vec![lost(18..20)]));
}

#[test]
fn a_frame_that_stands_in_the_place_of_another_is_not_read_twice() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..5, 96);
    let bytes = world.read(&name(0));
    let at = |frame| usize::try_from(position(frame)).unwrap();
    // Misdirected writes: one where a frame is expected, one where one is searched for.
    for place in [1, 3] {
        world.damage(&name(0), position(place), &bytes[at(0)..at(1)]);
    }
    world.damage(&name(0), position(2), &[0; 60]);
    let expected = ((0..10).chain(40..50).collect(), vec![(offsets(10..40), Cause::Lost)]);
    assert_eq!(read(&mut world.tail(0), log.durable()), expected);
}

/// No recovery leaves two such frames in one segment; a reader must not stand still at them.
#[test]
fn a_jump_behind_which_nothing_more_was_durable_is_no_loss() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..2, 96);
    world.damage(&name(0), position(2), &frame_of_ten(world.salt(), 40, 20));
    let missing = vec![(offsets(20..40), Cause::Unproven)];
    let found = read(&mut world.tail(0), Offset::new(50));
    assert_eq!(found, ((0..20).chain(40..50).collect(), missing));
}

#[test]
fn damage_at_the_end_does_not_hide_what_is_written_later() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..2, 96);
    world.damage(&name(0), position(1), &[0xff; 500]);
    let mut tail = world.tail(0);
    let expected = ((0..10).collect(), vec![(offsets(10..20), Cause::Lost)]);
    assert_eq!(read(&mut tail, log.durable()), expected);
    write_tens(&mut log, 2..3, 96);
    assert_eq!(read(&mut tail, log.durable()), ((20..30).collect(), vec![]));
}

#[test]
fn a_segment_with_a_damaged_header_is_read_by_its_frames() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..15, 1000);
    for base in [0, 60, 120] {
        world.damage(&name(base), 0, &[0; 200]);
    }
    assert_eq!(read(&mut world.tail(0), log.durable()), ((0..150).collect(), vec![]));
    assert_eq!(read(&mut world.tail(70), log.durable()), ((70..150).collect(), vec![]));
}

#[test]
fn a_segment_that_was_removed_by_hand_is_lost_and_no_more() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..15, 1000);
    world.fs.remove(&world.path(&name(60))).unwrap();
    let found = read(&mut world.tail(0), log.durable());
    assert_eq!(found.0, (0..60).chain(120..150).collect::<Vec<_>>());
    assert_eq!(found.1, [(offsets(60..120), Cause::Lost)]);
    world.fs.remove(&world.path(&name(120))).unwrap();
    world.fs.remove(&world.path(&name(0))).unwrap();
    let expected = (vec![], vec![(offsets(0..150), Cause::Trimmed)]);
    assert_eq!(read(&mut world.tail(0), log.durable()), expected);
}

#[test]
fn a_file_that_is_trimmed_and_written_again_under_the_reader_is_noticed() {
    let world = World::new(SEGMENT).with_pool(2 * SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..1, 1000);
    let mut tail = world.tail(0);
    assert_eq!(read(&mut tail, Offset::new(5)).0, [0, 1, 2, 3, 4]);
    write_tens(&mut log, 1..12, 1000);
    log.trim(log.durable(), &[], 1).unwrap();
    write_tens(&mut log, 12..20, 1000);
    log.trim(Offset::new(60), &[], 1).unwrap();
    // The reader's file holds other offsets by now, with another salt.
    let (found, missing) = read(&mut tail, log.durable());
    assert_eq!(missing, [(offsets(5..log.oldest().get()), Cause::Trimmed)]);
    assert_eq!(found, (log.oldest().get()..200).collect::<Vec<_>>());
}

#[test]
fn a_tail_that_is_up_to_date_holds_neither_memory_nor_a_file() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..2, 96);
    let mut tail = world.tail(0);
    read(&mut tail, log.durable());
    assert!(tail.cursor.is_none() && tail.window.held_bytes() == 0);
    log.push(numbered(20..30, 96), 1);
    log.push(numbered(30..40, 96), 1);
    log.sync(1).unwrap();
    assert!(matches!(tail.next(Offset::new(25)).unwrap(), Step::Frame(_)));
    tail.rest();
    assert!(tail.cursor.is_none() && tail.window.held_bytes() == 0);
    assert_eq!(read(&mut tail, log.durable()), ((25..40).collect(), vec![]));
}

#[test]
fn a_frame_says_in_which_log_its_segment_was_begun() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..9, 96);
    let mut tail = world.tail(0);
    let ids = |tail: &mut Tail| {
        let mut ids = Vec::new();
        while let Step::Frame(frame) = tail.next(log.durable()).unwrap() {
            ids.push(frame.log_id);
        }
        ids
    };
    assert_eq!(ids(&mut tail), [Some(log.log_id()); 9]);
    // A reader that has rested opens the segment again.
    tail.seek(Offset::new(35));
    tail.rest();
    assert_eq!(ids(&mut tail), [Some(log.log_id()); 6]);
    // Whose header is damaged says nothing, and is read all the same.
    world.damage(&name(0), 0, &[0xff; 64]);
    assert_eq!(ids(&mut world.tail(0)).first(), Some(&None));
}

/// Found by the lives of `tests/crash/lives.rs`, after a power cut in the middle of a trim.
#[test]
fn what_was_a_gap_before_a_segment_was_removed_is_not_called_lost() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..2, 96);
    log.roll_idle(1).unwrap();
    write_tens(&mut log, 2..3, 96);
    log.close(1).unwrap();
    let (log, recovery) = world.open(40);
    assert_eq!(recovery.gap, Some(offsets(30..40)));
    world.fs.remove(&world.path(&name(20))).unwrap();
    let missing = vec![(offsets(20..30), Cause::Lost), (offsets(30..40), Cause::Unproven)];
    let found = read(&mut world.tail(0), log.durable());
    assert_eq!(found, ((0..20).collect(), missing));
    drop(log);
    let (log, _) = world.open(40);
    assert_eq!(read(&mut world.tail(35), log.durable()).1, [(offsets(35..40), Cause::Unproven)]);
    world.fs.remove(&world.path(&name(0))).unwrap();
    let missing = [(offsets(25..30), Cause::Trimmed), (offsets(30..40), Cause::Unproven)];
    assert_eq!(read(&mut world.tail(25), log.durable()).1, missing);
}

#[test]
fn where_there_is_no_log_everything_is_gone() {
    let world = World::new(SEGMENT);
    let missing = vec![(offsets(3..9), Cause::Trimmed)];
    assert_eq!(read(&mut world.tail(3), Offset::new(9)), (vec![], missing));
}

#[test]
fn what_is_no_file_holds_no_events() {
    let world = World::new(SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..3, 96);
    let mode = rustix::fs::Mode::RUSR;
    let pipe = world.path(&name(5));
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(read(&mut world.tail(7), log.durable()), ((7..30).collect(), vec![]));
}

/// The reader looks into the directory again when it meets the end of what it knows. Whatever stands
/// in its own file then is of another life.
#[test]
fn what_a_file_holds_that_was_written_again_is_not_called_damage() {
    let world = World::new(SEGMENT).with_pool(2 * SEGMENT);
    let (mut log, _) = world.open(0);
    write_tens(&mut log, 0..2, 1000);
    let mut tail = world.tail(0);
    assert_eq!(read(&mut tail, Offset::new(5)).0, [0, 1, 2, 3, 4]);
    write_tens(&mut log, 2..12, 1000);
    log.trim(Offset::new(60), &[], 1).unwrap();
    write_tens(&mut log, 12..14, 1000);
    assert_eq!(log.oldest(), Offset::new(60));
    let (found, missing) = read(&mut tail, log.durable());
    assert_eq!(missing, [(offsets(5..60), Cause::Trimmed)]);
    assert_eq!(found, (60..140).collect::<Vec<_>>());
}

#[cfg(feature = "sim")]
#[test]
fn a_disk_that_fails_is_neither_loss_nor_an_empty_log() {
    use crate::fs::sim::{Fault, Kind, SimFs};
    use crate::log::tests::Seeded;

    let disk = SimFs::new(1);
    disk.create_dir("/streams".as_ref()).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let entropy = Arc::new(Seeded::new(1));
    let options = crate::Options { segment_bytes: SEGMENT, entropy, pool: None };
    let stream = "orders".parse().unwrap();
    let opened =
        crate::Log::open(&fs, "/streams".as_ref(), &stream, &options, Offset::ZERO, 1).unwrap();
    let (mut log, _) = opened;
    write_tens(&mut log, 0..3, 96);
    let mut tail = Tail::open(fs, "/streams/orders".into(), Offset::new(4));
    for kind in [Kind::List, Kind::Open, Kind::Read] {
        disk.inject_on(kind, Fault::Io, 0, 1);
        assert!(tail.next(log.durable()).is_err(), "{kind:?}");
        assert_eq!(tail.offset(), Offset::new(4));
    }
    assert_eq!(read(&mut tail, log.durable()), ((4..30).collect(), vec![]));
}
