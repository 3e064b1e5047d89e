//! The worker that makes commits of all streams durable together, and its handle.
//!
//! Commits are left in a tray, which is a `watch`: the worker waits until the tray's content is such
//! that there is something to do, and looks before it waits. There is no signal that could be missed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::keeper::{Finding, Keeper};
use super::store::{Failure, OffsetStore};
use super::{Key, Progress};
use crate::limits::{
    OFFSETS_CALL_MAX, OFFSETS_RETRY_INTERVAL, OFFSETS_START_PATIENCE, OFFSETS_SYNC_INTERVAL,
};
use crate::status::AgentStatus;
use crate::tasks::BoxFuture;
use crate::world::{self, OnPanic, World};

/// What is told about each commit once it is durable. The next round waits until it was told.
pub type OnDurable = Box<dyn Fn(&Key, &Progress) -> BoxFuture<'static, ()> + Send>;

/// Commits that are not durable, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("committed offsets could not be saved: {0}")]
pub struct Unsaved(String);

/// The committed offsets of all streams. Its failures never reach those who commit: they show in
/// [`AgentStatus::offsets`], and nothing is trimmed meanwhile.
#[derive(Debug)]
pub struct Offsets {
    desk: Arc<Desk>,
    worker: Mutex<Option<world::Worker>>,
}

/// Where commits are left for the worker.
#[derive(Debug)]
struct Desk {
    tray: watch::Sender<Tray>,
    status: Arc<AgentStatus>,
}

#[derive(Debug, Default)]
struct Tray {
    /// The newest value of each key that the worker has not taken yet.
    commits: BTreeMap<Key, Progress>,
    /// Who waits for everything committed so far to be durable.
    waiting: Vec<oneshot::Sender<Result<(), Unsaved>>>,
    stop: bool,
    /// When the worker called into the store, while it has not returned.
    in_call_since: Option<Instant>,
}

impl Tray {
    /// Whether somebody waits for the worker.
    fn is_urgent(&self) -> bool {
        self.stop || !self.waiting.is_empty()
    }

    /// Whether there is anything for it to do.
    fn has_work(&self) -> bool {
        self.is_urgent() || !self.commits.is_empty()
    }
}

impl Offsets {
    /// Starts the worker and returns what the store holds, once it was read; where that fails for a
    /// reason that may pass, after at most [`OFFSETS_START_PATIENCE`], and delivery begins at the
    /// oldest event that the log retains.
    ///
    /// `on_durable` runs on the worker, after the sync.
    ///
    /// # Errors
    /// Where no worker can be started.
    pub async fn start(
        store: Box<dyn OffsetStore>,
        on_durable: OnDurable,
        status: Arc<AgentStatus>,
        world: &World,
    ) -> io::Result<(Self, BTreeMap<Key, Progress>)> {
        let desk = Arc::new(Desk { tray: watch::Sender::default(), status });
        let (loaded, load) = oneshot::channel();
        let worker = Worker {
            desk: Arc::clone(&desk),
            keeper: Keeper::new(store),
            on_durable,
            restarted: None,
        };
        let run = Box::pin(worker.run(loaded));
        let worker = world.workers.start("offsets".into(), run, OnPanic::Unwind)?;
        // The sender goes only if the worker panicked, which the hook reports: nothing was read.
        let values = load.await.unwrap_or_default();
        Ok((Self { desk, worker: Mutex::new(Some(worker)) }, values))
    }

    /// Takes a commit, to be made durable soon. Never waits for the store; of several commits of
    /// one key the newest wins.
    pub fn commit(&self, key: &Key, progress: Progress) {
        let mut in_call = None;
        self.desk.tray.send_modify(|tray| {
            match tray.commits.get_mut(key) {
                Some(older) => *older = progress,
                None => {
                    tray.commits.insert(key.clone(), progress);
                }
            }
            in_call = tray.in_call_since.map(|since| since.elapsed());
        });
        if let Some(duration) = in_call.filter(|&duration| duration > OFFSETS_CALL_MAX) {
            let reason = format!("a call has not returned for {} s", duration.as_secs());
            self.desk.enter("stuck", &reason);
        }
    }

    /// Returns once everything committed before the call is durable, or could not be made so.
    ///
    /// # Errors
    /// Where the store failed, or was stopped.
    pub async fn flush(&self) -> Result<(), Unsaved> {
        let (answer, answered) = oneshot::channel();
        // After the stop the answer is dropped here, which says that there will be none.
        self.desk.tray.send_if_modified(|tray| {
            if !tray.stop {
                tray.waiting.push(answer);
            }
            !tray.stop
        });
        answered.await.unwrap_or_else(|_| Err(Unsaved("the store was stopped".into())))
    }

    /// Makes durable what was committed, closes the store and ends the worker; returns when it has
    /// ended. Later commits are not saved.
    pub async fn stop(&self) {
        self.desk.stop();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // A panic was reported by the hook; what it left unsaved is delivered again.
            worker.ended().await;
        }
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        self.desk.stop();
    }
}

impl Desk {
    fn stop(&self) {
        self.tray.send_modify(|tray| tray.stop = true);
    }

    /// Enters a state and logs the change.
    fn enter(&self, state: &str, reason: &str) {
        if self.status.offsets.enter(state, reason).is_some() {
            if reason.is_empty() {
                info!(state, "the store of offsets works again");
            } else {
                warn!(state, reason, "the store of offsets has trouble");
            }
        }
    }

    /// Waits for work, but with commits alone not before `not_before`. Takes all of it.
    async fn take_work(&self, not_before: Instant, unfinished: bool) -> Work {
        let mut tray = self.tray.subscribe();
        // Waiting fails only where the tray's sender is gone, and it is here.
        let hurried = timeout_at(not_before, tray.wait_for(Tray::is_urgent)).await.is_ok();
        if !hurried && !unfinished {
            let _here = tray.wait_for(Tray::has_work).await.is_ok();
        }
        let mut work = None;
        self.tray.send_if_modified(|tray| {
            tray.in_call_since = Some(Instant::now());
            work = Some(Work {
                commits: std::mem::take(&mut tray.commits),
                waiting: std::mem::take(&mut tray.waiting),
                stop: tray.stop,
            });
            false
        });
        work.unwrap_or_default()
    }

    /// Waits until a point in time, or until told to stop.
    async fn is_stopped_before(&self, until: Instant) -> bool {
        let mut tray = self.tray.subscribe();
        timeout_at(until, tray.wait_for(|tray| tray.stop)).await.is_ok()
    }

    fn returned(&self) {
        self.tray.send_if_modified(|tray| {
            tray.in_call_since = None;
            false
        });
    }
}

#[derive(Default)]
struct Work {
    commits: BTreeMap<Key, Progress>,
    waiting: Vec<oneshot::Sender<Result<(), Unsaved>>>,
    stop: bool,
}

struct Worker {
    desk: Arc<Desk>,
    keeper: Keeper,
    on_durable: OnDurable,
    /// Why the store was begun anew, once it was: said until the agent ends.
    restarted: Option<String>,
}

impl Drop for Worker {
    /// Nobody waits for a worker that is gone, however it went.
    fn drop(&mut self) {
        self.desk.tray.send_modify(|tray| {
            tray.stop = true;
            tray.waiting.clear();
        });
    }
}

impl Worker {
    async fn run(mut self, loaded: oneshot::Sender<BTreeMap<Key, Progress>>) {
        let (mut pause, values) = self.open().await;
        if loaded.send(values).is_err() {
            return;
        }
        loop {
            let unfinished = self.keeper.is_unfinished();
            let work = self.desk.take_work(Instant::now() + pause, unfinished).await;
            let outcome = self.round(work.commits).await;
            pause = match outcome {
                Ok(()) => OFFSETS_SYNC_INTERVAL,
                Err(_) => OFFSETS_RETRY_INTERVAL,
            };
            for waiting in work.waiting {
                // Nobody waits any more where this fails.
                let _heard = waiting.send(outcome.clone()).is_ok();
            }
            if work.stop {
                self.keeper.close();
                return;
            }
        }
    }

    /// Reads the store, with some patience. Returns when to come back, and what is durable in it.
    async fn open(&mut self) -> (Duration, BTreeMap<Key, Progress>) {
        let began = Instant::now();
        loop {
            if self.round(BTreeMap::new()).await.is_ok() {
                return (Duration::ZERO, self.keeper.values().clone());
            }
            let left = OFFSETS_START_PATIENCE.saturating_sub(began.elapsed());
            if left.is_zero() {
                return (OFFSETS_RETRY_INTERVAL, BTreeMap::new());
            }
            let until = Instant::now() + left.min(OFFSETS_RETRY_INTERVAL);
            if self.desk.is_stopped_before(until).await {
                return (Duration::ZERO, BTreeMap::new());
            }
        }
    }

    async fn round(&mut self, commits: BTreeMap<Key, Progress>) -> Result<(), Unsaved> {
        let outcome = self.keeper.round(commits);
        self.desk.returned();
        for finding in self.keeper.take_findings() {
            self.report(finding);
        }
        match outcome {
            Ok(durable) => {
                match &self.restarted {
                    Some(reason) => self.desk.enter("restarted", reason),
                    None => self.desk.enter("ok", ""),
                }
                let telling = self.tell(&durable);
                for told in telling {
                    told.await;
                }
                Ok(())
            }
            Err(failure) => {
                let reason = describe(&failure);
                self.desk.enter("failing", &reason);
                Err(Unsaved(reason))
            }
        }
    }

    fn tell(&self, durable: &BTreeSet<Key>) -> Vec<BoxFuture<'static, ()>> {
        let values = durable.iter().filter_map(|key| self.keeper.values().get_key_value(key));
        values.map(|(key, progress)| (self.on_durable)(key, progress)).collect()
    }

    fn report(&mut self, finding: Finding) {
        match finding {
            Finding::Restarted { reason, kept, progress_lost } => {
                let kept = kept.map(|path| path.display().to_string());
                warn!(
                    reason,
                    kept,
                    progress_lost,
                    "began a new store of offsets; lost progress means duplicates, no loss"
                );
                self.restarted = Some(reason);
            }
            Finding::Unreadable { key, reason } => {
                warn!(key, reason, "a committed offset cannot be read; its stream begins again");
            }
        }
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Transient { source, .. } | Failure::Unsynced { source, .. } => {
            format!("{failure}: {source}")
        }
        Failure::Broken { .. } => failure.to_string(),
    }
}

#[cfg(test)]
mod tests;
