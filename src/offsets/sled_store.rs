//! The store on disk: sled in `DATA_DIR/offsets/`.
//!
//! What sled needs around it, found by tracing and by reading it (0.34.7):
//! - `flush()` ends in `sync_file_range`, which is no fsync. [`Files`] does the rest.
//! - Its background thread is off: it would fsync twice a second on an idle host, and waits for
//!   ever in `drop` once it has panicked. Files do not grow without it: segments that hold nothing
//!   live are used again.
//! - Its calls may panic on damaged content; see [`handle`].

use std::io;
use std::path::{Path, PathBuf};

use super::store::{Entries, Failure, OffsetStore, Old};
use files::Files;
use handle::{Handle, classify_io};
use places::Places;

mod files;
mod handle;
mod places;
#[cfg(test)]
mod tests;

pub(super) use files::files_below;
pub(super) use places::store_dir;

/// See the module.
#[derive(Debug)]
pub struct SledStore {
    places: Places,
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    sled: Handle,
    files: Files,
}

impl SledStore {
    /// The store of a data directory. Touches nothing yet. The caller holds the directory's lock.
    pub fn new(data_dir: &Path) -> Self {
        Self { places: Places::new(data_dir), opened: None }
    }

    fn opened(&mut self) -> Result<&mut Opened, Failure> {
        self.opened.as_mut().ok_or_else(|| Failure::Transient {
            operation: "use the store of offsets",
            source: io::Error::other("it is not open"),
        })
    }

    /// Builds a complete and durable store beside the present one.
    fn build(&self, entries: &Entries) -> Result<(), Failure> {
        let dir = self.places.fresh()?;
        let mut sled = Handle::open(dir)?;
        sled.put(entries)?;
        sled.flush()?;
        drop(sled);
        Files::new(dir, self.places.data_dir()).sync()
    }
}

impl OffsetStore for SledStore {
    fn open(&mut self) -> Result<Entries, Failure> {
        self.close();
        self.places.settle()?;
        let mut sled = Handle::open(self.places.current())?;
        let entries = sled.read()?;
        let files = Files::new(self.places.current(), self.places.data_dir());
        self.opened = Some(Opened { sled, files });
        Ok(entries)
    }

    fn apply(&mut self, entries: &Entries) -> Result<(), Failure> {
        self.opened()?.sled.put(entries)
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let opened = self.opened()?;
        opened.sled.flush()?;
        opened.files.sync()
    }

    fn replace(&mut self, entries: &Entries, old: Old) -> Result<Option<PathBuf>, Failure> {
        self.close();
        self.build(entries)?;
        let kept = self.places.swap(old)?;
        // The entries are durable in their place. If opening them fails, the next call says so.
        let _opened = self.open().is_ok();
        Ok(kept)
    }

    fn disk_bytes(&self) -> u64 {
        self.opened.as_ref().map_or(0, |opened| opened.files.bytes())
    }

    fn close(&mut self) {
        self.opened = None;
    }
}

/// Everything in the store that lies in a directory. Writes to that directory.
pub(super) fn read_dir(dir: &Path) -> Result<Entries, Failure> {
    Handle::open(dir)?.read()
}
