//! `standpipe wal verify`: whether the log is as it was written, and what the next start would do.

use std::collections::BTreeMap;

use anyhow::Context as _;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::inspect::verify::{Request, Verified, verify};
use standpipe_wal::inspect::{self, PoolReport};
use standpipe_wal::{Offset, StreamName};

use super::super::output;
use super::look::committed;
use super::look::{Agent, Place};
use super::progress::Progress;
use super::seen::Seen;
use crate::admin::StreamSnapshot;
use crate::agent::pool_dir;
use crate::cli::place::PlaceArgs;
use crate::cli::{EXIT_FAILURE, EXIT_OK};

pub(super) mod report;
pub(super) mod text;

use report::{Report, StreamReport};

const AFTER_HELP: &str = "\
Of a running agent's log, everything that is durable is checked. Damage below the committed offset is
reported, but no event is lost by it.

Exit codes: 0 all is as it was written, 1 damage was found, or it failed (standard error says why),
2 the command line is wrong.";

/// Check every byte of the log, and say what the next start would do
///
/// Reads all segments and checks every checksum, also of the segments that wait to be written again.
/// Names the bytes and offsets that are damaged, lost or not proven, and writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,

    /// This stream alone
    stream: Option<StreamName>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let place = args.place.place()?;
    let seen = Seen::at(&place)?;
    let named: Vec<_> = args.stream.iter().cloned().collect();
    let streams = place.streams(&named)?;
    let report = check(&place, seen, &streams)?;
    if args.json {
        output::print_json(&report)?;
    } else {
        let text = report.seen.heading(&place) + &text::render(&report, output::colors());
        output::print(&text)?;
    }
    Ok(if report.clean { EXIT_OK } else { EXIT_FAILURE })
}

/// Checks these streams' logs and the pool.
pub(super) fn check(
    place: &Place,
    mut seen: Seen,
    streams: &[StreamName],
) -> anyhow::Result<Report> {
    let dir = place.streams_dir();
    let limits = Limits::of(place, &mut seen);
    let pool_dir = pool_dir(&place.data_dir);
    let mut bytes = inspect::pool(&RealFs, &pool_dir, false, &mut |_bytes| {})?.bytes;
    for stream in streams {
        bytes += looked_at(inspect::stream(&RealFs, &dir, stream), stream)?.disk_bytes;
    }
    let mut progress = Progress::of(bytes);
    let mut reports = Vec::with_capacity(streams.len());
    for stream in streams {
        progress.say(stream.as_str());
        let request = limits.request(&place.streams_dir(), stream)?;
        let verified = verify(&RealFs, &dir, stream, request, &mut |bytes| progress.add(bytes));
        let verified: Verified = looked_at(verified, stream)?;
        reports.push(StreamReport::new(stream, request, &verified));
    }
    progress.say("pool");
    let pool: PoolReport =
        inspect::pool(&RealFs, &pool_dir, true, &mut |bytes| progress.add(bytes))?;
    let (bytes, took) = progress.done();
    drop(progress);
    Ok(Report::new(seen, reports, pool, bytes, took))
}

fn looked_at<T>(result: Result<T, standpipe_wal::Error>, stream: &StreamName) -> anyhow::Result<T> {
    result.with_context(|| format!("look at the log of stream {stream}"))
}

/// What is durable and what is delivered, before anything is read.
struct Limits {
    agent: Agent,
    durable: BTreeMap<String, u64>,
    committed: BTreeMap<String, u64>,
}

impl Limits {
    fn of(place: &Place, seen: &mut Seen) -> Self {
        let agent = seen.agent;
        let streams = seen.snapshot.iter().flat_map(|snapshot| &snapshot.streams);
        let (read, unread): (Vec<_>, Vec<_>) = streams.partition(|stat| stat.is_read());
        let of = |offset: fn(&StreamSnapshot) -> u64| {
            read.iter().map(|stat| (stat.stream.clone(), offset(stat))).collect()
        };
        let (durable, mut told): (_, BTreeMap<_, _>) =
            (of(|stat| stat.durable), of(|stat| stat.committed));
        if seen.snapshot.is_none() || !unread.is_empty() {
            for (stream, offset) in committed(&place.data_dir, &mut seen.notes) {
                told.entry(stream.to_string()).or_insert(offset);
            }
        }
        Self { agent, durable, committed: told }
    }

    fn request(&self, dir: &std::path::Path, stream: &StreamName) -> anyhow::Result<Request> {
        let committed = self.committed.get(stream.as_str()).copied().unwrap_or(0);
        let known = self.durable.get(stream.as_str()).copied().map(Offset::new);
        let durable = match (self.agent, known) {
            (Agent::Stopped, _) => None,
            (_, Some(durable)) => Some(durable),
            // Somebody may be writing, and does not say what is durable: the log proves some of it.
            (_, None) => Some(looked_at(inspect::stream(&RealFs, dir, stream), stream)?.proven),
        };
        Ok(Request { committed: Offset::new(committed), durable })
    }
}
