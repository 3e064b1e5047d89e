//! Looking at logs without being able to write, whether an agent runs or not.

use std::path::Path;

use crate::error::Error;
use crate::fs::Fs;
use crate::log::LogId;
use crate::offset::Offset;
use crate::stream_name::StreamName;

/// What a stream's directory shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first offset in the log.
    pub oldest: Offset,
    /// The first offset behind everything that can be read. Where the log is being written, some of
    /// it may not be durable yet.
    pub next: Offset,
    /// The first offset that the log itself does not prove to be durable.
    pub proven: Offset,
    /// The identity of the log, where a header can be read.
    pub log_id: Option<LogId>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// What the segments take, reserved space included.
    pub disk_bytes: u64,
    /// Names that mean nothing to the log.
    pub strays: Vec<String>,
}

/// What one segment shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file's name.
    pub name: String,
    /// The first offset it can hold.
    pub base: Offset,
    /// The first offset behind it.
    pub end: Offset,
    /// Its size, reserved space included.
    pub bytes: u64,
    /// What can be said about it.
    pub state: SegmentState,
}

/// The state of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// The newest one.
    Active,
    /// The newest one, closed by a seal.
    Sealed,
    /// Followed by another one.
    Closed,
    /// Its header cannot be read.
    HeaderDamaged,
    /// It belongs to another stream or place.
    Foreign,
}

/// What lies between two offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Events that can be read.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// When the first of them was taken in, in milliseconds since 1970.
    pub oldest_time_ms: Option<u64>,
}

/// The streams that have a directory in `dir`, sorted.
pub fn streams(_fs: &dyn Fs, _dir: &Path) -> Result<Vec<StreamName>, Error> {
    unimplemented!()
}

/// What the log of a stream shows.
pub fn stream(_fs: &dyn Fs, _dir: &Path, _stream: &StreamName) -> Result<Report, Error> {
    unimplemented!()
}

/// What lies between `from` (the committed offset) and the end of the log.
pub fn backlog(
    _fs: &dyn Fs,
    _dir: &Path,
    _stream: &StreamName,
    _from: Offset,
) -> Result<Backlog, Error> {
    unimplemented!()
}
