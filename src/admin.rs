//! How a running agent is asked: HTTP on a unix socket that only its own user may open, and where
//! `admin.listen` is configured, on a network address for those who only look.
//!
//! `GET /api/status` answers with a [`Snapshot`], `/metrics` with the same for Prometheus, `/healthz`
//! while the agent is alive, `/readyz` while it takes events. [`client`] is the other end, for the
//! commands.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use standpipe_wal::StreamName;

use crate::journal::Journal;
use crate::limits::RATE_INTERVAL;
use crate::status::{AgentStatus, Disk, StreamStatus};

pub mod client;
pub mod cost;
pub mod dead_letters;
mod http;
pub mod metrics;
pub mod process;
pub mod rates;
pub mod reload;
pub mod snapshot;
mod socket;

pub use http::{HURRY_PATH, Hurry, LOG_LEVEL_PATH, STATUS_PATH, bind_tcp, serve, serve_tcp};
use rates::Rates;
pub use snapshot::{Snapshot, StreamSnapshot};
pub use socket::{Listener, bind};

/// Who knows the streams: the journal.
pub trait Streams: Debug + Send + Sync {
    /// Every stream and its numbers, sorted by name.
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)>;

    /// What they take on disk.
    fn disk(&self) -> Disk;

    /// Has everything that is durable now delivered without waiting for company. Says whether
    /// there is such a stream.
    fn hurry(&self, name: &StreamName) -> bool;
}

/// Nobody's streams.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct NoStreams;

#[cfg(test)]
impl Streams for NoStreams {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        Vec::new()
    }

    fn disk(&self) -> Disk {
        Disk::default()
    }

    fn hurry(&self, _name: &StreamName) -> bool {
        false
    }
}

impl Streams for Journal {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        let streams = Self::streams(self);
        streams.iter().map(|stream| (stream.name().clone(), stream.status().clone())).collect()
    }

    fn disk(&self) -> Disk {
        Self::disk(self)
    }

    fn hurry(&self, name: &StreamName) -> bool {
        self.find(name).map(|stream| stream.hurry()).is_some()
    }
}

/// Everything that the agent knows about itself.
#[derive(Clone, Debug)]
pub struct Registry {
    streams: Arc<dyn Streams>,
    agent: Arc<AgentStatus>,
    rates: Arc<Rates>,
    /// The bits of an `f64`, which can change while it is read.
    price_per_gb: Arc<AtomicU64>,
    started: SystemTime,
}

impl Registry {
    /// Of an agent that starts now.
    pub fn new(streams: Arc<dyn Streams>, agent: Arc<AgentStatus>, price_per_gb: f64) -> Self {
        let rates = Arc::default();
        let price_per_gb = Arc::new(AtomicU64::new(price_per_gb.to_bits()));
        Self { streams, agent, rates, price_per_gb, started: SystemTime::now() }
    }

    /// What a billed GiB costs from now on, also of what was delivered before.
    pub fn set_price_per_gb(&self, price: f64) {
        self.price_per_gb.store(price.to_bits(), Ordering::Relaxed);
    }

    /// Looks at the counters at regular intervals, for ever, so that there are rates.
    pub async fn watch_rates(self) {
        let mut interval = tokio::time::interval(RATE_INTERVAL);
        loop {
            let now = interval.tick().await;
            self.rates.look(&self.streams.streams(), now);
        }
    }

    /// Has these streams, or all of them, delivered without waiting for company. Says which of them
    /// does not exist.
    fn hurry(&self, names: &[String]) -> Result<(), String> {
        if names.is_empty() {
            for (name, _) in self.streams.streams() {
                self.streams.hurry(&name);
            }
            return Ok(());
        }
        let exists = |name: &String| name.parse().is_ok_and(|name| self.streams.hurry(&name));
        let missing = names.iter().find(|name| !exists(name));
        missing.map_or(Ok(()), |name| Err(name.clone()))
    }

    /// The numbers of this moment. Numbers that are written one after the other may be read in
    /// between; none of them is older than the call.
    pub fn snapshot(&self) -> Snapshot {
        let seen = snapshot::Seen {
            streams: &self.streams.streams(),
            agent: &self.agent,
            rates: &self.rates,
            disk: self.streams.disk(),
            price_per_gb: f64::from_bits(self.price_per_gb.load(Ordering::Relaxed)),
            started: self.started,
        };
        snapshot::take(seen, SystemTime::now())
    }
}

#[cfg(test)]
mod tests;
