//! Reading: from positions in the log to the records of a call. Runs on blocking threads.

use std::ops::Range;

use standpipe_wal::Offset;
use standpipe_wal::error::Error;
use standpipe_wal::tail::{Cause, Step, Tail};

use crate::offsets::Reason;
use crate::router::aggregate::{Lot, Packed, Packer, Rule};
use crate::sink::Limits;

/// What a call is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// What stands where the tail is, up to this offset.
    Next(Offset),
    /// Events that were read before.
    Again(Vec<Range<Offset>>),
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The call.
    pub(crate) packed: Packed,
    /// What can not be read, and will never be.
    pub(crate) missing: Vec<(Range<Offset>, Reason)>,
    /// What of [`Wanted::Again`] did not fit.
    pub(crate) rest: Vec<Range<Offset>>,
    /// When the first event was taken in, in milliseconds of Unix time.
    pub(crate) first_ms: Option<u64>,
    /// When the last event was taken in, or the first one that did not fit.
    pub(crate) last_ms: Option<u64>,
}

/// Reads the events of one call and packs them into `data` in the same pass. Trouble of the disk is
/// an error only where nothing was read before it: the next call meets it again.
pub(crate) fn read(
    tail: &mut Tail,
    wanted: &Wanted,
    rule: &Rule,
    limits: Limits,
    data: Vec<u8>,
) -> Result<Read, Error> {
    let mut reader =
        Reader { tail, packer: Packer::new(rule, limits, data), read: Read::default() };
    match wanted {
        Wanted::Next(until) => {
            reader.range(*until)?;
        }
        Wanted::Again(ranges) => {
            for (index, range) in ranges.iter().enumerate() {
                reader.tail.seek(range.start);
                let end = reader.range(range.end)?;
                if end == End::Reached {
                    continue;
                }
                reader.read.rest.push(reader.tail.offset()..range.end);
                reader.read.rest.extend(ranges.iter().skip(index + 1).cloned());
                break;
            }
        }
    }
    // Whatever comes next is waiting: no stream may hold a buffer or a trimmed file meanwhile.
    reader.tail.rest();
    let Reader { packer, read, tail } = reader;
    // A tail that has nothing to read holds no memory while the stream waits, however long.
    let here = tail.offset();
    tail.next(here)?;
    Ok(Read { packed: packer.finish(), ..read })
}

/// Why a range was not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was read to its end.
    Reached,
    /// The call is full, or the disk gave trouble.
    Early,
}

struct Reader<'a> {
    tail: &'a mut Tail,
    packer: Packer<'a>,
    read: Read,
}

impl Reader<'_> {
    /// Reads from where the tail stands up to `until`.
    fn range(&mut self, until: Offset) -> Result<End, Error> {
        while self.tail.offset() < until {
            let step = match self.tail.next(until) {
                Ok(step) => step,
                Err(_) if !self.packer.is_empty() => return Ok(End::Early),
                Err(error) => return Err(error),
            };
            match step {
                Step::Frame(frame) => {
                    let time_ms = frame.time_ms;
                    self.read.first_ms.get_or_insert(time_ms);
                    self.read.last_ms = Some(time_ms);
                    let end = frame.base.after(u64::from(frame.count));
                    let taken = self.packer.take(&Lot {
                        base: frame.base,
                        raw: frame.flags.raw,
                        log_id: frame.log_id,
                        time_ms,
                        body: frame.body,
                    });
                    if taken.full {
                        self.tail.seek(taken.next);
                        return Ok(End::Early);
                    }
                    if taken.next < end {
                        // The frame holds fewer events than it says.
                        self.read.missing.push((taken.next..end, Reason::Lost));
                    }
                }
                Step::Missing { range, cause } => {
                    let end = range.end.min(until);
                    self.read.missing.push((range.start..end, reason(cause)));
                }
                Step::UpToDate => break,
            }
        }
        Ok(End::Reached)
    }
}

fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::Lost => Reason::Lost,
        Cause::Unproven => Reason::Unproven,
        Cause::Trimmed => Reason::Trimmed,
    }
}
