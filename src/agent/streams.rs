//! Starts a router for every stream whose log was opened, says what opening found, and starts it anew
//! where other settings hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context as _;
use standpipe_wal::LogId;
use standpipe_wal::fs::Fs;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};

use super::running::{Carried, Place, Running};
use crate::config::{Config, StreamConfig};
use crate::dead_letters::DeadLetters;
use crate::intake::Intake;
use crate::journal::{Journal, Opened};
use crate::limits::START_SCAN_MAX;
use crate::offsets::{Key, Offsets, Progress};
use crate::router;
use crate::router::destinations::Destinations;
use crate::sink::{Sink, SinkConfig};
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
    pub(super) running: HashMap<Id, Running>,
    pub(super) stop: Stop,
    pub(super) world: World,
    /// Answered, or dropped, once the logs that were on disk are open.
    pub(super) scanned: oneshot::Receiver<()>,
}

/// Another configuration, to be followed from now on.
pub(super) struct Change {
    pub(super) config: Config,
    /// The sinks that are new or have other options.
    pub(super) rebuilt: BTreeMap<String, Arc<dyn Sink>>,
    pub(super) intake: Intake,
    pub(super) journal: Arc<Journal>,
    /// Told which open streams are delivered anew.
    pub(super) done: oneshot::Sender<Vec<String>>,
}

/// Builds sinks.
pub(super) async fn build_sinks(
    configured: impl Iterator<Item = (&String, &Arc<dyn SinkConfig>)>,
) -> anyhow::Result<BTreeMap<String, Arc<dyn Sink>>> {
    let mut sinks = BTreeMap::new();
    for (name, sink) in configured {
        let built = sink.build().await.with_context(|| format!("build the sink {name}"))?;
        sinks.insert(name.clone(), built);
    }
    Ok(sinks)
}

impl Streams {
    /// Runs until told to stop and until every router has ended. Nothing is delivered before the
    /// logs that were on disk are open: who waits for a log to take an event comes first, and a
    /// backlog has waited for longer.
    pub(super) async fn run(
        mut self,
        mut opened: mpsc::Receiver<Opened>,
        mut changes: mpsc::Receiver<Change>,
    ) {
        let mut routers = JoinSet::new();
        let mut stop = self.stop.clone();
        let mut held = Some(Vec::new());
        let patience = tokio::time::sleep(START_SCAN_MAX);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                Some(ended) = routers.join_next_with_id() => {
                    // A panic of a router was reported when it happened; its stream shows no progress.
                    let id = ended.map_or_else(|panicked| panicked.id(), |(id, ())| id);
                    self.go_on(id, &mut routers);
                }
                Some(change) = changes.recv() => self.follow(change),
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
        let Opened { stream, dir, log_id, oldest, durable, recovery } = opened;
        let key = Key { stream: stream.name().clone(), sink: stream.settings().sink.clone() };
        let mut progress = self.progress.remove(&key);
        if let Some(progress) = &mut progress {
            match adopt(progress, log_id, &recovery.known_ids) {
                Adopted::Unchanged => stream.resume(progress),
                // Trims once it is stored: until then only the old name leads to this log.
                Adopted::Renamed => self.offsets.commit(&key, progress.clone()),
                Adopted::No => {}
            }
        }
        self.deliver(Place { stream, dir, log_id, oldest, durable }, progress, false, routers);
    }

    fn deliver(
        &mut self,
        place: Place,
        progress: Option<Progress>,
        goes_on: bool,
        routers: &mut JoinSet<()>,
    ) {
        let settings = place.stream.settings();
        let stream = place.stream.name();
        let Some(sink) = self.sinks.get(&settings.sink) else {
            // The configuration was checked: a stream's sink exists.
            tracing::error!(%stream, sink = settings.sink, "no such sink");
            return;
        };
        let destination = destination(&place, &settings);
        let in_flight_max = self.config.upload.in_flight_max;
        let slots = self.slots.entry(settings.sink.clone());
        let slots = slots.or_insert_with(|| Slots::new(in_flight_max));
        let seed = self.world.entropy.u64();
        let gate = self.gates.to(&settings.sink, &destination, settings.quota, seed);
        let carried = Arc::new(Carried::new(self.offsets.clone(), progress.clone()));
        let (relief, relieved) = tasks::stop_pair();
        let task = router::Task {
            stream: stream.clone(),
            dir: place.dir.clone(),
            fs: self.fs.clone(),
            log_id: *place.log_id.as_bytes(),
            oldest: place.oldest,
            durable: place.durable.clone(),
            destination,
            destinations: self.destinations.clone(),
            sink: sink.clone(),
            sink_name: settings.sink.clone(),
            settings: (*settings).clone(),
            progress,
            letters: self.letters.clone(),
            commits: carried.clone(),
            memory: self.memory.clone(),
            slots: slots.clone(),
            gate,
            status: place.stream.status().clone(),
            backoff_max: self.config.upload.backoff_max,
            drain_timeout: self.config.upload.drain_timeout,
            goes_on,
            stop: self.stop.clone(),
            relief: relieved,
            world: self.world.clone(),
        };
        let id = routers.spawn(router::run(task)).id();
        self.running.insert(id, Running { place, settings, carried, relief: Some(relief) });
    }

    /// A router has ended: where it was relieved, the next one goes on with what holds now.
    fn go_on(&mut self, id: Id, routers: &mut JoinSet<()>) {
        let Some(running) = self.running.remove(&id) else { return };
        if running.relief.is_some() {
            return;
        }
        let progress = running.carried.last();
        let settings = running.place.stream.settings();
        let stream = running.place.stream.name().clone();
        if let Some(progress) = &progress {
            // Under the name of the sink that it goes to now: what others have confirmed is done.
            let key = Key { stream: stream.clone(), sink: settings.sink.clone() };
            self.offsets.commit(&key, progress.clone());
        }
        tracing::info!(%stream, sink = settings.sink, "delivery goes on with other settings");
        self.deliver(running.place, progress, true, routers);
    }

    /// First the sinks: whatever refers to them finds them. What is opened meanwhile waits here to be
    /// delivered, and is delivered with what holds then.
    fn follow(&mut self, change: Change) {
        let Change { config, rebuilt, intake, journal, done } = change;
        let is_rebuilt = |sink: &str| rebuilt.contains_key(sink);
        self.sinks.extend(rebuilt.iter().map(|(name, sink)| (name.clone(), sink.clone())));
        intake.set_streams(config.stream_default.clone(), config.streams.clone());
        for stream in journal.streams() {
            stream.set_settings(config.stream(stream.name()).clone());
        }
        self.sinks.retain(|name, _| config.sinks.contains_key(name));
        self.slots.retain(|name, _| config.sinks.contains_key(name));
        self.gates.begin_anew(is_rebuilt);
        let mut anew = Vec::new();
        for running in self.running.values_mut() {
            let settings = running.place.stream.settings();
            if *settings != *running.settings || is_rebuilt(&settings.sink) {
                anew.push(running.place.stream.name().to_string());
                // Dropped, which says it.
                running.relief = None;
            } else {
                let destination = destination(&running.place, &settings);
                let seed = self.world.entropy.u64();
                self.gates.to(&settings.sink, &destination, settings.quota, seed);
            }
        }
        anew.sort();
        // Whoever asked is gone.
        let _gone = done.send(anew).is_err();
    }
}

/// The name at the destination.
fn destination(place: &Place, settings: &StreamConfig) -> Arc<str> {
    settings.delivery_stream.as_deref().unwrap_or(place.stream.name().as_str()).into()
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
