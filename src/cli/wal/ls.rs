//! `standpipe wal ls`: which files a log consists of.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use serde::Serialize;
use standpipe_wal::StreamName;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::inspect::{
    self, Other, OtherKind, PoolReport, Report, SegmentReport, SegmentState,
};
use standpipe_wal::segment::Reason;

use super::super::output::{self, Style};
use super::super::table::{Align, Cell, Table};
use super::super::{EXIT_CODES, human};
use super::look::Agent;
use super::seen::Seen;
use crate::agent::pool_dir;
use crate::cli::place::PlaceArgs;

/// List the segments of each stream's log, and what else is in its directory
///
/// Reads the headers and the last frames alone, however large the log is, and writes nothing. A
/// segment holds the events from BASE to before END.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,

    /// This stream alone
    stream: Option<StreamName>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Listing<'a> {
    running: bool,
    agent: Agent,
    streams: Vec<StreamListing>,
    /// Trimmed segments that wait to be written again.
    pool: PoolListing,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

#[derive(Serialize)]
struct StreamListing {
    stream: String,
    /// Absent where no header can be read.
    log_id: Option<String>,
    oldest: u64,
    next: u64,
    disk_bytes: u64,
    segments: Vec<SegmentListing>,
    others: Vec<OtherListing>,
}

#[derive(Serialize)]
struct SegmentListing {
    name: String,
    base: u64,
    end: u64,
    events: u64,
    bytes: u64,
    created: Option<String>,
    begun: Option<&'static str>,
    recycled: bool,
    state: &'static str,
}

#[derive(Serialize)]
struct OtherListing {
    name: String,
    bytes: Option<u64>,
    kind: &'static str,
}

#[derive(Serialize)]
struct PoolListing {
    files: u64,
    bytes: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let place = args.place.place()?;
    let seen = Seen::at(&place)?;
    let dir = place.streams_dir();
    let named: Vec<_> = args.stream.iter().cloned().collect();
    let mut streams = Vec::new();
    for stream in place.streams(&named)? {
        let report = inspect::stream(&RealFs, &dir, &stream)
            .with_context(|| format!("look at the log of stream {stream}"))?;
        streams.push(listing(&stream, report));
    }
    let PoolReport { files, bytes, .. } =
        inspect::pool(&RealFs, &pool_dir(&place.data_dir), false, &mut |_bytes| {})?;
    let pool = PoolListing { files, bytes };
    if args.json {
        return output::print_json(&Listing {
            running: seen.agent == Agent::Running,
            agent: seen.agent,
            streams,
            pool,
            notes: &seen.notes,
        });
    }
    let text = seen.heading(&place) + &render(&streams, &pool, output::colors());
    output::print(&text)
}

fn listing(stream: &StreamName, report: Report) -> StreamListing {
    StreamListing {
        stream: stream.to_string(),
        log_id: report.log_id.map(|id| id.to_string()),
        oldest: report.oldest.get(),
        next: report.next.get(),
        disk_bytes: report.disk_bytes,
        segments: report.segments.into_iter().map(segment).collect(),
        others: report.others.into_iter().map(other).collect(),
    }
}

fn segment(segment: SegmentReport) -> SegmentListing {
    let (base, end) = (segment.base.get(), segment.end.get());
    SegmentListing {
        base,
        end,
        events: end.saturating_sub(base),
        bytes: segment.bytes,
        created: segment.created_ms.map(time),
        begun: segment.reason.map(|reason| match reason {
            Reason::First => "first",
            Reason::Roll => "roll",
            Reason::Recovery => "recovery",
            Reason::FailedWrite => "failed write",
            Reason::Gap => "gap",
            Reason::Idle => "idle",
        }),
        recycled: segment.recycled,
        state: match segment.state {
            SegmentState::Active => "active",
            SegmentState::Sealed => "sealed",
            SegmentState::Closed => "closed",
            SegmentState::HeaderDamaged => "header damaged",
            SegmentState::Unreadable => "unreadable",
            SegmentState::Foreign => "foreign",
        },
        name: segment.name,
    }
}

fn other(other: Other) -> OtherListing {
    let kind = match other.kind {
        OtherKind::Draft => "draft",
        OtherKind::Quarantined => "quarantined",
        OtherKind::Stray => "stray",
    };
    OtherListing { name: other.name, bytes: other.bytes, kind }
}

/// A moment that the log notes in milliseconds, as people and programs read it.
pub(super) fn time(unix_ms: u64) -> String {
    // What lies behind the year 9999 cannot be written.
    let shown_ms = unix_ms.min(253_402_300_799_999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(shown_ms)).to_string()
}

fn render(streams: &[StreamListing], pool: &PoolListing, colors: bool) -> String {
    let mut text = String::new();
    for stream in streams {
        let StreamListing { oldest, next, .. } = stream;
        let from_to = format!("offsets {} to {}", human::count(*oldest), human::count(*next));
        let size = human::bytes(stream.disk_bytes);
        text += &["\n", &stream.stream, ": ", &from_to, ", ", &size, " on disk\n"].concat();
        text += &table(stream).render(colors);
    }
    if streams.is_empty() {
        text += "no streams yet\n";
    }
    if pool.files > 0 {
        let (files, size) = (human::count(pool.files), human::bytes(pool.bytes));
        let waiting = format!("\npool: {files} trimmed files wait to be written again, {size}\n");
        text += &waiting;
    }
    text
}

fn table(stream: &StreamListing) -> Table {
    let mut table = Table::new(&[
        ("FILE", Align::Left),
        ("BASE", Align::Right),
        ("END", Align::Right),
        ("EVENTS", Align::Right),
        ("SIZE", Align::Right),
        ("CREATED", Align::Left),
        ("BEGUN", Align::Left),
        ("STATE", Align::Left),
    ]);
    for segment in &stream.segments {
        let style = match segment.state {
            "active" | "sealed" | "closed" => Style::Plain,
            _ => Style::Bad,
        };
        let offset = |offset| Cell::new(human::count(offset));
        table.row([
            Cell::new(&segment.name),
            offset(segment.base),
            offset(segment.end),
            offset(segment.events),
            Cell::new(human::bytes(segment.bytes)),
            Cell::new(segment.created.as_deref().unwrap_or("-")),
            Cell::new(segment.begun.unwrap_or("-")),
            Cell::styled(segment.state, style),
        ]);
    }
    for other in &stream.others {
        let dash = || Cell::new("-");
        let size = other.bytes.map_or_else(|| "-".to_owned(), human::bytes);
        table.row([
            Cell::new(&other.name),
            dash(),
            dash(),
            dash(),
            Cell::new(size),
            dash(),
            dash(),
            Cell::styled(other.kind, Style::Warning),
        ]);
    }
    table
}
