//! What an operator does with a running agent, each as the command that it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: a surprise is its failure")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[path = "agent/process.rs"]
mod process;

use process::Process;
use tempfile::TempDir;

/// An agent whose events wait for an hour unless somebody hurries them.
struct Agent {
    dir: TempDir,
    config: PathBuf,
    _process: Process,
}

impl Agent {
    fn start(sink: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let text = format!(
            "data_dir = \"{root}/data\"\n\
             [[source]]\nkind = \"unix\"\npath = \"{root}/in.sock\"\n\
             {sink}\n\
             [stream.default]\naggregate = \"lines\"\nlinger = \"1h\"\n\
             [stream.idle]\npaused = true\n",
        );
        let config = dir.path().join("standpipe.toml");
        std::fs::write(&config, text.replace("ROOT", &root.to_string())).unwrap();
        let mut process = Process::start(&[], &config);
        process.addresses(1).expect("it listens");
        Self { dir, config, _process: process }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(args).args(["--config", self.config.to_str().unwrap()]).env_clear();
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn send(&self, stream: &str, events: usize) {
        let to = format!("unix://{}/in.sock", self.dir.path().display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.args(["send", stream, "--quiet", "--to", &to]).env_clear().stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = "event\n".repeat(events);
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Delivers two streams into files.
const FILES: &str = "[sink.file]\npath = \"ROOT/out\"\n\
                     [stream.orders]\nsink = \"file\"\n[stream.clicks]\nsink = \"file\"\n";

fn everything_below(dir: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_below(&path));
        } else {
            std::fs::File::open(path).unwrap().read_to_end(&mut found).unwrap();
        }
    }
    found
}

#[test]
fn drain_delivers_what_would_have_waited() {
    let agent = Agent::start(FILES);
    // What is there when a stream begins to be delivered does not wait.
    agent.send("orders", 1);
    agent.send("clicks", 1);
    assert!(agent.run(&["drain", "--timeout", "10m"]).status.success());
    agent.send("orders", 1000);
    agent.send("clicks", 10);
    let status = agent.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["total"]["backlog_events"], 1010, "{status}");

    // Long before the hour is over.
    let drained = agent.run(&["drain", "orders", "--timeout", "10m"]);
    assert!(drained.status.success(), "{drained:?}");
    let said = text(&drained.stdout);
    assert!(said.contains("1,000 events are to be delivered"), "{said}");
    let delivered = text(&everything_below(&agent.dir.path().join("out")));
    assert_eq!(delivered.lines().count(), 1002, "the other stream was not asked for");
    let all = agent.run(&["drain", "--json", "--timeout", "10m"]);
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!((&all["drained"], &all["events"]), (&true.into(), &10.into()), "{all}");
}

#[test]
fn drain_says_which_stream_gets_nowhere_and_why() {
    let sink = "[sink.firehose]\nkind = \"firehose\"\nendpoint_url = \"http://127.0.0.1:9\"\n\
                credentials = \"local\"\n";
    let agent = Agent::start(sink);
    agent.send("idle", 3);
    let paused = agent.run(&["drain"]);
    assert_eq!(paused.status.code(), Some(1), "{paused:?}");
    let said = text(&paused.stderr);
    assert!(said.contains("idle is paused") && said.contains("3 events left"), "{said}");

    agent.send("orders", 5);
    let late = agent.run(&["drain", "orders", "--timeout", "500ms"]);
    assert_eq!(late.status.code(), Some(1), "{late:?}");
    assert!(text(&late.stderr).contains("within 500ms: orders"), "{late:?}");
    let unknown = agent.run(&["drain", "ordres"]);
    assert!(text(&unknown.stderr).contains("there is no stream ordres"), "{unknown:?}");
}

#[test]
fn how_records_are_made_is_seen_from_outside() {
    let agent = Agent::start(FILES);
    agent.send("orders", 1);
    // Whoever delivers has chosen.
    assert!(agent.run(&["drain", "--timeout", "10m"]).status.success());
    for command in [&["status", "--json"][..], &["wal", "stat", "--json"]] {
        let shown = agent.run(command);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let streams = shown["streams"].as_array().unwrap();
        let orders = streams.iter().find(|stream| stream["stream"] == "orders").unwrap();
        let aggregate = &orders["aggregate"];
        assert_eq!(aggregate["state"], "lines", "{command:?}: {orders}");
        assert_eq!(aggregate["reason"], "configured: aggregate = \"lines\"", "{orders}");
        assert!(aggregate["since"].is_string(), "{orders}");
        assert_eq!(orders["compression"]["state"], "none", "{orders}");
        assert!(orders["unnamed"].is_object(), "{orders}");
    }
    let cost = text(&agent.run(&["status", "--cost"]).stdout);
    assert!(cost.contains("configured: aggregate"), "{cost}");
}

#[test]
fn single_events_for_want_of_an_answer_are_noted() {
    let sink = "[sink.firehose]\nkind = \"firehose\"\nendpoint_url = \"http://127.0.0.1:9\"\n\
                credentials = \"local\"\n[stream.orders]\naggregate = \"auto\"\n[stream.clicks]\n";
    let agent = Agent::start(sink);
    agent.send("orders", 1);
    agent.send("clicks", 1);
    let note = "one event per record costs more (orders): wait for the destination's answer";
    let look = || -> serde_json::Value {
        serde_json::from_slice(&agent.run(&["status", "--json"]).stdout).unwrap()
    };
    // An acknowledged event may be there before whoever delivers it.
    let chosen = |status: &serde_json::Value| {
        status["streams"].as_array().unwrap().iter().all(|stream| stream["aggregate"].is_object())
    };
    let status = std::iter::repeat_with(look).find(chosen).unwrap();
    assert!(status["notes"].to_string().contains(note), "{status}");
    let screen = text(&agent.run(&["status"]).stdout);
    assert!(screen.contains(&format!("\nnote: {note}")), "{screen}");
}

#[test]
fn the_level_of_the_log_changes_while_the_agent_runs() {
    let agent = Agent::start(FILES);
    let changed = agent.run(&["log-level", "debug"]);
    assert!(changed.status.success(), "{changed:?}");
    assert!(text(&changed.stdout).contains("standpipe=debug"), "{changed:?}");
    let refused = agent.run(&["log-level", "standpipe=loud"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("error, warn, info"), "{refused:?}");
}

#[test]
fn metrics_are_served_on_the_admin_socket() {
    let agent = Agent::start(FILES);
    agent.send("orders", 7);
    let mut forgetful = UnixStream::connect(agent.dir.path().join("in.sock")).unwrap();
    forgetful.write_all(b"orders nobody waits for an answer\n").unwrap();
    let mut answer = String::new();
    while !answer.contains("standpipe_ingested_events_total{stream=\"orders\"} 8\n") {
        answer.clear();
        let mut socket = UnixStream::connect(agent.dir.path().join("data/admin.sock")).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        socket.read_to_string(&mut answer).unwrap();
    }
    for line in [
        "standpipe_acknowledged_events_total{stream=\"orders\"} 7\n",
        "standpipe_dead_letter_bytes{stream=\"orders\"} 0\n",
        "standpipe_dead_letter_limit_bytes 67108864\n",
        "# TYPE standpipe_backlog_events gauge\n",
        "standpipe_ready 1\n",
    ] {
        assert!(answer.contains(line), "there is no {line} in\n{answer}");
    }
    assert!(!answer.contains("standpipe_sync_duration_seconds_count 0\n"), "{answer}");
}

/// What the admin socket says that a billed GiB costs.
fn price(dir: &Path) -> serde_json::Value {
    let mut socket = UnixStream::connect(dir.join("data/admin.sock")).unwrap();
    socket.write_all(b"GET /api/status HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    status.get("price_per_gb").unwrap().clone()
}

#[test]
fn the_level_of_the_log_and_the_price_follow_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("standpipe.toml");
    let root = dir.path().display();
    let write = |more: &str| {
        let source = format!("[[source]]\nkind = \"unix\"\npath = \"{root}/in.sock\"");
        std::fs::write(&config, format!("data_dir = \"{root}/data\"\n{source}\n{more}")).unwrap();
    };
    write("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    command.args(["run", "--config"]).arg(&config).env_clear().stderr(Stdio::piped());
    let mut agent = Process::spawn(command);
    let log = BufReader::new(agent.child.stderr.take().unwrap());
    let mut log = log.lines().map(Result::unwrap);
    // All lines up to the one with this text.
    let mut logged = |text: &str| {
        let mut lines = String::new();
        while !lines.contains(text) {
            lines.push_str(&log.next().expect("it runs"));
        }
        lines
    };
    let pid = rustix::process::Pid::from_child(&agent.child);
    let reload = |more: &str| {
        write(more);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    logged("\"started\"");

    reload("[cost]\nprice_per_gb = 1.5\n[log]\nlevel = \"debug\"");
    let said = logged("reloaded");
    assert!(said.contains("reloaded the configuration"), "{said}");
    assert!(said.contains("standpipe=debug"), "{said}");
    assert_eq!(price(dir.path()), 1.5);
    // All or nothing: the owners of the log cannot change.
    reload("[cost]\nprice_per_gb = 2.5\n[wal]\nowners = 7\n[log]\nlevel = \"debug\"");
    let said = logged("reloaded");
    assert!(said.contains("not reloaded") && said.contains("wal.owners"), "{said}");
    assert_eq!(price(dir.path()), 1.5);
}
