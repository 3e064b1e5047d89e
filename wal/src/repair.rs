//! Mends a log that nobody writes, so that everything in it can be read.
//!
//! Recovery lets damage lie where it is: an agent must start, and what is damaged in the middle of a
//! segment shows when it is read. [`repair`] is for whoever wants it gone. A damaged segment is
//! written again without what is damaged, under the same name and with the same salt, so that its
//! neighbours still know it. All that is taken out goes to `quarantine/` before.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::events::Flags;
use crate::frame;
use crate::fs::Fs;
use crate::inspect::verify::{Request, SegmentCheck, verify};
use crate::limits::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::log::{Draft, Log, Options, Trouble, Workshop};
use crate::offset::Offset;
use crate::recovery::chain::{Link, Opened, resolve};
use crate::recovery::survey::survey;
use crate::recovery::{Quarantine, Recovery};
use crate::segment::scan::{Found, Item, read_frame};
use crate::segment::{Header, LogId, Predecessor, Reason};
use crate::stream_name::StreamName;

#[cfg(all(test, feature = "sim"))]
mod tests;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What opening the log did, which comes first.
    pub recovery: Recovery,
    /// The segments that were written again.
    pub segments: Vec<PathBuf>,
    /// Where that which was taken out of them is kept.
    pub quarantined: Vec<PathBuf>,
}

/// Opens the log as a start would, closes it, and writes its damaged segments again without the
/// damage. Afterwards a check of the log finds nothing. Events that are lost stay lost, and a reader
/// is still told so.
///
/// Says between two pieces how many bytes were read. It can be interrupted anywhere and done again.
///
/// # Errors
/// Where a system call fails. Nothing is lost by trying again.
pub fn repair(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    stream: &StreamName,
    options: &Options,
    committed: Offset,
    now_ms: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Repaired, Error> {
    let (log, recovery) = Log::open(fs, dir, stream, options, committed, now_ms)?;
    let log_id = log.log_id();
    log.close(now_ms)?;
    let request = Request { committed, durable: None };
    let checks = verify(&**fs, dir, stream, request, progress)?.segments;
    let workshop = Workshop {
        fs: Arc::clone(fs),
        dir: dir.join(stream.as_str()),
        pool: None,
        segment_bytes: options.segment_bytes,
    };
    let links = resolve(&**fs, survey(&**fs, &workshop.dir, stream)?.segments)?.links;
    let mut repaired = Repaired { recovery, ..Repaired::default() };
    for (index, link) in links.iter().enumerate() {
        let name = link.path.file_name().map(|name| name.to_string_lossy());
        let damaged = |check: &&SegmentCheck| !check.is_clean();
        let check =
            checks.iter().filter(damaged).find(|check| name.as_deref() == Some(&check.name));
        if let Some(check) = check {
            let previous = index.checked_sub(1).and_then(|previous| links.get(previous));
            let header = header(stream, link, previous, log_id, now_ms);
            let mending = Mending { workshop: &workshop, opened: link.open(&**fs)?, check, now_ms };
            mending.run(&header, &mut repaired)?;
        }
    }
    Ok(repaired)
}

/// The header of the segment that replaces a damaged one; as it was, where it can be read.
fn header(
    stream: &StreamName,
    link: &Link,
    previous: Option<&Link>,
    log_id: LogId,
    now_ms: u64,
) -> Header {
    if let Some(header) = &link.header {
        return Header { recycled: false, ..header.clone() };
    }
    let base = link.id.base();
    let predecessor = match previous {
        Some(previous) => {
            Predecessor { salt: previous.salt, end: previous.end.unwrap_or(base).min(base) }
        }
        None => Predecessor { salt: 0, end: base },
    };
    let (stream, reason) = (stream.clone(), Reason::Recovery);
    let (salt, created_ms) = (link.salt, now_ms);
    Header { stream, base, log_id, salt, predecessor, reason, recycled: false, created_ms }
}

/// A segment that is being mended.
struct Mending<'a> {
    workshop: &'a Workshop,
    opened: Opened<'a>,
    check: &'a SegmentCheck,
    now_ms: u64,
}

impl Mending<'_> {
    fn run(&self, header: &Header, repaired: &mut Repaired) -> Result<(), Error> {
        let mut draft = self.workshop.draft(header, 0).map_err(Trouble::into_error)?;
        let kept = self.fill(&mut draft).and_then(|behind| self.keep(behind));
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                self.workshop.discard(&draft);
                return Err(error);
            }
        };
        let active = self.workshop.publish(draft).map_err(Trouble::into_error)?;
        repaired.segments.push(active.path);
        repaired.quarantined.extend(kept);
        Ok(())
    }

    /// Copies the frames that are believed, and seals. Returns where those lie that are not.
    fn fill(&self, draft: &mut Draft) -> Result<Range<u64>, Error> {
        let link = self.opened.link;
        let mut scan = self.opened.scan();
        let mut expected = link.id.base();
        let mut behind: Option<Range<u64>> = None;
        let mut hole = false;
        loop {
            match scan.next().during("read", &link.path)? {
                Item::Frame(found) if found.header.seal => expected = found.header.base,
                Item::Frame(found) if link.end.is_some_and(|end| found.header.base >= end) => {
                    let start = behind.map_or(found.position, |behind| behind.start);
                    behind = Some(start..found.end_position());
                }
                Item::Frame(found) => {
                    expected = found.header.end();
                    self.copy(draft, &found, hole)?;
                    hole = false;
                }
                Item::Hole(_) => hole = true,
                Item::End(position) => {
                    let end = link.end.map_or(expected, |end| end.max(expected));
                    self.seal(draft, end)?;
                    return Ok(behind.unwrap_or(position..position));
                }
            }
        }
    }

    /// What comes behind a hole says that everything before it was durable: it was, since a later
    /// segment or a seal follows, and a reader takes what is missing there for lost.
    fn copy(&self, draft: &mut Draft, found: &Found, behind_hole: bool) -> Result<(), Error> {
        let changed =
            || io::Error::new(io::ErrorKind::InvalidData, "the file changes while it is read");
        let bytes = read_frame(&*self.opened.file, found)
            .and_then(|bytes| bytes.ok_or_else(changed))
            .during("read", &self.opened.link.path)?;
        let body = bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let durable = if behind_hole { found.header.base } else { found.header.durable };
        let header = frame::Header { durable, ..found.header };
        let encoded = header.encode([body].into_iter());
        let written = draft.active.append(&mut [IoSlice::new(&encoded), IoSlice::new(body)]);
        written.map_err(Trouble::into_error)
    }

    fn seal(&self, draft: &mut Draft, end: Offset) -> Result<(), Error> {
        let seal = frame::Header {
            salt: draft.active.salt,
            base: end,
            count: 0,
            flags: Flags::default(),
            seal: true,
            durable: end,
            time_ms: self.now_ms,
        };
        let encoded = seal.encode(std::iter::empty());
        draft.active.append(&mut [IoSlice::new(&encoded)]).map_err(Trouble::into_error)
    }

    /// Copies aside what the new segment lacks.
    fn keep(&self, behind: Range<u64>) -> Result<Vec<PathBuf>, Error> {
        let link = self.opened.link;
        let quarantine = Quarantine::of(self.workshop)?;
        let block = 0..if self.check.header { 0 } else { SEGMENT_HEADER_BYTES as u64 };
        let damage = self.check.damage.iter().map(|damage| damage.bytes.clone());
        let ranges = std::iter::once(block).chain(damage).chain(std::iter::once(behind));
        let mut kept = Vec::new();
        for range in ranges {
            let range = range.start..range.end.min(link.bytes);
            if !range.is_empty() {
                kept.push(quarantine.copy_in(&*self.opened.file, &link.path, &range)?);
            }
        }
        Ok(kept)
    }
}
