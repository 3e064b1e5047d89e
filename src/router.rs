//! One task per stream: what is durable becomes calls, calls become confirmed ranges.
//!
//! The router reads the segment files up to the durable offset and no further, packs events into
//! records and records into calls, and hands them to the uploader. It waits on values (the durable
//! offset, the stop) and on its own calls, never on a notification that could be missed.

pub(crate) mod aggregate;
mod asking;
mod backlog;
pub(crate) mod batch;
mod build;
mod burial;
pub mod choice;
pub mod destinations;
mod pending;
mod shrink;
mod start;
mod stream;
pub(crate) mod tail;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::fs::Fs;
use standpipe_wal::{Offset, StreamName};
use tokio::sync::watch;

use crate::config::StreamConfig;
use crate::dead_letters::DeadLetters;
use crate::offsets::{Key, Progress};
use crate::sink::Sink;
use crate::status::StreamStatus;
use crate::tasks::Stop;
use crate::uploader::gate::Gate;
use crate::uploader::memory::MemoryPool;
use crate::uploader::slots::Slots;
use crate::world::World;

use self::destinations::Destinations;
pub use crate::journal::Durable;

/// Where confirmed progress goes.
pub trait Commits: Debug + Send + Sync {
    /// Hands over the present progress; a later one replaces an earlier one that is not stored yet.
    /// Never blocks and never fails: trouble of the store is the store's to report and to mend.
    fn commit(&self, key: &Key, progress: Progress);
}

/// Everything that delivering one stream needs.
#[derive(Debug)]
pub struct Task {
    /// The stream.
    pub stream: StreamName,
    /// The directory of the stream's segments.
    pub dir: PathBuf,
    /// The file system that the segments are on.
    pub fs: Arc<dyn Fs>,
    /// The log that the offsets belong to.
    pub log_id: [u8; 16],
    /// The first offset that is still in the log.
    pub oldest: Offset,
    /// How far the log is durable.
    pub durable: watch::Receiver<Durable>,
    /// What was configured for the stream.
    pub settings: StreamConfig,
    /// The name at the destination.
    pub destination: Arc<str>,
    /// What is known about destinations, for `aggregate = "auto"`.
    pub destinations: Arc<Destinations>,
    /// The destination.
    pub sink: Arc<dyn Sink>,
    /// The sink's name in the configuration.
    pub sink_name: String,
    /// The stream's progress as the offset store knows it.
    pub progress: Option<Progress>,
    /// Where events go that are refused for certain.
    pub letters: Arc<DeadLetters>,
    /// Where new progress goes.
    pub commits: Arc<dyn Commits>,
    /// The bytes that calls of all streams may take.
    pub memory: MemoryPool,
    /// The calls that all streams of the sink may have under way.
    pub slots: Slots,
    /// The pace of the delivery stream, shared by all streams that go there.
    pub gate: Gate,
    /// Where the stream's numbers and state are kept.
    pub status: Arc<StreamStatus>,
    /// The longest pause between attempts.
    pub backoff_max: Duration,
    /// Whether this agent has delivered the stream before, up to `progress`.
    pub goes_on: bool,
    /// When to drain and end.
    pub stop: Stop,
    /// When to end without beginning anything more, because another task is to go on from here.
    pub relief: Stop,
    /// How long draining may take.
    pub drain_timeout: Duration,
    /// Threads, the time of day, randomness.
    pub world: World,
}

/// Delivers a stream until it is told to stop, then drains it: for as long as `drain_timeout`
/// allows, and not at all while nothing gets through. Where it is relieved, calls under way have as
/// long to end. What was confirmed is handed to
/// [`Task::commits`] before this returns. Calls that are cut off may be delivered again later.
pub async fn run(task: Task) {
    let asking = asking::Asking::new(&task);
    let stream = stream::Stream::new(task, asking.rules()).run();
    tokio::select! {
        biased;
        () = stream => {}
        () = asking.run() => {}
    }
}
