//! One owner: take what is queued, write it, sync each dirty file once, answer everybody.
//!
//! It waits in two places only, for a message and for room to announce a log that it opened; between
//! them a round runs to its end and blocks on the disk, so it is a worker of its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::fs::Fs;
use standpipe_wal::{Offset, Options, StreamName};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::quota::Quota;
use super::slot::Slot;
use super::slow_sync::SlowSyncs;
use super::{Message, Opened, Stream};
use crate::limits::{ROUND_BYTES_MAX, WRITE_RETRY_MAX};
use crate::world::World;

/// What all owners have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) sync_interval: Duration,
    pub(super) quota: Arc<Quota>,
    pub(super) slow_syncs: SlowSyncs,
    pub(super) confirmed: HashMap<StreamName, Offset>,
    pub(super) opened: mpsc::Sender<Opened>,
    pub(super) world: World,
}

/// The worker's state.
pub(super) struct Owner {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Message>,
    slots: BTreeMap<u32, Slot>,
    /// Streams with events that were pushed and not synced.
    dirty: Vec<u32>,
    /// Whether some stream has as much to sync as one round may hold.
    round_is_full: bool,
    /// When what is dirty is to be synced, where a sync is shared over an interval.
    sync_at: Option<Instant>,
    /// When some stream needs attention without a message: a retry, a trim, an idle roll.
    care_at: Option<Instant>,
    /// Streams whose logs are to be opened without an event for them.
    unopened: VecDeque<Arc<Stream>>,
    when_opened: Vec<oneshot::Sender<()>>,
    /// Logs that were opened in this round, and whose readers do not know it yet.
    opened: Vec<Opened>,
    /// When a file has been in the pool for too long.
    pool_at: Option<Instant>,
    flushes: Vec<oneshot::Sender<()>>,
    closing: Option<oneshot::Sender<()>>,
}

enum Received {
    Message(Message),
    Nothing,
    Gone,
}

impl Owner {
    pub(super) fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Message>) -> Self {
        Self {
            shared,
            queue,
            slots: BTreeMap::new(),
            dirty: Vec::new(),
            round_is_full: false,
            sync_at: None,
            care_at: None,
            unopened: VecDeque::new(),
            when_opened: Vec::new(),
            opened: Vec::new(),
            pool_at: None,
            flushes: Vec::new(),
            closing: None,
        }
    }

    /// Works until it is told to close, or nobody is left who could tell it anything.
    pub(super) async fn run(mut self) {
        loop {
            match self.receive().await {
                Received::Message(message) => self.take(message),
                Received::Nothing => {}
                Received::Gone => return self.close(),
            }
            // A log that was opened ends the round: its events are not to wait for other logs to be
            // opened, of which there may be hundreds after a start.
            while !self.round_is_full
                && self.opened.is_empty()
                && self.closing.is_none()
                && let Ok(message) = self.queue.try_recv()
            {
                self.take(message);
            }
            if self.is_sync_due() {
                self.sync();
            }
            if self.care_at.is_some_and(|at| at <= Instant::now()) {
                self.care();
            }
            if self.pool_at.is_some_and(|at| at <= Instant::now()) {
                self.care_for_pool();
            }
            if self.closing.is_some() {
                return self.close();
            }
            // Logs with events for them come first, and most of the others get some meanwhile.
            if self.opened.is_empty() {
                self.open_one();
            }
            for opened in self.opened.drain(..) {
                // Gone only while the agent stops.
                let _gone = self.shared.opened.send(opened).await.is_err();
            }
        }
    }

    async fn receive(&mut self) -> Received {
        if !self.unopened.is_empty() {
            return match self.queue.try_recv() {
                Ok(message) => Received::Message(message),
                Err(TryRecvError::Empty) => Received::Nothing,
                Err(TryRecvError::Disconnected) => Received::Gone,
            };
        }
        let received = match [self.sync_at, self.care_at, self.pool_at].into_iter().flatten().min()
        {
            None => self.queue.recv().await,
            Some(at) => match timeout_at(at, self.queue.recv()).await {
                Ok(received) => received,
                Err(_elapsed) => return Received::Nothing,
            },
        };
        received.map_or(Received::Gone, Received::Message)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Open(stream) => self.unopened.push_back(stream),
            Message::WhenOpened(answer) => self.when_opened.push(answer),
            Message::Append(append) => {
                let id = append.stream.id;
                let now_ms = self.shared.world.now_ms();
                let slot = self.slot(&append.stream);
                let was_dirty = slot.is_dirty();
                slot.append(append, now_ms);
                let (is_dirty, unsynced) = (slot.is_dirty(), slot.unsynced_bytes());
                if is_dirty && !was_dirty {
                    self.dirty.push(id);
                }
                self.round_is_full |= unsynced >= ROUND_BYTES_MAX;
                self.look_after(id);
            }
            Message::Committed { stream, committed, damaged } => {
                let now_ms = self.shared.world.now_ms();
                if let Some(slot) = self.slots.get_mut(&stream) {
                    slot.committed(committed, &damaged, now_ms);
                    slot.report(&self.shared.quota);
                    self.look_after(stream);
                    self.look_after_pool(Duration::ZERO);
                }
            }
            Message::Probe(answer) => {
                // Nobody waits any more: it took too long.
                let _gone = answer.send(()).is_err();
            }
            Message::Flush(answer) => self.flushes.push(answer),
            Message::Close(answer) => self.closing = Some(answer),
        }
    }

    /// Opens one of the logs that wait for it. Whoever sends events meanwhile waits for one log to
    /// be opened, and not for all of them.
    fn open_one(&mut self) {
        if let Some(stream) = self.unopened.pop_front() {
            self.slot(&stream);
            self.look_after(stream.id);
        }
        if self.unopened.is_empty() {
            for answer in self.when_opened.drain(..) {
                let _gone = answer.send(()).is_err();
            }
        }
    }

    fn slot(&mut self, stream: &Arc<Stream>) -> &mut Slot {
        let (shared, opened) = (&self.shared, &mut self.opened);
        self.slots.entry(stream.id).or_insert_with(|| {
            let confirmed = shared.confirmed.get(&stream.name).copied().unwrap_or_default();
            let mut slot = Slot::new(stream.clone(), confirmed);
            opened.extend(slot.open(shared, shared.world.now_ms()));
            slot
        })
    }

    fn is_sync_due(&mut self) -> bool {
        if self.dirty.is_empty() {
            return !self.flushes.is_empty();
        }
        if self.shared.sync_interval.is_zero()
            || self.round_is_full
            || !self.flushes.is_empty()
            || self.closing.is_some()
        {
            return true;
        }
        let now = Instant::now();
        let at = *self.sync_at.get_or_insert(now + self.shared.sync_interval);
        at <= now
    }

    fn sync(&mut self) {
        self.sync_at = None;
        self.round_is_full = false;
        for id in std::mem::take(&mut self.dirty) {
            if let Some(slot) = self.slots.get_mut(&id) {
                let took = slot.sync(&self.shared.quota, self.shared.world.now_ms());
                self.shared.slow_syncs.look(slot.name(), took);
                self.look_after(id);
            }
        }
        for flush in self.flushes.drain(..) {
            // Nobody waits any more: the stop was given up.
            let _gone = flush.send(()).is_err();
        }
    }

    /// Notes when a stream wants attention next.
    fn look_after(&mut self, id: u32) {
        let wants = self.slots.get_mut(&id).and_then(Slot::wants_care_at);
        self.care_at = [self.care_at, wants].into_iter().flatten().min();
    }

    fn care(&mut self) {
        let now = Instant::now();
        for slot in self.slots.values_mut() {
            if slot.wants_care_at().is_some_and(|at| at <= now) {
                self.opened.extend(slot.care(&self.shared, self.shared.world.now_ms()));
                slot.report(&self.shared.quota);
            }
        }
        self.care_at = self.slots.values_mut().filter_map(Slot::wants_care_at).min();
        self.look_after_pool(Duration::ZERO);
    }

    /// Notes when the pool wants attention next, but not before `pause` is over. Each owner that
    /// gave a file to the pool sees to it that it does not stay for ever.
    fn look_after_pool(&mut self, pause: Duration) {
        let pool = self.shared.options.pool.as_ref();
        let wants = pool.and_then(|pool| pool.expires_in(self.shared.world.now_ms()));
        self.pool_at = wants.and_then(|wants| Instant::now().checked_add(wants.max(pause)));
    }

    fn care_for_pool(&mut self) {
        let Some(pool) = &self.shared.options.pool else { return };
        let mut pause = Duration::ZERO;
        match pool.expire(self.shared.world.now_ms()) {
            Ok(bytes) => tracing::debug!(bytes, "gave up segments that nobody has recycled"),
            Err(error) => {
                tracing::warn!(%error, "cannot give up a segment that nobody has recycled");
                pause = WRITE_RETRY_MAX;
            }
        }
        self.look_after_pool(pause);
    }

    fn close(mut self) {
        self.sync();
        for slot in self.slots.into_values() {
            slot.close(self.shared.world.now_ms());
        }
        if let Some(answer) = self.closing {
            let _gone = answer.send(()).is_err();
        }
    }
}
