//! What `--json` prints, and what the text is made of.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use standpipe_wal::StreamName;
use standpipe_wal::inspect::PoolReport;
use standpipe_wal::inspect::verify::{Action, NextStart, Request, SegmentCheck, Verified};
use standpipe_wal::offset::{self, Offset};

use super::super::look::Agent;
use super::super::seen::Seen;

/// A range of offsets or bytes; the end is not included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli::wal) struct Span {
    pub(in crate::cli::wal) from: u64,
    pub(in crate::cli::wal) until: u64,
}

impl Span {
    pub(in crate::cli::wal) fn count(&self) -> u64 {
        self.until.saturating_sub(self.from)
    }
}

impl From<&Range<Offset>> for Span {
    fn from(range: &Range<Offset>) -> Self {
        Self { from: range.start.get(), until: range.end.get() }
    }
}

impl From<&Range<u64>> for Span {
    fn from(range: &Range<u64>) -> Self {
        Self { from: range.start, until: range.end }
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(in crate::cli::wal) struct Report {
    pub(in crate::cli::wal) running: bool,
    pub(in crate::cli::wal) agent: Agent,
    /// Whether all is as it was written.
    pub(in crate::cli::wal) clean: bool,
    pub(in crate::cli::wal) streams: Vec<StreamReport>,
    pub(in crate::cli::wal) pool: Pool,
    /// Bytes that were read, reserved space included.
    pub(in crate::cli::wal) bytes: u64,
    pub(in crate::cli::wal) seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli::wal) notes: Vec<String>,
    #[serde(skip)]
    pub(in crate::cli::wal) seen: Seen,
}

/// Trimmed segments that wait to be written again.
#[derive(Debug, Serialize)]
pub(in crate::cli::wal) struct Pool {
    pub(in crate::cli::wal) files: u64,
    pub(in crate::cli::wal) bytes: u64,
    /// Of their last life, whose checksums are right.
    pub(in crate::cli::wal) frames: u64,
}

#[derive(Debug, Serialize)]
pub(in crate::cli::wal) struct StreamReport {
    pub(in crate::cli::wal) stream: String,
    pub(in crate::cli::wal) clean: bool,
    pub(in crate::cli::wal) committed: u64,
    /// What was durable when this began; absent where no agent runs.
    pub(in crate::cli::wal) durable: Option<u64>,
    pub(in crate::cli::wal) events: u64,
    pub(in crate::cli::wal) frames: u64,
    pub(in crate::cli::wal) bytes: u64,
    /// Durable, not delivered, and cannot be read.
    pub(in crate::cli::wal) lost_events: u64,
    pub(in crate::cli::wal) lost: Vec<Span>,
    /// Files that are no segments of this log.
    pub(in crate::cli::wal) useless: Vec<String>,
    /// Segments that were removed meanwhile, because they were delivered.
    pub(in crate::cli::wal) trimmed_meanwhile: u64,
    pub(in crate::cli::wal) segments: Vec<Segment>,
    pub(in crate::cli::wal) next_start: Start,
}

#[derive(Debug, Serialize)]
pub(in crate::cli::wal) struct Segment {
    pub(in crate::cli::wal) name: String,
    pub(in crate::cli::wal) base: u64,
    pub(in crate::cli::wal) end: u64,
    pub(in crate::cli::wal) events: u64,
    pub(in crate::cli::wal) frames: u64,
    pub(in crate::cli::wal) bytes: u64,
    pub(in crate::cli::wal) header_damaged: bool,
    pub(in crate::cli::wal) damage: Vec<Damaged>,
    /// Offsets that the writer left out knowingly.
    pub(in crate::cli::wal) gaps: Vec<Span>,
    /// Events that are lost, and whose damage a repair took out.
    pub(in crate::cli::wal) taken_out: Vec<Span>,
    /// Frames of a write that failed, which the next segment holds.
    pub(in crate::cli::wal) superseded_frames: u64,
}

#[derive(Debug, Serialize)]
pub(in crate::cli::wal) struct Damaged {
    pub(in crate::cli::wal) bytes: Span,
    pub(in crate::cli::wal) offsets: Span,
    pub(in crate::cli::wal) lost: Span,
    pub(in crate::cli::wal) unproven: Span,
}

/// What opening the log would do.
#[derive(Debug, Serialize)]
pub(in crate::cli::wal) struct Start {
    pub(in crate::cli::wal) next: u64,
    pub(in crate::cli::wal) action: &'static str,
    pub(in crate::cli::wal) rewritten_events: u64,
    pub(in crate::cli::wal) unproven_bytes: u64,
    pub(in crate::cli::wal) gap: Option<Span>,
    pub(in crate::cli::wal) new_log_id: bool,
    pub(in crate::cli::wal) damaged_headers: Vec<String>,
    pub(in crate::cli::wal) removed: Vec<String>,
    pub(in crate::cli::wal) set_aside: Vec<String>,
}

impl Report {
    pub(super) fn new(
        seen: Seen,
        streams: Vec<StreamReport>,
        pool: PoolReport,
        bytes: u64,
        took: Duration,
    ) -> Self {
        let PoolReport { files, bytes: pool_bytes, frames } = pool;
        Self {
            running: seen.agent == Agent::Running,
            agent: seen.agent,
            clean: streams.iter().all(|stream| stream.clean),
            streams,
            pool: Pool { files, bytes: pool_bytes, frames },
            bytes,
            seconds: took.as_secs_f64(),
            notes: seen.notes.clone(),
            seen,
        }
    }
}

impl StreamReport {
    pub(super) fn new(stream: &StreamName, request: Request, verified: &Verified) -> Self {
        let lost = verified.lost();
        let sum = |of: fn(&SegmentCheck) -> u64| verified.segments.iter().map(of).sum();
        Self {
            stream: stream.to_string(),
            clean: verified.is_clean(),
            committed: request.committed.get(),
            durable: request.durable.map(Offset::get),
            events: sum(|segment| segment.events),
            frames: sum(|segment| segment.frames),
            bytes: verified.bytes(),
            lost_events: lost.iter().map(offset::count).sum(),
            lost: lost.iter().map(Span::from).collect(),
            useless: verified.useless.clone(),
            trimmed_meanwhile: verified.trimmed,
            segments: verified.segments.iter().map(Segment::from).collect(),
            next_start: Start::from(&verified.next_start),
        }
    }
}

impl From<&SegmentCheck> for Segment {
    fn from(check: &SegmentCheck) -> Self {
        let damage = check.damage.iter().map(|damage| Damaged {
            bytes: Span::from(&damage.bytes),
            offsets: Span::from(&damage.offsets),
            lost: Span::from(&damage.lost),
            unproven: Span::from(&damage.unproven),
        });
        Self {
            name: check.name.clone(),
            base: check.base.get(),
            end: check.end.get(),
            events: check.events,
            frames: check.frames,
            bytes: check.bytes,
            header_damaged: !check.header,
            damage: damage.collect(),
            gaps: check.gaps.iter().map(Span::from).collect(),
            taken_out: check.taken_out.iter().map(Span::from).collect(),
            superseded_frames: check.superseded,
        }
    }
}

impl From<&NextStart> for Start {
    fn from(start: &NextStart) -> Self {
        Self {
            next: start.next.get(),
            action: match start.action {
                Action::Keep => "keep",
                Action::Begin => "begin",
                Action::Rewrite => "rewrite",
            },
            rewritten_events: start.rewritten_events,
            unproven_bytes: start.unproven_bytes,
            gap: start.gap.as_ref().map(Span::from),
            new_log_id: start.new_log_id,
            damaged_headers: start.damaged_headers.clone(),
            removed: start.removed.clone(),
            set_aside: start.set_aside.clone(),
        }
    }
}
