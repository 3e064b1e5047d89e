//! An agent without its doors: intake, journal, routers, offsets, and the wires between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use standpipe_wal::fs::Fs;
use standpipe_wal::retention::Pool;
use standpipe_wal::{Offset, Options, StreamName};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::streams::{Change, Streams, build_sinks};
use crate::config::Config;
use crate::dead_letters::DeadLetters;
use crate::intake::Intake;
use crate::journal::quota::Quota;
use crate::journal::{Journal, Opened, Parts};
use crate::limits::service::{START_PATIENCE, START_RETRY_INTERVAL};
use crate::limits::{OPENED_QUEUE_MAX, POOL_AGE_MAX};
use crate::offsets::store::OffsetStore;
use crate::offsets::{Key, Offsets, Progress};
use crate::router::destinations::Destinations;
use crate::status::AgentStatus;
use crate::tasks::{self, BoxFuture, Stopper};
use crate::uploader::gate::Gates;
use crate::uploader::memory::MemoryPool;
use crate::world::World;

/// In the data directory: what destinations have answered. It may be deleted at any time.
const DESTINATIONS_FILE: &str = "destinations.json";

/// What a pipeline stands on.
#[derive(Debug)]
pub struct Ground {
    /// The disk of the logs. The data directory exists on it.
    pub fs: Arc<dyn Fs>,
    /// Where committed offsets are kept.
    pub store: Box<dyn OffsetStore>,
    /// Threads, the time of day, randomness.
    pub world: World,
}

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    config: Arc<Config>,
    fs: Arc<dyn Fs>,
    intake: Intake,
    journal: Arc<Journal>,
    letters: Arc<DeadLetters>,
    offsets: Arc<Offsets>,
    changes: mpsc::Sender<Change>,
    stop_uploads: Stopper,
    uploads: JoinHandle<()>,
    /// Tells the uploads that the logs on disk are open.
    scanned: Option<oneshot::Sender<()>>,
}

impl Pipeline {
    /// Reads the committed offsets, starts the owners of the logs, and delivers each log that is
    /// opened from then on.
    ///
    /// # Errors
    /// Where the data directory cannot be used, or a sink cannot be built. Damage in the data
    /// directory is never a reason to fail.
    pub async fn start(
        config: Arc<Config>,
        ground: Ground,
        status: Arc<AgentStatus>,
    ) -> anyhow::Result<Self> {
        let Ground { fs, store, world } = ground;
        patiently(|| make_streams_dir(&config.data_dir, &*fs)).await?;

        // The store is read before there is a journal, and nothing is committed before there is
        // one: what is told of durable commits finds it in this cell.
        let trims = Arc::new(OnceLock::new());
        let (offsets, progress) = start_offsets(store, trims.clone(), status, &world).await?;
        let offsets = Arc::new(offsets);

        let (opened_sender, opened) = mpsc::channel(OPENED_QUEUE_MAX);
        let journal = start_journal(&config, &fs, &progress, opened_sender, &world)?;
        let journal = Arc::new(journal);
        let _first = trims.set(journal.clone()).is_ok();

        let file = config.data_dir.join(DESTINATIONS_FILE);
        let destinations =
            Destinations::new(Some((fs.clone(), file)), config.upload.ask_within, world.clone());
        let letters = DeadLetters::new(
            fs.clone(),
            &config.data_dir,
            config.upload.dead_letter_bytes_max,
            config.upload.dead_letters_per_minute,
        );
        let letters = Arc::new(letters);
        let (stop_uploads, stop) = tasks::stop_pair();
        let (scanned_sender, scanned) = oneshot::channel();
        let streams = Streams {
            config: config.clone(),
            fs: fs.clone(),
            offsets: offsets.clone(),
            progress,
            sinks: build_sinks(config.sinks.iter()).await?,
            destinations: Arc::new(destinations),
            letters: letters.clone(),
            memory: MemoryPool::new(config.upload.memory_max),
            slots: BTreeMap::new(),
            gates: Gates::default(),
            running: HashMap::new(),
            stop,
            world,
            scanned,
        };
        let (changes, to_follow) = mpsc::channel(1);
        let uploads = tasks::spawn(streams.run(opened, to_follow));

        let intake = Intake::new(
            journal.clone(),
            config.stream_default.clone(),
            config.streams.clone(),
            config.intake.memory_max,
        );
        Ok(Self {
            config,
            fs,
            intake,
            journal,
            letters,
            offsets,
            changes,
            stop_uploads,
            uploads,
            scanned: Some(scanned_sender),
        })
    }

    /// Has the logs opened that are on disk, so that their backlog is delivered. Does not wait for
    /// it.
    ///
    /// # Errors
    /// Where the directory of the logs cannot be listed.
    pub async fn open_existing(&mut self) -> anyhow::Result<()> {
        let dir = streams_dir(&self.config.data_dir);
        let list = || self.fs.list(&dir).with_context(|| format!("list {}", dir.display()));
        for entry in patiently(list).await?.into_iter().filter(|entry| entry.is_dir) {
            let Ok(name) = entry.name.parse::<StreamName>() else {
                tracing::warn!(directory = entry.name, "no stream has this name; left alone");
                continue;
            };
            if let Ok(stream) = self.journal.find_or_add(&name, self.config.stream(&name)) {
                self.journal.open(stream).await;
            } else {
                tracing::error!(stream = %name, max = self.config.intake.streams_max,
                    "the log of this stream is not opened: raise intake.streams_max");
            }
        }
        if let Some(scanned) = self.scanned.take() {
            let journal = self.journal.clone();
            // Ends with the owners, if not before.
            let _waiting = tasks::spawn(async move {
                journal.opened().await;
                // Gone only while the agent stops.
                let _gone = scanned.send(()).is_err();
            });
        }
        Ok(())
    }

    /// Has every stream follow another configuration, with these sinks built anew. Returns the open
    /// streams that are delivered with other settings: they go on from where they are when the calls
    /// that are under way have ended.
    ///
    /// # Errors
    /// Where a sink cannot be built, or the agent is stopping. Nothing was changed then.
    pub async fn reload(
        &self,
        config: &Config,
        changed_sinks: &BTreeSet<String>,
    ) -> anyhow::Result<Vec<String>> {
        let changed = config.sinks.iter().filter(|(name, _)| changed_sinks.contains(*name));
        let (done, streams) = oneshot::channel();
        let change = Change {
            config: config.clone(),
            rebuilt: build_sinks(changed).await?,
            intake: self.intake.clone(),
            journal: self.journal.clone(),
            done,
        };
        let stopping = "the agent is stopping";
        self.changes.send(change).await.ok().context(stopping)?;
        streams.await.context(stopping)
    }

    /// Events that destinations refuse for certain.
    pub fn letters(&self) -> &Arc<DeadLetters> {
        &self.letters
    }

    /// The way in.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// The streams and their numbers.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Stops in the order in which data flows: what was submitted is synced, uploads are drained for
    /// as long as the configuration allows, the committed offsets are made durable, the logs are
    /// sealed. Nothing is to be submitted any more.
    pub async fn stop(self) {
        let Self { journal, offsets, uploads, stop_uploads, .. } = self;
        journal.flush().await;
        stop_uploads.stop();
        // An error is a panic of that task, which was reported when it happened.
        let _ended = uploads.await.is_ok();
        offsets.stop().await;
        journal.close().await;
    }
}

/// Where the logs of all streams are.
pub fn streams_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("streams")
}

/// Where trimmed segments wait to be written again.
pub fn pool_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pool")
}

/// The directory of the logs, the names in it and those that lead to it, durable. A log that is opened
/// later syncs its own name only where it has no segment yet.
fn make_streams_dir(data_dir: &Path, fs: &dyn Fs) -> anyhow::Result<()> {
    let streams = streams_dir(data_dir);
    if let Err(error) = fs.create_dir(&streams)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("create {}", streams.display()));
    }
    for dir in [&streams, data_dir] {
        fs.sync_dir(dir).with_context(|| format!("sync {}", dir.display()))?;
    }
    let Some(parent) = data_dir.parent() else { return Ok(()) };
    match fs.sync_dir(parent) {
        // Not even root's business in some places; who made the directory has had time since.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            tracing::warn!(directory = %parent.display(), %error,
                "cannot sync the directory that holds the data directory");
            Ok(())
        }
        synced => synced.with_context(|| format!("sync {}", parent.display())),
    }
}

/// Does it again for a while where it fails.
pub(super) async fn patiently<T>(mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let until = Instant::now() + START_PATIENCE;
    let mut is_said = false;
    loop {
        match work() {
            Err(error) if Instant::now() < until => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(error = format!("{error:#}"), "cannot start yet, tries again");
                }
                sleep(START_RETRY_INTERVAL).await;
            }
            done => return done,
        }
    }
}

type Saved = BTreeMap<Key, Progress>;

/// Reads the committed offsets; what becomes durable later is told to the journal, which trims.
async fn start_offsets(
    store: Box<dyn OffsetStore>,
    journal: Arc<OnceLock<Arc<Journal>>>,
    status: Arc<AgentStatus>,
    world: &World,
) -> anyhow::Result<(Offsets, Saved)> {
    let on_durable = Box::new(move |key: &Key, progress: &Progress| -> BoxFuture<'static, ()> {
        let (journal, key, progress) = (journal.clone(), key.clone(), progress.clone());
        Box::pin(async move {
            if let Some(journal) = journal.get() {
                journal.committed(&key, &progress).await;
            }
        })
    });
    let started = Offsets::start(store, on_durable, status, world).await;
    started.context("start the worker that keeps the committed offsets")
}

fn start_journal(
    config: &Config,
    fs: &Arc<dyn Fs>,
    progress: &Saved,
    opened: mpsc::Sender<Opened>,
    world: &World,
) -> anyhow::Result<Journal> {
    let mut confirmed: HashMap<StreamName, Offset> = HashMap::new();
    for (key, progress) in progress {
        let known = confirmed.entry(key.stream.clone()).or_default();
        *known = (*known).max(Offset::new(progress.end()));
    }
    let pool_dir = pool_dir(&config.data_dir);
    let pool = Pool::open(fs.clone(), pool_dir, config.wal.pool_bytes_max, POOL_AGE_MAX);
    let pool = pool.inspect_err(|error| {
        tracing::warn!(%error, "no segments are recycled until the next start; syncs cost more");
    });
    let journal = Journal::start(Parts {
        fs: fs.clone(),
        dir: streams_dir(&config.data_dir),
        options: Options {
            segment_bytes: config.wal.segment_bytes,
            entropy: world.entropy.clone(),
            pool: pool.ok().map(Arc::new),
        },
        owners: config.wal.owners,
        sync_interval: config.wal.sync_interval,
        stream_memory_max: config.intake.memory_max / 2,
        streams_max: config.intake.streams_max,
        quota: Arc::new(Quota::new(config.wal.bytes_max, config.wal.free_bytes_min)),
        confirmed,
        opened,
        world: world.clone(),
    });
    journal.context("start the owners of the logs")
}
