//! `standpipe wal stat`: is anything stuck, how much, since when, why.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use serde::Serialize;

use super::super::output::{self, Style};
use super::super::place::PlaceArgs;
use super::super::records::Records;
use super::super::table::{Align, Cell, Table};
use super::super::{EXIT_CODES, human, watch};
use super::look::{self, Agent, Place, Sight};
use super::seen::{heading, no_such_stream};

/// Show each stream's offsets, backlog and state
///
/// A running agent is asked; the log of a starting or stopped one is read from the disk, without
/// writing anything. Offsets count events and name the first event not included.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,

    /// Show it again and again: drawn anew on a terminal, else one below the other; with --json one
    /// line each time
    #[arg(
        long,
        short,
        value_name = "INTERVAL",
        num_args = 0..=1,
        default_missing_value = "1s",
        value_parser = humantime::parse_duration,
    )]
    watch: Option<Duration>,

    /// This stream alone
    stream: Option<String>,
}

/// One stream, whoever knows about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::cli) struct Stat {
    pub(in crate::cli) stream: String,
    pub(in crate::cli) next: u64,
    pub(in crate::cli) durable: u64,
    pub(in crate::cli) committed: u64,
    pub(in crate::cli) backlog_events: u64,
    pub(in crate::cli) backlog_bytes: u64,
    pub(in crate::cli) oldest_age_seconds: Option<f64>,
    pub(in crate::cli) segments: u64,
    pub(in crate::cli) disk_bytes: u64,
    pub(in crate::cli) state: String,
    pub(in crate::cli) reason: String,
    /// Since when it is in this state, as a running agent knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) since: Option<Since>,
    /// How records are made, as a running agent knows it.
    #[serde(flatten)]
    pub(in crate::cli) records: Option<Records>,
}

/// A moment, as RFC 3339 for programs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::cli) struct Since(
    #[serde(with = "crate::status::rfc3339")] pub(in crate::cli) SystemTime,
);

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    running: bool,
    agent: Agent,
    streams: &'a [Stat],
    /// What could not be seen.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let place = args.place.place()?;
    match (args.watch, args.json) {
        (None, false) => output::print(&draw(args, &place)?),
        (None, true) => output::print_json(&report(&see(args, &place)?)),
        (Some(interval), false) => watch::draw_for_ever(interval, || draw(args, &place)),
        (Some(interval), true) => watch::repeat(interval, || {
            let line = serde_json::to_string(&report(&see(args, &place)?));
            Ok(line.context("write JSON")? + "\n")
        }),
    }
}

fn draw(args: &Args, place: &Place) -> anyhow::Result<String> {
    Ok(render(&see(args, place)?, place, output::colors(), output::columns()))
}

fn see(args: &Args, place: &Place) -> anyhow::Result<Sight> {
    let mut sight = look::look(place)?;
    if let Some(name) = &args.stream {
        keep_one(&mut sight, name)?;
    }
    Ok(sight)
}

fn report(sight: &Sight) -> Report<'_> {
    let Sight { agent, streams, notes, .. } = sight;
    Report { running: *agent == Agent::Running, agent: *agent, streams, notes }
}

fn keep_one(sight: &mut Sight, name: &str) -> anyhow::Result<()> {
    let known: Vec<_> = sight.streams.iter().map(|stat| stat.stream.clone()).collect();
    sight.streams.retain(|stat| stat.stream == name);
    anyhow::ensure!(
        !sight.streams.is_empty(),
        no_such_stream(name, known.iter().map(String::as_str))
    );
    Ok(())
}

/// The table, headed by what was seen.
fn render(sight: &Sight, place: &Place, colors: bool, columns: Option<usize>) -> String {
    let heading = heading(sight.agent, sight.pid, &sight.notes, place);
    if sight.streams.is_empty() {
        return format!("{heading}no streams yet\n");
    }
    let mut table = Table::new(&[
        ("STREAM", Align::Left),
        ("NEXT", Align::Right),
        ("DURABLE", Align::Right),
        ("COMMITTED", Align::Right),
        ("BACKLOG", Align::Right),
        ("BYTES", Align::Right),
        ("OLDEST", Align::Right),
        ("SEGMENTS", Align::Right),
        ("DISK", Align::Right),
        ("STATE", Align::Left),
        ("REASON", Align::Left),
    ]);
    for stat in &sight.streams {
        table.row(row(stat));
    }
    format!("{heading}\n{}", table.render_within(colors, columns))
}

fn row(stat: &Stat) -> [Cell; 11] {
    let style = Style::of_state(&stat.state);
    let age = stat.oldest_age_seconds.map_or_else(|| "-".to_owned(), human::age);
    let reason = match stat.since {
        Some(Since(since)) if !stat.reason.is_empty() => {
            let lasts = since.elapsed().unwrap_or_default().as_secs_f64();
            format!("for {}: {}", human::age(lasts), stat.reason)
        }
        _ => stat.reason.clone(),
    };
    [
        Cell::new(&stat.stream),
        Cell::new(human::count(stat.next)),
        Cell::new(human::count(stat.durable)),
        Cell::new(human::count(stat.committed)),
        Cell::new(human::count(stat.backlog_events)),
        Cell::new(human::bytes(stat.backlog_bytes)),
        Cell::new(age),
        Cell::new(human::count(stat.segments)),
        Cell::new(human::bytes(stat.disk_bytes)),
        Cell::styled(&stat.state, style),
        Cell::new(reason),
    ]
}

#[cfg(test)]
mod tests;
