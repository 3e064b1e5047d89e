//! A running agent follows another configuration: all of it, or nothing with a reason.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: a surprise is its failure")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[path = "agent/process.rs"]
mod process;

use process::Process;
use tempfile::TempDir;

/// After so long it is taken for granted that nothing comes any more.
const STUCK: Duration = Duration::from_secs(60);

/// An agent whose events wait for an hour in company, unless its configuration says otherwise.
struct Agent {
    dir: TempDir,
    config: PathBuf,
    _process: Process,
}

impl Agent {
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("standpipe.toml");
        write(dir.path(), more);
        let mut process = Process::start(&[], &config);
        process.addresses(1).expect("it listens");
        Self { dir, config, _process: process }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(args).args(["--config", self.config.to_str().unwrap()]).env_clear();
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Another configuration, and what the agent says to it.
    fn reload(&self, more: &str) -> Output {
        write(self.dir.path(), more);
        self.run(&["reload"])
    }

    fn send(&self, stream: &str, events: impl IntoIterator<Item = usize>) {
        let to = format!("unix://{}/in.sock", self.dir.path().display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(["send", stream, "--quiet", "--to", &to]).env_clear().stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = child.stdin.take().unwrap();
        for event in events {
            writeln!(lines, "{event}").unwrap();
        }
        drop(lines);
        assert!(child.wait().unwrap().success());
    }

    /// Waits until so many events are in a directory, each once, and there are no others.
    fn delivered(&self, to: &str, events: impl Iterator<Item = usize> + Clone) {
        let began = Instant::now();
        let wanted: BTreeMap<String, usize> = events.map(|event| (event.to_string(), 1)).collect();
        loop {
            let found = delivered(&self.dir.path().join(to));
            if found == wanted {
                return;
            }
            let unwanted = found.iter().find(|&(event, n)| wanted.get(event) != Some(n));
            assert!(unwanted.is_none(), "in {to} there is {unwanted:?}");
            let (found, wanted) = (found.len(), wanted.len());
            assert!(began.elapsed() < STUCK, "{found} of {wanted} events in {to}");
            thread::yield_now();
        }
    }
}

fn write(dir: &Path, more: &str) {
    let root = dir.display();
    let text = format!(
        "data_dir = \"{root}/data\"\n\
         [[source]]\nkind = \"unix\"\npath = \"{root}/in.sock\"\n\
         [stream.default]\nsink = \"file\"\naggregate = \"lines\"\nlinger = \"1h\"\n{}",
        more.replace("ROOT", &root.to_string()),
    );
    std::fs::write(dir.join("standpipe.toml"), text).unwrap();
}

/// How often each line is in the files below a directory.
fn delivered(dir: &Path) -> BTreeMap<String, usize> {
    let mut text = String::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
            }
        }
    }
    let mut lines = BTreeMap::new();
    // A line without an end is being written.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    lines
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const FILES: &str = "[sink.file]\npath = \"ROOT/out\"\n";

#[test]
fn streams_that_are_open_follow_their_settings_and_their_sink() {
    let agent = Agent::start(FILES);
    agent.send("orders", 0..1);
    assert!(agent.run(&["drain", "--timeout", "10m"]).status.success());

    let reloaded = agent.reload(&format!("{FILES}[stream.orders]\nlinger = \"10ms\"\n"));
    let said = text(&reloaded.stdout);
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert!(said.contains("  stream.orders.linger\n"), "{said}");
    assert!(said.contains("delivered anew with it: orders\n"), "{said}");
    agent.delivered("out", 0..1);
    // Nobody hurries them, and the hour is not over.
    agent.send("orders", 1..11);
    agent.delivered("out", 0..11);

    // The same name leads somewhere else; what the old place has is not sent again.
    let moved = "[sink.file]\npath = \"ROOT/elsewhere\"\n[stream.orders]\nlinger = \"10ms\"\n";
    assert!(agent.reload(moved).status.success());
    agent.send("orders", 11..20);
    agent.delivered("elsewhere", 11..20);
    // Another name.
    let added =
        format!("{moved}sink = \"third\"\n[sink.third]\nkind = \"file\"\npath = \"ROOT/third\"\n");
    assert!(agent.reload(&added).status.success());
    agent.send("orders", 20..30);
    agent.delivered("third", 20..30);

    // Paused, and not any more.
    let paused = format!("{added}[stream.clicks]\npaused = true\n");
    agent.send("clicks", 0..1);
    assert!(agent.reload(&paused).status.success());
    agent.send("clicks", 1..2);
    assert_eq!(agent.run(&["drain", "clicks"]).status.code(), Some(1));
    assert!(agent.reload(&added).status.success());
    assert!(agent.run(&["drain", "clicks", "--timeout", "10m"]).status.success());
    let unchanged = agent.run(&["reload"]);
    assert_eq!(text(&unchanged.stdout), "nothing differs from what holds already\n");
}

#[test]
fn nothing_is_lost_or_repeated_while_settings_change_under_load() {
    let agent = Agent::start(FILES);
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            for part in 0..20 {
                agent.send("orders", part * 500..(part + 1) * 500);
            }
        });
        let mut turn = 0;
        while !sending.is_finished() {
            turn += 1;
            let linger = format!("{FILES}[stream.orders]\nlinger = \"{turn}ms\"\n");
            assert!(agent.reload(&linger).status.success());
        }
        assert!(turn > 1, "it was never reloaded");
    });
    agent.delivered("out", 0..10_000);
}

#[test]
fn a_reload_that_is_refused_changes_nothing_and_fails() {
    let agent = Agent::start(FILES);
    let restart = format!("{FILES}[stream.orders]\nlinger = \"1ms\"\n[wal]\nowners = 7\n");
    let refused = agent.reload(&restart);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("nothing was changed: a restart is needed for wal.owners ("), "{said}");
    let json = agent.run(&["reload", "--json"]);
    assert_eq!(json.status.code(), Some(1), "{json:?}");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["reloaded"], false, "{json}");
    assert_eq!(json["takes_restart"], serde_json::json!(["wal.owners"]), "{json}");
    assert!(json["changed"].to_string().contains("stream.orders.linger"), "{json}");

    let wrong = agent.reload(&format!("{FILES}[stream.orders]\nlinger = \"soon\"\n"));
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let said = text(&wrong.stderr);
    assert!(said.contains("not reloaded") && said.contains("linger"), "{said}");

    // What is taken over at last is all of it: nothing was before.
    let json = agent.reload(&format!("{FILES}[stream.orders]\nlinger = \"1ms\"\n"));
    assert!(text(&json.stdout).contains("stream.orders.linger"), "{json:?}");
}
