use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::limits::OFFSETS_BROKEN_KEPT_MAX;
use crate::offsets::peek::peek;
use crate::offsets::{Key, Offsets, Progress};
use crate::status::AgentStatus;
use crate::tasks::BoxFuture;
use crate::world::World;

fn key(number: u64) -> Key {
    Key { stream: format!("stream-{number}").parse().unwrap(), sink: "firehose".into() }
}

fn at(committed: u64) -> Progress {
    Progress { committed, ..Progress::default() }
}

async fn start(data_dir: &Path) -> (Offsets, BTreeMap<Key, Progress>, Arc<AgentStatus>) {
    let status = Arc::<AgentStatus>::default();
    let store = Box::new(SledStore::new(data_dir));
    let nothing =
        Box::new(|_: &Key, _: &Progress| -> BoxFuture<'static, ()> { Box::pin(async {}) });
    let world = World::real();
    let started = Offsets::start(store, nothing, Arc::clone(&status), &world);
    let (offsets, loaded) = started.await.unwrap();
    (offsets, loaded, status)
}

/// Starts on what is there, commits once, stops, and finds that commit again.
async fn must_go_on(data_dir: &Path) -> (BTreeMap<Key, Progress>, String) {
    let (offsets, loaded, status) = start(data_dir).await;
    offsets.commit(&key(7), at(777));
    offsets.stop().await;
    let state = status.offsets.state();
    assert!(["ok", "restarted"].contains(&state.state.as_str()), "{state:?}");
    let (offsets, again, _) = start(data_dir).await;
    assert_eq!(again.get(&key(7)), Some(&at(777)));
    offsets.stop().await;
    (loaded, state.state)
}

/// A store with some history, so that its file has several pages and a snapshot beside it.
fn data_dir_with_history() -> TempDir {
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        let mut store = SledStore::new(dir.path());
        store.open().unwrap();
        for step in 0..20 {
            let entries = (0..50).map(|n| (key(n).encode(), at(round * 100 + step).encode()));
            store.apply(&Entries(entries.collect())).unwrap();
        }
        store.sync().unwrap();
    }
    dir
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    fs::create_dir_all(to.path().join("offsets/blobs")).unwrap();
    for path in files_below(&store_dir(from)).unwrap() {
        fs::copy(&path, to.path().join(path.strip_prefix(from).unwrap())).unwrap();
    }
    to
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let (offsets, loaded, _) = start(dir.path()).await;
    assert!(loaded.is_empty());
    let expected: BTreeMap<_, _> = (0..1000).map(|n| (key(n), at(n * n))).collect();
    for (key, progress) in &expected {
        offsets.commit(key, progress.clone());
    }
    offsets.stop().await;
    let (offsets, loaded, status) = start(dir.path()).await;
    offsets.stop().await;
    assert_eq!(loaded, expected);
    assert_eq!(status.offsets.state().state, "ok");
}

#[tokio::test]
async fn damage_of_any_file_lets_the_agent_start() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let whole = data_dir_with_history();
    let mut restarted = 0;
    for path in files_below(&store_dir(whole.path())).unwrap() {
        let name = path.strip_prefix(whole.path()).unwrap();
        let bytes = fs::read(&path).unwrap();
        for damage in 0..12 {
            let copy = copy(whole.path());
            let target = copy.path().join(name);
            let mut damaged = bytes.clone();
            match damage {
                0 => fs::remove_file(&target).unwrap(),
                1 => fs::write(&target, b"").unwrap(),
                2 => {
                    fs::remove_file(&target).unwrap();
                    fs::create_dir(&target).unwrap();
                }
                3..6 => {
                    damaged.truncate(random.usize(..bytes.len()));
                    fs::write(&target, damaged).unwrap();
                }
                _ => {
                    for _ in 0..=random.usize(..8) {
                        damaged[random.usize(..bytes.len())] ^= 1 << random.u8(..8);
                    }
                    fs::write(&target, damaged).unwrap();
                }
            }
            println!("{} damage {damage}", name.display());
            let (_, state) = must_go_on(copy.path()).await;
            if state == "restarted" {
                restarted += 1;
                assert!(copy.path().join("offsets.broken-1").exists());
            }
        }
    }
    assert!(restarted > 0, "no damage was found");
}

#[tokio::test]
async fn a_foreign_file_in_the_place_of_the_store_is_set_aside() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("offsets"), b"not a directory").unwrap();
    let (_, state) = must_go_on(dir.path()).await;
    assert_eq!(state, "restarted");
    assert_eq!(fs::read(dir.path().join("offsets.broken-1")).unwrap(), b"not a directory");
}

#[tokio::test]
async fn a_store_that_is_deleted_under_a_running_agent_is_begun_anew_with_all_progress() {
    let dir = TempDir::new().unwrap();
    let (offsets, _, status) = start(dir.path()).await;
    offsets.commit(&key(1), at(1));
    offsets.commit(&key(2), at(2));
    offsets.flush().await.unwrap();
    fs::remove_dir_all(dir.path().join("offsets")).unwrap();
    offsets.commit(&key(1), at(10));
    offsets.flush().await.unwrap();
    assert_eq!(status.offsets.state().state, "restarted");
    offsets.stop().await;
    let (offsets, loaded, _) = start(dir.path()).await;
    offsets.stop().await;
    assert_eq!(loaded, BTreeMap::from([(key(1), at(10)), (key(2), at(2))]));
}

#[test]
fn a_replacement_that_was_interrupted_is_ended() {
    let entries = |committed: u64| Entries([(key(1).encode(), at(committed).encode())].into());
    // Between the two renames: the new store is complete.
    let dir = TempDir::new().unwrap();
    let mut store = SledStore::new(dir.path());
    store.replace(&entries(1), Old::Remove).unwrap();
    store.close();
    store.build(&entries(2)).unwrap();
    fs::rename(dir.path().join("offsets"), dir.path().join("offsets.old")).unwrap();
    assert_eq!(store.open().unwrap(), entries(2));
    // Before the first rename: the old one still counts.
    store.close();
    store.build(&entries(3)).unwrap();
    assert_eq!(store.open().unwrap(), entries(2));
    let names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["offsets"]);
}

#[test]
fn only_some_broken_stores_are_kept() {
    let dir = TempDir::new().unwrap();
    for _ in 0..OFFSETS_BROKEN_KEPT_MAX + 3 {
        let mut store = SledStore::new(dir.path());
        store.open().unwrap();
        store.replace(&Entries::default(), Old::Keep).unwrap();
    }
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 1 + OFFSETS_BROKEN_KEPT_MAX);
}

#[test]
fn a_second_opener_waits_and_breaks_nothing() {
    let dir = TempDir::new().unwrap();
    let mut first = SledStore::new(dir.path());
    first.open().unwrap();
    let mut second = SledStore::new(dir.path());
    let failure = second.open().unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    first.close();
    second.open().unwrap();
}

#[test]
fn missing_permission_may_pass() {
    if rustix::process::geteuid().is_root() {
        // Root is refused nothing; the classification itself is what counts.
        let denied = classify_io("open", io::ErrorKind::PermissionDenied.into());
        assert!(matches!(denied, Failure::Transient { .. }));
        return;
    }
    let dir = data_dir_with_history();
    let db = store_dir(dir.path()).join("db");
    fs::set_permissions(&db, fs::Permissions::from_mode(0o000)).unwrap();
    let mut store = SledStore::new(dir.path());
    let failure = store.open().unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

#[test]
fn looking_changes_nothing_and_sees_what_a_live_agent_has_flushed() {
    let dir = TempDir::new().unwrap();
    assert!(peek(dir.path()).unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let mut live = SledStore::new(dir.path());
    live.open().unwrap();
    live.apply(&Entries([(key(1).encode(), at(9).encode())].into())).unwrap();
    live.sync().unwrap();
    let stat = |dir: &Path| -> BTreeMap<_, _> {
        files_below(&store_dir(dir))
            .unwrap()
            .into_iter()
            .map(|path| {
                (
                    path.clone(),
                    (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()),
                )
            })
            .collect()
    };
    let before = stat(dir.path());
    assert_eq!(peek(dir.path()).unwrap(), BTreeMap::from([(key(1), at(9))]));
    assert_eq!(stat(dir.path()), before);
    live.close();
    let before = stat(dir.path());
    assert_eq!(peek(dir.path()).unwrap(), BTreeMap::from([(key(1), at(9))]));
    assert_eq!(stat(dir.path()), before);
}
