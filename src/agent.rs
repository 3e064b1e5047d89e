//! The agent: the only module that knows every part. It builds them, starts them in the order in
//! which data flows, and stops them in the same order.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use standpipe_wal::fs::Fs;
use standpipe_wal::lock::DirLock;
use standpipe_wal::retention::Pool;
use standpipe_wal::{Offset, Options, StreamName};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::admin;
use crate::config::Config;
use crate::intake::Intake;
use crate::journal::quota::Quota;
use crate::journal::{Journal, Opened, Parts};
use crate::limits::{FREE_SPACE_LOOK_INTERVAL, OPENED_QUEUE_MAX};
use crate::offsets::sled_store::SledStore;
use crate::offsets::{Key, Offsets, Progress};
use crate::source::{Bound, Context};
use crate::status::AgentStatus;
use crate::tasks::{self, Stop, Stopper};

mod streams;

use streams::Streams;

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    addresses: Vec<String>,
    journal: Arc<Journal>,
    offsets: Arc<Offsets>,
    status: Arc<AgentStatus>,
    stop_sources: Stopper,
    sources: JoinSet<()>,
    stop_uploads: Stopper,
    uploads: JoinHandle<()>,
    stop_service: Stopper,
    service: JoinSet<()>,
    _lock: DirLock,
}

impl Agent {
    /// Starts everything. Listeners open at once; each stream waits for its own recovery alone.
    ///
    /// Fails where a restart would not help without a change: the data directory cannot be made or
    /// belongs to another agent, an address cannot be bound, a sink cannot be built. Damage in the
    /// data directory is never a reason to fail.
    pub async fn start(config: Config, fs: Arc<dyn Fs>) -> anyhow::Result<Self> {
        let lock = prepare(&config.data_dir, &*fs)?;
        let status = Arc::<AgentStatus>::default();
        let config = Arc::new(config);

        // The store is read before there is a journal, and nothing is committed before there is
        // one: the callback finds it in this cell.
        let trims = Arc::new(OnceLock::new());
        let (offsets, progress) = start_offsets(&config, trims.clone(), status.clone()).await?;
        let offsets = Arc::new(offsets);

        let (opened_sender, opened) = mpsc::channel(OPENED_QUEUE_MAX);
        let journal = Arc::new(start_journal(&config, &fs, &progress, opened_sender)?);
        let _first = trims.set(journal.clone()).is_ok();

        let (stop_uploads, uploads_stop) = tasks::stop_pair();
        let streams =
            Streams::new(config.clone(), fs.clone(), offsets.clone(), progress, uploads_stop)
                .await?;
        let uploads = tasks::spawn(streams.run(opened));

        let intake = Intake::new(
            journal.clone(),
            config.stream_default.clone(),
            config.streams.clone(),
            config.intake.memory_max,
        );
        let bound = bind(&config)?;
        let addresses = bound.iter().map(|source| source.address()).collect();
        let (stop_sources, sources_stop) = tasks::stop_pair();
        let connections_max = config.intake.connections_max;
        let context = Context::new(intake, sources_stop, status.clone(), connections_max);
        let mut sources = JoinSet::new();
        for source in bound {
            tasks::spawn_on(&mut sources, source.run(context.clone()));
        }

        let (stop_service, service_stop) = tasks::stop_pair();
        let mut service = JoinSet::new();
        let free_space = watch_free_space(journal.clone(), config.data_dir.clone());
        tasks::spawn_on(&mut service, until(service_stop.clone(), free_space));
        let admin = admin::bind(&config.admin.unix)?;
        let registry = admin::Registry::new(journal.clone(), status.clone());
        tasks::spawn_on(&mut service, admin::serve(admin, registry, service_stop));

        open_existing(&config, &*fs, &journal).await?;
        Ok(Self {
            addresses,
            journal,
            offsets,
            status,
            stop_sources,
            sources,
            stop_uploads,
            uploads,
            stop_service,
            service,
            _lock: lock,
        })
    }

    /// Where the sources listen, in the order of the configuration.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The streams and their numbers.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The numbers that are not any one stream's.
    pub fn status(&self) -> &Arc<AgentStatus> {
        &self.status
    }

    /// Stops in the order in which data flows: sources submit what they have read and send the
    /// answers that are due, the log is synced, uploads are drained for as long as the
    /// configuration allows, the committed offsets are made durable, the logs are sealed.
    pub async fn stop(self) {
        let Self { journal, mut sources, mut service, offsets, .. } = self;
        self.stop_sources.stop();
        while sources.join_next().await.is_some() {}
        journal.flush().await;
        self.stop_uploads.stop();
        // An error is a panic of that task, which was reported when it happened.
        let _ended = self.uploads.await.is_ok();
        let last = tokio::task::spawn_blocking(move || offsets.stop());
        let _ended = last.await.is_ok();
        journal.close().await;
        self.stop_service.stop();
        while service.join_next().await.is_some() {}
    }
}

/// The directories of the data directory, made durable, and its lock.
fn prepare(data_dir: &Path, fs: &dyn Fs) -> anyhow::Result<DirLock> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("create the data directory {}", data_dir.display()))?;
    let lock = DirLock::acquire(data_dir)
        .with_context(|| format!("take the data directory {}", data_dir.display()))?;
    let streams = streams_dir(data_dir);
    if let Err(error) = fs.create_dir(&streams)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("create {}", streams.display()));
    }
    fs.sync_dir(data_dir).with_context(|| format!("sync {}", data_dir.display()))?;
    if let Some(parent) = data_dir.parent() {
        fs.sync_dir(parent).with_context(|| format!("sync {}", parent.display()))?;
    }
    Ok(lock)
}

/// Where the logs of all streams are.
pub fn streams_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("streams")
}

type Saved = BTreeMap<Key, Progress>;

/// Reads the committed offsets; what becomes durable later is told to the journal, which trims.
async fn start_offsets(
    config: &Config,
    journal: Arc<OnceLock<Arc<Journal>>>,
    status: Arc<AgentStatus>,
) -> anyhow::Result<(Offsets, Saved)> {
    let on_durable = Box::new(move |key: &Key, progress: &Progress| {
        if let Some(journal) = journal.get() {
            journal.committed(key, progress);
        }
    });
    let store = Box::new(SledStore::new(&config.data_dir));
    let start = tokio::task::spawn_blocking(move || Offsets::start(store, on_durable, status));
    start.await.context("read the committed offsets")?.context("start the offsets' thread")
}

fn start_journal(
    config: &Config,
    fs: &Arc<dyn Fs>,
    progress: &Saved,
    opened: mpsc::Sender<Opened>,
) -> anyhow::Result<Journal> {
    let mut confirmed: HashMap<StreamName, Offset> = HashMap::new();
    for (key, progress) in progress {
        let known = confirmed.entry(key.stream.clone()).or_default();
        *known = (*known).max(Offset::new(progress.end()));
    }
    let pool_dir = config.data_dir.join("pool");
    let pool = Pool::open(fs.clone(), pool_dir, config.wal.pool_bytes_max)
        .context("open the pool of segments to recycle")?;
    let journal = Journal::start(Parts {
        fs: fs.clone(),
        dir: streams_dir(&config.data_dir),
        options: Options {
            segment_bytes: config.wal.segment_bytes,
            entropy: Arc::new(standpipe_wal::log::OsEntropy),
            pool: Some(Arc::new(pool)),
        },
        owners: config.wal.owners,
        sync_interval: config.wal.sync_interval,
        stream_memory_max: config.intake.memory_max / 2,
        streams_max: config.intake.streams_max,
        quota: Arc::new(Quota::new(config.wal.bytes_max, config.wal.free_bytes_min)),
        confirmed,
        opened,
    });
    journal.context("start the owner threads")
}

fn bind(config: &Config) -> anyhow::Result<Vec<Box<dyn Bound>>> {
    let bind = |source: &Arc<dyn crate::source::Source>| {
        source.bind().with_context(|| format!("open the source {source:?}"))
    };
    config.sources.iter().map(bind).collect()
}

/// Opens the logs that are on disk, so that their backlog is delivered.
async fn open_existing(config: &Config, fs: &dyn Fs, journal: &Journal) -> anyhow::Result<()> {
    let dir = streams_dir(&config.data_dir);
    let entries = fs.list(&dir).with_context(|| format!("list {}", dir.display()))?;
    for entry in entries.into_iter().filter(|entry| entry.is_dir) {
        let Ok(name) = entry.name.parse::<StreamName>() else {
            tracing::warn!(directory = entry.name, "no stream has this name; left alone");
            continue;
        };
        if let Ok(stream) = journal.find_or_add(&name, config.stream(&name)) {
            journal.open(stream).await;
        } else {
            tracing::error!(stream = %name, max = config.intake.streams_max,
                "the log of this stream is not opened: raise intake.streams_max");
        }
    }
    Ok(())
}

/// Looks at the file system's free space and tells the quota.
async fn watch_free_space(journal: Arc<Journal>, data_dir: PathBuf) {
    let mut interval = tokio::time::interval(FREE_SPACE_LOOK_INTERVAL);
    loop {
        interval.tick().await;
        if let Ok(stat) = rustix::fs::statvfs(&data_dir) {
            journal.quota().report_free(stat.f_bavail.saturating_mul(stat.f_frsize));
        }
    }
}

/// Runs a service until it is time to stop.
async fn until(mut stop: Stop, service: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.stopped() => {}
        () = service => {}
    }
}
