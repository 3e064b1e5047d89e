//! Damage costs at most the frames that it touches: what is missing is named exactly, what is behind
//! is delivered, and the damaged bytes are kept.

use std::ops::Range;

use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::{Loss, SimFs};

use crate::case::{Tally, scale};
use crate::check::{check_start_at_once, read_all};
use crate::host::{AfterFailure, Host, stream_dir};
use crate::reading::Found;
use crate::rot::{HEADER_BYTES, Rot, Victim, frames, victims};

const STREAM: usize = 0;

/// The bytes of a header that carry something.
const HEADER_USED_BYTES: usize = 140;

/// How the writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a seal, which proves everything before it.
    Stopped,
    /// Without: nothing proves the last frame.
    Died,
}

/// A stream with two segments of a few small frames, on a disk where everything is durable.
struct Written {
    host: Host,
    disk: SimFs,
    segments: Vec<Victim>,
}

fn written(end: End) -> Written {
    let mut host = Host::new(1, AfterFailure::Keep);
    for end in [End::Stopped, end] {
        host.start().unwrap();
        for frame in 0..2 {
            host.push(STREAM, false, &[2, 5 + frame]);
            host.sync(STREAM).unwrap();
        }
        // Two frames of one sync: the first of them proves nothing about itself.
        host.push(STREAM, true, &[3]);
        host.push(STREAM, false, &[4]);
        host.sync(STREAM).unwrap();
        match end {
            End::Stopped => host.stop(),
            End::Died => host.die(),
        }
    }
    let disk = host.disk.crash(Loss::Nothing, 0);
    let mut segments = victims(&disk);
    segments.retain(|segment| segment.stream == STREAM);
    assert!(segments.len() >= 2, "one segment shows nothing about the others");
    Written { host, disk, segments }
}

impl Written {
    /// Where frames of events begin and end.
    fn bounds(&self) -> Vec<u64> {
        let frames = self.segments.iter().flat_map(|segment| frames(&segment.bytes));
        frames.flat_map(|frame| [frame.offsets.start, frame.offsets.end]).collect()
    }

    /// Starts on a damaged disk and checks what is left, and what is kept of the rest.
    fn check(
        &self,
        disk: &SimFs,
        rot: &Rot,
        hits: &[(&Victim, Range<usize>)],
    ) -> Result<(), String> {
        let mut after = self.host.after_crash(disk);
        rot.excuse(&mut after);
        let damaged: Vec<_> = hits.iter().map(|(segment, _)| disk.read(&segment.path)).collect();
        let mut host = check_start_at_once(&after, disk)?;
        let found = read_all(&host, STREAM).map_err(|error| format!("cannot read: {error:?}"))?;
        let missing = missing(&found);
        let bounds = self.bounds();
        for range in &missing {
            if !(bounds.contains(&range.start) && bounds.contains(&range.end)) {
                return Err(format!("{range:?} is missing, which is not some frames"));
            }
        }
        let next = host.log(STREAM).next().get();
        release(&mut host)?;
        let is_gone =
            |offset: &u64| *offset >= next || missing.iter().any(|range| range.contains(offset));
        for ((segment, hit), bytes) in hits.iter().zip(damaged) {
            let Ok(bytes) = bytes else { continue };
            if hit.start < HEADER_USED_BYTES && bytes.len() > HEADER_BYTES {
                keeps(&host, &bytes[..HEADER_BYTES])?;
            }
            for mut frame in frames(&segment.bytes) {
                if frame.offsets.any(|offset| is_gone(&offset)) {
                    let end = frame.bytes.end.min(bytes.len());
                    keeps(&host, &bytes[frame.bytes.start.min(end)..end])?;
                }
            }
        }
        Ok(())
    }
}

fn missing(found: &[Found]) -> Vec<Range<u64>> {
    let range = |one: &Found| match one {
        Found::Missing(range, _) => Some(range.start.get()..range.end.get()),
        Found::Event(..) => None,
    };
    found.iter().filter_map(range).collect()
}

/// Everything is delivered, and the log gives back all that it can.
fn release(host: &mut Host) -> Result<(), String> {
    for _ in 0..2 {
        host.push(STREAM, false, &[10]);
        host.sync(STREAM).map_err(|error| format!("cannot sync: {error:?}"))?;
        host.roll_idle(STREAM).map_err(|error| format!("cannot roll: {error:?}"))?;
        host.commit(0).map_err(|error| format!("cannot commit: {error:?}"))?;
    }
    assert_eq!(host.log(STREAM).segments(), 1);
    Ok(())
}

/// Whether something in quarantine holds these bytes.
fn keeps(host: &Host, bytes: &[u8]) -> Result<(), String> {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let dir = stream_dir(STREAM).join("quarantine");
    let kept = host.disk.list(&dir).unwrap_or_default();
    let holds = |name: &String| {
        let file = host.disk.read(&dir.join(name)).unwrap();
        memchr::memmem::find(&file, &bytes[..written]).is_some()
    };
    if written == 0 || kept.iter().any(|entry| holds(&entry.name)) {
        return Ok(());
    }
    Err(format!("{written} damaged bytes are kept nowhere: {kept:?}"))
}

fn each_end(what: &'static str, at_least: u64, mut cases: impl FnMut(End, &Written, &mut Tally)) {
    let mut tally = Tally::new(what);
    for end in [End::Stopped, End::Died] {
        cases(end, &written(end), &mut tally);
    }
    tally.finish(at_least);
}

#[test]
fn a_flipped_bit_costs_at_most_its_frame() {
    each_end("bit flips", 10_000, |end, written, tally| {
        for segment in &written.segments {
            for byte in 0..segment.bytes.len() {
                // Every bit of what is written; of the zeros around it one in a few bytes.
                let is_written = byte < HEADER_USED_BYTES
                    || (HEADER_BYTES..segment.end()).contains(&byte)
                    || scale() > 1;
                let some = byte.is_multiple_of(16).then_some((byte / 16 % 8) as u8);
                let bits = if is_written { (0..8).collect() } else { Vec::from_iter(some) };
                for bit in bits {
                    let name = segment.path.display();
                    tally.case(format!("{end:?}, {name} byte {byte} bit {bit}"), || {
                        let disk = written.disk.fork();
                        segment.write(&disk, |bytes| bytes[byte] ^= 1 << bit);
                        let hit = byte..byte + 1;
                        let rot = Rot::new("", String::new()).costs(segment, hit.clone());
                        written.check(&disk, &rot, &[(segment, hit)])
                    });
                }
            }
        }
    });
}

#[test]
fn a_file_that_ends_early_costs_what_is_cut_off() {
    each_end("files cut off", 1_000, |end, written, tally| {
        for segment in &written.segments {
            for length in 0..=segment.end() {
                if (HEADER_USED_BYTES..HEADER_BYTES).contains(&length) && length % 64 != 0 {
                    continue;
                }
                let name = segment.path.display();
                tally.case(format!("{end:?}, {name} cut at {length}"), || {
                    let disk = written.disk.fork();
                    segment.write(&disk, |bytes| bytes.truncate(length));
                    let hit = length..segment.bytes.len();
                    let rot = Rot::new("", String::new()).costs(segment, hit.clone());
                    written.check(&disk, &rot, &[(segment, hit)])
                });
            }
        }
    });
}

#[test]
fn frames_that_change_places_cost_no_more_than_themselves() {
    each_end("frames swapped", 20, |end, written, tally| {
        for segment in &written.segments {
            let frames = frames(&segment.bytes);
            for (index, one) in frames.iter().enumerate() {
                for other in &frames[index + 1..] {
                    let what = format!("{end:?}, {} {one:?} {other:?}", segment.path.display());
                    tally.case(what, || {
                        let disk = written.disk.fork();
                        segment.write(&disk, |bytes| {
                            let (from, until) = (one.bytes.end, other.bytes.start);
                            let parts = [
                                &segment.bytes[other.bytes.clone()],
                                &segment.bytes[from..until],
                                &segment.bytes[one.bytes.clone()],
                            ];
                            bytes[one.bytes.start..other.bytes.end]
                                .copy_from_slice(&parts.concat());
                        });
                        // What stands between the two is where it was not written either.
                        let hit = one.bytes.start..other.bytes.end;
                        let rot = Rot::new("", String::new()).costs(segment, hit);
                        written.check(&disk, &rot, &[])
                    });
                }
            }
        }
    });
}

#[test]
fn a_copy_of_a_segment_costs_nothing() {
    each_end("segments copied", 16, |end, written, tally| {
        for segment in &written.segments {
            let name = segment.path.file_name().unwrap();
            let copies = [
                stream_dir(STREAM).join(format!("{:020}.seg", 1)),
                stream_dir(STREAM).join(format!("{:020}.seg", 900)),
                stream_dir(1 - STREAM).join(name),
                stream_dir(STREAM).join(format!("{}.copy", name.display())),
            ];
            for copy in copies {
                tally.case(format!("{end:?}, {} as {}", name.display(), copy.display()), || {
                    let disk = written.disk.fork();
                    disk.plant(&copy, &segment.bytes).unwrap();
                    let rot = Rot::new("", String::new()).with_strangers();
                    written.check(&disk, &rot, &[])?;
                    let kept = copy.with_file_name("quarantine").join(copy.file_name().unwrap());
                    let there = disk.read(&kept).or_else(|_| disk.read(&copy));
                    (there.unwrap() == segment.bytes).then_some(()).ok_or("gone".to_owned())
                });
            }
        }
    });
}
