//! What the agent knows about itself, for people and programs: numbers that only grow and states
//! with a reason and a time. Written by whoever owns the fact, read by `admin` and the commands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub mod histogram;

use histogram::Histogram;

/// A number that several threads write.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away from it (gauges alone).
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets it (gauges alone). Whoever sees the new value sees what was set before, too.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Release);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// How a part of a stream fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// One word: `ok`, `idle`, `throttled`, `missing`, `denied`, `unreachable`, `refused`,
    /// `failing`, `full`, `damaged` …
    pub state: String,
    /// Why, in a sentence; empty where all is well.
    pub reason: String,
    /// Since when.
    #[serde(with = "crate::status::rfc3339")]
    pub since: SystemTime,
}

/// Whether a state is one that somebody should look at. Streams that are throttled or paused get on,
/// or will once somebody wants it; a word that is not known here is trouble.
pub fn is_trouble(state: &str) -> bool {
    !matches!(state, "ok" | "idle" | "stopped" | "opening" | "throttled" | "paused")
}

/// A state that one part writes and everybody reads.
#[derive(Debug)]
pub struct Health(Mutex<State>);

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(State {
            state: "ok".into(),
            reason: String::new(),
            since: SystemTime::now(),
        }))
    }
}

impl Health {
    /// Enters a state. Returns the state that was left, where this is a change: the caller logs
    /// changes, never repetitions.
    pub fn enter(&self, state: &str, reason: &str) -> Option<State> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.state == state {
            if current.reason != reason {
                reason.clone_into(&mut current.reason);
            }
            return None;
        }
        let entered =
            State { state: state.into(), reason: reason.into(), since: SystemTime::now() };
        Some(std::mem::replace(&mut *current, entered))
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts kept by a stable word, such as a refusal's code.
#[derive(Debug, Default)]
pub struct CountsByReason(Mutex<BTreeMap<&'static str, u64>>);

impl CountsByReason {
    /// Adds to the count of a reason.
    pub fn add(&self, reason: &'static str, n: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += n;
    }

    /// All counts.
    pub fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Something that went wrong at one moment, kept also when all is well again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When.
    #[serde(with = "crate::status::rfc3339")]
    pub at: SystemTime,
    /// The state that it led to, one word.
    pub state: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// The last thing that went wrong.
#[derive(Debug, Default)]
pub struct LastIncident(Mutex<Option<Incident>>);

impl LastIncident {
    /// Something goes wrong now.
    pub fn note(&self, state: &str, reason: &str) {
        let incident =
            Incident { at: SystemTime::now(), state: state.into(), reason: reason.into() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(incident);
    }

    /// What went wrong last, if anything has.
    pub fn last(&self) -> Option<Incident> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Everything about one stream. The journal writes the first group, the uploader the second.
#[derive(Debug, Default)]
pub struct StreamStatus {
    /// The log's side: `ok`, `failing`, `full`, `opening`.
    pub log: Health,
    /// First offset not given out.
    pub next: Count,
    /// First offset that is not durable.
    pub durable: Count,
    /// First offset still in the log.
    pub oldest: Count,
    /// Segment files.
    pub segments: Count,
    /// Bytes that the stream takes on disk.
    pub disk_bytes: Count,
    /// Payload bytes that became durable since the agent started.
    pub accepted_bytes: Count,
    /// Events that became durable since the agent started.
    pub accepted_events: Count,
    /// Of them, those that a client who waits for it was told of.
    pub acknowledged_events: Count,
    /// Events refused, by [`crate::intake::Refusal::code`].
    pub refused: CountsByReason,
    /// How long making a round durable took: one write and one sync of one file.
    pub syncs: Histogram,

    /// The destination's side: `ok`, `throttled`, `missing`, `denied`, `unreachable`, `refused` …
    pub upload: Health,
    /// How events become records: `lines` or `none`, and why.
    pub aggregate: Health,
    /// Whether records are compressed: `gzip` or `none`, and why not where it is configured.
    pub compression: Health,
    /// First offset that is not committed.
    pub committed: Count,
    /// Payload bytes that are durable and not confirmed by the destination. What an earlier run left
    /// is an estimate until it has been read.
    pub backlog_bytes: Count,
    /// When the oldest uncommitted event was taken in, in milliseconds of Unix time; 0 for none.
    pub oldest_pending_ms: Count,
    /// Events confirmed by the destination since the agent started.
    pub delivered_events: Count,
    /// Payload bytes confirmed since the agent started.
    pub delivered_bytes: Count,
    /// Calls made to the destination.
    pub calls: Count,
    /// Records sent, repetitions included.
    pub records_sent: Count,
    /// Bytes as Firehose bills them: each delivered record rounded up to 5 KiB.
    pub billed_bytes: Count,
    /// What would have been billed for the same events with one event per record.
    pub billed_alone_bytes: Count,
    /// How long calls took, whatever they came to.
    pub call_durations: Histogram,
    /// When the destination last confirmed something, in milliseconds of Unix time; 0 for never
    /// since the agent started.
    pub last_success_ms: Count,
    /// What went wrong last on the destination's side.
    pub last_error: LastIncident,
    /// Records that were sent again, by reason.
    pub retried: CountsByReason,
    /// Events that may have been delivered twice: their outcome could not be known.
    pub possible_duplicates: Count,
    /// Events that passed without confirmation, by reason (`lost`, `dead_letter`, `trimmed` …).
    pub unconfirmed: CountsByReason,
    /// What the dead letters take on disk.
    pub dead_letter_bytes: Count,
    /// Events whose payload contains the delimiter that ends events.
    pub embedded_delimiter: Count,
    /// Events without the name that `identity` asks for, by reason (`not_object`, `raw`,
    /// `too_large`).
    pub unnamed: CountsByReason,
}

/// What the log takes on disk, and what it may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What all streams take.
    pub used_bytes: u64,
    /// What they may take: `wal.bytes_max`.
    pub bytes_max: u64,
    /// What the file system has free, once it was looked at.
    pub free_bytes: Option<u64>,
    /// What must stay free: `wal.free_bytes_min`.
    pub free_bytes_min: u64,
    /// Delivered segments that wait to be written again.
    pub pool_bytes: u64,
    /// The limit that keeps new events out, where one does.
    pub full: Option<String>,
}

/// What is not any one stream's.
#[derive(Debug, Default)]
pub struct AgentStatus {
    /// How far the agent is: `starting`, `ok`, `stopping`.
    pub phase: Health,
    /// Connections open now.
    pub connections: Count,
    /// Connections accepted since the start.
    pub accepted_connections: Count,
    /// What the dead letters of one stream may take: `upload.dead_letter_bytes_max`.
    pub dead_letter_bytes_max: Count,
    /// Lines refused before a stream was known, by [`crate::intake::Refusal::code`] and the like.
    pub refused: CountsByReason,
    /// The committed offsets' store: `ok`, `failing`, `restarted`.
    pub offsets: Health,
}

/// Times as RFC 3339 text, to the millisecond.
pub mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a time.
    pub fn serialize<S: Serializer>(time: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    /// Reads a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }

    /// The same for a time that there may not be.
    pub mod optional {
        use std::time::SystemTime;

        use serde::{Deserialize, Deserializer, Serializer};

        /// Writes a time, or null.
        pub fn serialize<S: Serializer>(
            time: &Option<SystemTime>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, s),
                None => s.serialize_none(),
            }
        }

        /// Reads a time, or null.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            let text = Option::<String>::deserialize(d)?;
            let time = text.map(|text| humantime::parse_rfc3339(&text));
            time.transpose().map_err(serde::de::Error::custom)
        }
    }
}
