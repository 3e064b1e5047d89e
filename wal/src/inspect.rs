//! Looking at logs without being able to write, whether an agent runs or not.

use std::io;
use std::ops::Range;
use std::path::Path;

use crate::error::{Context, Error};
use crate::fs::Fs;
use crate::log::LogId;
use crate::offset::Offset;
use crate::recovery::chain::{Link, resolve};
use crate::recovery::newest::{Content, read};
use crate::recovery::survey::survey;
use crate::segment::Reason;
use crate::stream_name::StreamName;

mod others;
pub mod verify;
mod walk;

pub use others::{Other, OtherKind, PoolReport, pool};

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
    /// What else is in the directory.
    pub others: Vec<Other>,
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
    /// Why it was begun, where a header says so.
    pub reason: Option<Reason>,
    /// When it was begun, in milliseconds since 1970, where a header says so.
    pub created_ms: Option<u64>,
    /// Whether its file held another segment before.
    pub recycled: bool,
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
    /// Its header cannot be read; its frames can.
    HeaderDamaged,
    /// Neither its header nor a frame can be read.
    Unreadable,
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

/// How often a log is looked at that changes meanwhile.
const LOOKS_MAX: u32 = 8;

/// The streams that have a directory in `dir`, sorted. None where `dir` does not exist.
pub fn streams(fs: &dyn Fs, dir: &Path) -> Result<Vec<StreamName>, Error> {
    let entries = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.during("list", dir)?,
    };
    let dirs = entries.into_iter().filter(|entry| entry.is_dir);
    Ok(dirs.filter_map(|entry| entry.name.parse().ok()).collect())
}

/// What the log of a stream shows. Reads the headers of all segments, and what is not proven
/// durable of the newest: however large the log is, not much.
pub fn stream(fs: &dyn Fs, dir: &Path, stream: &StreamName) -> Result<Report, Error> {
    let dir = dir.join(stream.as_str());
    let (others, foreign, chain, content) = retry_vanished(|| {
        let mut survey = survey(fs, &dir, stream)?;
        let chain = resolve(fs, std::mem::take(&mut survey.segments))?;
        let newest = chain.links.last().map(|newest| newest.open(fs)).transpose()?;
        let content = newest.as_ref().map(read).transpose()?;
        drop(newest);
        let others = others::others(fs, &dir, &survey)?;
        Ok((others, survey.foreign, chain, content))
    })?;
    let mut segments: Vec<SegmentReport> =
        chain.links.iter().map(|link| describe(link, content.as_ref())).collect();
    let unreadable = chain.unreadable.iter().map(|segment| {
        let base = segment.id.base();
        report(&segment.path, base..base, segment.bytes, SegmentState::Unreadable)
    });
    segments.extend(unreadable);
    let misplaced = chain.misplaced.iter().map(|link| (&link.path, link.id, link.bytes));
    let foreign = foreign.iter().map(|foreign| (&foreign.path, foreign.id, foreign.bytes));
    segments.extend(
        foreign.chain(misplaced).map(|(path, id, bytes)| {
            report(path, id.base()..id.base(), bytes, SegmentState::Foreign)
        }),
    );
    segments.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Report {
        oldest: chain.links.first().map_or(Offset::ZERO, |link| link.id.base()),
        next: content.as_ref().map_or(Offset::ZERO, |content| content.end),
        proven: content.as_ref().map_or(Offset::ZERO, |content| content.proven),
        log_id: chain.links.iter().rev().find_map(|link| link.header.as_ref()).map(|h| h.log_id),
        disk_bytes: segments.iter().map(|segment| segment.bytes).sum(),
        segments,
        others,
    })
}

fn describe(link: &Link, newest: Option<&Content>) -> SegmentReport {
    let content = newest.filter(|_| link.end.is_none());
    let base = link.id.base();
    let end = link.end.or(content.map(|content| content.end)).unwrap_or(base);
    let state = match (&link.header, link.end, content.map(|content| content.sealed)) {
        (None, _, _) => SegmentState::HeaderDamaged,
        (Some(_), Some(_), _) => SegmentState::Closed,
        (Some(_), None, Some(true)) => SegmentState::Sealed,
        (Some(_), None, Some(false) | None) => SegmentState::Active,
    };
    let header = link.header.as_ref();
    SegmentReport {
        reason: header.map(|header| header.reason),
        created_ms: header.map(|header| header.created_ms),
        recycled: header.is_some_and(|header| header.recycled),
        ..report(&link.path, base..end, link.bytes, state)
    }
}

fn report(path: &Path, range: Range<Offset>, bytes: u64, state: SegmentState) -> SegmentReport {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let Range { start: base, end } = range;
    let (reason, created_ms, recycled) = (None, None, false);
    let name = name.unwrap_or_default();
    SegmentReport { name, base, end, bytes, state, reason, created_ms, recycled }
}

/// What lies between `from` (the committed offset) and the end of the log. Reads the headers of the
/// frames and believes them; only where one is damaged are whole frames read.
pub fn backlog(
    fs: &dyn Fs,
    dir: &Path,
    stream: &StreamName,
    from: Offset,
) -> Result<Backlog, Error> {
    let dir = dir.join(stream.as_str());
    retry_vanished(|| {
        let chain = resolve(fs, survey(fs, &dir, stream)?.segments)?;
        let mut backlog = Backlog::default();
        for link in chain.links.iter().filter(|link| link.end.is_none_or(|end| end > from)) {
            walk::add(&mut backlog, &link.open(fs)?, from).during("read", &link.path)?;
        }
        Ok(backlog)
    })
}

/// Looks again where a segment was trimmed between being listed and being opened.
fn retry_vanished<T>(mut look: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..LOOKS_MAX {
        match look() {
            Err(error) if error.is_not_found() => {}
            looked => return looked,
        }
    }
    look()
}

#[cfg(test)]
mod tests;
