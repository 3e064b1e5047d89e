//! A reader that follows the log up to the durable offset, on another thread than the writer.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::events::Flags;
use crate::fs::Fs;
use crate::offset::Offset;

/// What one step of a [`Tail`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Events. The tail stands behind them now.
    Frame(TailFrame<'a>),
    /// Events that cannot be read. The tail stands at the range's end now.
    Missing {
        /// Their offsets.
        range: Range<Offset>,
        /// Why.
        cause: Cause,
    },
    /// Everything below `until` was read.
    UpToDate,
}

/// Why events cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// They were durable, and are damaged or gone.
    Lost,
    /// Nothing proves that they ever were durable: recovery left these offsets out, and says so.
    Unproven,
    /// Their segment was trimmed.
    Trimmed,
}

/// Events as they lie in the log.
#[derive(Debug, PartialEq, Eq)]
pub struct TailFrame<'a> {
    /// The offset of the first event.
    pub base: Offset,
    /// How many there are.
    pub count: u32,
    /// What holds for all of them.
    pub flags: Flags,
    /// When they were taken in, in milliseconds since 1970.
    pub time_ms: u64,
    /// For [`crate::events::iter`].
    pub body: &'a [u8],
}

/// A reader of one stream.
#[derive(Debug)]
pub struct Tail {}

impl Tail {
    /// A reader of the log in `stream_dir` that begins at `from`. Nothing is opened yet.
    pub fn open(_fs: Arc<dyn Fs>, _stream_dir: PathBuf, _from: Offset) -> Self {
        unimplemented!()
    }

    /// The offset of the next event to be read.
    pub fn offset(&self) -> Offset {
        unimplemented!()
    }

    /// Goes on reading at `to`.
    pub fn seek(&mut self, _to: Offset) {
        unimplemented!()
    }

    /// One step, no further than `until`, which must not be beyond the durable offset.
    pub fn next(&mut self, _until: Offset) -> Result<Step<'_>, Error> {
        unimplemented!()
    }
}
