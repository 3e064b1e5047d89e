//! The real program, as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A started agent. Killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `standpipe run` on a configuration, directly or under another program.
    pub(crate) fn start(under: &[&str], config: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_standpipe");
        let mut words = under.iter().copied().chain([program, "run", "--log", "warn", "--config"]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg(config);
        // Variables of this prefix override the configuration.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STANDPIPE_") {
                command.env_remove(name);
            }
        }
        Self::spawn(command)
    }

    /// Starts this command.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, stdout }
    }

    /// Waits until it listens, and says where. `None` where it ended before.
    pub(crate) fn addresses(&mut self, count: usize) -> Option<Vec<String>> {
        let mut addresses = Vec::new();
        while addresses.len() < count {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("its output is text");
            let address = line.strip_suffix('\n')?.strip_prefix("listening on ");
            addresses.push(address.unwrap_or_else(|| panic!("it said {line:?}")).to_owned());
        }
        Some(addresses)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill().is_ok();
        let _waited = self.child.wait().is_ok();
    }
}
