//! The journal: owner threads that make events durable, and the registry of streams.
//!
//! A fixed number of threads own the streams, each stream one owner by hash of its name. The owner
//! alone writes, syncs, rolls and deletes in its streams' directories. It takes what is queued,
//! writes, syncs each dirty file once and answers everybody: group commit without locks.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use standpipe_wal::fs::Fs;
use standpipe_wal::log::LogId;
use standpipe_wal::recovery::Recovery;
use standpipe_wal::{Offset, Options, Pool, StreamName};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::StreamConfig;
use crate::limits::OWNER_QUEUE_MAX;
use crate::offsets::{Key, Progress, Reason};
use crate::status::{Disk, StreamStatus};
use crate::world::{OnPanic, Worker, World};

mod durable;
mod fullness;
mod message;
mod owner;
pub mod quota;
mod slot;
mod slow_sync;

pub use durable::Durable;
use fullness::Fullness;
pub(crate) use message::{Append, Message, Room};
use owner::Owner;
use quota::Quota;

/// A stream whose log is open, as its reader needs to know it.
#[derive(Debug)]
pub struct Opened {
    /// The stream.
    pub stream: Arc<Stream>,
    /// Its directory.
    pub dir: PathBuf,
    /// Names the log for ever, together with an offset.
    pub log_id: LogId,
    /// The first offset still in the log.
    pub oldest: Offset,
    /// How far it is durable, for the reader to wait on.
    pub durable: watch::Receiver<Durable>,
    /// What opening found.
    pub recovery: Recovery,
}

/// One stream: what sources, owner and reader share.
pub struct Stream {
    pub(crate) id: u32,
    pub(crate) name: StreamName,
    pub(crate) settings: RwLock<Arc<StreamConfig>>,
    pub(crate) status: Arc<StreamStatus>,
    pub(crate) owner: mpsc::Sender<Message>,
    /// Why nothing can be written at the moment; `None` while all is well.
    pub(crate) closed: watch::Sender<Option<Arc<str>>>,
    pub(crate) durable: watch::Sender<Durable>,
    pub(crate) full: Fullness,
    /// Bytes of this stream that were accepted and are not durable yet.
    pub(crate) room: Arc<tokio::sync::Semaphore>,
    /// What `room` holds when all of it is free.
    pub(crate) room_bytes: usize,
    /// Who waits for room has it: one for each stream, first come, first served.
    pub(crate) turn: tokio::sync::Semaphore,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Stream {
    /// The name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// The configuration that holds now.
    pub fn settings(&self) -> Arc<StreamConfig> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another configuration holds from now on. Whoever delivers the stream has to be told.
    pub fn set_settings(&self, settings: StreamConfig) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Has everything that is durable now delivered without waiting for company.
    pub fn hurry(&self) {
        self.durable.send_modify(|durable| durable.hurry_to = durable.offset);
    }

    /// Tells the owner what was committed before the agent started, so that space which a crash
    /// kept from being given back is given back now. Does not wait: where the owner's queue is
    /// full, the next commit does the same.
    pub fn resume(&self, progress: &Progress) {
        let _full = self.owner.try_send(self.committed(progress)).is_err();
    }

    fn committed(&self, progress: &Progress) -> Message {
        let lost = progress.unconfirmed.iter().filter(|passed| passed.reason == Reason::Lost);
        Message::Committed {
            stream: self.id,
            committed: Offset::new(progress.committed),
            damaged: lost.map(|passed| (passed.start, passed.end)).collect(),
        }
    }

    /// The numbers and states.
    pub fn status(&self) -> &Arc<StreamStatus> {
        &self.status
    }
}

/// What a journal is made of.
#[derive(Debug)]
pub struct Parts {
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// The directory of all streams; exists.
    pub dir: PathBuf,
    /// How logs are written.
    pub options: Options,
    /// Owner threads.
    pub owners: usize,
    /// Zero to sync as soon as there is something to sync.
    pub sync_interval: Duration,
    /// Bytes of one stream that may be accepted and not durable.
    pub stream_memory_max: usize,
    /// Streams that may exist.
    pub streams_max: usize,
    /// What the log may take on disk.
    pub quota: Arc<Quota>,
    /// Where the last event ends that any sink has confirmed, per stream: these offsets have existed
    /// and are not given out again, whatever became of the log.
    pub confirmed: HashMap<StreamName, Offset>,
    /// Told of every stream whose log was opened.
    pub opened: mpsc::Sender<Opened>,
    /// Threads, the time of day, randomness.
    pub world: World,
}

/// The streams and their owners. Dropping it does not stop the owners: see [`Journal::close`].
pub struct Journal {
    owners: Vec<mpsc::Sender<Message>>,
    workers: Mutex<Vec<Worker>>,
    streams: Mutex<BTreeMap<StreamName, Arc<Stream>>>,
    quota: Arc<Quota>,
    pool: Option<Arc<Pool>>,
    stream_memory_max: usize,
    streams_max: usize,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("owners", &self.owners.len()).finish_non_exhaustive()
    }
}

/// There are as many streams as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyStreams {
    /// The limit.
    pub max: usize,
}

impl Journal {
    /// Starts the owners. Must be called inside a tokio runtime, whose timers they use.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let pool = parts.options.pool.clone();
        let shared = Arc::new(owner::Shared {
            fs: parts.fs,
            dir: parts.dir,
            options: parts.options,
            sync_interval: parts.sync_interval,
            quota: parts.quota.clone(),
            slow_syncs: slow_sync::SlowSyncs::default(),
            confirmed: parts.confirmed,
            opened: parts.opened,
            world: parts.world,
        });
        let mut owners = Vec::with_capacity(parts.owners);
        let mut workers = Vec::with_capacity(parts.owners);
        for index in 0..parts.owners {
            let (sender, receiver) = mpsc::channel(OWNER_QUEUE_MAX);
            let owner = Owner::new(shared.clone(), receiver);
            // An agent that has lost an owner would look alive and accept nothing for its streams.
            let (name, owner) = (format!("owner-{index}"), Box::pin(owner.run()));
            workers.push(shared.world.workers.start(name, owner, OnPanic::Abort)?);
            owners.push(sender);
        }
        Ok(Self {
            owners,
            workers: Mutex::new(workers),
            streams: Mutex::default(),
            quota: parts.quota,
            pool,
            stream_memory_max: parts.stream_memory_max,
            streams_max: parts.streams_max,
        })
    }

    /// A journal whose only owner is the test that holds the other end of the channel.
    #[cfg(test)]
    pub(crate) fn with_owner(owner: mpsc::Sender<Message>, memory: usize, max: usize) -> Self {
        Self {
            owners: vec![owner],
            workers: Mutex::default(),
            streams: Mutex::default(),
            quota: Arc::new(Quota::new(u64::MAX, 0)),
            pool: None,
            stream_memory_max: memory,
            streams_max: max,
        }
    }

    /// The stream of this name, if it exists.
    pub fn find(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.lock().get(name).cloned()
    }

    /// The stream of this name, made with these settings if it is new. Its log is opened by its
    /// owner, at the first message.
    pub fn find_or_add(
        &self,
        name: &StreamName,
        settings: &StreamConfig,
    ) -> Result<Arc<Stream>, TooManyStreams> {
        let mut streams = self.lock();
        if let Some(stream) = streams.get(name) {
            return Ok(stream.clone());
        }
        let (Ok(id), true) = (u32::try_from(streams.len()), streams.len() < self.streams_max)
        else {
            return Err(TooManyStreams { max: self.streams_max });
        };
        let stream = Arc::new(Stream {
            id,
            name: name.clone(),
            settings: RwLock::new(Arc::new(settings.clone())),
            status: Arc::default(),
            owner: self.owner_of(name),
            closed: watch::Sender::new(None),
            durable: watch::Sender::new(Durable::default()),
            full: Fullness::default(),
            room: Arc::new(tokio::sync::Semaphore::new(self.stream_memory_max)),
            room_bytes: self.stream_memory_max,
            turn: tokio::sync::Semaphore::new(1),
        });
        stream.status.log.enter("opening", "the log is not read yet");
        streams.insert(name.clone(), stream.clone());
        Ok(stream)
    }

    /// Has a stream's log opened now, although no event is there for it yet: its backlog is to be
    /// delivered. Waits for room in the owner's queue.
    pub async fn open(&self, stream: Arc<Stream>) {
        let owner = stream.owner.clone();
        // The receiver is gone only after `close`, when nothing is to be opened any more.
        let _closed = owner.send(Message::Open(stream)).await.is_err();
    }

    /// Waits until every log that [`Journal::open`] was called for before was opened, or could not be.
    pub async fn opened(&self) {
        self.ask_all(Message::WhenOpened).await;
    }

    /// All streams, by name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.lock().values().cloned().collect()
    }

    /// Tells a stream's owner that this progress is durable in the offset store. Progress towards
    /// a sink that the stream no longer has is nobody's reason to delete. Waits while the owner's
    /// queue is full.
    pub async fn committed(&self, key: &Key, progress: &Progress) {
        let Some(stream) = self.find(&key.stream) else { return };
        if stream.settings().sink == key.sink {
            let _closed = stream.owner.send(stream.committed(progress)).await.is_err();
        }
    }

    /// Waits until every owner has got to a message sent now, behind all that came before it.
    pub async fn probe(&self) {
        self.ask_all(Message::Probe).await;
    }

    /// Waits until everything that was submitted before this call is durable or was refused.
    pub async fn flush(&self) {
        self.ask_all(Message::Flush).await;
    }

    /// Seals and closes every log and ends the owners. What comes later is dropped unanswered.
    pub async fn close(&self) {
        self.ask_all(Message::Close).await;
        let workers =
            std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            worker.ended().await;
        }
    }

    /// What the log takes on disk, and what it may take.
    pub fn disk(&self) -> Disk {
        let pool_bytes = self.pool.as_ref().map_or(0, |pool| pool.bytes());
        Disk { pool_bytes, ..self.quota.disk() }
    }

    /// The file system has this many bytes free. Where that is too few, the pool is given up before
    /// anything is refused. Blocks while files are removed.
    pub fn report_free(&self, bytes: u64) {
        let mut free = bytes;
        if self.quota.is_short_of(free)
            && let Some(pool) = &self.pool
        {
            match pool.clear() {
                Ok(given_up) => free = free.saturating_add(given_up),
                Err(error) => tracing::warn!(%error, "cannot give up the segments to be recycled"),
            }
        }
        self.quota.report_free(free);
        for stream in self.streams() {
            self.settle(&stream);
        }
    }

    /// Which limit stands against `bytes` more of a stream, on top of `in_flight` of all streams.
    pub(crate) fn full(&self, stream: &Stream, in_flight: u64, bytes: u64) -> Option<&'static str> {
        let own = stream.settings().bytes_max.unwrap_or(u64::MAX);
        if stream.status.disk_bytes.value().saturating_add(bytes) > own {
            return Some("stream.bytes_max");
        }
        self.quota.full(in_flight, bytes)
    }

    /// Has a stream that was full say that it has room again, also where whoever wanted it was
    /// refused or has gone.
    pub(crate) fn settle(&self, stream: &Stream) {
        let Some(bytes) = stream.full.left_behind() else { return };
        // A log that cannot be written says so itself, and when that is over.
        if self.full(stream, 0, bytes).is_some() || stream.closed.borrow().is_some() {
            return;
        }
        stream.full.over();
        if stream.status.log.state().state == "full"
            && let Some(left) = stream.status.log.enter("ok", "")
        {
            let lasted = left.since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(stream = %stream.name, seconds = lasted, "the log has room again");
        }
    }

    /// What the log may take on disk.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    async fn ask_all(&self, message: impl Fn(oneshot::Sender<()>) -> Message) {
        let mut answers = Vec::with_capacity(self.owners.len());
        for owner in &self.owners {
            let (sender, receiver) = oneshot::channel();
            if owner.send(message(sender)).await.is_ok() {
                answers.push(receiver);
            }
        }
        for answer in answers {
            // Gone without an answer: that owner has ended, which is as good.
            let _ended = answer.await.is_err();
        }
    }

    fn owner_of(&self, name: &StreamName) -> mpsc::Sender<Message> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let owners = self.owners.len() as u64;
        #[expect(clippy::cast_possible_truncation, reason = "a remainder is below the length")]
        let index = (hasher.finish() % owners) as usize;
        #[expect(clippy::indexing_slicing, reason = "a remainder is below the length")]
        self.owners[index].clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<StreamName, Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
