//! One changed bit costs at most the frame that it is in, and the loss is said exactly.

use std::path::{Path, PathBuf};

use standpipe_wal::Offset;
use standpipe_wal::fs::sim::{Loss, SimFs};
use standpipe_wal::fs::{Entry, Fs};

use crate::case::{Tally, scale};
use crate::check::read_all;
use crate::host::{AfterFailure, Found, Host, stream_dir};

/// Where the first frame of a segment is.
const HEADER_BYTES: usize = 4096;
const STREAM: usize = 0;

/// How the writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a seal, which proves everything before it.
    Stopped,
    /// Without: nothing proves the last frame.
    Died,
}

/// A stream with a few segments of a few frames, on a disk where everything is durable.
struct Written {
    host: Host,
    disk: SimFs,
    /// The offsets of each frame.
    frames: Vec<std::ops::Range<u64>>,
    segments: Vec<PathBuf>,
}

fn written(end: End) -> Written {
    let mut host = Host::new(1, AfterFailure::Keep);
    host.start().unwrap();
    let mut frames = Vec::new();
    for frame in 0..9 {
        let from = host.log(STREAM).next().get();
        host.push(STREAM, false, &[20, 300 + 40 * frame, 0]);
        host.sync(STREAM).unwrap();
        frames.push(from..host.log(STREAM).next().get());
    }
    match end {
        End::Stopped => host.stop(),
        End::Died => host.die(),
    }
    let disk = host.disk.crash(Loss::Nothing, 0);
    let is_segment = |entry: &Entry| !entry.is_dir;
    let names = disk.list(&stream_dir(STREAM)).unwrap().into_iter().filter(is_segment);
    let segments: Vec<_> = names.map(|entry| stream_dir(STREAM).join(entry.name)).collect();
    assert!(segments.len() >= 2, "one segment shows nothing about the others");
    Written { host, disk, frames, segments }
}

impl Written {
    /// Opens the log with one bit changed and checks what is left.
    fn check(&self, end: End, segment: &Path, byte: usize, bit: u8) -> Result<(), String> {
        let disk = self.disk.fork();
        let mut bytes = disk.read(segment).unwrap();
        bytes[byte] ^= 1 << bit;
        disk.plant(segment, &bytes).unwrap();
        let mut host = self.host.after_crash(&disk);
        let recoveries = host.start().map_err(|error| format!("cannot start: {error:?}"))?;
        let acknowledged = host.ledgers[STREAM].end();
        let next = host.log(STREAM).next();
        let last = self.frames.last().unwrap();
        if next != acknowledged && !(end == End::Died && next.get() == last.start) {
            return Err(format!("{acknowledged} were acknowledged, next is {next}"));
        }
        let found = read_all(&host, STREAM).map_err(|error| format!("cannot read: {error:?}"))?;
        let missing = self.missing(&host, &found)?;
        if byte < HEADER_BYTES && (!missing.is_empty() || next != acknowledged) {
            return Err(format!("a damaged header cost events {missing:?}"));
        }
        for lost in &recoveries[STREAM].lost {
            if !missing.contains(lost) {
                return Err(format!("{lost:?} is called lost, but missing are {missing:?}"));
            }
        }
        Ok(())
    }

    /// The ranges that cannot be read: none, or one whole frame.
    fn missing(
        &self,
        host: &Host,
        found: &[Found],
    ) -> Result<Vec<std::ops::Range<Offset>>, String> {
        let mut missing = Vec::new();
        for one in found {
            match one {
                Found::Event(offset, payload) => {
                    host.ledgers[STREAM].check_event(*offset, payload)?;
                }
                Found::Missing(range, _) => missing.push(range.clone()),
            }
        }
        let is_frame = |range: &std::ops::Range<Offset>| {
            self.frames.contains(&(range.start.get()..range.end.get()))
        };
        if missing.len() > 1 || !missing.iter().all(is_frame) {
            return Err(format!("one bit cost {missing:?}"));
        }
        Ok(missing)
    }
}

fn flip_everywhere(end: End, what: &'static str) {
    let mut tally = Tally::new(what);
    let written = written(end);
    for segment in &written.segments {
        for byte in 0..written.disk.read(segment).unwrap().len() {
            let some = [(byte % 8) as u8];
            let all = [0, 1, 2, 3, 4, 5, 6, 7];
            for bit in if scale() > 1 { all.as_slice() } else { some.as_slice() } {
                tally.case(format!("{} byte {byte} bit {bit}", segment.display()), || {
                    written.check(end, segment, byte, *bit)
                });
            }
        }
    }
    tally.finish(8192);
}

#[test]
fn a_flipped_bit_costs_at_most_its_frame() {
    flip_everywhere(End::Stopped, "bit flips after an orderly stop");
}

#[test]
fn a_flipped_bit_after_a_kill_costs_at_most_its_frame() {
    flip_everywhere(End::Died, "bit flips after a kill");
}
