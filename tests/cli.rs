//! The commands as a person runs them: the real binary, its output and its exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and sets the environment of the program it starts"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use standpipe_wal::lock::DirLock;

/// The program, without anything that the environment of the test may say.
fn standpipe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    text(&output.stdout)
}

#[track_caller]
fn fail(command: &mut Command, code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.code(), Some(code), "{} {}", text(&stdout), text(&stderr));
    assert!(stdout.is_empty(), "an error belongs on standard error: {}", text(&stdout));
    text(&stderr)
}

fn write(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Everything that looking could change: names, contents, sizes, times.
fn fingerprint(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let own = std::fs::metadata(&dir).unwrap();
        found.insert(
            dir.clone(),
            (Vec::new(), own.mtime(), own.mtime_nsec(), own.ctime(), own.ctime_nsec()),
        );
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let own = std::fs::metadata(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            found.insert(
                path,
                (bytes, own.mtime(), own.mtime_nsec(), own.ctime(), own.ctime_nsec()),
            );
        }
    }
    found
}

#[test]
fn check_prints_a_configuration_that_checks_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "standpipe.toml", "[stream.orders]\nlinger = \"2s\"\n");
    let printed = succeed(&mut standpipe(&["check", "--config", &file]));
    assert!(printed.starts_with(&format!("# {file} is right")), "{printed}");
    assert!(
        printed.contains("[stream.orders]") && printed.contains("linger = \"2s\""),
        "{printed}"
    );

    let again = write(dir.path(), "again.toml", &printed);
    let printed_again = succeed(&mut standpipe(&["check", "--config", &again]));
    let body = |printed: &str| printed.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_eq!(body(&printed), body(&printed_again));
}

#[test]
fn check_prints_json_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "standpipe.toml", "[wal]\nsync = \"200ms\"\n");
    let mut command = standpipe(&["check", "--json", "--config", &file]);
    let report: serde_json::Value =
        serde_json::from_str(&succeed(command.env("STANDPIPE_WAL__OWNERS", "3"))).unwrap();
    assert_eq!(report["file"], file.as_str());
    assert_eq!(report["config"]["wal"]["sync"], "200ms");
    assert_eq!(report["config"]["wal"]["owners"], 3);
    assert_eq!(report["config"]["stream"]["default"]["sink"], "firehose");
}

#[test]
fn check_reports_every_mistake_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let content = "[wal]\nsnyc = \"always\"\n\n[[source]]\nkind = \"smoke\"\n";
    let file = write(dir.path(), "standpipe.toml", content);
    let mut command = standpipe(&["check", "--config", &file]);
    let error = fail(command.env("STANDPIPE_UPLOAD__MEMORY_MAX", "lots"), 1);
    assert!(error.starts_with("error: the configuration has 3 errors\n"), "{error}");
    assert!(error.contains(&format!("{file}:2: wal.snyc: ")), "{error}");
    assert!(error.contains(&format!("{file}:5: source[0].kind: ")), "{error}");
    assert!(error.contains("STANDPIPE_UPLOAD__MEMORY_MAX: upload.memory_max: "), "{error}");

    let missing = dir.path().join("none.toml");
    let error = fail(&mut standpipe(&["check", "--config", missing.to_str().unwrap()]), 1);
    assert!(error.contains("none.toml") && error.contains("No such file"), "{error}");
}

#[test]
fn a_wrong_command_line_has_an_exit_code_of_its_own() {
    assert!(fail(&mut standpipe(&["wal", "stat", "--jsno"]), 2).contains("--json"));
    assert!(fail(&mut standpipe(&["chekc"]), 2).contains("check"));
    let both = ["wal", "stat", "--data-dir", "/a", "--local", "/b"];
    assert!(fail(&mut standpipe(&both), 2).contains("--local"));
    let version = succeed(&mut standpipe(&["--version"]));
    assert_eq!(version, format!("standpipe {}\n", env!("CARGO_PKG_VERSION")));
    assert!(succeed(&mut standpipe(&["--help"])).contains("Exit codes"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    for args in [&["check"][..], &["--help"], &["wal", "stat", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = standpipe(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn looking_at_an_empty_data_directory_leaves_it_empty() {
    let dir = tempfile::tempdir().unwrap();
    let before = fingerprint(dir.path());
    let path = dir.path().to_str().unwrap();
    let shown = succeed(&mut standpipe(&["wal", "stat", "--data-dir", path]));
    assert!(shown.starts_with("agent stopped") && shown.contains("no streams yet"), "{shown}");
    let shown = succeed(&mut standpipe(&["wal", "stat", "--json", "--data-dir", path]));
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let expected = serde_json::json!({"running": false, "agent": "stopped", "streams": []});
    assert_eq!(report, expected);
    assert_eq!(fingerprint(dir.path()), before);

    let error = fail(&mut standpipe(&["wal", "stat", "--data-dir", path, "orders"]), 1);
    assert!(error.contains("no stream \"orders\""), "{error}");
    let missing = format!("{path}/none");
    let error = fail(&mut standpipe(&["wal", "stat", "--data-dir", &missing]), 1);
    assert!(error.contains("no data directory"), "{error}");
}

#[test]
fn an_agent_that_holds_the_lock_and_does_not_answer_is_starting() {
    let dir = tempfile::tempdir().unwrap();
    drop(DirLock::acquire(dir.path()).unwrap());
    // Not while the lock is held: to open and close its file would give it up.
    let before = fingerprint(dir.path());
    let lock = DirLock::acquire(dir.path()).unwrap();
    let path = dir.path().to_str().unwrap();
    let report = stat(&["--data-dir", path]);
    assert_eq!((&report["running"], &report["agent"]), (&false.into(), &"starting".into()));
    let shown = succeed(&mut standpipe(&["wal", "stat", "--data-dir", path]));
    let expected = format!("agent starting or stopping (process {})", std::process::id());
    assert!(shown.starts_with(&expected), "{shown}");
    drop(lock);
    assert_eq!(fingerprint(dir.path()), before);
    assert_eq!(stat(&["--data-dir", path])["agent"], "stopped");
}

#[test]
fn offsets_that_cannot_be_read_are_said_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let agent = Agent::local(dir.path());
    send(&dir.path().join("standpipe.sock"), "orders", "one\ntwo\n");
    agent.signal(Signal::TERM);
    agent.end(0);
    let store = dir.path().join("agent/offsets");
    for (path, (bytes, ..)) in fingerprint(&store) {
        if path.is_file() {
            std::fs::write(path, vec![0xA5; bytes.len()]).unwrap();
        }
    }
    let before = fingerprint(dir.path());
    let report = stat(&["--local", path]);
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("committed offsets cannot be read"), "{report}");
    // An agent would deliver again what the log still holds, so that is the backlog.
    assert_eq!(report["streams"][0]["next"], 2);
    assert_eq!(fingerprint(dir.path()), before);
}

/// An agent in a process of its own; killed when the test ends.
struct Agent {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdout }
    }

    /// Everything below `dir`, a free port instead of the usual one. Returns when it listens.
    fn local(dir: &Path) -> Self {
        let mut agent = Self::start(run_local(dir));
        assert!(agent.stdout.any(|line| line.unwrap().starts_with("Send an event")));
        agent
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).unwrap();
    }

    #[track_caller]
    fn end(mut self, code: i32) {
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended_already = self.child.kill().is_err();
        self.child.wait().unwrap();
    }
}

fn run_local(dir: &Path) -> Command {
    let mut command = standpipe(&["run", "--log", "error", "--local", dir.to_str().unwrap()]);
    command.env("STANDPIPE_SOURCE__1__LISTEN", "127.0.0.1:0");
    command
}

fn send(socket: &Path, stream: &str, lines: &str) {
    let to = format!("unix://{}", socket.display());
    let mut command = standpipe(&["send", "--quiet", stream, "--to", &to]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn stat(args: &[&str]) -> serde_json::Value {
    let args = [&["wal", "stat", "--json"], args].concat();
    serde_json::from_str(&succeed(&mut standpipe(&args))).unwrap()
}

#[test]
fn the_embedded_default_delivers_and_is_looked_at_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let agent = Agent::local(dir.path());
    send(&dir.path().join("standpipe.sock"), "orders", "one\ntwo\nthree\n");

    let report = stat(&["--local", path]);
    assert_eq!((&report["running"], &report["agent"]), (&true.into(), &"running".into()));
    assert_eq!(report["streams"][0]["durable"], 3);
    let shown = succeed(&mut standpipe(&["wal", "stat", "--local", path]));
    assert!(shown.starts_with(&format!("agent running (process {})", agent.child.id())), "{shown}");
    let refused = fail(&mut run_local(dir.path()), 1);
    assert!(refused.contains("in use by another process"), "{refused}");

    // A stop delivers what is left.
    agent.signal(Signal::TERM);
    agent.end(0);
    let before = fingerprint(dir.path());
    let report = stat(&["--local", path, "orders"]);
    assert_eq!((&report["running"], &report["agent"]), (&false.into(), &"stopped".into()));
    let stream = &report["streams"][0];
    assert_eq!((&stream["next"], &stream["committed"]), (&3.into(), &3.into()), "{report}");
    assert_eq!((&stream["backlog_events"], &stream["state"]), (&0.into(), &"stopped".into()));
    assert_eq!(fingerprint(dir.path()), before);
    let delivered: Vec<_> = before
        .iter()
        .filter(|(path, _)| path.starts_with(dir.path().join("delivered/orders")))
        .flat_map(|(_, (bytes, ..))| bytes)
        .copied()
        .collect();
    assert_eq!(text(&delivered), "one\ntwo\nthree\n");
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A destination that takes the call and never answers, and a stop that would wait for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "data_dir = \"{dir}/data\"\n[upload]\ndrain_timeout = \"1h\"\n\
         [[source]]\nkind = \"unix\"\npath = \"{dir}/socket\"\n\
         [sink.firehose]\ncredentials = \"local\"\nendpoint_url = \"http://{address}\"\n\
         [stream.default]\nlinger = \"0s\"\n",
        dir = dir.path().display(),
        address = silent.local_addr().unwrap(),
    );
    let file = write(dir.path(), "standpipe.toml", &config);
    let mut command = standpipe(&["run", "--log-format", "json", "--config", &file]);
    command.stderr(Stdio::piped());
    let mut agent = Agent::start(command);
    let listening = agent.stdout.next().unwrap().unwrap();
    assert_eq!(listening, format!("listening on unix://{}/socket", dir.path().display()));
    send(&dir.path().join("socket"), "orders", "one\n");
    let _call = silent.accept().unwrap();

    agent.signal(Signal::INT);
    let mut log = BufReader::new(agent.child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("\"message\":\"stopping\"")));
    agent.signal(Signal::TERM);
    assert!(log.any(|line| line.unwrap().starts_with("error: SIGTERM came while")));
    agent.end(1);
    let report = stat(&["--config", &file]);
    assert_eq!(report["agent"], "stopped");
    assert_eq!(report["streams"][0]["backlog_events"], 1, "{report}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = run_local(dir.path());
    let error = fail(command.env("STANDPIPE_SOURCE__1__LISTEN", &address), 1);
    assert!(error.contains(&address) && error.contains("STANDPIPE_SOURCE__1__LISTEN"), "{error}");
}

#[test]
fn the_demo_shows_that_every_acknowledged_event_arrives() {
    let shown = succeed(&mut standpipe(&["demo", "--events", "4000"]));
    assert!(shown.contains("read 4,000 of 4,000 acknowledged events"), "{shown}");
    assert!(shown.contains("Every acknowledged event arrived"), "{shown}");
    let dir = shown.split("everything below ").nth(1).unwrap().lines().next().unwrap();
    assert!(!Path::new(dir).exists(), "it cleans up");
}
