//! One stream, whoever knows about it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::admin::cost::Cost;
use crate::admin::rates::Rate;
use crate::admin::{Snapshot, StreamSnapshot};
use crate::cli::records::Records;
use crate::cli::wal::look::Sight;
use crate::cli::wal::stat::Stat;
use crate::status::{Incident, is_trouble};

/// How many streams a note names.
const NAMED_MAX: usize = 3;

/// What is shown of a stream. What only a running agent knows may be absent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) stream: String,
    pub(super) state: String,
    pub(super) reason: String,
    #[serde(with = "crate::status::rfc3339::optional")]
    pub(super) since: Option<SystemTime>,
    pub(super) backlog_events: u64,
    pub(super) backlog_bytes: u64,
    pub(super) oldest_age_seconds: Option<f64>,
    /// Per second.
    pub(super) rate: Option<Rate>,
    #[serde(with = "crate::status::rfc3339::optional")]
    pub(super) last_success: Option<SystemTime>,
    pub(super) last_error: Option<Incident>,
    pub(super) cost: Option<Cost>,
    #[serde(flatten)]
    pub(super) records: Records,
}

impl Row {
    /// Whether somebody should look at it.
    pub(super) fn is_in_trouble(&self) -> bool {
        is_trouble(&self.state)
    }
}

/// Every stream, sorted by name.
pub(super) fn of_sight(sight: &Sight) -> Vec<Row> {
    match sight.snapshot.as_deref() {
        Some(snapshot) => snapshot.streams.iter().map(|one| of_running(one, snapshot)).collect(),
        None => sight.streams.iter().map(of_files).collect(),
    }
}

fn of_running(stream: &StreamSnapshot, snapshot: &Snapshot) -> Row {
    let state = stream.state();
    Row {
        stream: stream.stream.clone(),
        state: state.state.clone(),
        reason: state.reason.clone(),
        since: Some(state.since),
        backlog_events: stream.backlog_events,
        backlog_bytes: stream.backlog_bytes,
        oldest_age_seconds: stream.oldest_age_seconds,
        rate: stream.rate,
        last_success: stream.last_success,
        last_error: stream.last_error.clone(),
        cost: Some(Cost::of_stream(stream, snapshot.price_per_gb)),
        records: Records::of(stream),
    }
}

fn of_files(stat: &Stat) -> Row {
    Row {
        stream: stat.stream.clone(),
        state: stat.state.clone(),
        reason: stat.reason.clone(),
        since: None,
        backlog_events: stat.backlog_events,
        backlog_bytes: stat.backlog_bytes,
        oldest_age_seconds: stat.oldest_age_seconds,
        rate: None,
        last_success: None,
        last_error: None,
        cost: None,
        records: Records::default(),
    }
}

/// A line for each reason why streams deliver one event per record that could do better.
pub(super) fn expensive(rows: &[Row]) -> Vec<String> {
    let mut streams = BTreeMap::<&str, Vec<&str>>::new();
    // What is paused delivers nothing, and nobody is asked for it.
    for row in rows.iter().filter(|row| row.state != "paused") {
        if let Some(remedy) = row.records.remedy() {
            streams.entry(remedy).or_default().push(&row.stream);
        }
    }
    let line = |(remedy, names): (&str, Vec<&str>)| {
        let more = names.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        format!("one event per record costs more ({named}{more}): {remedy}")
    };
    streams.into_iter().map(line).collect()
}
