//! The log of one stream: the one writer, owned by one thread.
//!
//! Events are pushed into memory and made durable together by [`Log::sync`]. A file on which a
//! write or a sync failed is never touched again: what was not durable goes into a new segment.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::events::Events;
use crate::fs::Fs;
use crate::offset::Offset;
use crate::recovery::{self, Recovery};
use crate::retention::Pool;
use crate::segment::{Predecessor, Reason};
use crate::stream_name::StreamName;

mod active;
mod draft;
mod pending;
#[cfg(all(test, feature = "sim"))]
mod property;
mod roll;
#[cfg(test)]
pub(crate) mod tests;
mod trim;
mod write;

pub use crate::segment::LogId;
pub(crate) use active::{Active, Trouble, write_all};
pub(crate) use draft::{DRAFT_SUFFIX, Draft, Workshop};
use pending::Pending;

/// Where random numbers come from, so that a test can choose them.
pub trait Entropy: Debug + Send + Sync {
    /// A random number.
    fn u64(&self) -> u64;
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// # Panics
    /// Where the system has no random numbers. A log without them could take left-over bytes for
    /// events, so there is nothing to fall back to.
    fn u64(&self) -> u64 {
        match getrandom::u64() {
            Ok(random) => random,
            Err(error) => panic!("the system gives no random numbers: {error}"),
        }
    }
}

/// A salt for a new segment: never zero, which stands for "no segment".
pub(crate) fn new_salt(entropy: &dyn Entropy) -> u64 {
    entropy.u64().max(1)
}

/// An identity for a new log.
pub(crate) fn new_log_id(entropy: &dyn Entropy) -> LogId {
    let id = (u128::from(entropy.u64()) << 64) | u128::from(entropy.u64());
    LogId::new(id.to_le_bytes())
}

/// What holds for every stream's log.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is full when the next frame would make it larger. At least
    /// [`crate::limits::SEGMENT_BYTES_MIN`]; less works too, with one frame in each segment.
    pub segment_bytes: u64,
    /// For salts and log ids.
    pub entropy: Arc<dyn Entropy>,
    /// Trimmed segments to be written again; absent for none.
    pub pool: Option<Arc<Pool>>,
}

/// What a sync achieved.
#[derive(Debug)]
pub struct Synced {
    /// The first offset that is not durable.
    pub durable: Offset,
    /// The trouble that was survived by beginning a new segment.
    pub failed_over: Option<Error>,
}

/// What a trim gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments that left the log.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The first offset that is still in the log.
    pub oldest: Offset,
}

/// A segment of the log, as the writer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The offset of its first event.
    pub(crate) base: Offset,
    /// Repeated by its frames.
    pub(crate) salt: u64,
    /// The first offset that is not believed from it. Of the newest: what is durable.
    pub(crate) end: Offset,
    /// What it takes on disk.
    pub(crate) bytes: u64,
    /// The segment before it, as its header says.
    pub(crate) predecessor: Predecessor,
}

impl Segment {
    /// What the header of a segment that begins at `base` says of the one before it, given those that
    /// there are, oldest first. One of the same base is replaced: then it is the one before that, or
    /// what it said of one that is gone.
    pub(crate) fn predecessor_of<'a>(
        base: Offset,
        segments: impl IntoIterator<Item = &'a Self, IntoIter: DoubleEndedIterator>,
    ) -> Predecessor {
        let mut newest_first = segments.into_iter().rev();
        let named = |one: &Self| Predecessor { salt: one.salt, end: one.end };
        match newest_first.next() {
            Some(newest) if newest.base < base => named(newest),
            Some(replaced) => newest_first.next().map_or(replaced.predecessor, named),
            None => Predecessor { salt: 0, end: base },
        }
    }
}

/// The log of one stream.
#[derive(Debug)]
pub struct Log {
    workshop: Workshop,
    entropy: Arc<dyn Entropy>,
    stream: StreamName,
    id: LogId,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// The newest segment, as long as it can be written to.
    active: Option<Active>,
    /// Why the next segment will be begun.
    reason: Reason,
    pending: Pending,
    durable: Offset,
}

impl Log {
    /// Opens the log of a stream, or makes a new one.
    ///
    /// `dir` is the directory of all streams, `dir/<stream>` that of this one. Reads what is there,
    /// writes the frames that are not proven durable again into a new segment, and syncs it, so
    /// that everything before [`Log::next`] is durable afterwards. Damage is set aside and
    /// reported. `committed` is the offset that the destinations have confirmed; `next` is never
    /// before it.
    ///
    /// # Errors
    /// Where a system call fails. Nothing is lost by trying again.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        stream: &StreamName,
        options: &Options,
        committed: Offset,
        now_ms: u64,
    ) -> Result<(Self, Recovery), Error> {
        let workshop = Workshop {
            fs: Arc::clone(fs),
            dir: dir.join(stream.as_str()),
            pool: options.pool.clone(),
            segment_bytes: options.segment_bytes,
        };
        let recovered = recovery::run(&workshop, stream, &*options.entropy, committed, now_ms)?;
        let log = Self {
            workshop,
            entropy: Arc::clone(&options.entropy),
            stream: stream.clone(),
            id: recovered.log_id,
            segments: recovered.segments.into(),
            active: recovered.active,
            reason: recovered.reason,
            pending: Pending::new(recovered.report.next),
            durable: recovered.report.next,
        };
        Ok((log, recovered.report))
    }

    /// The offset of the next event.
    pub fn next(&self) -> Offset {
        self.pending.next()
    }

    /// The first offset that is not known to be durable.
    pub fn durable(&self) -> Offset {
        self.durable
    }

    /// The first offset in the log; equal to [`Log::durable`] where it holds nothing.
    pub fn oldest(&self) -> Offset {
        self.segments.front().map_or(self.durable, |segment| segment.base)
    }

    /// The log's name for ever, until recovery has to set bytes aside.
    pub fn log_id(&self) -> LogId {
        self.id
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// What the segments take on disk in bytes, reserved space included.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The stream's directory.
    pub fn dir(&self) -> &Path {
        &self.workshop.dir
    }

    /// Takes events into the unsynced tail in memory and returns their offsets. No I/O, cannot
    /// fail. Small runs share a frame, which carries the time of the first.
    pub fn push(&mut self, events: Events, now_ms: u64) -> Range<Offset> {
        self.pending.push(events, now_ms)
    }

    /// Bytes pushed and not yet durable.
    pub fn unsynced_bytes(&self) -> usize {
        self.pending.body_bytes()
    }

    /// Gives the unsynced events back, for the caller to refuse, and resets [`Log::next`] to
    /// [`Log::durable`]. After a failed [`Log::sync`] they may be stored all the same.
    pub fn take_unsynced(&mut self) -> Vec<Events> {
        self.pending.take(self.durable)
    }
}
