//! The agent under measurement: the real binary, as a process of its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) struct Agent {
    child: Child,
    dir: PathBuf,
    began: Instant,
    /// Whether its log is to stay when it ends.
    keep: bool,
}

impl Agent {
    /// Starts an agent with an empty log below `dir` and this `[stream.default]`.
    pub(crate) fn start(dir: &Path, endpoint: &str, stream_default: &str) -> Self {
        let _absent = std::fs::remove_dir_all(dir.join("agent"));
        let agent = Self::launch(dir, endpoint, stream_default);
        agent.wait(|_| true);
        agent
    }

    /// Starts an agent on what lies below `dir` and does not wait for it.
    pub(crate) fn launch(dir: &Path, endpoint: &str, stream_default: &str) -> Self {
        let dir = dir.join("agent");
        std::fs::create_dir_all(&dir).unwrap();
        let shown = dir.display();
        let config = format!(
            r#"data_dir = "{shown}/data"
[[source]]
kind = "unix"
path = "{shown}/in.sock"
[sink.firehose]
kind = "firehose"
region = "us-east-1"
endpoint_url = "{endpoint}"
[wal]
bytes_max = "60GiB"
free_bytes_min = "1GiB"
[stream.default]
{stream_default}
[admin]
unix = "{shown}/admin.sock"
"#
        );
        std::fs::write(dir.join("standpipe.toml"), config).unwrap();
        let began = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_standpipe"))
            .args(["run", "--config"])
            .arg(dir.join("standpipe.toml"))
            .env("AWS_ACCESS_KEY_ID", "figures")
            .env("AWS_SECRET_ACCESS_KEY", "figures")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, dir, began, keep: false }
    }

    /// Ends the process as a crash does, and keeps its log.
    pub(crate) fn crash(mut self) {
        self.keep = true;
    }

    /// When the process was started.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Where the log of an agent below `dir` is.
    pub(crate) fn data(dir: &Path) -> PathBuf {
        dir.join("agent").join("data")
    }

    /// Connects to an agent that may not listen yet.
    pub(crate) fn connect_soon(&self) -> UnixStream {
        loop {
            if let Ok(socket) = UnixStream::connect(self.dir.join("in.sock")) {
                return socket;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.join("in.sock")).unwrap()
    }

    /// The sum of one number over all streams, as the agent says it now; `None` while it starts.
    fn sum(&self, key: &str) -> Option<u64> {
        let mut admin = UnixStream::connect(self.dir.join("admin.sock")).ok()?;
        let request = b"GET /api/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        admin.write_all(request).ok()?;
        let mut answer = String::new();
        admin.read_to_string(&mut answer).ok()?;
        let body = answer.split_once("\r\n\r\n")?.1;
        let status: Value =
            serde_json::from_str(body.get(body.find('{')?..=body.rfind('}')?)?).ok()?;
        let streams = status["streams"].as_array()?;
        Some(streams.iter().filter_map(|stream| stream[key].as_u64()).sum())
    }

    fn wait(&self, enough: impl Fn(u64) -> bool) {
        self.wait_for("durable", enough);
    }

    /// Waits until the sum of `key` is enough; looks every few milliseconds.
    pub(crate) fn wait_for(&self, key: &str, enough: impl Fn(u64) -> bool) {
        let start = Instant::now();
        while !self.sum(key).is_some_and(&enough) {
            std::thread::sleep(Duration::from_millis(5));
            let stuck = start.elapsed() > Duration::from_secs(900);
            assert!(!stuck, "the agent does not get on: {key} is {:?}", self.sum(key));
        }
    }

    /// User and system seconds that the process has used.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = [11, 12].map(|i: usize| fields[i].parse::<u64>().unwrap()).iter().sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The largest resident size so far, in MiB.
    pub(crate) fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
        if self.keep {
            return;
        }
        // The figure is taken; what it wrote is not needed any more.
        let _removed = std::fs::remove_dir_all(&self.dir);
    }
}
