//! Starts a router for every stream whose log was opened, and says what opening found.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use standpipe_wal::LogId;
use standpipe_wal::fs::Fs;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::dead_letters::DeadLetters;
use crate::journal::Opened;
use crate::limits::START_SCAN_MAX;
use crate::offsets::{Key, Offsets, Progress};
use crate::router;
use crate::router::destinations::Destinations;
use crate::sink::Sink;
use crate::tasks::{self, Stop};
use crate::uploader::gate::Gates;
use crate::uploader::memory::MemoryPool;
use crate::uploader::slots::Slots;
use crate::world::World;

/// What every router is given.
pub(super) struct Streams {
    pub(super) config: Arc<Config>,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) offsets: Arc<Offsets>,
    pub(super) progress: BTreeMap<Key, Progress>,
    pub(super) sinks: BTreeMap<String, Arc<dyn Sink>>,
    pub(super) slots: BTreeMap<String, Slots>,
    pub(super) destinations: Arc<Destinations>,
    pub(super) letters: Arc<DeadLetters>,
    pub(super) memory: MemoryPool,
    pub(super) gates: Gates,
    pub(super) stop: Stop,
    pub(super) world: World,
    /// Answered, or dropped, once the logs that were on disk are open.
    pub(super) scanned: oneshot::Receiver<()>,
}

impl Streams {
    /// Builds the sinks that are configured.
    pub(super) async fn build_sinks(
        config: &Config,
    ) -> anyhow::Result<BTreeMap<String, Arc<dyn Sink>>> {
        let mut sinks = BTreeMap::new();
        for (name, sink) in &config.sinks {
            let built = sink.build().await.with_context(|| format!("build the sink {name}"))?;
            sinks.insert(name.clone(), built);
        }
        Ok(sinks)
    }

    /// Runs until told to stop and until every router has ended. Nothing is delivered before the
    /// logs that were on disk are open: who waits for a log to take an event comes first, and a
    /// backlog has waited for longer.
    pub(super) async fn run(mut self, mut opened: mpsc::Receiver<Opened>) {
        let mut routers = JoinSet::new();
        let mut stop = self.stop.clone();
        let mut held = Some(Vec::new());
        let patience = tokio::time::sleep(START_SCAN_MAX);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                // A panic of a router was reported when it happened; its stream shows no progress.
                Some(_ended) = routers.join_next() => {}
                next = opened.recv() => match (next, &mut held) {
                    (Some(opened), Some(held)) => held.push(opened),
                    (Some(opened), None) => self.start(opened, &mut routers),
                    (None, _) => break,
                },
                // Dropped without an answer: there is nothing to wait for.
                _ = &mut self.scanned, if held.is_some() => self.start_held(&mut held, &mut routers),
                () = &mut patience, if held.is_some() => self.start_held(&mut held, &mut routers),
            }
        }
        while routers.join_next().await.is_some() {}
    }

    fn start_held(&mut self, held: &mut Option<Vec<Opened>>, routers: &mut JoinSet<()>) {
        for opened in held.take().into_iter().flatten() {
            self.start(opened, routers);
        }
    }

    fn start(&mut self, opened: Opened, routers: &mut JoinSet<()>) {
        report(&opened);
        let stream = &opened.stream;
        let settings = stream.settings().clone();
        let Some(sink) = self.sinks.get(&settings.sink) else {
            // The configuration was checked: a stream's sink exists.
            tracing::error!(stream = %stream.name(), sink = settings.sink, "no such sink");
            return;
        };
        let key = Key { stream: stream.name().clone(), sink: settings.sink.clone() };
        let mut progress = self.progress.remove(&key);
        if let Some(progress) = &mut progress {
            match adopt(progress, opened.log_id, &opened.recovery.known_ids) {
                Adopted::Unchanged => stream.resume(progress),
                // Trims once it is stored: until then only the old name leads to this log.
                Adopted::Renamed => self.offsets.commit(&key, progress.clone()),
                Adopted::No => {}
            }
        }
        let destination = settings.delivery_stream.as_deref().unwrap_or(stream.name().as_str());
        let destination: Arc<str> = destination.into();
        let in_flight_max = self.config.upload.in_flight_max;
        let slots = self.slots.entry(settings.sink.clone());
        let slots = slots.or_insert_with(|| Slots::new(in_flight_max));
        let seed = self.world.entropy.u64();
        let gate = self.gates.to(&settings.sink, &destination, settings.quota, seed);
        let task = router::Task {
            stream: stream.name().clone(),
            dir: opened.dir,
            fs: self.fs.clone(),
            log_id: *opened.log_id.as_bytes(),
            oldest: opened.oldest,
            durable: opened.durable,
            destination,
            destinations: self.destinations.clone(),
            sink: sink.clone(),
            sink_name: settings.sink.clone(),
            settings,
            progress,
            letters: self.letters.clone(),
            commits: self.offsets.clone(),
            memory: self.memory.clone(),
            slots: slots.clone(),
            gate,
            status: stream.status().clone(),
            backoff_max: self.config.upload.backoff_max,
            drain_timeout: self.config.upload.drain_timeout,
            stop: self.stop.clone(),
            world: self.world.clone(),
        };
        tasks::spawn_on(routers, router::run(task));
    }
}

/// Whose progress was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adopted {
    /// This log's, under its present name.
    Unchanged,
    /// This log's, under a name that it had before bytes had to be set aside.
    Renamed,
    /// Another log's: it says nothing about these events, and nothing may be trimmed by it.
    No,
}

/// Notes this log's progress under the name that the log has now.
fn adopt(progress: &mut Progress, log_id: LogId, known_ids: &[LogId]) -> Adopted {
    let noted = LogId::new(progress.log_id);
    if noted == log_id {
        return Adopted::Unchanged;
    }
    if !known_ids.contains(&noted) {
        return Adopted::No;
    }
    progress.log_id = *log_id.as_bytes();
    Adopted::Renamed
}

fn report(opened: &Opened) {
    let stream = opened.stream.name();
    let recovery = &opened.recovery;
    tracing::info!(%stream, offset = %recovery.next, rewritten_events = recovery.rewritten_events,
        "opened the log");
    if !recovery.lost.is_empty() || !recovery.set_aside.is_empty() {
        tracing::error!(%stream, lost = ?recovery.lost, set_aside = ?recovery.set_aside,
            "the log is damaged; what could not be read was set aside");
    }
    if recovery.unproven_bytes > 0 {
        tracing::warn!(%stream, unproven_bytes = recovery.unproven_bytes,
            quarantined = ?recovery.quarantined,
            "the log ends in bytes that nothing proves to have been acknowledged, as a write leaves \
             them that a crash has cut off; they were set aside");
    }
    if !recovery.damaged_headers.is_empty() {
        tracing::warn!(%stream, damaged_headers = ?recovery.damaged_headers,
            "headers in the log are damaged; nothing is lost by it, the files are read by their \
             frames");
    }
    if !recovery.strays.is_empty() {
        tracing::warn!(%stream, strays = ?recovery.strays,
            "there are files of somebody else in the log's directory; left alone");
    }
}

impl router::Commits for Offsets {
    fn commit(&self, key: &Key, progress: Progress) {
        Self::commit(self, key, progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_follows_a_log_that_was_renamed_and_no_other() {
        let id = |byte| LogId::new([byte; 16]);
        for (noted, adopted, after) in
            [(3, Adopted::Unchanged, 3), (1, Adopted::Renamed, 3), (9, Adopted::No, 9)]
        {
            let mut progress = Progress { log_id: [noted; 16], ..Progress::default() };
            assert_eq!(adopt(&mut progress, id(3), &[id(1), id(2)]), adopted);
            assert_eq!(progress.log_id, [after; 16]);
        }
    }
}
