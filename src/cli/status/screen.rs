//! The screen: a verdict, the agent, the streams, the costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use super::Seen;
use super::row::Row;
use crate::admin::Snapshot;
use crate::admin::cost::Cost;
use crate::cli::human;
use crate::cli::output::Style;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::wal::look::Agent;
use crate::status::State;

/// What stands where nothing is known or nothing has happened.
const NOTHING: &str = "-";

pub(super) fn render(seen: &Seen, cost: bool, colors: bool, columns: Option<usize>) -> String {
    let notes = seen.sight.notes.iter().map(|note| format!("note: {note}\n"));
    let mut text = notes.fold(heading(seen, colors), |text, note| text + &note);
    if seen.rows.is_empty() {
        return text + "no streams yet\n";
    }
    text.push('\n');
    text.push_str(&streams(seen).render_within(colors, columns));
    if let (true, Some(_)) = (cost, &seen.totals.cost) {
        text.push('\n');
        text.push_str(&costs(seen).render_within(colors, columns));
        text.push('\n');
        text.push_str(&records(seen).render_within(colors, columns));
    }
    text
}

/// Who was seen, and whether anything is wrong.
fn heading(seen: &Seen, colors: bool) -> String {
    let dir = seen.place.data_dir.display();
    let process = seen.sight.pid.map_or_else(String::new, |pid| format!("process {pid}"));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _written = match (seen.sight.agent, seen.sight.snapshot.as_deref()) {
        (Agent::Running, Some(snapshot)) => write!(text, "{}", of_agent(snapshot, &process)),
        (Agent::Stopped, _) => writeln!(text, "agent stopped; read from the log"),
        _ => writeln!(text, "agent starting or stopping ({process}); read from the log"),
    };
    let _written = writeln!(text, "data in {dir}");
    let (style, verdict) = verdict(seen);
    let verdict = if colors { style.paint(&verdict) } else { verdict };
    text + &verdict + "\n"
}

fn of_agent(snapshot: &Snapshot, process: &str) -> String {
    let version = &snapshot.version;
    let up = human::age(since(snapshot.started));
    let phase = phrase("agent", &snapshot.phase, "running");
    let disk = &snapshot.disk;
    let free = disk.free_bytes.map_or_else(String::new, |free| {
        format!(
            ", {} free (at least {} stay)",
            human::bytes(free),
            human::bytes(disk.free_bytes_min)
        )
    });
    format!(
        "{phase} ({process}, version {version}), up {up}, {} connections, {}\n\
         disk {} of {}{free}, {} to be recycled\n",
        human::count(snapshot.connections),
        phrase("offsets", &snapshot.offsets, "ok"),
        human::bytes(disk.used_bytes),
        human::bytes(disk.bytes_max),
        human::bytes(disk.pool_bytes),
    )
}

/// A part and its state, with the reason where there is trouble.
fn phrase(part: &str, state: &State, well: &str) -> String {
    if state.state == "ok" {
        return format!("{part} {well}");
    }
    format!("{part} {} for {}: {}", state.state, human::age(since(state.since)), state.reason)
}

/// One sentence: is anything stuck, how much, since when.
fn verdict(seen: &Seen) -> (Style, String) {
    if let Some(limit) = seen.sight.snapshot.as_deref().and_then(|s| s.disk.full.as_deref()) {
        let text = format!("FULL: {limit} is reached, new events wait or are refused");
        return (Style::Bad, text);
    }
    let troubled: Vec<_> = seen.rows.iter().filter(|row| row.is_in_trouble()).collect();
    if troubled.is_empty() {
        let backlog = human::count(seen.totals.backlog_events);
        return match seen.sight.agent {
            Agent::Running => (Style::Good, format!("all is well, {backlog} events wait")),
            Agent::Starting | Agent::Stopped => {
                (Style::Warning, format!("nothing is delivered now, {backlog} events wait"))
            }
        };
    }
    let stuck: u64 = troubled.iter().map(|row| row.backlog_events).sum();
    let longest = troubled.iter().filter_map(|row| row.since).min().map(since);
    let longest =
        longest.map_or_else(String::new, |age| format!(", for up to {}", human::age(age)));
    let text = format!(
        "{} of {} streams in trouble{longest}; {} events wait there",
        troubled.len(),
        seen.rows.len(),
        human::count(stuck)
    );
    (Style::Bad, text)
}

fn streams(seen: &Seen) -> Table {
    let mut table = Table::new(&[
        ("STREAM", Align::Left),
        ("STATE", Align::Left),
        ("FOR", Align::Right),
        ("BACKLOG", Align::Right),
        ("BYTES", Align::Right),
        ("OLDEST", Align::Right),
        ("IN/S", Align::Right),
        ("OUT/S", Align::Right),
        ("LAST OK", Align::Right),
        ("LAST ERROR", Align::Right),
        ("REASON", Align::Left),
    ]);
    let mut rows: Vec<_> = seen.rows.iter().collect();
    // Stable: by name among themselves.
    rows.sort_by_key(|row| !row.is_in_trouble());
    for row in &rows {
        table.row(stream(row));
    }
    if rows.len() > 1 {
        let totals = &seen.totals;
        let running = seen.sight.agent == Agent::Running;
        let rate = |rate: f64| if running { human::rate(rate) } else { NOTHING.to_owned() };
        table.row([
            Cell::styled("total", Style::Heading),
            Cell::default(),
            Cell::default(),
            Cell::new(human::count(totals.backlog_events)),
            Cell::new(human::bytes(totals.backlog_bytes)),
            Cell::new(age(totals.oldest_age_seconds)),
            Cell::new(rate(totals.events_in_per_second)),
            Cell::new(rate(totals.events_out_per_second)),
            Cell::default(),
            Cell::default(),
            Cell::default(),
        ]);
    }
    table
}

fn stream(row: &Row) -> [Cell; 11] {
    let rate = |of: fn(&Row) -> Option<f64>| of(row).map_or(NOTHING.to_owned(), human::rate);
    let error = row.last_error.as_ref().map(|error| since(error.at));
    [
        Cell::new(&row.stream),
        Cell::styled(&row.state, Style::of_state(&row.state)),
        Cell::new(age(row.since.map(since))),
        Cell::new(human::count(row.backlog_events)),
        Cell::new(human::bytes(row.backlog_bytes)),
        Cell::new(age(row.oldest_age_seconds)),
        Cell::new(rate(|row| Some(row.rate?.events_in))),
        Cell::new(rate(|row| Some(row.rate?.events_out))),
        Cell::new(ago(row.last_success.map(since))),
        Cell::new(ago(error)),
        Cell::new(&row.reason),
    ]
}

fn costs(seen: &Seen) -> Table {
    let mut table = Table::new(&[
        ("COST SINCE THE START", Align::Left),
        ("PAYLOAD", Align::Right),
        ("BILLED", Align::Right),
        ("RATIO", Align::Right),
        ("CALLS", Align::Right),
        ("DOLLARS", Align::Right),
        ("ONE BY ONE", Align::Right),
        ("DOLLARS", Align::Right),
    ]);
    for row in &seen.rows {
        if let Some(cost) = &row.cost {
            table.row(cost_row(Cell::new(&row.stream), cost));
        }
    }
    if let Some(cost) = &seen.totals.cost {
        table.row(cost_row(Cell::styled("all streams", Style::Heading), cost));
    }
    table
}

fn cost_row(name: Cell, cost: &Cost) -> [Cell; 8] {
    [
        name,
        Cell::new(human::bytes(cost.payload_bytes)),
        Cell::new(human::bytes(cost.billed_bytes)),
        Cell::new(cost.ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))),
        Cell::new(human::count(cost.calls)),
        Cell::new(human::dollars(cost.dollars)),
        Cell::new(human::bytes(cost.billed_alone_bytes)),
        Cell::new(human::dollars(cost.dollars_alone)),
    ]
}

/// How records are made. What is long stands last, where it is cut.
fn records(seen: &Seen) -> Table {
    let mut table = Table::new(&[
        ("RECORDS", Align::Left),
        ("AGGREGATE", Align::Left),
        ("FOR", Align::Right),
        ("COMPRESSION", Align::Left),
        ("UNNAMED", Align::Right),
        ("BECAUSE", Align::Left),
    ]);
    for row in &seen.rows {
        let records = &row.records;
        let word = |state: &Option<State>| {
            Cell::new(state.as_ref().map_or(NOTHING, |state| state.state.as_str()))
        };
        table.row([
            Cell::new(&row.stream),
            word(&records.aggregate),
            Cell::new(age(records.aggregate.as_ref().map(|state| since(state.since)))),
            word(&records.compression),
            Cell::new(human::count(records.unnamed.iter().flat_map(BTreeMap::values).sum())),
            Cell::new(records.because()),
        ]);
    }
    table
}

/// Whole seconds since a moment; zero where the clock went back.
fn since(moment: SystemTime) -> f64 {
    moment.elapsed().unwrap_or_default().as_secs_f64().floor()
}

fn age(seconds: Option<f64>) -> String {
    seconds.map_or(NOTHING.to_owned(), |seconds| human::age(seconds.floor()))
}

fn ago(seconds: Option<f64>) -> String {
    seconds.map_or(NOTHING.to_owned(), |seconds| format!("{} ago", human::age(seconds)))
}

#[cfg(test)]
mod tests;
