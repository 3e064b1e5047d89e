//! System calls of one thread of a running agent that fail, by `strace`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What turns a fault that never strikes into a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A fault that lasts until it is taken away or dropped.
pub(crate) struct Injection {
    strace: Child,
    trace: PathBuf,
}

impl Injection {
    /// From now on the `calls` of a thread have this fate (`error=EIO`, `delay_enter=300ms` …).
    pub(crate) fn into(thread: u32, calls: &str, fate: &str, trace: PathBuf) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-p", &thread.to_string(), "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{fate}"), "-o"])
            .arg(&trace)
            .stderr(Stdio::piped());
        let mut strace = command.spawn().unwrap_or_else(|error| {
            panic!("these tests need strace, of the package strace: {error}")
        });
        let mut said = String::new();
        let mut stderr = BufReader::new(strace.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "strace says {said:?}");
        Self { strace, trace }
    }

    /// Waits until so many calls were met.
    pub(crate) fn wait_until_met(&self, calls: usize) {
        let begin = Instant::now();
        while self.met() < calls {
            assert!(begin.elapsed() < PATIENCE, "no call was met");
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// How many calls it has met.
    fn met(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).unwrap_or_default();
        let is_met = |line: &&str| line.contains("(INJECTED)") || line.contains("(DELAYED)");
        trace.lines().filter(is_met).count()
    }

    /// Takes it away.
    pub(crate) fn end(mut self) {
        let pid = Pid::from_raw(self.strace.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        self.strace.wait().unwrap();
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It may have ended already; the kernel lets go of the thread either way.
        let _killed = self.strace.kill().is_ok();
        let _waited = self.strace.wait().is_ok();
    }
}
