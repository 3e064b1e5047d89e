//! The agent's numbers at one moment, as they travel over the admin socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use standpipe_wal::StreamName;
use tokio::time::Instant;

use super::process::Process;
use super::rates::{Rate, Rates};
use crate::status::histogram::Durations;
use crate::status::{AgentStatus, CountsByReason, Disk, Incident, State, StreamStatus, is_trouble};

/// What a running agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The agent's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    #[serde(with = "crate::status::rfc3339")]
    pub started: SystemTime,
    /// How far the agent is: `starting`, `ok`, `stopping`.
    pub phase: State,
    /// What the log takes on disk.
    pub disk: Disk,
    /// US dollars that Firehose takes for a GiB that it bills: `cost.price_per_gb`.
    pub price_per_gb: f64,
    /// How long making a round of events durable took, over all streams.
    pub syncs: Durations,
    /// How long calls to the destinations took, over all streams.
    pub call_durations: Durations,
    /// What the agent's process takes.
    pub process: Process,
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted_connections: u64,
    /// What the dead letters of one stream may take on disk.
    pub dead_letter_bytes_max: u64,
    /// Lines refused before a stream was known, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The store of committed offsets.
    pub offsets: State,
    /// Every stream, sorted by name.
    pub streams: Vec<StreamSnapshot>,
}

/// One stream. Counts are since the agent started, offsets since the stream began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamSnapshot {
    /// The stream's name.
    pub stream: String,
    /// First offset not given out.
    pub next: u64,
    /// First offset that is not durable.
    pub durable: u64,
    /// First offset still in the log.
    pub oldest: u64,
    /// First offset that is not committed.
    pub committed: u64,
    /// Durable events that are not committed.
    pub backlog_events: u64,
    /// Their payload bytes.
    pub backlog_bytes: u64,
    /// How long the oldest of them has waited; absent without a backlog.
    pub oldest_age_seconds: Option<f64>,
    /// Segment files.
    pub segments: u64,
    /// What the stream takes on disk.
    pub disk_bytes: u64,
    /// The log's side.
    pub log: State,
    /// The destination's side.
    pub upload: State,
    /// How events become records: `lines` or `none`, and why.
    pub aggregate: State,
    /// Whether records are compressed: `gzip` or `none`, and why not.
    pub compression: State,
    /// What comes and goes in a second; absent in the first second.
    pub rate: Option<Rate>,
    /// When the destination last confirmed something.
    #[serde(with = "crate::status::rfc3339::optional")]
    pub last_success: Option<SystemTime>,
    /// What went wrong last on the destination's side, also where all is well again.
    pub last_error: Option<Incident>,
    /// Events that became durable.
    pub accepted_events: u64,
    /// Their payload bytes.
    pub accepted_bytes: u64,
    /// Of them, those that a client who waits for it was told of.
    pub acknowledged_events: u64,
    /// Events refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Events confirmed by the destination.
    pub delivered_events: u64,
    /// Their payload bytes.
    pub delivered_bytes: u64,
    /// Calls made.
    pub calls: u64,
    /// Records sent, repetitions included.
    pub records_sent: u64,
    /// Bytes as Firehose bills them.
    pub billed_bytes: u64,
    /// What would have been billed with one event per record.
    pub billed_alone_bytes: u64,
    /// Records sent again, by reason.
    pub retried: BTreeMap<String, u64>,
    /// Events that may have been delivered twice.
    pub possible_duplicates: u64,
    /// Events passed without a confirmation, by reason.
    pub unconfirmed: BTreeMap<String, u64>,
    /// What the dead letters take on disk.
    pub dead_letter_bytes: u64,
    /// Events that contain the delimiter.
    pub embedded_delimiter: u64,
    /// Events without the name that `identity` asks for, by reason.
    pub unnamed: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Why no new event is taken, of whatever stream; none while the agent takes them.
    pub fn not_accepting(&self) -> Option<String> {
        if self.phase.state != "ok" {
            return Some(format!("{}: {}", self.phase.state, self.phase.reason));
        }
        if let Some(limit) = &self.disk.full {
            return Some(format!("full: {limit} is reached"));
        }
        let is_closed = |stream: &StreamSnapshot| is_trouble(&stream.log.state);
        let first = self.streams.first().filter(|_| self.streams.iter().all(is_closed))?;
        Some(format!("no stream's log can be written: {}", first.log.reason))
    }
}

impl StreamSnapshot {
    /// Whether neither the log nor the delivery is in trouble.
    pub fn is_healthy(&self) -> bool {
        !is_trouble(&self.log.state) && !is_trouble(&self.upload.state)
    }

    /// Whether the agent has read the log, and its offsets mean anything. A log without a segment has
    /// nothing to say either.
    pub fn is_read(&self) -> bool {
        self.segments > 0
    }

    /// The state to show where there is room for one: the log's if it is in trouble, since nothing
    /// is accepted then, else the destination's.
    pub fn state(&self) -> &State {
        if self.log.state == "ok" { &self.upload } else { &self.log }
    }
}

/// What a snapshot is taken of.
pub(super) struct Seen<'a> {
    pub(super) streams: &'a [(StreamName, Arc<StreamStatus>)],
    pub(super) agent: &'a AgentStatus,
    pub(super) rates: &'a Rates,
    pub(super) disk: Disk,
    pub(super) price_per_gb: f64,
    pub(super) started: SystemTime,
}

pub(super) fn take(seen: Seen<'_>, now: SystemTime) -> Snapshot {
    let Seen { streams, agent, rates, disk, price_per_gb, started } = seen;
    let sum = |durations: fn(&StreamStatus) -> Durations| {
        streams.iter().fold(Durations::default(), |mut sum, (_, status)| {
            sum.add(&durations(status));
            sum
        })
    };
    let instant = Instant::now();
    let streams_now = streams.iter().map(|(name, status)| StreamSnapshot {
        rate: rates.rate(name, status, instant),
        ..of_stream(name, status, now)
    });
    Snapshot {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started,
        phase: agent.phase.state(),
        disk,
        price_per_gb,
        process: Process::now(),
        syncs: sum(|status| status.syncs.durations()),
        call_durations: sum(|status| status.call_durations.durations()),
        connections: agent.connections.value(),
        dead_letter_bytes_max: agent.dead_letter_bytes_max.value(),
        accepted_connections: agent.accepted_connections.value(),
        refused: counts(&agent.refused),
        offsets: agent.offsets.state(),
        streams: streams_now.collect(),
    }
}

pub(crate) fn of_stream(
    name: &StreamName,
    status: &StreamStatus,
    now: SystemTime,
) -> StreamSnapshot {
    // Read in this order, a log that is opened in between cannot seem to be read and empty, and a
    // commit cannot make the backlog negative or too small.
    let segments = status.segments.value();
    let committed = status.committed.value();
    let durable = status.durable.value();
    let backlog_events = durable.saturating_sub(committed);
    let pending_ms = status.oldest_pending_ms.value();
    StreamSnapshot {
        stream: name.to_string(),
        next: status.next.value().max(durable),
        durable,
        oldest: status.oldest.value(),
        committed,
        backlog_events,
        backlog_bytes: if backlog_events == 0 { 0 } else { status.backlog_bytes.value() },
        oldest_age_seconds: (backlog_events > 0 && pending_ms > 0)
            .then(|| age_seconds(pending_ms, now)),
        segments,
        disk_bytes: status.disk_bytes.value(),
        log: status.log.state(),
        upload: status.upload.state(),
        aggregate: status.aggregate.state(),
        compression: status.compression.state(),
        rate: None,
        last_success: at(status.last_success_ms.value()),
        last_error: status.last_error.last(),
        accepted_events: status.accepted_events.value(),
        accepted_bytes: status.accepted_bytes.value(),
        acknowledged_events: status.acknowledged_events.value(),
        refused: counts(&status.refused),
        delivered_events: status.delivered_events.value(),
        delivered_bytes: status.delivered_bytes.value(),
        calls: status.calls.value(),
        records_sent: status.records_sent.value(),
        billed_bytes: status.billed_bytes.value(),
        billed_alone_bytes: status.billed_alone_bytes.value(),
        retried: counts(&status.retried),
        possible_duplicates: status.possible_duplicates.value(),
        unconfirmed: counts(&status.unconfirmed),
        dead_letter_bytes: status.dead_letter_bytes.value(),
        embedded_delimiter: status.embedded_delimiter.value(),
        unnamed: counts(&status.unnamed),
    }
}

/// A moment, where there was one.
fn at(unix_ms: u64) -> Option<SystemTime> {
    (unix_ms > 0).then(|| UNIX_EPOCH + Duration::from_millis(unix_ms))
}

/// How long ago a moment was, in seconds to the millisecond; zero where the clock went back.
pub fn age_seconds(unix_ms: u64, now: SystemTime) -> f64 {
    let then = UNIX_EPOCH + Duration::from_millis(unix_ms);
    let age = now.duration_since(then).unwrap_or_default();
    Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

fn counts(counts: &CountsByReason) -> BTreeMap<String, u64> {
    counts.snapshot().into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect()
}
