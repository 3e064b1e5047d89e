//! A stream with a real log on a real disk, and the router that delivers it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standpipe::config::{Aggregate, StreamConfig, defaults};
use standpipe::dead_letters::DeadLetters;
use standpipe::journal::Durable;
use standpipe::offsets::{Key, Progress};
use standpipe::router::choice::UNASKED;
use standpipe::router::destinations::Destinations;
use standpipe::router::{self, Commits, Task};
use standpipe::sink::{KINDS, Sink};
use standpipe::status::{Health, StreamStatus};
use standpipe::tasks::{Stopper, spawn, stop_pair};
use standpipe::uploader::gate::Gate;
use standpipe::uploader::memory::MemoryPool;
use standpipe::uploader::slots::Slots;
use standpipe::world::World;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::log::{Log, Options, OsEntropy};
use standpipe_wal::{Events, Flags, Offset, StreamName};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A test that waits for something that never comes says so instead of hanging. Far beyond what any
/// wait takes.
pub(crate) const STUCK: Duration = Duration::from_mins(2);

/// The writer's side: events become durable, and the router is told.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Log,
    pub(crate) letters: Arc<DeadLetters>,
    durable: watch::Sender<Durable>,
}

/// The delivery of the stream, while it runs.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) status: Arc<StreamStatus>,
    pub(crate) commits: Arc<Recorded>,
    stopper: Stopper,
    reliever: Stopper,
    router: JoinHandle<()>,
}

/// The offset store of a test: keeps every commit.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) all: Mutex<Vec<Progress>>,
    latest: watch::Sender<u64>,
}

impl Commits for Recorded {
    fn commit(&self, _key: &Key, progress: Progress) {
        self.latest.send_replace(progress.committed);
        self.all.lock().unwrap().push(progress);
    }
}

impl Recorded {
    /// Waits until the stream is committed up to an offset.
    pub(crate) async fn committed(&self, offset: u64) {
        let mut latest = self.latest.subscribe();
        let reached = latest.wait_for(|committed| *committed >= offset);
        let reached = tokio::time::timeout(STUCK, reached).await;
        assert!(
            reached.is_ok(),
            "{offset} is never committed: {:?}",
            self.all.lock().unwrap().last()
        );
    }

    pub(crate) fn last(&self) -> Progress {
        self.all.lock().unwrap().last().cloned().unwrap()
    }
}

fn name() -> StreamName {
    "orders".parse().unwrap()
}

fn file_system() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

impl Writer {
    /// The log below `dir`, opened or made.
    pub(crate) fn open(dir: &Path) -> Self {
        let options =
            Options { segment_bytes: 2 * 1024 * 1024, entropy: Arc::new(OsEntropy), pool: None };
        let fs = file_system();
        let (log, _) = Log::open(&fs, dir, &name(), &options, Offset::ZERO, now_ms()).unwrap();
        let durable = Durable { offset: log.durable(), newest_ms: now_ms(), ..Durable::default() };
        let letters = DeadLetters::new(file_system(), dir, 1 << 20, 60);
        Self { log, letters: Arc::new(letters), durable: watch::Sender::new(durable) }
    }

    /// Appends events and makes them durable.
    pub(crate) fn append<E: AsRef<[u8]>>(&mut self, events: impl IntoIterator<Item = E>) {
        self.append_with(Flags::default(), events);
    }

    /// The same, for events that are delivered exactly as they are, or not.
    pub(crate) fn append_with<E: AsRef<[u8]>>(
        &mut self,
        flags: Flags,
        events: impl IntoIterator<Item = E>,
    ) {
        let mut run = Events::with_capacity(0, flags);
        let mut bytes = 0;
        for event in events {
            let event = event.as_ref();
            if !run.has_room_for(event.len()) {
                let full = std::mem::replace(&mut run, Events::with_capacity(0, flags));
                self.log.push(full, now_ms());
            }
            run.push(event);
            bytes += event.len() as u64;
        }
        self.log.push(run, now_ms());
        let offset = self.log.sync(now_ms()).unwrap().durable;
        self.durable.send_modify(|durable| {
            durable.offset = offset;
            durable.payload_bytes += bytes;
            durable.newest_ms = now_ms();
        });
    }

    pub(crate) fn durable(&self) -> u64 {
        self.log.durable().get()
    }

    /// Starts delivering what is durable.
    pub(crate) fn deliver(&self, sink: Arc<dyn Sink>, settings: StreamConfig) -> Delivery {
        self.deliver_from(sink, settings, None, MemoryPool::new(48 * 1024 * 1024))
    }

    /// The same, from what an earlier delivery has committed.
    pub(crate) fn deliver_from(
        &self,
        sink: Arc<dyn Sink>,
        settings: StreamConfig,
        progress: Option<Progress>,
        memory: MemoryPool,
    ) -> Delivery {
        self.deliver_sharing(sink, settings, progress, memory, Slots::new(64))
    }

    /// The same, with the slots of a sink that has other streams.
    pub(crate) fn deliver_sharing(
        &self,
        sink: Arc<dyn Sink>,
        settings: StreamConfig,
        progress: Option<Progress>,
        memory: MemoryPool,
        slots: Slots,
    ) -> Delivery {
        let gate = Gate::new(settings.quota, 1);
        let status = Arc::new(StreamStatus::default());
        let commits = Arc::new(Recorded::default());
        let (stopper, stop) = stop_pair();
        let (reliever, relief) = stop_pair();
        let task = Task {
            stream: name(),
            dir: self.log.dir().to_owned(),
            fs: file_system(),
            log_id: *self.log.log_id().as_bytes(),
            oldest: self.log.oldest(),
            durable: self.durable.subscribe(),
            settings,
            destination: "orders".into(),
            destinations: Arc::new(Destinations::new(None, Duration::ZERO, World::real())),
            sink,
            sink_name: "sink".to_owned(),
            progress,
            letters: Arc::clone(&self.letters),
            commits: Arc::clone(&commits) as Arc<dyn Commits>,
            memory,
            slots,
            gate,
            status: Arc::clone(&status),
            backoff_max: Duration::from_millis(200),
            goes_on: false,
            stop,
            relief,
            drain_timeout: Duration::from_secs(30),
            world: World::real(),
        };
        Delivery { status, commits, stopper, reliever, router: spawn(router::run(task)) }
    }
}

impl Delivery {
    /// Tells the router to drain, and waits until it has ended.
    pub(crate) async fn stop(self) -> Arc<Recorded> {
        self.stopper.stop();
        self.router.await.unwrap();
        self.commits
    }

    /// Tells the router that another one is to go on, and waits until it has ended.
    pub(crate) async fn relieve(self) -> Arc<Recorded> {
        self.reliever.stop();
        self.router.await.unwrap();
        self.commits
    }

    /// Ends the router as a crash would.
    pub(crate) async fn kill(self) -> Arc<Recorded> {
        self.router.abort();
        assert!(self.router.await.unwrap_err().is_cancelled());
        self.commits
    }

    /// Waits until it is known how events become records.
    pub(crate) async fn aggregate_settled(&self) {
        let mut every = tokio::time::interval(Duration::from_millis(5));
        let settled = async {
            loop {
                let state = self.status.aggregate.state();
                if state.state != "ok" && !state.reason.contains(UNASKED) {
                    break;
                }
                every.tick().await;
            }
        };
        assert!(tokio::time::timeout(STUCK, settled).await.is_ok(), "never asked");
    }

    /// Waits until the state of the delivery is this one.
    pub(crate) async fn state(&self, wanted: &str) {
        self.state_of(wanted, |status| &status.upload).await;
    }

    /// The same for any state.
    pub(crate) async fn state_of(&self, wanted: &str, of: impl Fn(&StreamStatus) -> &Health) {
        let mut every = tokio::time::interval(Duration::from_millis(5));
        let reached = async {
            while of(&self.status).state().state != wanted {
                every.tick().await;
            }
        };
        let reached = tokio::time::timeout(STUCK, reached).await;
        assert!(reached.is_ok(), "never {wanted}, but {:?}", of(&self.status).state());
    }
}

/// What a stream is configured with in these tests: nothing lingers.
pub(crate) fn settings(aggregate: Aggregate) -> StreamConfig {
    StreamConfig {
        sink: "sink".to_owned(),
        aggregate,
        linger: Duration::ZERO,
        ..defaults::stream()
    }
}

/// A sink as the configuration makes it.
pub(crate) async fn sink(kind: &str, options: &str) -> Arc<dyn Sink> {
    let kind = KINDS.iter().find(|known| known.name == kind).unwrap();
    (kind.parse)(options.parse().unwrap()).unwrap().build().await.unwrap()
}

/// The real sink and the real SDK, against an endpoint on loopback.
pub(crate) async fn firehose(url: &str) -> Arc<dyn Sink> {
    sink("firehose", &format!("endpoint_url = {url:?}\ncredentials = \"local\"")).await
}

/// So many events, each different from all others.
pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{{\"event\":{at:08}}}")).collect()
}

/// How often each line stands in what was delivered.
pub(crate) fn lines(delivered: &[u8]) -> BTreeMap<String, usize> {
    assert!(delivered.is_empty() || delivered.ends_with(b"\n"), "the last event has no end");
    let mut counts = BTreeMap::new();
    for line in String::from_utf8(delivered.to_vec()).unwrap().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
