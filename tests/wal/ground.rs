//! Logs to look at, and the commands that look.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use standpipe_wal::fs::real::RealFs;
use standpipe_wal::log::OsEntropy;
use standpipe_wal::{Events, Log, Offset, Options, StreamName};

/// A data directory of its own.
pub(crate) struct Ground {
    pub(crate) dir: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap()
    }
}

/// The payload of the event with this offset: told apart from every other.
pub(crate) fn payload(offset: u64) -> String {
    format!("{offset:08}{}", "-".repeat(88))
}

/// Of a frame of ten such events.
pub(crate) const FRAME: u64 = 48 + 10 * 100;

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/streams")).unwrap();
        Self { dir }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn stream(&self, name: &str) -> PathBuf {
        self.data().join("streams").join(name)
    }

    /// Writes a log with so many frames of ten events, and stops as an agent does.
    pub(crate) fn log(&self, stream: &str, frames: u64) {
        let fs: Arc<dyn standpipe_wal::fs::Fs> = Arc::new(RealFs);
        let entropy = Arc::new(OsEntropy);
        let options = Options { segment_bytes: 64 * 1024, entropy, pool: None };
        let (dir, name) = (self.data().join("streams"), stream.parse::<StreamName>().unwrap());
        let (mut log, _) = Log::open(&fs, &dir, &name, &options, Offset::ZERO, 1).unwrap();
        for frame in 0..frames {
            let mut events = Events::default();
            (frame * 10..frame * 10 + 10)
                .for_each(|offset| events.push(payload(offset).as_bytes()));
            log.push(events, 1_700_000_000_000 + frame);
            log.sync(1).unwrap();
        }
        log.close(1).unwrap();
    }

    /// The segments of a stream, oldest first.
    pub(crate) fn segments(&self, stream: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.stream(stream)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        segments.sort();
        segments
    }

    /// Overwrites bytes of a file.
    pub(crate) fn damage(path: &Path, position: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(bytes, position).unwrap();
    }

    /// `standpipe wal …` on this data directory.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
        command.arg("wal").args(args).arg("--data-dir").arg(self.data());
        command.env_clear().stdin(Stdio::null());
        command
    }

    pub(crate) fn wal(&self, args: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let err = String::from_utf8(stderr).unwrap();
        Said { code: status.code().expect(&err), out: stdout, err }
    }

    /// Runs a command that only looks, and makes sure that it did no more.
    #[track_caller]
    pub(crate) fn look(&self, args: &[&str]) -> Said {
        let before = fingerprint(&self.data());
        let said = self.wal(args);
        assert!(fingerprint(&self.data()) == before, "{args:?} changed something");
        said
    }
}

type Look = (Vec<u8>, i64, i64, i64, i64);

/// Everything that looking could change: names, contents, times.
pub(crate) fn fingerprint(dir: &Path) -> BTreeMap<PathBuf, Look> {
    let mut found = BTreeMap::new();
    let mut paths = vec![dir.to_owned()];
    while let Some(path) = paths.pop() {
        let own = std::fs::metadata(&path).unwrap();
        let mut bytes = Vec::new();
        if own.is_dir() {
            paths.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if own.is_file() {
            bytes = std::fs::read(&path).unwrap();
        }
        found.insert(path, (bytes, own.mtime(), own.mtime_nsec(), own.ctime(), own.ctime_nsec()));
    }
    found
}
