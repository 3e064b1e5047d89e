//! Reads a log as a whole and checks all of it: what is damaged, what that costs, and what the next
//! start would do about it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error};
use crate::fs::{Access, Fs};
use crate::offset::Offset;
use crate::recovery::Decision;
use crate::recovery::chain::{Chain, Link, Opened, resolve};
use crate::recovery::judge::{Judgement, judge};
use crate::recovery::newest::{Content, read};
use crate::recovery::survey::{Survey, survey};
use crate::segment::scan::Item;
use crate::segment::{Decoded, read_header};
use crate::stream_name::StreamName;

use super::retry_vanished;

mod segment;
#[cfg(all(test, feature = "sim"))]
mod tests;

pub use segment::{Damage, SegmentCheck};

/// What is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Everything before was delivered: damage to it costs nothing.
    pub committed: Offset,
    /// Of a log that somebody writes: what is durable. Must have been known before this is called.
    /// What lies behind it is being written, and says nothing. Absent where nobody writes.
    pub durable: Option<Offset>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The segments, oldest first.
    pub segments: Vec<SegmentCheck>,
    /// Files that are no segments of this log: neither header nor frames can be read, or they are
    /// of another place.
    pub useless: Vec<String>,
    /// Segments that were trimmed while this was going on.
    pub trimmed: u64,
    /// What the next start would do, were it now.
    pub next_start: NextStart,
}

/// What opening the log would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextStart {
    /// The offset of the next event.
    pub next: Offset,
    /// What the start does about the segments.
    pub action: Action,
    /// Events that would be written again, because nothing proves them durable.
    pub rewritten_events: u64,
    /// Bytes that would be copied or moved to the quarantine, because they cannot be read and
    /// nothing proves that they were durable.
    pub unproven_bytes: u64,
    /// Offsets that no event would have, because the committed offset is beyond the end.
    pub gap: Option<Range<Offset>>,
    /// Whether the log would get a new identity.
    pub new_log_id: bool,
    /// Segments whose header is damaged: a copy of it would go to the quarantine.
    pub damaged_headers: Vec<String>,
    /// Segments in the making that would be removed.
    pub removed: Vec<String>,
    /// Files that would be moved to the quarantine.
    pub set_aside: Vec<String>,
}

/// What opening a log does about its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the next event begins a segment.
    Keep,
    /// An empty segment is begun.
    Begin,
    /// A segment is begun with the events in it that are not proven durable.
    Rewrite,
}

impl Verified {
    /// Whether all is as it was written.
    pub fn is_clean(&self) -> bool {
        self.useless.is_empty() && self.segments.iter().all(SegmentCheck::is_clean)
    }

    /// Events that were durable, are not delivered, and cannot be read: neighbours in one range.
    pub fn lost(&self) -> Vec<Range<Offset>> {
        let mut lost: Vec<Range<Offset>> = Vec::new();
        for range in self.segments.iter().flat_map(|segment| &segment.damage).map(|d| &d.lost) {
            match lost.last_mut() {
                Some(neighbour) if neighbour.end == range.start => neighbour.end = range.end,
                _ if range.start < range.end => lost.push(range.clone()),
                _ => {}
            }
        }
        lost
    }

    /// Bytes that were read.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Reads everything that a stream's log holds and checks it. Says between two pieces of a few
/// megabytes how many bytes were read.
///
/// The log may be written, trimmed and its files written again meanwhile.
///
/// # Errors
/// Where a system call fails. Damage is no error.
pub fn verify(
    fs: &dyn Fs,
    dir: &Path,
    stream: &StreamName,
    request: Request,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, Error> {
    let dir = dir.join(stream.as_str());
    let (survey, chain, content, rewritten) = retry_vanished(|| {
        let mut survey = survey(fs, &dir, stream)?;
        let chain = resolve(fs, std::mem::take(&mut survey.segments))?;
        let newest = chain.links.last().map(|newest| newest.open(fs)).transpose()?;
        let content = newest.as_ref().map(read).transpose()?;
        let events = |content: &Content| {
            let proven = content.proven.max(request.committed);
            newest.as_ref().map_or(Ok(0), |newest| unproven_events(newest, content, proven))
        };
        let rewritten = content.as_ref().map_or(Ok(0), events)?;
        drop(newest);
        Ok((survey, chain, content, rewritten))
    })?;
    let unreadable_bytes = chain.unreadable.iter().map(|segment| segment.bytes).sum();
    let judged = judge(&chain.links, content.as_ref(), unreadable_bytes, request.committed);
    let proven = request.durable.unwrap_or(judged.proven);
    let mut check = Check { fs, stream, request, proven, progress, trimmed: 0 };
    let mut segments = Vec::with_capacity(chain.links.len());
    for link in &chain.links {
        segments.extend(check.link(link)?);
    }
    let trimmed = check.trimmed;
    let next_start = next_start(&survey, &chain, judged, unreadable_bytes, rewritten);
    let useless = next_start.set_aside.clone();
    Ok(Verified { segments, useless, trimmed, next_start })
}

/// How many events recovery would write again.
fn unproven_events(newest: &Opened<'_>, content: &Content, proven: Offset) -> Result<u64, Error> {
    let mut scan = newest.scan_from(content.from);
    let mut events = 0;
    loop {
        match scan.next().during("read", &newest.link.path)? {
            Item::Frame(found) if found.header.end() > proven => {
                events += u64::from(found.header.count);
            }
            Item::Frame(_) | Item::Hole(_) => {}
            Item::End(_) => return Ok(events),
        }
    }
}

fn next_start(
    survey: &Survey,
    chain: &Chain,
    judged: Judgement,
    unreadable_bytes: u64,
    rewritten_events: u64,
) -> NextStart {
    let foreign = survey.foreign.iter().map(|foreign| &foreign.path);
    let misplaced = chain.misplaced.iter().map(|link| &link.path);
    let unreadable = chain.unreadable.iter().map(|segment| &segment.path);
    let unproven = judged.unproven.iter().map(|bytes| bytes.end - bytes.start);
    NextStart {
        next: judged.next,
        action: match judged.decision {
            Decision::Keep => Action::Keep,
            Decision::Begin(_) => Action::Begin,
            Decision::Rewrite => Action::Rewrite,
        },
        rewritten_events,
        unproven_bytes: unreadable_bytes + unproven.sum::<u64>(),
        gap: judged.gap,
        new_log_id: judged.new_log_id,
        damaged_headers: names(
            chain.links.iter().filter(|link| link.header.is_none()).map(|link| &link.path),
        ),
        removed: names(survey.drafts.iter()),
        set_aside: names(foreign.chain(misplaced).chain(unreadable)),
    }
}

fn names<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    let names = paths.filter_map(|path| path.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// A check that goes on.
struct Check<'a> {
    fs: &'a dyn Fs,
    stream: &'a StreamName,
    request: Request,
    proven: Offset,
    progress: &'a mut dyn FnMut(u64),
    trimmed: u64,
}

impl Check<'_> {
    /// Checks a segment, unless it is trimmed meanwhile.
    fn link(&mut self, link: &Link) -> Result<Option<SegmentCheck>, Error> {
        let opened = match link.open(self.fs) {
            Err(error) if error.is_not_found() => {
                self.trimmed += 1;
                return Ok(None);
            }
            opened => opened?,
        };
        let check = segment::check(&opened, self.request, self.proven, self.progress);
        let check = check.during("read", &link.path)?;
        // A file that was given another life meanwhile holds bytes of that one.
        if !check.is_clean() && self.request.durable.is_some() && !self.is_still(link)? {
            self.trimmed += 1;
            return Ok(None);
        }
        Ok(Some(check))
    }

    /// Whether the segment's name still leads to it.
    fn is_still(&self, link: &Link) -> Result<bool, Error> {
        let file = match self.fs.open(&link.path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).during("open", &link.path),
        };
        Ok(match read_header(&*file).during("read", &link.path)? {
            Decoded::Header(header) => {
                header.salt == link.salt && header.belongs_to(self.stream, link.id)
            }
            // Damaged as before: a new life begins with a header.
            Decoded::Bad => link.header.is_none(),
            Decoded::Unknown { .. } => false,
        })
    }
}
