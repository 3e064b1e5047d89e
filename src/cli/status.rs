//! `standpipe status`: is anything stuck, how much, since when, why. And what it costs.

use serde::Serialize;

use super::place::PlaceArgs;
use super::wal::look::{self, Agent, Place, Sight};
use super::{EXIT_CODES, output, watch};
use crate::admin::Snapshot;
use crate::admin::cost::Cost;
use crate::status::{Disk, State};

mod row;
mod screen;

use row::Row;

/// Show how the agent and each stream fare, streams in trouble first
///
/// A running agent is asked; the log of a stopped one is read from the disk, without writing
/// anything. Rates are events per second over the last ten seconds, ages are those of the oldest
/// event that is not delivered, costs are since the agent started.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// Show what each stream costs, what one event per record would have cost, and how records are
    /// made and why
    #[arg(long)]
    cost: bool,

    /// Draw the screen anew every second
    #[arg(long, short, conflicts_with = "json")]
    watch: bool,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,

    /// These streams alone
    #[arg(value_name = "STREAM")]
    streams: Vec<String>,
}

/// What `--json` prints. What a stopped agent cannot say is null.
#[derive(Debug, Serialize)]
struct Report<'a> {
    running: bool,
    agent: Agent,
    pid: Option<u32>,
    version: Option<&'a str>,
    uptime_seconds: Option<f64>,
    phase: Option<&'a State>,
    connections: Option<u64>,
    disk: Option<&'a Disk>,
    /// The store of committed offsets.
    offsets: Option<&'a State>,
    total: &'a Totals,
    streams: &'a [Row],
    /// What could not be seen, and what costs money without need.
    notes: &'a [String],
}

/// All streams that are shown, together.
#[derive(Debug, Default, Serialize)]
struct Totals {
    backlog_events: u64,
    backlog_bytes: u64,
    oldest_age_seconds: Option<f64>,
    events_in_per_second: f64,
    bytes_in_per_second: f64,
    events_out_per_second: f64,
    bytes_out_per_second: f64,
    /// Of all streams of the agent.
    cost: Option<Cost>,
}

/// Everything that is known.
struct Seen {
    place: Place,
    sight: Sight,
    rows: Vec<Row>,
    totals: Totals,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let place = args.place.place()?;
    if args.watch {
        return watch::draw_for_ever(watch::INTERVAL, || Ok(draw(args, &see(args, &place)?)));
    }
    let seen = see(args, &place)?;
    if args.json {
        return output::print_json(&report(&seen));
    }
    output::print(&draw(args, &seen))
}

fn draw(args: &Args, seen: &Seen) -> String {
    screen::render(seen, args.cost, output::colors(), output::columns())
}

fn see(args: &Args, place: &Place) -> anyhow::Result<Seen> {
    let mut sight = look::look(place)?;
    let mut rows = row::of_sight(&sight);
    for name in &args.streams {
        anyhow::ensure!(
            rows.iter().any(|row| row.stream == *name),
            "there is no stream {name:?}; `standpipe status` shows which there are"
        );
    }
    rows.retain(|row| args.streams.is_empty() || args.streams.contains(&row.stream));
    sight.notes.extend(row::expensive(&rows));
    let totals = totals(&rows, sight.snapshot.as_deref());
    Ok(Seen { place: place.clone(), sight, rows, totals })
}

fn totals(rows: &[Row], snapshot: Option<&Snapshot>) -> Totals {
    let mut totals = Totals { cost: snapshot.map(Cost::total), ..Totals::default() };
    for row in rows {
        totals.backlog_events += row.backlog_events;
        totals.backlog_bytes += row.backlog_bytes;
        totals.oldest_age_seconds = match (totals.oldest_age_seconds, row.oldest_age_seconds) {
            (Some(oldest), Some(age)) => Some(oldest.max(age)),
            (oldest, age) => oldest.or(age),
        };
        let rate = row.rate.unwrap_or_default();
        totals.events_in_per_second += rate.events_in;
        totals.bytes_in_per_second += rate.bytes_in;
        totals.events_out_per_second += rate.events_out;
        totals.bytes_out_per_second += rate.bytes_out;
    }
    totals
}

fn report(seen: &Seen) -> Report<'_> {
    let Sight { agent, pid, notes, snapshot, .. } = &seen.sight;
    let snapshot = snapshot.as_deref();
    let uptime = snapshot.map(|snapshot| snapshot.started.elapsed().unwrap_or_default());
    Report {
        running: *agent == Agent::Running,
        agent: *agent,
        pid: *pid,
        version: snapshot.map(|snapshot| snapshot.version.as_str()),
        uptime_seconds: uptime.map(|uptime| uptime.as_secs_f64()),
        phase: snapshot.map(|snapshot| &snapshot.phase),
        connections: snapshot.map(|snapshot| snapshot.connections),
        disk: snapshot.map(|snapshot| &snapshot.disk),
        offsets: snapshot.map(|snapshot| &snapshot.offsets),
        total: &seen.totals,
        streams: &seen.rows,
        notes,
    }
}
