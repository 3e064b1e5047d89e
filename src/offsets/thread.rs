//! The thread that makes commits of all streams durable together, and its handle.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::keeper::{Finding, Keeper};
use super::store::{Failure, OffsetStore};
use super::{Key, Progress};
use crate::limits::{
    OFFSETS_CALL_MAX, OFFSETS_RETRY_INTERVAL, OFFSETS_START_PATIENCE, OFFSETS_SYNC_INTERVAL,
};
use crate::status::AgentStatus;

/// What is told about each commit once it is durable.
pub type OnDurable = Box<dyn Fn(&Key, &Progress) + Send>;

/// Commits that are not durable, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("committed offsets could not be saved: {0}")]
pub struct Unsaved(String);

/// The committed offsets of all streams. Its failures never reach those who commit: they show in
/// [`AgentStatus::offsets`], and nothing is trimmed meanwhile.
#[derive(Debug)]
pub struct Offsets {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where commits are left for the thread.
#[derive(Debug)]
struct Desk {
    tray: Mutex<Tray>,
    changed: Condvar,
    status: Arc<AgentStatus>,
}

#[derive(Debug, Default)]
struct Tray {
    /// The newest value of each key that the thread has not taken yet.
    commits: BTreeMap<Key, Progress>,
    /// Who waits for everything committed so far to be durable.
    waiting: Vec<oneshot::Sender<Result<(), Unsaved>>>,
    stop: bool,
    /// When the thread called into the store, while it has not returned.
    in_call_since: Option<Instant>,
}

impl Offsets {
    /// Starts the thread and returns what the store holds. Blocks until the store was read; where
    /// that fails for a reason that may pass, at most [`OFFSETS_START_PATIENCE`], and delivery
    /// begins at the oldest event that the log retains.
    ///
    /// `on_durable` runs on the thread, after the sync.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(
        store: Box<dyn OffsetStore>,
        on_durable: OnDurable,
        status: Arc<AgentStatus>,
    ) -> io::Result<(Self, BTreeMap<Key, Progress>)> {
        let desk = Arc::new(Desk { tray: Mutex::default(), changed: Condvar::new(), status });
        let (loaded, load) = std::sync::mpsc::sync_channel(1);
        let worker = Worker {
            desk: Arc::clone(&desk),
            keeper: Keeper::new(store),
            on_durable,
            restarted: None,
        };
        let thread = std::thread::Builder::new()
            .name("offsets".into())
            .spawn(move || worker.run(&loaded))?;
        // The sender goes only if the thread panicked, which the hook reports: nothing was read.
        let values = load.recv().unwrap_or_default();
        Ok((Self { desk, thread: Mutex::new(Some(thread)) }, values))
    }

    /// Takes a commit, to be made durable soon. Never waits for the store; of several commits of
    /// one key the newest wins.
    pub fn commit(&self, key: &Key, progress: Progress) {
        let mut tray = self.desk.lock();
        match tray.commits.get_mut(key) {
            Some(older) => *older = progress,
            None => {
                tray.commits.insert(key.clone(), progress);
            }
        }
        let in_call = tray.in_call_since.map(|since| since.elapsed());
        drop(tray);
        self.desk.changed.notify_one();
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
        let gone = || Err(Unsaved("the thread has stopped".into()));
        let (answer, answered) = oneshot::channel();
        {
            let mut tray = self.desk.lock();
            if tray.stop {
                return gone();
            }
            tray.waiting.push(answer);
        }
        self.desk.changed.notify_one();
        answered.await.unwrap_or_else(|_| gone())
    }

    /// Makes durable what was committed, closes the store and ends the thread. Blocks for that
    /// long. Later commits are not saved.
    pub fn stop(&self) {
        self.desk.lock().stop = true;
        self.desk.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic was reported by the hook; what it left unsaved is delivered again.
            let _ended = thread.join().is_ok();
        }
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn take_work(&self, not_before: Instant, unfinished: bool) -> Work {
        let mut tray = self.lock();
        loop {
            let due = not_before.saturating_duration_since(Instant::now());
            let has_work = unfinished || !tray.commits.is_empty();
            if tray.stop || !tray.waiting.is_empty() || (has_work && due.is_zero()) {
                tray.in_call_since = Some(Instant::now());
                return Work {
                    commits: std::mem::take(&mut tray.commits),
                    waiting: std::mem::take(&mut tray.waiting),
                    stop: tray.stop,
                };
            }
            tray = if has_work {
                self.changed.wait_timeout(tray, due).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(tray).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}

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
    /// Nobody waits for a thread that is gone, however it went.
    fn drop(&mut self) {
        let mut tray = self.desk.lock();
        tray.stop = true;
        tray.waiting.clear();
    }
}

impl Worker {
    fn run(mut self, loaded: &std::sync::mpsc::SyncSender<BTreeMap<Key, Progress>>) {
        let mut pause = self.open();
        if loaded.send(self.keeper.values().clone()).is_err() {
            return;
        }
        loop {
            let unfinished = self.keeper.is_unfinished();
            let work = self.desk.take_work(Instant::now() + pause, unfinished);
            let outcome = self.round(work.commits);
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

    /// Reads the store, with some patience. Returns when to come back.
    fn open(&mut self) -> Duration {
        let began = Instant::now();
        loop {
            if self.round(BTreeMap::new()).is_ok() {
                return Duration::ZERO;
            }
            let left = OFFSETS_START_PATIENCE.saturating_sub(began.elapsed());
            if left.is_zero() {
                return OFFSETS_RETRY_INTERVAL;
            }
            std::thread::park_timeout(left.min(OFFSETS_RETRY_INTERVAL));
        }
    }

    fn round(&mut self, commits: BTreeMap<Key, Progress>) -> Result<(), Unsaved> {
        let outcome = self.keeper.round(commits);
        self.desk.lock().in_call_since = None;
        for finding in self.keeper.take_findings() {
            self.report(finding);
        }
        match outcome {
            Ok(durable) => {
                match &self.restarted {
                    Some(reason) => self.desk.enter("restarted", reason),
                    None => self.desk.enter("ok", ""),
                }
                self.tell(&durable);
                Ok(())
            }
            Err(failure) => {
                let reason = describe(&failure);
                self.desk.enter("failing", &reason);
                Err(Unsaved(reason))
            }
        }
    }

    fn tell(&self, durable: &BTreeSet<Key>) {
        for key in durable {
            if let Some(progress) = self.keeper.values().get(key) {
                (self.on_durable)(key, progress);
            }
        }
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
