//! The log of one stream: the one writer, owned by one thread.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::events::Events;
use crate::fs::Fs;
use crate::offset::Offset;
use crate::recovery::Recovery;
use crate::retention::Pool;
use crate::stream_name::StreamName;

/// Where random numbers come from, so that a test can choose them.
pub trait Entropy: Debug + Send + Sync {
    /// A random number.
    fn u64(&self) -> u64;
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn u64(&self) -> u64 {
        unimplemented!()
    }
}

/// What holds for every stream's log.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is full when the next frame would make it larger.
    pub segment_bytes: u64,
    /// For salts and log ids.
    pub entropy: Arc<dyn Entropy>,
    /// Trimmed segments to be written again; absent for none.
    pub pool: Option<Arc<Pool>>,
}

/// A random name for the life of a log: (`log_id`, offset) names an event for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; 16]);

impl LogId {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
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

/// The log of one stream.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Opens the log of a stream, or makes a new one.
    pub fn open(
        _fs: &Arc<dyn Fs>,
        _dir: &Path,
        _stream: &StreamName,
        _options: &Options,
        _committed: Offset,
        _now_ms: u64,
    ) -> Result<(Self, Recovery), Error> {
        unimplemented!()
    }

    /// The offset of the next event.
    pub fn next(&self) -> Offset {
        unimplemented!()
    }

    /// The first offset that is not known to be durable.
    pub fn durable(&self) -> Offset {
        unimplemented!()
    }

    /// The first offset in the log.
    pub fn oldest(&self) -> Offset {
        unimplemented!()
    }

    /// The log's name for ever.
    pub fn log_id(&self) -> LogId {
        unimplemented!()
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        unimplemented!()
    }

    /// What the segments take on disk, reserved space included.
    pub fn disk_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// The stream's directory.
    pub fn dir(&self) -> &Path {
        unimplemented!()
    }

    /// Takes events into the unsynced tail in memory; returns their offsets.
    pub fn push(&mut self, _events: Events, _now_ms: u64) -> Range<Offset> {
        unimplemented!()
    }

    /// Bytes pushed and not synced.
    pub fn unsynced_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Makes everything pushed durable.
    pub fn sync(&mut self, _now_ms: u64) -> Result<Synced, Error> {
        unimplemented!()
    }

    /// Gives the unsynced events back and resets `next` to `durable`. They may be stored.
    pub fn take_unsynced(&mut self) -> Vec<Events> {
        unimplemented!()
    }

    /// Releases the segments that lie wholly below `committed`.
    pub fn trim(
        &mut self,
        _committed: Offset,
        _damaged: &[Range<Offset>],
        _now_ms: u64,
    ) -> Result<Trimmed, Error> {
        unimplemented!()
    }

    /// Seals the active segment and begins a header-only one.
    pub fn roll_idle(&mut self, _now_ms: u64) -> Result<(), Error> {
        unimplemented!()
    }

    /// Clean stop: syncs what was pushed, then writes and syncs a seal.
    pub fn close(self, _now_ms: u64) -> Result<(), Error> {
        unimplemented!()
    }
}
