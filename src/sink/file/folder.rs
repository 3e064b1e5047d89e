//! The files of one destination: one is open, and an append is on disk when it returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use standpipe_wal::StreamName;

use super::path::Stamp;

/// Appends to the file of the hour.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    destination: StreamName,
    file_bytes_max: u64,
    current: Option<Current>,
}

/// The file that is appended to.
#[derive(Debug)]
struct Current {
    file: File,
    hour: PathBuf,
    bytes: u64,
}

impl Folder {
    /// The folder of `destination` below `root`. Nothing is opened yet.
    pub(super) fn new(root: PathBuf, destination: StreamName, file_bytes_max: u64) -> Self {
        Self { root, destination, file_bytes_max, current: None }
    }

    /// Appends and syncs. After a failure the file is left as it was before, as far as that can be
    /// done, and never used again: a file whose sync has failed once may hold anything.
    pub(super) fn append(&mut self, data: &[u8], now: SystemTime) -> io::Result<()> {
        let stamp = Stamp::of(now);
        let fits =
            |current: &Current| current.hour == stamp.hour && current.bytes < self.file_bytes_max;
        let mut current = match self.current.take().filter(fits) {
            Some(current) => current,
            None => self.begin(stamp)?,
        };
        match current.file.write_all(data).and_then(|()| current.file.sync_data()) {
            Ok(()) => {
                current.bytes += data.len() as u64;
                self.current = Some(current);
                Ok(())
            }
            Err(error) => {
                // What cannot be cut off stays; the records come again in another file.
                let _cut = current.file.set_len(current.bytes).is_ok();
                Err(error)
            }
        }
    }

    /// Begins a file whose name is on disk.
    fn begin(&self, stamp: Stamp) -> io::Result<Current> {
        let below = Path::new(self.destination.as_str()).join(&stamp.hour);
        create_dirs_synced(&self.root, &below)?;
        let dir = self.root.join(below);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = stamp.file_name(self.destination.as_str(), u128::from_le_bytes(random));
        let path = dir.join(name);
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        sync_dir(&dir)?;
        Ok(Current { file, hour: stamp.hour, bytes: 0 })
    }
}

/// Makes what is missing of `root/below`, and puts every name on the way on disk: also those that
/// are there already, since whoever made them may have been killed before the sync.
fn create_dirs_synced(root: &Path, below: &Path) -> io::Result<()> {
    let dir = root.join(below);
    fs::create_dir_all(&dir)?;
    let depth = below.components().count() + 1;
    for dir in dir.ancestors().skip(1).take(depth) {
        sync_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?;
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
