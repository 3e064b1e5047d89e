//! The store of offsets where the system refuses what sled needs: room to write, file descriptors.
//!
//! Limits hold for a whole process, so each test runs in one of its own: itself, started again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and is told by its environment which process it is"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use standpipe::offsets::sled_store::SledStore;
use standpipe::offsets::{Key, Offsets, Progress};
use standpipe::status::AgentStatus;
use standpipe::tasks::BoxFuture;
use standpipe::world::World;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

const CHILD: &str = "STANDPIPE_TEST_CHILD";

/// What ends a process that writes beyond its limit, unless it is handled.
const SIGXFSZ: i32 = 25;

/// More tries than any recovery takes.
const TRIES_MAX: usize = 20;

/// Whether this is the process that the test is to run in. If not, starts it and waits for it.
fn is_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args([test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    false
}

fn limit(resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: current.or(maximum), maximum }).unwrap();
}

fn key(stream: &str) -> Key {
    Key { stream: stream.parse().unwrap(), sink: "firehose".into() }
}

fn at(committed: u64) -> Progress {
    Progress { committed, ..Progress::default() }
}

struct Store {
    offsets: Offsets,
    loaded: BTreeMap<Key, Progress>,
    status: Arc<AgentStatus>,
    /// What was called durable.
    told: Arc<Mutex<Vec<u64>>>,
}

impl Store {
    async fn start(dir: &Path) -> Self {
        let (status, told) = (Arc::<AgentStatus>::default(), Arc::<Mutex<Vec<u64>>>::default());
        let hears = Arc::clone(&told);
        let on_durable = Box::new(move |_: &Key, progress: &Progress| -> BoxFuture<'static, ()> {
            hears.lock().unwrap().push(progress.committed);
            Box::pin(async {})
        });
        let store = Box::new(SledStore::new(dir));
        let world = World::real();
        let started = Offsets::start(store, on_durable, Arc::clone(&status), &world).await;
        let (offsets, loaded) = started.unwrap();
        Self { offsets, loaded, status, told }
    }

    fn state(&self) -> String {
        self.status.offsets.state().state
    }

    /// While the system refuses: it is said, nothing is called durable, and nobody panics.
    async fn must_fail(&self, committed: u64) {
        self.offsets.commit(&key("a"), at(committed));
        for _ in 0..3 {
            self.offsets.flush().await.unwrap_err();
            assert_eq!(self.state(), "failing");
        }
        assert!(!self.told.lock().unwrap().contains(&committed));
    }

    /// Once it does not any more: all that was committed becomes durable without a restart.
    async fn must_recover(&self, committed: u64) {
        for _ in 0..TRIES_MAX {
            if self.offsets.flush().await.is_ok() {
                break;
            }
        }
        assert!(["ok", "restarted"].contains(&self.state().as_str()), "{}", self.state());
        assert_eq!(self.told.lock().unwrap().last(), Some(&committed));
    }
}

async fn stopped_and_found_again(store: Store, dir: &Path, committed: u64) {
    store.offsets.stop().await;
    let again = Store::start(dir).await;
    assert_eq!(again.loaded, BTreeMap::from([(key("a"), at(committed))]));
    again.offsets.stop().await;
}

#[tokio::test]
async fn a_store_without_room_to_write_is_waited_for() {
    if !is_child("a_store_without_room_to_write_is_waited_for") {
        return;
    }
    let _handled = signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let dir = TempDir::new().unwrap();
    let store = Store::start(dir.path()).await;
    store.offsets.commit(&key("a"), at(1));
    store.offsets.flush().await.unwrap();
    for round in 1..4 {
        limit(Resource::Fsize, Some(0));
        store.must_fail(round * 10).await;
        limit(Resource::Fsize, None);
        store.must_recover(round * 10).await;
    }
    stopped_and_found_again(store, dir.path(), 30).await;
    assert!(!dir.path().join("offsets.broken-1").exists(), "it was no reason to set it aside");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_for_want_of_descriptors_is_waited_for() {
    if !is_child("a_store_that_cannot_be_opened_for_want_of_descriptors_is_waited_for") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let store = Store::start(dir.path()).await;
    store.offsets.commit(&key("a"), at(1));
    store.offsets.stop().await;

    limit(Resource::Nofile, Some(3));
    let store = Store::start(dir.path()).await;
    assert!(store.loaded.is_empty(), "it could not be read");
    store.must_fail(7).await;
    limit(Resource::Nofile, None);
    store.must_recover(7).await;
    stopped_and_found_again(store, dir.path(), 7).await;
    assert!(!dir.path().join("offsets.broken-1").exists(), "it was no reason to set it aside");
}
