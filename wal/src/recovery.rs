//! What is believed after a crash.

use std::ops::Range;
use std::path::PathBuf;

use crate::offset::Offset;

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The offset of the next event.
    pub next: Offset,
    /// The first offset that is not durable; equal to `next` after opening.
    pub durable: Offset,
    /// Events that were not proven durable and were written again into a new segment.
    pub rewritten_events: u64,
    /// Ranges of the scanned segment that were durable and cannot be read any more.
    pub lost: Vec<Range<Offset>>,
    /// Bytes that cannot be read and that nothing proves to have been durable.
    pub unproven_bytes: u64,
    /// Where those bytes were copied or moved.
    pub quarantined: Vec<PathBuf>,
    /// Files that do not belong to this log and were moved into `quarantine/`.
    pub set_aside: Vec<PathBuf>,
    /// Names in the stream's directory that mean nothing to the log and were left alone.
    pub strays: Vec<PathBuf>,
    /// Offsets below `next` that no event has, because `committed` is beyond the end of the log.
    pub gap: Option<Range<Offset>>,
    /// Whether the log got a new identity because bytes had to be set aside.
    pub new_log_id: bool,
}
