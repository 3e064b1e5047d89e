//! Every metric. `docs/METRICS.md` shows the same; a test compares.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Values::{
    Counter, CounterByReason, Gauge, Histogram, Info, StreamCounter, StreamCounterByReason,
    StreamGauge, StreamInfo,
};
use super::{Metric, Values};
use crate::offsets::Reason;

const fn metric(name: &'static str, values: Values, help: &'static str) -> Metric {
    Metric { name, help, values }
}

/// The reasons that an operator has to know of the first time.
const UNCONFIRMED: &[&str] = &[
    Reason::Lost.word(),
    Reason::DeadLetter.word(),
    Reason::Trimmed.word(),
    Reason::Unproven.word(),
];

/// Seconds of Unix time.
fn timestamp(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What `/metrics` shows, in its order.
pub const METRICS: &[Metric] = &[
    // The agent
    metric(
        "standpipe_build_info",
        Info("version", |s| s.version.clone()),
        "The version of the agent.",
    ),
    metric(
        "standpipe_ready",
        Gauge(|s| s.not_accepting().is_none().into()),
        "1 while the agent takes new events, as /readyz says.",
    ),
    metric(
        "standpipe_connections",
        Gauge(|s| s.connections.into()),
        "Connections that are open, over all sources.",
    ),
    metric(
        "standpipe_connections_accepted_total",
        Counter(|s| s.accepted_connections.into()),
        "Connections that were accepted.",
    ),
    metric(
        "standpipe_lines_refused_total",
        CounterByReason(|s| &s.refused),
        "Lines that were refused before their stream was known.",
    ),
    metric(
        "standpipe_offsets_store_info",
        Info("state", |s| s.offsets.state.clone()),
        "The state of the store of committed offsets: ok, failing, stuck, restarted.",
    ),
    metric(
        "standpipe_offsets_store_healthy",
        Gauge(|s| matches!(s.offsets.state.as_str(), "ok" | "restarted").into()),
        "1 while committed offsets can be stored. While they cannot, no space is given back.",
    ),
    // The disk
    metric(
        "standpipe_disk_used_bytes",
        Gauge(|s| s.disk.used_bytes.into()),
        "What the logs of all streams take on disk.",
    ),
    metric(
        "standpipe_disk_limit_bytes",
        Gauge(|s| s.disk.bytes_max.into()),
        "What they may take: wal.bytes_max.",
    ),
    metric(
        "standpipe_disk_free_bytes",
        Gauge(|s| s.disk.free_bytes.into()),
        "What the file system of the data directory has free.",
    ),
    metric(
        "standpipe_disk_free_limit_bytes",
        Gauge(|s| s.disk.free_bytes_min.into()),
        "What must stay free: wal.free_bytes_min.",
    ),
    metric(
        "standpipe_disk_pool_bytes",
        Gauge(|s| s.disk.pool_bytes.into()),
        "Delivered segments that wait to be written again.",
    ),
    metric(
        "standpipe_disk_full",
        Gauge(|s| s.disk.full.is_some().into()),
        "1 while a limit of the disk keeps new events out.",
    ),
    metric(
        "standpipe_sync_duration_seconds",
        Histogram(|s| &s.syncs),
        "How long making a round of events durable took: one write and one fdatasync of one file.",
    ),
    // Ingest, per stream
    metric(
        "standpipe_ingested_events_total",
        StreamCounter(|s| s.accepted_events.into()),
        "Events that became durable.",
    ),
    metric(
        "standpipe_ingested_bytes_total",
        StreamCounter(|s| s.accepted_bytes.into()),
        "Their payload.",
    ),
    metric(
        "standpipe_acknowledged_events_total",
        StreamCounter(|s| s.acknowledged_events.into()),
        "Of the ingested events, those that a client who waits for it was told of.",
    ),
    metric(
        "standpipe_refused_events_total",
        StreamCounterByReason(&[], |s| &s.refused),
        "Events that were refused.",
    ),
    metric(
        "standpipe_log_bytes",
        StreamGauge(|s| s.disk_bytes.into()),
        "What the stream's log takes on disk.",
    ),
    metric(
        "standpipe_log_segments",
        StreamGauge(|s| s.segments.into()),
        "Files of the stream's log.",
    ),
    // Backlog, per stream
    metric(
        "standpipe_backlog_events",
        StreamGauge(|s| s.backlog_events.into()),
        "Durable events that the destination has not confirmed.",
    ),
    metric(
        "standpipe_backlog_bytes",
        StreamGauge(|s| s.backlog_bytes.into()),
        "Their payload; an estimate for what an earlier run of the agent left.",
    ),
    metric(
        "standpipe_backlog_age_seconds",
        StreamGauge(|s| s.oldest_age_seconds.unwrap_or_default().into()),
        "How long the oldest of them has waited.",
    ),
    // Delivery, per stream
    metric(
        "standpipe_stream_healthy",
        StreamGauge(|s| s.is_healthy().into()),
        "1 unless the stream's log or its delivery is in trouble.",
    ),
    metric(
        "standpipe_stream_info",
        StreamInfo(&["side", "state"], |s| {
            let side = |side: &str, state: &str| vec![side.to_owned(), state.to_owned()];
            vec![side("log", &s.log.state), side("upload", &s.upload.state)]
        }),
        "The present state of the stream's log and of its delivery.",
    ),
    metric(
        "standpipe_state_start_timestamp_seconds",
        StreamGauge(|s| timestamp(s.state().since).into()),
        "Since when the stream is in the state that `standpipe status` shows.",
    ),
    metric(
        "standpipe_last_success_timestamp_seconds",
        StreamGauge(|s| s.last_success.map(timestamp).into()),
        "When the destination last confirmed something; absent if never since the start.",
    ),
    metric(
        "standpipe_last_error_timestamp_seconds",
        StreamGauge(|s| s.last_error.as_ref().map(|error| timestamp(error.at)).into()),
        "When delivery last met trouble; absent if never since the start.",
    ),
    metric(
        "standpipe_last_error_info",
        StreamInfo(&["state"], |s| {
            s.last_error.iter().map(|error| vec![error.state.clone()]).collect()
        }),
        "What kind of trouble that was. The sentence is in `standpipe status`.",
    ),
    metric(
        "standpipe_delivered_events_total",
        StreamCounter(|s| s.delivered_events.into()),
        "Events that the destination confirmed.",
    ),
    metric(
        "standpipe_delivered_bytes_total",
        StreamCounter(|s| s.delivered_bytes.into()),
        "Their payload.",
    ),
    metric("standpipe_calls_total", StreamCounter(|s| s.calls.into()), "Calls to the destination."),
    metric(
        "standpipe_call_duration_seconds",
        Histogram(|s| &s.call_durations),
        "How long calls took, over all streams, whatever they came to.",
    ),
    metric(
        "standpipe_records_sent_total",
        StreamCounter(|s| s.records_sent.into()),
        "Records that were sent, repetitions included.",
    ),
    metric(
        "standpipe_records_retried_total",
        StreamCounterByReason(&["throttled"], |s| &s.retried),
        "Records that were sent again. Throttling is the reason `throttled`.",
    ),
    metric(
        "standpipe_billed_bytes_total",
        StreamCounter(|s| s.billed_bytes.into()),
        "Bytes as Firehose bills them: each delivered record rounded up to 5 KiB.",
    ),
    metric(
        "standpipe_billed_alone_bytes_total",
        StreamCounter(|s| s.billed_alone_bytes.into()),
        "What would have been billed with one event per record.",
    ),
    metric(
        "standpipe_possible_duplicates_total",
        StreamCounter(|s| s.possible_duplicates.into()),
        "Events that may have been delivered twice: the outcome of a call could not be known.",
    ),
    metric(
        "standpipe_unconfirmed_events_total",
        StreamCounterByReason(UNCONFIRMED, |s| &s.unconfirmed),
        "Events that were passed without a confirmation, those of earlier runs included: lost and \
         unproven ones to damage, dead letters, trimmed ones.",
    ),
    metric(
        "standpipe_dead_letter_bytes",
        StreamGauge(|s| s.dead_letter_bytes.into()),
        "What the stream's dead letters take on disk, as it was a few seconds ago.",
    ),
    metric(
        "standpipe_dead_letter_limit_bytes",
        Gauge(|s| s.dead_letter_bytes_max.into()),
        "What the dead letters of one stream may take: upload.dead_letter_bytes_max.",
    ),
    metric(
        "standpipe_embedded_delimiter_total",
        StreamCounter(|s| s.embedded_delimiter.into()),
        "Events that contain the delimiter which ends events.",
    ),
    // The process
    metric(
        "process_resident_memory_bytes",
        Gauge(|s| s.process.resident_bytes.into()),
        "Resident memory.",
    ),
    metric(
        "process_open_fds",
        Gauge(|s| s.process.open_files.into()),
        "Open files, sockets among them.",
    ),
    metric(
        "process_max_fds",
        Gauge(|s| s.process.open_files_max.into()),
        "As many as may be open.",
    ),
    metric(
        "process_cpu_seconds_total",
        Counter(|s| s.process.cpu_seconds.into()),
        "Processor time, of user and system together.",
    ),
    metric(
        "process_start_time_seconds",
        Gauge(|s| timestamp(s.started).into()),
        "When the agent started, in Unix time.",
    ),
];
