//! Any content of a stream's directory lets the log open, be read, and accept events.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::SimFs;
use standpipe_wal::limits::{FRAME_HEADER_BYTES, OFFSET_MAX, SEGMENT_HEADER_BYTES};
use standpipe_wal::log::Entropy;
use standpipe_wal::segment::SegmentId;
use standpipe_wal::tail::{Step, Tail};
use standpipe_wal::{Events, Flags, Log, Offset, Options, StreamName, events, inspect};

/// The stream whose directory is made up.
const STREAM: &str = "fuzz";
const DIR: &str = "/streams";

/// A segment's header without the zeros that fill its block. A fuzzer would waste itself on them.
pub const HEADER_FIELDS_BYTES: usize = 140;

/// More steps than any of these small logs can need.
const STEPS_MAX: usize = 100_000;

/// Bit of the first byte: make all checksums right, so that what is behind them is reached.
const MEND: u8 = 1;

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn u64(&self) -> u64 {
        // Far from what is planted in segments, as a random number would be.
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63
    }
}

/// Opens a log in a directory of these segments, reads all of it, appends, and opens it again.
///
/// The input: how to read it, the committed offset, and then each segment with its length before it
/// and without most of its header's zeros.
pub fn recovery(data: &[u8]) {
    let Some((&[flags, committed], segments)) = data.split_first_chunk() else { return };
    let disk = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let dir = Path::new(DIR);
    let stream: StreamName = STREAM.parse().expect("a name");
    let stream_dir = dir.join(STREAM);
    fs.create_dir(dir).expect("a new directory");
    fs.create_dir(&stream_dir).expect("a new directory");
    plant(&disk, &stream_dir, segments, flags & MEND != 0);

    inspect::stream(&*fs, dir, &stream).expect("anything can be looked at");
    let options =
        Options { segment_bytes: 64 * 1024, entropy: Arc::new(Counting::default()), pool: None };
    let committed = Offset::new(committed.into());
    let open = || Log::open(&fs, dir, &stream, &options, committed, 1).expect("the log opens");
    let (mut log, report) = open();
    assert!(log.next() >= committed && log.durable() == log.next(), "{report:?}");
    read(&fs, &stream_dir, &log);

    let mut event = Events::with_capacity(16, Flags::default());
    event.push(b"after recovery");
    let pushed = log.push(event, 2);
    let durable = log.sync(2).expect("the disk is well").durable;
    assert_eq!(durable, pushed.end);
    drop(log);
    let (log, report) = open();
    assert_eq!(log.next(), durable, "{report:?}");
    assert_eq!(read(&fs, &stream_dir, &log).as_deref(), Some(&b"after recovery"[..]));
}

/// Reads everything, in order and without an end that never comes; returns the last event.
fn read(fs: &Arc<dyn Fs>, stream_dir: &Path, log: &Log) -> Option<Vec<u8>> {
    let mut tail = Tail::open(Arc::clone(fs), stream_dir.to_owned(), log.oldest());
    let mut at = log.oldest();
    let mut last = None;
    for _ in 0..STEPS_MAX {
        match tail.next(log.durable()).expect("the disk is well") {
            Step::Frame(frame) => {
                assert_eq!(frame.base, at, "events out of order");
                assert!(events::is_well_formed(frame.body, frame.count));
                at = at.after(frame.count.into());
                last = events::iter(frame.body).last().map(<[u8]>::to_vec);
            }
            Step::Missing { range, .. } => {
                assert!(range.start == at && range.end > at, "{range:?} after {at}");
                at = range.end;
            }
            Step::UpToDate => {
                assert_eq!(at, log.durable());
                return last;
            }
        }
    }
    panic!("the tail does not come to the end");
}

/// Puts the segments there, under the names that their headers give.
fn plant(disk: &SimFs, stream_dir: &Path, mut segments: &[u8], mend: bool) {
    while let Some((length, rest)) = segments.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (segment, behind) = rest.split_at(length);
        segments = behind;
        let mut bytes = segment.to_vec();
        let fields = bytes.len().min(HEADER_FIELDS_BYTES);
        bytes.splice(fields..fields, vec![0; SEGMENT_HEADER_BYTES - fields]);
        if mend {
            mend_checksums(&mut bytes);
        }
        let base = bytes[80..].first_chunk().map_or(0, |base| u64::from_le_bytes(*base));
        let name = SegmentId::new(Offset::new(base.min(OFFSET_MAX))).file_name();
        disk.plant(&stream_dir.join(name), &bytes).expect("a file");
    }
}

/// The checksums of the header and of frame after frame, as far as their lengths make sense.
fn mend_checksums(bytes: &mut [u8]) {
    let header = crc32fast::hash(&bytes[..136]);
    bytes[136..140].copy_from_slice(&header.to_le_bytes());
    let mut frames = &mut bytes[SEGMENT_HEADER_BYTES..];
    while frames.len() >= FRAME_HEADER_BYTES {
        let length = u32::from_le_bytes(frames[4..8].try_into().expect("four bytes"));
        let length = FRAME_HEADER_BYTES.saturating_add(length as usize);
        if length > frames.len() {
            return;
        }
        let (frame, behind) = frames.split_at_mut(length);
        let checksum = crc32fast::hash(&frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        frames = behind;
    }
}
