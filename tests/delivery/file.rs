//! The `file` sink behind the router.

use std::fs;
use std::path::Path;
use std::time::Duration;

use standpipe::config::{Aggregate, StreamConfig};

use crate::stream::{Writer, lines, numbered, settings, sink};

fn contents(dir: &Path) -> Vec<u8> {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    entries
        .iter()
        .flat_map(|path| if path.is_dir() { contents(path) } else { fs::read(path).unwrap() })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_delivered_is_in_files_when_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    let events = numbered(5000);
    writer.append(&events);
    let options = format!("path = {:?}\nfile_bytes_max = \"8KiB\"", out.path());
    let delivery = writer.deliver(sink("file", &options).await, settings(Aggregate::None));
    delivery.commits.committed(5000).await;
    let delivered = lines(&contents(&out.path().join("orders")));
    assert!(delivered.keys().eq(&events));
    assert!(delivered.values().all(|times| *times == 1));
}

/// The deadline is always behind whoever looks at the clock a second time.
#[tokio::test(flavor = "multi_thread")]
async fn events_whose_time_comes_while_the_router_decides_are_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    let settings = StreamConfig { linger: Duration::from_nanos(1), ..settings(Aggregate::Lines) };
    let delivery =
        writer.deliver(sink("file", &format!("path = {:?}", out.path())).await, settings);
    for offset in 1..=20 {
        writer.append(["event"]);
        delivery.commits.committed(offset).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_is_trouble_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    // A file stands where the directory should be.
    let path = out.path().join("in-the-way");
    fs::write(&path, "").unwrap();
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(10));
    let sink = sink("file", &format!("path = {path:?}")).await;
    let delivery = writer.deliver(sink, settings(Aggregate::Lines));
    delivery.state("faulty").await;
    fs::remove_file(&path).unwrap();
    delivery.commits.committed(10).await;
    delivery.state("ok").await;
    assert_eq!(lines(&contents(&path.join("orders"))).len(), 10);
}
