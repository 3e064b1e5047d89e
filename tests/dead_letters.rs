//! The commands for dead letters, on the letters of a running and of a stopped agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: what it does not find is its failure"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use standpipe::dead_letters::letter::Details;
use standpipe::dead_letters::{DeadLetters, Letter};
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::{Flags, Offset};

#[path = "agent/process.rs"]
mod process;

fn letter(offset: u64, payload: &[u8]) -> Letter {
    Letter {
        offset: Offset::new(offset),
        time_ms: 1_700_000_000_000 + offset,
        flags: Flags { raw: true },
        details: Details {
            log_id: "00ff".into(),
            sink: "firehose".into(),
            destination: "orders-prod".into(),
            code: "InvalidArgumentException".into(),
            reason: "InvalidArgumentException: not liked".into(),
        },
        payload: payload.to_vec(),
    }
}

fn bury(data_dir: &Path) {
    let letters = DeadLetters::new(Arc::new(RealFs), data_dir, 1 << 20, 60);
    let stream = "orders".parse().unwrap();
    for (offset, payload) in [(7, &b"first\nof two lines"[..]), (9, b"\xff\0second")] {
        letters.bury(&stream, &letter(offset, payload), offset).unwrap();
    }
}

/// Runs a command and returns whether it succeeded, and what it printed.
fn run(data_dir: &Path, words: &[&str]) -> (bool, Vec<u8>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.arg("dead-letter").args(words).arg("--data-dir").arg(data_dir);
    let output = command.env_clear().stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), output.stdout, errors)
}

#[test]
fn letters_of_a_stopped_agent_are_listed_shown_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["list"]).1, b"no dead letters\n");
    bury(dir.path());
    let table = String::from_utf8(run(dir.path(), &["list"]).1).unwrap();
    assert!(
        table.starts_with("STREAM  LETTERS") && table.contains("orders        2   26 B"),
        "{table}"
    );
    let table = String::from_utf8(run(dir.path(), &["list", "orders"]).1).unwrap();
    let second = table.lines().nth(2).unwrap();
    assert!(second.contains("9  2023-11-14T22:13:20Z") && second.ends_with("not liked"), "{table}");
    let json = run(dir.path(), &["list", "--json"]).1;
    let rows: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (&rows[0]["offset"], &rows[1]["code"]),
        (&7.into(), &"InvalidArgumentException".into())
    );

    assert_eq!(run(dir.path(), &["show", "orders", "9"]).1, b"\xff\0second");
    let json = run(dir.path(), &["show", "orders", "9", "--json"]).1;
    let row: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(row["payload_base64"], "/wBzZWNvbmQ=");
    let (ok, _, error) = run(dir.path(), &["show", "orders", "8"]);
    assert!(!ok && error.contains("no dead letter of offset 8"), "{error}");

    let (ok, _, error) = run(dir.path(), &["drop", "orders"]);
    assert!(!ok && error.contains("--yes"), "{error}");
    let (ok, _, error) = run(dir.path(), &["replay", "orders", "--yes"]);
    assert!(!ok && error.contains("no agent runs"), "{error}");
    let (ok, said, error) = run(dir.path(), &["drop", "orders", "--yes"]);
    assert!(ok, "{error}");
    assert!(String::from_utf8(said).unwrap().starts_with("dropped 2 dead letters of orders ("));
    assert_eq!(run(dir.path(), &["list"]).1, b"no dead letters\n");
}

#[test]
fn letters_are_replayed_through_a_running_agent_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("out"));
    std::fs::create_dir(&data).unwrap();
    bury(&data);
    let config = dir.path().join("standpipe.toml");
    let text = format!(
        "data_dir = {data:?}\n[[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n\
         [sink.file]\npath = {out:?}\n[stream.default]\nsink = \"file\"\nlinger = \"0s\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut agent = process::Process::start(&[], &config);
    agent.addresses(1).unwrap();
    let (ok, said, error) = run(&data, &["replay", "orders", "--yes", "--json"]);
    assert!(ok, "{error}");
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said["letters"], 2);
    assert_eq!(run(&data, &["list"]).1, b"no dead letters\n");
    // Every byte as it was, and nothing between the two.
    let expected = b"first\nof two lines\xff\0second";
    let delivered = loop {
        let delivered = contents(&out);
        if delivered.len() >= expected.len() {
            break delivered;
        }
        std::thread::yield_now();
    };
    assert_eq!(delivered, expected);
    let (ok, _, error) = run(&data, &["drop", "orders", "--yes"]);
    assert!(!ok && error.contains("has no dead letters"), "{error}");
}

fn contents(dir: &Path) -> Vec<u8> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        if path.is_dir() { contents(path) } else { std::fs::read(path).unwrap() }
    };
    paths.iter().flat_map(read).collect()
}
