//! A real agent in a process of its own, as `run --local` starts it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::admin::client;
use crate::cli::wal::look::Place;

/// How long a start or a stop may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the agent is asked whether it is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A running agent; killed when it is dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts an agent with everything below `dir` and waits until it answers.
    pub(super) fn start(dir: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let log = dir.join("agent.log");
        let log_file = File::options().create(true).append(true).open(&log);
        let log_file = log_file.with_context(|| format!("open {}", log.display()))?;
        let child = Command::new(program)
            .args(["run", "--log-format", "json", "--local"])
            .arg(dir)
            // What the user has set for a real agent must not reach this one.
            .env_clear()
            // Small segments, so that there is something to trim; any free port.
            .env("STANDPIPE_WAL__SEGMENT_BYTES", "2MiB")
            .env("STANDPIPE_SOURCE__1__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .context("start the agent")?;
        let mut process = Self { child, log };
        process.wait_until_it_answers(&Place::of_local(dir)?.admin)?;
        Ok(process)
    }

    fn wait_until_it_answers(&mut self, admin: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        while client::ask(admin)?.is_none() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}; its log is {}", self.log.display());
            }
            ensure!(begun.elapsed() < PATIENCE, "the agent does not answer after {PATIENCE:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the agent")?;
        self.child.wait().context("wait for the killed agent")?;
        Ok(())
    }

    /// SIGTERM, and what it answers to that.
    pub(super) fn stop(mut self) -> anyhow::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .context("send SIGTERM to the agent")?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(begun.elapsed() < PATIENCE, "the agent does not stop after {PATIENCE:?}");
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do where it has ended already.
        let _killed = self.child.kill().is_ok();
        let _ended = self.child.wait().is_ok();
    }
}
