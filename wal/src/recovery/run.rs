//! Opening a log: facts, decision, deed.

use std::ops::Range;
use std::path::PathBuf;

use crate::error::{Context, Error};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::log::{Active, Entropy, LogId, Segment, Trouble, Workshop, new_log_id, new_salt};
use crate::offset::Offset;
use crate::recovery::chain::{Chain, Link, Opened, resolve};
use crate::recovery::judge::judge;
use crate::recovery::newest::read;
use crate::recovery::quarantine::make_dir;
use crate::recovery::rewrite::{copy_unproven, first_unproven};
use crate::recovery::start::Start;
use crate::recovery::survey::{Survey, survey};
use crate::recovery::{Decision, Quarantine, Recovery};
use crate::segment::{Header, Reason};
use crate::stream_name::StreamName;

/// A log, ready to be written.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log_id: LogId,
    pub(crate) segments: Vec<Segment>,
    pub(crate) active: Option<Active>,
    /// Why the next segment will be begun.
    pub(crate) reason: Reason,
    pub(crate) report: Recovery,
}

/// See [`crate::Log::open`].
pub(crate) fn run(
    workshop: &Workshop,
    stream: &StreamName,
    entropy: &dyn Entropy,
    committed: Offset,
    now_ms: u64,
) -> Result<Recovered, Error> {
    let mut report = Recovery::default();
    report.set_aside.extend(make_dir(&*workshop.fs, &workshop.dir)?);
    let found = survey(&*workshop.fs, &workshop.dir, stream)?;
    if found.segments.is_empty() {
        sync_name(workshop)?;
    }
    let chain = tidy(workshop, found, &mut report)?;
    keep_damaged_headers(workshop, &chain, &mut report)?;
    let newest = chain.last().map(|newest| newest.open_written(&*workshop.fs)).transpose()?;
    let content = newest.as_ref().map(read).transpose()?;
    let judged = judge(&chain, content.as_ref(), report.unproven_bytes, committed);
    report.next = judged.next;
    report.durable = judged.next;
    report.gap.clone_from(&judged.gap);
    report.lost.clone_from(&judged.lost);
    report.new_log_id = judged.new_log_id;
    report.facts = judged.facts;
    report.decision = judged.decision;
    if let Some(newest) = &newest {
        keep_unproven(workshop, newest, &judged.unproven, &mut report)?;
    }
    report.known_ids = chain.iter().filter_map(|link| Some(link.header.as_ref()?.log_id)).collect();
    report.known_ids.dedup();
    let deed = Deed {
        workshop,
        stream,
        chain: &chain,
        newest: newest.as_ref().zip(content.as_ref().map(|content| content.from)),
        log_id: judged.log_id.unwrap_or_else(|| new_log_id(entropy)),
        salt: new_salt(entropy),
        end: judged.end,
        proven: judged.proven,
        now_ms,
    };
    deed.carry_out(judged.decision, report)
}

/// Makes the name of the stream's directory durable. Whoever made a segment in it has done so before;
/// where there is none, an earlier process may have died between making and syncing it.
fn sync_name(workshop: &Workshop) -> Result<(), Error> {
    let dir = &workshop.dir;
    let parent = dir.parent().unwrap_or(dir);
    workshop.fs.sync_dir(parent).during("sync", parent)
}

/// Removes what is incomplete, sets aside what does not belong here, and returns the segments that
/// are believed.
fn tidy(workshop: &Workshop, found: Survey, report: &mut Recovery) -> Result<Vec<Link>, Error> {
    let Survey { segments, foreign, drafts, strays } = found;
    for draft in drafts {
        // All that it holds is still where it was copied from, or was never acknowledged.
        workshop.fs.remove(&draft).during("remove", &draft)?;
    }
    report.strays = strays.into_iter().map(|name| workshop.dir.join(name)).collect();
    let Chain { links, unreadable, misplaced } = resolve(&*workshop.fs, segments)?;
    let misplaced = misplaced.into_iter().map(|link| link.path);
    let set_aside: Vec<PathBuf> =
        foreign.into_iter().map(|foreign| foreign.path).chain(misplaced).collect();
    if set_aside.is_empty() && unreadable.is_empty() {
        return Ok(links);
    }
    let quarantine = Quarantine::of(workshop)?;
    for path in set_aside {
        report.set_aside.push(quarantine.take_in(&path)?);
    }
    for segment in unreadable {
        // An empty file is no evidence of anything, but its name is in the way.
        report.unproven_bytes += segment.bytes;
        report.quarantined.push(quarantine.take_in(&segment.path)?);
    }
    workshop.fs.sync_dir(&workshop.dir).during("sync", &workshop.dir)?;
    Ok(links)
}

/// Says which segments are read without their header, and copies aside what stands in its place: it
/// is gone when the segment is trimmed or replaced.
fn keep_damaged_headers(
    workshop: &Workshop,
    chain: &[Link],
    report: &mut Recovery,
) -> Result<(), Error> {
    for link in chain.iter().filter(|link| link.header.is_none()) {
        let quarantine = Quarantine::of(workshop)?;
        let opened = link.open(&*workshop.fs)?;
        let header = 0..link.bytes.min(SEGMENT_HEADER_BYTES as u64);
        report.quarantined.push(quarantine.copy_in(&*opened.file, &link.path, &header)?);
        report.damaged_headers.push(link.path.clone());
    }
    Ok(())
}

/// Copies aside what is unproven and unreadable.
fn keep_unproven(
    workshop: &Workshop,
    newest: &Opened<'_>,
    unproven: &[Range<u64>],
    report: &mut Recovery,
) -> Result<(), Error> {
    if unproven.is_empty() {
        return Ok(());
    }
    let quarantine = Quarantine::of(workshop)?;
    for bytes in unproven {
        report.unproven_bytes += bytes.end - bytes.start;
        report.quarantined.push(quarantine.copy_in(&*newest.file, &newest.link.path, bytes)?);
    }
    Ok(())
}

/// What is needed to do what was decided.
#[derive(Debug)]
struct Deed<'a> {
    workshop: &'a Workshop,
    stream: &'a StreamName,
    chain: &'a [Link],
    /// The newest segment, and where it was read from.
    newest: Option<(&'a Opened<'a>, Start)>,
    log_id: LogId,
    salt: u64,
    /// Behind the last frame.
    end: Offset,
    proven: Offset,
    now_ms: u64,
}

impl Deed<'_> {
    fn carry_out(self, decision: Decision, mut report: Recovery) -> Result<Recovered, Error> {
        let first = match (decision, self.newest) {
            (Decision::Rewrite, Some((newest, from))) => first_unproven(newest, from, self.proven)?,
            (Decision::Rewrite | Decision::Begin(_) | Decision::Keep, _) => None,
        };
        let base = first.map_or(report.next, |first| first.header.base);
        let mut segments = self.segments(base);
        let header = |reason| self.header(base, reason, &segments);
        let draft = match (decision, first, self.newest) {
            (Decision::Rewrite, Some(_), Some((newest, from))) => {
                let header = header(Reason::Recovery);
                let (draft, events) =
                    copy_unproven(self.workshop, &header, newest, from, self.proven)?;
                report.rewritten_events = events;
                Some((header, draft))
            }
            (Decision::Begin(reason), _, _) => {
                let header = header(reason);
                let draft = self.workshop.draft(&header, 0).map_err(Trouble::into_error)?;
                Some((header, draft))
            }
            (Decision::Rewrite | Decision::Keep, _, _) => None,
        };
        let Some((header, draft)) = draft else { return self.keep(segments, report) };
        let active = self.workshop.publish(draft).map_err(Trouble::into_error)?;
        if segments.last().is_some_and(|newest| newest.base == base) {
            // Nothing in it was believed, and it was replaced.
            segments.pop();
        }
        segments.push(Segment {
            base,
            salt: header.salt,
            end: report.next,
            bytes: active.disk_bytes(),
            predecessor: header.predecessor,
        });
        Ok(Recovered {
            log_id: self.log_id,
            segments,
            active: Some(active),
            reason: Reason::FailedWrite,
            report,
        })
    }

    fn keep(&self, segments: Vec<Segment>, report: Recovery) -> Result<Recovered, Error> {
        let reason = if segments.is_empty() {
            Reason::First
        } else {
            // What this start relied on must be there at the next one: a writer may have died
            // between naming a segment and syncing its name.
            let dir = &self.workshop.dir;
            self.workshop.fs.sync_dir(dir).during("sync", dir)?;
            Reason::Recovery
        };
        Ok(Recovered { log_id: self.log_id, segments, active: None, reason, report })
    }

    /// The segments that there are, each with its end; of the newest it is where one that begins at
    /// `base` says that it ends.
    fn segments(&self, base: Offset) -> Vec<Segment> {
        let newest_end = self.end.min(self.proven).min(base);
        let mut segments: Vec<Segment> = Vec::with_capacity(self.chain.len() + 1);
        for link in self.chain {
            let named = link.header.as_ref().map(|header| header.predecessor);
            let predecessor =
                named.unwrap_or_else(|| Segment::predecessor_of(link.id.base(), &segments));
            segments.push(Segment {
                base: link.id.base(),
                salt: link.salt,
                end: link.end.unwrap_or(newest_end),
                bytes: link.bytes,
                predecessor,
            });
        }
        segments
    }

    fn header(&self, base: Offset, reason: Reason, segments: &[Segment]) -> Header {
        let predecessor = Segment::predecessor_of(base, segments);
        let reason = if predecessor.end < base { Reason::Gap } else { reason };
        Header {
            stream: self.stream.clone(),
            base,
            log_id: self.log_id,
            salt: self.salt,
            predecessor,
            reason,
            recycled: false,
            created_ms: self.now_ms,
        }
    }
}
