//! The agent: the only module that knows every part. It builds them, starts them in the order in
//! which data flows, and stops them in the same order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit};
use standpipe_wal::fs::Fs;
use standpipe_wal::lock::DirLock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin;
use crate::admin::reload::{Reloaded, Request, Requests};
use crate::config::raw::Raw;
use crate::config::{Config, Resolved};
use crate::dead_letters::DeadLetters;
use crate::journal::Journal;
use crate::limits::service::{OPEN_FILES_PER_CONNECTION, STOP_MARGIN};
use crate::limits::{DEAD_LETTERS_LOOK_INTERVAL, FREE_SPACE_LOOK_INTERVAL, STOP_GRACE};
use crate::offsets::sled_store::SledStore;
use crate::source::{Bound, Context};
use crate::status::AgentStatus;
use crate::systemd::activation::Inherited;
use crate::tasks::{self, Stop, Stopper};
use crate::world::World;

pub mod pipeline;
pub mod pulse;
mod reload;
mod running;
mod streams;

use pipeline::{Ground, Pipeline};
pub use pipeline::{pool_dir, streams_dir};
use pulse::Pulse;
use reload::Plan;

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    addresses: Vec<String>,
    pipeline: Pipeline,
    registry: admin::Registry,
    config: Arc<Config>,
    reloads: Requests,
    status: Arc<AgentStatus>,
    stop_sources: Stopper,
    sources: JoinSet<()>,
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
        Self::start_with(config, fs, Inherited::default()).await
    }

    /// As [`Agent::start`], with listening sockets that the service manager has opened already.
    pub async fn start_with(
        config: Config,
        fs: Arc<dyn Fs>,
        mut inherited: Inherited,
    ) -> anyhow::Result<Self> {
        let lock = lock(&config.data_dir)?;
        let status = Arc::<AgentStatus>::default();
        status.phase.enter("starting", "sockets and logs are being opened");
        let config = Arc::new(config);
        let store = Box::new(SledStore::new(&config.data_dir));
        let ground = Ground { fs, store, world: World::real() };
        let mut pipeline = Pipeline::start(config.clone(), ground, status.clone()).await?;
        let journal = pipeline.journal().clone();

        let bound = bind(&config, &mut inherited)?;
        let addresses = bound.iter().map(|source| source.address()).collect();
        let (stop_sources, sources_stop) = tasks::stop_pair();
        let connections_max = connections_max(config.intake.connections_max);
        let intake = pipeline.intake().clone();
        let context = Context::new(intake, sources_stop, status.clone(), connections_max);
        let mut sources = JoinSet::new();
        for source in bound {
            tasks::spawn_on(&mut sources, source.run(context.clone()));
        }

        let (stop_service, service_stop) = tasks::stop_pair();
        let mut service = JoinSet::new();
        let free_space = watch_free_space(journal.clone(), config.data_dir.clone());
        tasks::spawn_on(&mut service, until(service_stop.clone(), free_space));
        status.dead_letter_bytes_max.set(config.upload.dead_letter_bytes_max);
        let dead_letters = watch_dead_letters(journal.clone(), pipeline.letters().clone());
        tasks::spawn_on(&mut service, until(service_stop.clone(), dead_letters));
        let bind = || admin::bind(&config.admin.unix, &mut inherited);
        let admin = pipeline::patiently(bind).await?;
        let price = config.cost.price_per_gb;
        let registry = admin::Registry::new(journal.clone(), status.clone(), price);
        let rates = registry.clone().watch_rates();
        tasks::spawn_on(&mut service, until(service_stop.clone(), rates));
        let letters = admin::dead_letters::Keeper {
            letters: pipeline.letters().clone(),
            intake: pipeline.intake().clone(),
        };
        let reloads = Requests::default();
        let more = admin::dead_letters::routes(letters);
        let more = more.merge(admin::reload::routes(reloads.clone()));
        if let Some(address) = config.admin.listen {
            let listener = admin::bind_tcp(address)?;
            let serving = admin::serve_tcp(listener, registry.clone(), service_stop.clone());
            tasks::spawn_on(&mut service, serving);
        }
        let served = admin::serve(admin, registry.clone(), more, service_stop);
        tasks::spawn_on(&mut service, served);
        report_unserved(&inherited);

        pipeline.open_existing().await?;
        status.phase.enter("ok", "");
        Ok(Self {
            addresses,
            pipeline,
            registry,
            config,
            reloads,
            status,
            stop_sources,
            sources,
            stop_service,
            service,
            _lock: lock,
        })
    }

    /// What tells whether the pipeline moves.
    pub fn pulse(&self) -> Pulse {
        let journal = self.journal().clone();
        Pulse::new(journal, self.registry.clone(), self.config.upload.backoff_max)
    }

    /// Those who ask over the admin socket for a reload: they wait for what [`Agent::reload`] says.
    /// While nobody has called this, they are told that there is none.
    pub fn reload_requests(&self) -> mpsc::Receiver<Request> {
        self.reloads.take()
    }

    /// Takes over what a changed configuration says, if all of it can be taken over while the agent
    /// runs; else nothing of it. What is logged is the process's, and left to who started the log.
    ///
    /// Returns at once: streams that are delivered with other settings finish their calls first.
    pub async fn reload(&self, before: &Raw, after: &Resolved) -> Reloaded {
        let Plan { changed, refused, sinks } = reload::plan(before, after);
        if !refused.is_empty() {
            return Reloaded { changed, takes_restart: refused, ..Reloaded::default() };
        }
        let config = &after.config;
        let streams = match self.pipeline.reload(config, &sinks).await {
            Ok(streams) => streams,
            Err(error) => return Reloaded { changed, ..Reloaded::failed(format!("{error:#}")) },
        };
        self.journal().quota().set_limits(config.wal.bytes_max, config.wal.free_bytes_min);
        self.registry.set_price_per_gb(config.cost.price_per_gb);
        Reloaded { reloaded: true, changed, streams, ..Reloaded::default() }
    }

    /// How long a stop takes at most, where the disk answers.
    pub fn stop_max(&self) -> Duration {
        2 * STOP_GRACE + self.config.upload.drain_timeout + STOP_MARGIN
    }

    /// Where the sources listen, in the order of the configuration.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The streams and their numbers.
    pub fn journal(&self) -> &Arc<Journal> {
        self.pipeline.journal()
    }

    /// The numbers that are not any one stream's.
    pub fn status(&self) -> &Arc<AgentStatus> {
        &self.status
    }

    /// Stops in the order in which data flows: sources submit what they have read and send the
    /// answers that are due, then [`Pipeline::stop`].
    pub async fn stop(self) {
        let Self { mut sources, mut service, .. } = self;
        self.status.phase.enter("stopping", "no new events are taken");
        self.stop_sources.stop();
        while sources.join_next().await.is_some() {}
        self.pipeline.stop().await;
        self.stop_service.stop();
        while service.join_next().await.is_some() {}
    }
}

/// The data directory, made where it was missing, and its lock.
fn lock(data_dir: &Path) -> anyhow::Result<DirLock> {
    make_dirs(data_dir)
        .with_context(|| format!("create the data directory {}", data_dir.display()))?;
    DirLock::acquire(data_dir)
        .with_context(|| format!("take the data directory {}", data_dir.display()))
}

/// Makes a directory and those above it that are missing, each with a durable name: a power cut
/// must not take the whole log with the name of a directory far above it.
fn make_dirs(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dirs(parent)?;
    }
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// How many connections there may be where the process may open so many files: connections that
/// took all of them would keep the logs from going on to their next segment.
fn connections_max(configured: usize) -> usize {
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(open_files / OPEN_FILES_PER_CONNECTION).unwrap_or(usize::MAX);
    if files < configured {
        tracing::warn!(
            open_files,
            connections = files,
            configured,
            "fewer connections than intake.connections_max: raise the limit of open files (LimitNOFILE)"
        );
    }
    configured.min(files)
}

fn bind(config: &Config, inherited: &mut Inherited) -> anyhow::Result<Vec<Box<dyn Bound>>> {
    let bind = |source: &Arc<dyn crate::source::Source>| {
        source.bind(inherited).with_context(|| format!("open the source {source:?}"))
    };
    config.sources.iter().map(bind).collect()
}

/// Nobody would notice but the clients, who wait for ever.
fn report_unserved(inherited: &Inherited) {
    for address in inherited.addresses() {
        tracing::error!(
            address,
            "the service manager listens there and no source of the \
            configuration does: clients that connect wait for ever; add the source, or take the \
            address out of the socket unit"
        );
    }
}

/// Looks at the file system's free space and tells the quota.
async fn watch_free_space(journal: Arc<Journal>, data_dir: PathBuf) {
    let mut interval = tokio::time::interval(FREE_SPACE_LOOK_INTERVAL);
    loop {
        interval.tick().await;
        if let Ok(stat) = rustix::fs::statvfs(&data_dir) {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let journal = journal.clone();
            // Gives up the pool where space is short, which takes a while on some file systems.
            let told = tokio::task::spawn_blocking(move || journal.report_free(free));
            let _ended = told.await.is_ok();
        }
    }
}

/// Looks at what the dead letters take, those of earlier runs included, and notes it with their
/// streams. Where they cannot be looked at, what was seen last stays.
async fn watch_dead_letters(journal: Arc<Journal>, letters: Arc<DeadLetters>) {
    let mut interval = tokio::time::interval(DEAD_LETTERS_LOOK_INTERVAL);
    loop {
        interval.tick().await;
        let letters = letters.clone();
        let looked = tokio::task::spawn_blocking(move || letters.sizes()).await;
        let Ok(Ok(sizes)) = looked else { continue };
        for stream in journal.streams() {
            let bytes = sizes.get(stream.name()).copied().unwrap_or_default();
            stream.status().dead_letter_bytes.set(bytes);
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
