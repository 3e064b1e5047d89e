//! The configuration, resolved: sizes in bytes, paths absolute, every value checked.
//!
//! `raw` is what the file says, `resolve` turns it into what is meant; after that nothing fails.
//! `document` keeps where each value was written, so that an error names file, line and key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::StreamName;

use crate::sink::SinkConfig;
use crate::source::Source;
use crate::telemetry::Format;

pub mod defaults;
mod document;
mod effective;
pub mod environment;
mod kinds;
pub mod load;
pub mod problem;
pub mod raw;
pub mod resolve;
#[cfg(test)]
mod tests;
pub mod value;

pub use load::{Loaded, Request, from_text, load};
pub use problem::{Problem, Problems};
pub use resolve::{Inputs, Resolved, resolve};

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log, the committed offsets and the lock live.
    pub data_dir: PathBuf,
    /// The doors, in the order of the file.
    pub sources: Vec<Arc<dyn Source>>,
    /// The destinations by name.
    pub sinks: BTreeMap<String, Arc<dyn SinkConfig>>,
    /// The log.
    pub wal: WalConfig,
    /// Between sockets and the log.
    pub intake: IntakeConfig,
    /// Between the log and the destinations.
    pub upload: UploadConfig,
    /// What holds for every stream that is not named.
    pub stream_default: StreamConfig,
    /// Named streams, each complete.
    pub streams: BTreeMap<StreamName, StreamConfig>,
    /// How to ask a running agent.
    pub admin: AdminConfig,
    /// What delivery costs.
    pub cost: CostConfig,
    /// What the agent logs about itself.
    pub log: LogConfig,
}

impl Config {
    /// What holds for a stream.
    pub fn stream(&self, name: &StreamName) -> &StreamConfig {
        self.streams.get(name).unwrap_or(&self.stream_default)
    }
}

/// `[wal]`
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// Zero for `sync = "always"`; else acknowledgements wait up to this long for a shared sync.
    pub sync_interval: Duration,
    /// When a segment is full.
    pub segment_bytes: u64,
    /// Everything under `data_dir`.
    pub bytes_max: u64,
    /// What ingest leaves free on the file system.
    pub free_bytes_min: u64,
    /// Owner threads.
    pub owners: usize,
    /// Trimmed segments kept for reuse, in bytes.
    pub pool_bytes_max: u64,
}

/// `[intake]`
#[derive(Clone, Debug)]
pub struct IntakeConfig {
    /// Bytes accepted and not yet durable, over all streams.
    pub memory_max: usize,
    /// Streams that may exist.
    pub streams_max: usize,
    /// Connections over all sources.
    pub connections_max: usize,
}

/// `[upload]`
#[derive(Clone, Debug)]
pub struct UploadConfig {
    /// Bytes of calls being built or in flight, over all streams.
    pub memory_max: usize,
    /// Destinations are asked at a random moment within so long.
    pub ask_within: Duration,
    /// How long a stop waits for calls in flight and for what is left.
    pub drain_timeout: Duration,
    /// The longest pause between attempts.
    pub backoff_max: Duration,
    /// Calls in flight at once to each sink, over all its streams.
    pub in_flight_max: usize,
    /// What the dead letters of one stream may take on disk.
    pub dead_letter_bytes_max: u64,
    /// Events of one stream that may become dead letters in a minute.
    pub dead_letters_per_minute: u32,
}

/// `[stream.NAME]` over `[stream.default]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// The name of a sink.
    pub sink: String,
    /// The name at the destination; the stream's own unless given.
    pub delivery_stream: Option<String>,
    /// How events become records.
    pub aggregate: Aggregate,
    /// Events in one record at most; absent for what the destination allows.
    pub events_per_record_max: Option<usize>,
    /// Behind every event, unless the event is raw. May be empty.
    pub delimiter: Vec<u8>,
    /// Whether each record is compressed.
    pub compression: Compression,
    /// What each event is given, so that a reader can tell events apart.
    pub identity: Identity,
    /// Where it is put.
    pub identity_as: IdentityForm,
    /// How long events may wait for a call to become full.
    pub linger: Duration,
    /// Calls in flight at once.
    pub in_flight_max: usize,
    /// Whether each record waits until everything before it is confirmed.
    pub ordered: bool,
    /// What is sent to the delivery stream at most.
    pub quota: Rates,
    /// What happens to new events when the log is full.
    pub when_full: WhenFull,
    /// What the stream may take on disk; absent for no limit of its own.
    pub bytes_max: Option<u64>,
    /// How long delivered events stay in the log.
    pub retain_delivered: Duration,
    /// Stop delivering, keep accepting.
    pub paused: bool,
}

/// What this host sends to a delivery stream per second at most; absent for no limit but the one that
/// the service teaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes of data, before any encoding.
    pub bytes_per_second: Option<u64>,
    /// Records.
    pub records_per_second: Option<u64>,
    /// Calls.
    pub calls_per_second: Option<u64>,
}

/// How events become records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// What the destination takes best. Means `none` until the destination has answered.
    Auto,
    /// As many events as fit in one record, each followed by the delimiter.
    Lines,
    /// One event, one record.
    None,
}

/// Whether each record is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// It is not.
    None,
    /// It is one gzip member.
    Gzip,
}

/// What each event is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Nothing.
    None,
    /// A name that no other event has.
    Id,
    /// The name, and when the event was taken in.
    IdAndTime,
}

/// Where an event's identity is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityForm {
    /// Into events that are JSON objects, as their first members.
    Members,
    /// In front of each event, followed by a space.
    Prefix,
}

/// What happens to new events when the log is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The socket waits.
    Block,
    /// The client is told.
    Reject,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// The control socket; `data_dir/admin.sock` unless given.
    pub unix: PathBuf,
    /// Where metrics, health and status are served to others; absent for nowhere.
    pub listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or a filter of levels by module.
    pub level: String,
    /// How it is written.
    pub format: Format,
}

/// `[cost]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostConfig {
    /// US dollars for a GiB that Firehose bills.
    pub price_per_gb: f64,
}
