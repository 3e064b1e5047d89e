//! Whatever is damaged, a repair leaves a log without damage that holds everything else; also where
//! it is interrupted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

use std::collections::BTreeSet;

use super::*;
use crate::events::{self, Events};
use crate::fs::sim::{Fault, Kind, Loss, SimFs};
use crate::inspect::verify::Verified;
use crate::log::tests::{SEGMENT, Seeded, numbered};
use crate::offset;
use crate::segment::{Decoded, SegmentId};
use crate::tail::{Cause, Step, Tail};

const STREAMS: &str = "/streams";
/// Of a frame of ten events of 96 bytes.
const FRAME: usize = 48 + 10 * 100;

fn stream() -> StreamName {
    "orders".parse().unwrap()
}

fn options() -> Options {
    Options { segment_bytes: SEGMENT, entropy: Arc::new(Seeded::new(7)), pool: None }
}

/// A closed log with a thousand events in several segments.
fn closed() -> SimFs {
    let disk = SimFs::new(1);
    disk.create_dir(Path::new(STREAMS)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let dir = Path::new(STREAMS);
    let (mut log, _) = Log::open(&fs, dir, &stream(), &options(), Offset::ZERO, 1).unwrap();
    for round in 0..100 {
        log.push(numbered(round * 10..(round + 1) * 10, 96), 1);
        log.sync(1).unwrap();
    }
    log.close(1).unwrap();
    disk
}

fn segments(disk: &SimFs) -> Vec<PathBuf> {
    let dir = Path::new(STREAMS).join("orders");
    let names = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| SegmentId::parse(name).is_some()).map(|name| dir.join(name)).collect()
}

fn damage(disk: &SimFs, path: &Path, position: usize) {
    let mut bytes = disk.read(path).unwrap();
    bytes[position] ^= 0xff;
    disk.plant(path, &bytes).unwrap();
}

fn mend(disk: &SimFs) -> Result<Repaired, Error> {
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let dir = Path::new(STREAMS);
    repair(&fs, dir, &stream(), &options(), Offset::ZERO, 2, &mut |_| {})
}

fn look(disk: &SimFs) -> Verified {
    let request = Request { committed: Offset::ZERO, durable: None };
    verify(disk, Path::new(STREAMS), &stream(), request, &mut |_| {}).unwrap()
}

/// The offsets of the events that can be read, each checked, and of those that are lost.
fn read(disk: &SimFs) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let dir = Path::new(STREAMS).join("orders");
    let mut tail = Tail::open(Arc::new(disk.clone()), dir, Offset::ZERO);
    let (mut found, mut lost) = (BTreeSet::new(), BTreeSet::new());
    loop {
        match tail.next(Offset::new(1000)).unwrap() {
            Step::Frame(frame) => {
                for (offset, event) in (frame.base.get()..).zip(events::iter(frame.body)) {
                    let number: u64 = std::str::from_utf8(event).unwrap().parse().unwrap();
                    assert_eq!(number, offset);
                    found.insert(offset);
                }
            }
            Step::Missing { range, cause } => {
                assert_eq!(cause, Cause::Lost, "{range:?}");
                lost.extend(range.start.get()..range.end.get());
            }
            Step::UpToDate => return (found, lost),
        }
    }
}

#[track_caller]
fn assert_mended(disk: &SimFs, lost: &BTreeSet<u64>) {
    let verified = look(disk);
    assert!(verified.is_clean());
    let taken_out: u64 =
        verified.segments.iter().flat_map(|one| &one.taken_out).map(offset::count).sum();
    assert_eq!(taken_out, lost.len() as u64);
    let (found, missing) = read(disk);
    assert_eq!(&missing, lost, "a reader is still told what is lost");
    assert_eq!(found, (0..1000).filter(|offset| !lost.contains(offset)).collect());
}

#[test]
fn every_frame_of_a_segment_can_be_taken_out() {
    let whole = closed();
    for (index, path) in segments(&whole).iter().enumerate() {
        for frame in 0..3 {
            let disk = whole.fork();
            damage(&disk, path, 4096 + frame * FRAME + 60);
            damage(&disk, path, 4096 + (frame + 5) * FRAME + 60);
            assert!(!look(&disk).is_clean());
            let (_, lost) = read(&disk);
            assert_eq!(lost.len(), 20, "{index} {frame}");
            let repaired = mend(&disk).unwrap();
            assert_eq!(repaired.segments, std::slice::from_ref(path));
            let kept: Vec<_> = repaired.quarantined.iter().map(|p| disk.read(p).unwrap()).collect();
            assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [FRAME, FRAME]);
            assert_mended(&disk, &lost);
            assert_eq!(mend(&disk).unwrap().segments, [] as [PathBuf; 0], "there is nothing to do");
        }
    }
}

#[test]
fn a_header_is_made_again_and_the_last_frame_and_the_seal_are_given_up() {
    let whole = closed();
    let paths = segments(&whole);
    for path in &paths {
        let disk = whole.fork();
        damage(&disk, path, 20);
        let repaired = mend(&disk).unwrap();
        assert_eq!(&repaired.recovery.damaged_headers, std::slice::from_ref(path));
        assert_mended(&disk, &BTreeSet::new());
    }
    // Of a closed segment, the last frame and its seal.
    let disk = whole.fork();
    let frames = (disk.read(&paths[0]).unwrap().len() - 4096 - 48) / FRAME;
    damage(&disk, &paths[0], 4096 + (frames - 1) * FRAME + 60);
    damage(&disk, &paths[0], 4096 + frames * FRAME + 10);
    let lost: BTreeSet<u64> = ((frames as u64 - 1) * 10..frames as u64 * 10).collect();
    assert_eq!(read(&disk).1, lost);
    mend(&disk).unwrap();
    assert_mended(&disk, &lost);
}

#[test]
fn what_was_lost_of_a_sync_is_lost_although_its_other_frame_did_not_know_it_durable() {
    let disk = SimFs::new(1);
    disk.create_dir(Path::new(STREAMS)).unwrap();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(disk.clone()), Path::new(STREAMS));
    let (mut log, _) = Log::open(&fs, dir, &stream(), &options(), Offset::ZERO, 1).unwrap();
    log.push(numbered(0..10, 96), 1);
    let mut raw = Events::with_capacity(1000, Flags { raw: true });
    (10..1000).for_each(|offset| raw.push(format!("{offset:08}").as_bytes()));
    log.push(raw, 1);
    log.sync(1).unwrap();
    log.close(1).unwrap();
    damage(&disk, &segments(&disk)[0], 4096 + 60);
    mend(&disk).unwrap();
    assert_mended(&disk, &(0..10).collect());
}

#[test]
fn a_recycled_segment_that_is_mended_is_a_new_file_and_says_so() {
    let disk = closed();
    let path = &segments(&disk)[0];
    let header = |disk: &SimFs| {
        let decoded = Header::decode(&disk.read(path).unwrap());
        let Decoded::Header(header) = decoded else { panic!("{decoded:?}") };
        header
    };
    let recycled = Header { recycled: true, ..header(&disk) };
    let mut bytes = disk.read(path).unwrap();
    bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&recycled.encode());
    disk.plant(path, &bytes).unwrap();
    damage(&disk, path, 4096 + 60);
    mend(&disk).unwrap();
    assert_eq!(header(&disk), Header { recycled: false, ..recycled });
}

/// A log of two segments, and the frame of events 20 to 29 that its first one holds beyond its end:
/// the sync behind it failed. Nothing where that took a part of the frame with it.
fn failed_over(seed: u64) -> Option<(SimFs, Vec<u8>)> {
    let disk = SimFs::new(seed);
    disk.create_dir(Path::new(STREAMS)).unwrap();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(disk.clone()), Path::new(STREAMS));
    let (mut log, _) = Log::open(&fs, dir, &stream(), &options(), Offset::ZERO, 1).unwrap();
    for round in 0..2 {
        log.push(numbered(round * 10..(round + 1) * 10, 96), 1);
        log.sync(1).unwrap();
    }
    log.push(numbered(20..30, 96), 1);
    disk.inject_on(Kind::SyncData, Fault::Io, disk.operations(), 1);
    assert!(log.sync(1).unwrap().failed_over.is_some());
    log.close(1).unwrap();
    let frame = disk.read(&segments(&disk)[0]).unwrap()[4096 + 2 * FRAME..][..FRAME].to_vec();
    let number = |event| std::str::from_utf8(event).ok()?.parse::<u64>().ok();
    events::iter(&frame[48..]).filter_map(number).eq(20..30).then_some((disk, frame))
}

#[test]
fn frames_that_a_later_segment_holds_again_are_kept_aside_and_not_copied() {
    let (disk, again) =
        (0..100).find_map(failed_over).expect("a sync that fails and loses nothing");
    let first = &segments(&disk)[0];
    damage(&disk, first, 4096 + 60);
    let repaired = mend(&disk).unwrap();
    let kept: Vec<_> = repaired.quarantined.iter().map(|p| disk.read(p).unwrap()).collect();
    assert!(kept.len() == 2 && kept[1] == again, "{:?}", repaired.quarantined);
    let mended = disk.read(first).unwrap();
    assert!(!mended.windows(FRAME).any(|bytes| bytes == again));
    assert_eq!(read(&disk).0, (10..30).collect());
}

#[test]
fn a_repair_can_be_interrupted_anywhere_and_done_again() {
    let disk = closed();
    let paths = segments(&disk);
    damage(&disk, &paths[0], 4096 + 3 * FRAME + 60);
    damage(&disk, &paths[1], 20);
    damage(&disk, &paths[1], 4096 + 60);
    let (_, lost) = read(&disk);
    assert_eq!(lost.len(), 20);
    let begun = disk.operations();
    let counted = disk.fork();
    mend(&counted).unwrap();
    let operations = counted.operations() - begun;
    assert!(operations > 50);
    for at in 0..operations {
        for fault in [Fault::Crash, Fault::Io, Fault::NoSpace] {
            let struck = disk.fork();
            struck.inject(fault, begun + at, 1);
            let survived = mend(&struck).is_ok();
            assert!(fault != Fault::Crash || !survived || !struck.is_off());
            // Whoever meets an error has all the time to sync: the worst is a power cut then.
            let losses = if fault == Fault::Crash { &Loss::ALL[..] } else { &[Loss::Torn] };
            for loss in losses {
                let after = struck.crash(*loss, at);
                mend(&after).unwrap();
                assert_mended(&after, &lost);
            }
        }
    }
}
