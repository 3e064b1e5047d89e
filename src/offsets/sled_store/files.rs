//! Making sled's files durable: `fsync` on each of them, and on the directories they are named in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Failure, classify_io};

const SYNC: &str = "sync the store of offsets";

/// The files of one store, held open so that a failed write-back is reported to us.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    parent: PathBuf,
    open: BTreeMap<PathBuf, File>,
    bytes: u64,
}

impl Files {
    /// The files of the store in `dir`, none of them opened or synced yet.
    pub(super) fn new(dir: &Path, parent: &Path) -> Self {
        Self { dir: dir.to_owned(), parent: parent.to_owned(), open: BTreeMap::new(), bytes: 0 }
    }

    /// Makes everything that was written so far durable; where a name is new, or one is gone, the
    /// directories too.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        let listed = self.list()?;
        let names_changed = !listed.iter().eq(self.open.keys());
        self.open.retain(|path, _| listed.contains(path));
        for path in listed {
            if let Entry::Vacant(place) = self.open.entry(path) {
                let file = File::open(place.key()).map_err(|error| classify_io(SYNC, error))?;
                place.insert(file);
            }
        }
        self.bytes = 0;
        for file in self.open.values() {
            file.sync_all().map_err(unsynced)?;
            self.bytes += file.metadata().map_or(0, |metadata| metadata.len());
        }
        if names_changed {
            for dir in [&self.dir.join("blobs"), &self.dir, &self.parent] {
                sync_dir(dir)?;
            }
        }
        Ok(())
    }

    /// The bytes of all files at the last sync.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The paths of all files, sorted.
    fn list(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = files_below(&self.dir).map_err(|error| classify_io(SYNC, error))?;
        paths.sort();
        Ok(paths)
    }
}

/// The files of a store: those in its directory and in `blobs`. Half-written snapshots, which sled
/// renames when they are whole, are left out.
pub(in crate::offsets) fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let blobs = match fs::read_dir(dir.join("blobs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        blobs => Some(blobs?),
    };
    for entries in [Some(fs::read_dir(dir)?), blobs].into_iter().flatten() {
        for entry in entries {
            let entry = entry?;
            let in_motion =
                entry.path().extension().is_some_and(|it| it == OsStr::new("in___motion"));
            if entry.file_type()?.is_file() && !in_motion {
                paths.push(entry.path());
            }
        }
    }
    Ok(paths)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    let opened = File::open(dir).map_err(|error| classify_io(SYNC, error))?;
    opened.sync_all().map_err(unsynced)
}

fn unsynced(source: io::Error) -> Failure {
    Failure::Unsynced { operation: SYNC, source }
}
