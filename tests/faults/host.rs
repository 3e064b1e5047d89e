//! An agent under test: its files, its log, what it says of itself, what it has delivered.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::process::Process;

/// What turns an agent that hangs into a test that fails. Nothing else depends on time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks, so that looking does not keep the agent from its work.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Where an agent keeps its things. The data directory may be on a disk of its own; everything else
/// is on a healthy one.
pub(crate) struct Host {
    root: tempfile::TempDir,
    config: PathBuf,
    data: PathBuf,
    wal: String,
}

/// An agent that runs on a host.
pub(crate) struct Agent {
    process: Process,
    pub(crate) address: String,
}

impl Host {
    /// A host whose data directory is `data`, or beside the rest. One owner thread for all streams,
    /// so that a fault of one thread is a fault of the disk; `wal` is added to that table of the
    /// configuration.
    pub(crate) fn new(data: Option<&Path>, wal: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = data.map_or_else(|| root.path().join("data"), Path::to_owned);
        let config = root.path().join("standpipe.toml");
        let host = Self { root, config, data, wal: wal.to_owned() };
        host.configure("");
        host
    }

    /// Adds `streams` to what holds for every stream, from the next start on.
    pub(crate) fn configure(&self, streams: &str) {
        let (shown, data, wal) = (self.root.path().display(), self.data.display(), &self.wal);
        let text = format!(
            "data_dir = \"{data}\"\n\
             [[source]]\nkind = \"unix\"\npath = \"{shown}/standpipe.sock\"\n\
             [sink.file]\nkind = \"file\"\npath = \"{shown}/delivered\"\n\
             [wal]\nsegment_bytes = \"2MiB\"\nowners = 1\npool_bytes_max = \"2MiB\"\n{wal}\
             [stream.default]\nsink = \"file\"\naggregate = \"lines\"\nlinger = \"10ms\"\n\
             {streams}"
        );
        fs::write(&self.config, text).unwrap();
    }

    /// Starts an agent, directly or under another program, and waits until it listens. `None` where
    /// it ended before.
    pub(crate) fn try_start(&self, under: &[&str]) -> Option<Agent> {
        let log = format!("exec \"$@\" 2>>'{}'", self.log_path().display());
        let shell = ["sh", "-c", &log, "sh"];
        let mut process = Process::start(&[&shell[..], under].concat(), &self.config);
        let address = process.addresses(1)?.remove(0);
        Some(Agent { process, address })
    }

    pub(crate) fn start(&self) -> Agent {
        self.try_start(&[]).unwrap_or_else(|| panic!("it did not start:\n{}", self.log()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn log_path(&self) -> PathBuf {
        self.path("log")
    }

    /// Everything that agents have logged here.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What `wal stat` says.
    pub(crate) fn stat(&self) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.env_clear().args(["wal", "stat", "--json", "--config"]).arg(&self.config);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says of one stream; `Null` of one that it does not know.
    pub(crate) fn stream(&self, name: &str) -> Value {
        let mut stat = self.stat();
        let streams = stat["streams"].as_array_mut().unwrap();
        let found = streams.iter_mut().find(|stream| stream["stream"] == name);
        found.map_or(Value::Null, Value::take)
    }

    /// Looks until it is so.
    pub(crate) fn wait(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            let log = self.log();
            assert!(begin.elapsed() < PATIENCE, "never {what}:\n{:#}\n{log}", self.stat());
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Waits until a stream's log takes events, as it says itself.
    pub(crate) fn wait_until_ok(&self, stream: &str) {
        self.wait("ok", |host| {
            let state = &host.stream(stream)["state"];
            state == "ok" || state == "paused"
        });
    }

    /// Waits until everything that was acknowledged has been committed, and what is durable beyond.
    pub(crate) fn wait_until_delivered(&self, ledgers: &[&super::Ledger]) {
        self.wait("delivered", |host| {
            ledgers.iter().all(|ledger| {
                let stream = host.stream(&ledger.stream);
                let committed = stream["committed"].as_u64().unwrap_or_default();
                committed >= ledger.acknowledged() && stream["committed"] == stream["next"]
            })
        });
    }

    /// All lines that were delivered, and how often each.
    pub(crate) fn delivered(&self) -> HashMap<String, u32> {
        let mut lines = HashMap::new();
        let mut folders = vec![self.path("delivered")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                for line in fs::read_to_string(path).unwrap().lines() {
                    *lines.entry(line.to_owned()).or_default() += 1;
                }
            }
        }
        lines
    }

    /// Nothing that was promised may be missing, nothing may be there that nobody sent, and the
    /// agent may not have panicked.
    pub(crate) fn check(&self, ledgers: &[&super::Ledger]) {
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        let delivered = self.delivered();
        let mut known = 0;
        for ledger in ledgers {
            let missing: Vec<_> = ledger.missing(&delivered).collect();
            assert!(missing.is_empty(), "acknowledged and lost: {missing:?}\n{log}");
            known += ledger.known(&delivered);
        }
        assert_eq!(known, delivered.len(), "something arrived that nobody sent");
    }
}

impl Agent {
    /// The agent's own process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// A thread of the agent, by its name, which it gives itself.
    pub(crate) fn thread(&self, name: &str) -> u32 {
        let begin = Instant::now();
        loop {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            let found = tasks.map(|task| task.unwrap().path()).find(|task| {
                fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
            });
            if let Some(task) = found {
                return task.file_name().unwrap().to_str().unwrap().parse().unwrap();
            }
            assert!(begin.elapsed() < PATIENCE, "it has no thread {name}");
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it at once.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// What it runs under would let go of it and leave it running.
    fn kill_what_it_traces(&self) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            let child = Pid::from_raw(child.parse().unwrap()).unwrap();
            let _killed = kill_process(child, Signal::KILL).is_ok();
        }
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.process.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill_what_it_traces();
    }
}
