//! The machine: user-mode Linux, with the files of this one to read, a disk of its own, and a folder
//! outside of it. To cut its power is to kill it: the disk is a file here, and has what the machine
//! has written to it, while all that waited in the machine's memory is gone.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::guest::{ROLE, Said};

const DISK_BYTES: u64 = 128 << 20;

/// The disk is inside, where the agent keeps its log. What is delivered goes outside: a
/// destination is not in the same machine.
const CONFIGURATION: &str = r#"
data_dir = "/run/disk/data"
[[source]]
kind = "unix"
path = "/run/standpipe.sock"
[sink.file]
kind = "file"
path = "/run/host/delivered"
[wal]
segment_bytes = "2MiB"
pool_bytes_max = "4MiB"
free_bytes_min = "1MiB"
[stream.default]
sink = "file"
aggregate = "lines"
linger = "50ms"
"#;

/// A machine that is switched off.
pub(crate) struct Machine {
    root: tempfile::TempDir,
}

/// A machine that runs. Its power is cut when it is dropped.
pub(crate) struct Running {
    machine: Child,
    console: BufReader<ChildStdout>,
    transcript: File,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.path("outside")).unwrap();
        fs::write(machine.path("standpipe.toml"), CONFIGURATION).unwrap();
        let disk = machine.path("disk");
        File::create(&disk).unwrap().set_len(DISK_BYTES).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&disk).status();
        assert!(made.expect("mkfs.ext4, of the package e2fsprogs").success());
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn delivered(&self) -> PathBuf {
        self.path("outside/delivered")
    }

    /// What the machine does when it is switched on. Its root is this machine's, for reading only.
    fn init(&self, life: u64, drain: bool) -> String {
        let root = self.root.path().display();
        let program = env!("CARGO_BIN_EXE_standpipe");
        let clients = std::env::current_exe().unwrap();
        format!(
            "#!/bin/sh\n\
             mount -t proc proc /proc\n\
             mount -t tmpfs run /run\n\
             mkdir /run/disk /run/host\n\
             mount -t ext4 /dev/ubda /run/disk\n\
             mount -t hostfs host /run/host -o {root}/outside\n\
             {program} run --config {root}/standpipe.toml --log warn > /run/listening &\n\
             until grep -q listening /run/listening; do sleep 0.05; done\n\
             {clients} {ROLE} unix:///run/standpipe.sock {life} {drain}\n\
             echo the clients have ended\n\
             sleep 1000\n",
            clients = clients.display(),
            drain = if drain { "drain" } else { "go-on" },
        )
    }

    /// Switches it on.
    pub(crate) fn boot(&self, life: u64, drain: bool) -> Running {
        let init = self.path("init");
        fs::write(&init, self.init(life, drain)).unwrap();
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("linux.uml");
        command
            .args(["mem=256M", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"])
            .args(["con=null", "con0=null,fd:1"])
            .arg(format!("init={}", init.display()))
            .arg(format!("ubd0={}", self.path("disk").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // All of its processes, and no other.
            .process_group(0);
        let mut machine = command.spawn().expect("linux.uml, of the package user-mode-linux");
        let console = BufReader::new(machine.stdout.take().unwrap());
        let transcript = File::create(self.path("console")).unwrap();
        Running { machine, console, transcript }
    }
}

impl Running {
    /// Waits until something is said by the clients.
    pub(crate) fn hear(&mut self) -> Said {
        loop {
            let mut line = Vec::new();
            self.console.read_until(b'\n', &mut line).unwrap();
            let line = String::from_utf8_lossy(&line);
            if let Some(said) = Said::parse(&line) {
                return said;
            }
            assert!(!line.is_empty(), "the machine has ended by itself");
            assert!(!line.contains("panicked"), "{line}");
            self.transcript.write_all(line.as_bytes()).unwrap();
            if line.contains("ERROR") || line.contains("clients have ended") {
                print!("inside: {line}");
            }
        }
    }

    pub(crate) fn cut_power(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.machine.id().cast_signed()).unwrap();
        let _killed = kill_process_group(group, Signal::KILL).is_ok();
        let _waited = self.machine.wait().is_ok();
    }
}

/// All lines of all files below a folder.
pub(crate) fn lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines.extend(self::lines(&path));
        } else {
            lines.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
    }
    lines
}
