use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::offsets::sim::{Fault, Operation, SimDisk, SimStore};
use crate::offsets::store::{Entries, Old};

fn key(stream: &str) -> Key {
    Key { stream: stream.parse().unwrap(), sink: "firehose".into() }
}

fn at(committed: u64) -> Progress {
    Progress { committed, ..Progress::default() }
}

/// A store whose syncs say that they began, and end when they are told to.
#[derive(Debug)]
struct Gated {
    inner: Box<SimStore>,
    began: Sender<()>,
    go_on: Receiver<()>,
}

impl OffsetStore for Gated {
    fn open(&mut self) -> Result<Entries, Failure> {
        self.inner.open()
    }
    fn apply(&mut self, entries: &Entries) -> Result<(), Failure> {
        self.inner.apply(entries)
    }
    fn sync(&mut self) -> Result<(), Failure> {
        self.began.send(()).unwrap();
        self.go_on.recv().unwrap();
        self.inner.sync()
    }
    fn replace(&mut self, entries: &Entries, old: Old) -> Result<Option<PathBuf>, Failure> {
        self.inner.replace(entries, old)
    }
    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
    fn close(&mut self) {
        self.inner.close();
    }
}

/// Nobody is told.
fn nothing() -> OnDurable {
    Box::new(|_, _| Box::pin(async {}))
}

// The test blocks a thread of its own while the worker waits for the runtime's timer.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commits_that_come_during_a_sync_share_the_next_and_the_newest_wins() {
    let disk = SimDisk::default();
    let (began, begins) = channel();
    let (open_gate, go_on) = channel();
    let (tell, told) = channel();
    let seen = disk.clone();
    let on_durable: OnDurable = Box::new(move |key: &Key, progress: &Progress| {
        let on_disk = seen.durable().0.get(&key.encode()) == Some(&progress.encode());
        tell.send((key.clone(), progress.committed, on_disk)).unwrap();
        Box::pin(async {})
    });
    let store = Box::new(Gated { inner: disk.store(), began, go_on });
    // The sync of what was read.
    open_gate.send(()).unwrap();
    let (offsets, loaded) =
        Offsets::start(store, on_durable, Arc::default(), &World::real()).await.unwrap();
    assert!(loaded.is_empty());
    begins.recv().unwrap();

    offsets.commit(&key("a"), at(1));
    begins.recv().unwrap();
    assert!(told.try_recv().is_err(), "told before the sync");
    for committed in 2..=100 {
        offsets.commit(&key("a"), at(committed));
    }
    offsets.commit(&key("b"), at(5));
    for _ in 0..2 {
        open_gate.send(()).unwrap();
    }
    begins.recv().unwrap();
    offsets.stop().await;

    let told: Vec<_> = told.iter().collect();
    assert_eq!(told, [(key("a"), 1, true), (key("a"), 100, true), (key("b"), 5, true)]);
    let syncs = disk.operations().iter().filter(|&&it| it == Operation::Sync).count();
    assert_eq!(syncs, 1 + 2);
}

#[tokio::test]
async fn a_flush_returns_once_everything_before_it_is_durable() {
    let disk = SimDisk::default();
    let status = Arc::<AgentStatus>::default();
    let (offsets, _) =
        Offsets::start(disk.store(), nothing(), Arc::clone(&status), &World::real()).await.unwrap();
    for committed in 1..50 {
        offsets.commit(&key("a"), at(committed));
        offsets.flush().await.unwrap();
        assert_eq!(disk.durable().0[&key("a").encode()], at(committed).encode());
    }
    disk.fail(disk.operations().len(), Fault::OutOfSpace);
    offsets.commit(&key("a"), at(50));
    offsets.flush().await.unwrap_err();
    assert_eq!(status.offsets.state().state, "failing");
    offsets.flush().await.unwrap();
    assert_eq!(status.offsets.state().state, "ok");
    disk.fail(disk.operations().len(), Fault::Corruption);
    offsets.commit(&key("a"), at(51));
    offsets.flush().await.unwrap();
    assert_eq!(status.offsets.state().state, "restarted");
    offsets.stop().await;
    offsets.flush().await.unwrap_err();
}

#[tokio::test]
async fn what_was_committed_is_saved_by_stop_and_found_by_the_next_start() {
    let disk = SimDisk::default();
    let start =
        async || Offsets::start(disk.store(), nothing(), Arc::default(), &World::real()).await;
    let (offsets, _) = start().await.unwrap();
    offsets.commit(&key("a"), at(3));
    offsets.stop().await;
    disk.cut_power(0);
    let (_offsets, loaded) = start().await.unwrap();
    assert_eq!(loaded, BTreeMap::from([(key("a"), at(3))]));
}
