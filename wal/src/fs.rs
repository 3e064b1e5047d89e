//! The file system as a parameter, at the level of system calls.
//!
//! Two implementations: [`real`] is the disk, `sim` (feature `sim`) is a disk that forgets. Nothing
//! above this module touches `std::fs`, so every operation of the log can be made to fail, or to be
//! forgotten by a power cut, at every step.
//!
//! Names and contents become durable by different calls: [`File::sync_data`] makes a file's bytes
//! (and its size) durable, [`Fs::sync_dir`] makes the names in a directory durable. A new directory
//! needs a sync of its parent.
//!
//! A call that a signal interrupts (`EINTR`) is repeated by the implementation where that is
//! without risk: reading, writing, reserving, cutting, opening, listing. It is not where the first
//! attempt may have been done (names), nor for a sync of data, which is never repeated on the same
//! file. There `EINTR` is an error like any other, and what stands above survives it as such.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub mod real;
#[cfg(feature = "sim")]
pub mod sim;

pub use real::RealFs;
/// What an opened file may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone; the file is never changed through this handle.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are shown lossily.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Names: creating, opening, listing, removing.
pub trait Fs: Debug + Send + Sync {
    /// Creates a file that must not exist yet, for reading and writing (`O_CREAT | O_EXCL`).
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file that exists.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing what has the new name. Durable after [`Fs::sync_dir`] of both
    /// directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Fs::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Creates one directory; `AlreadyExists` if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable (`fsync` on the directory).
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// One open file. Positions are explicit, so that a handle can be shared.
pub trait File: Debug + Send + Sync {
    /// Reads at a position; zero at or behind the end of the file. May be short.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes the slices one behind the other at a position (`pwritev`). May be short.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Reserves blocks for a range and grows the file to its end (`fallocate`, mode 0); the
    /// reserved bytes read as zero. `Unsupported` where the file system cannot.
    fn allocate(&self, position: u64, length: u64) -> io::Result<()>;
    /// Cuts or grows the file.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// The file's length.
    fn size(&self) -> io::Result<u64>;
    /// Where to go on reading: a position at or behind this one in front of which there are only
    /// zeros, or nothing where there are only zeros up to the end of the file (`SEEK_DATA`). Space
    /// that is reserved and was never written need not be read. The position itself where the
    /// file system does not know.
    fn next_data(&self, position: u64) -> io::Result<Option<u64>>;
    /// Where the data at this position ends: behind it lies space that was never written, or the end
    /// of the file (`SEEK_HOLE`). More data may follow. The end of the file where the file system
    /// does not know.
    fn data_end(&self, position: u64) -> io::Result<u64>;
    /// Says that this stretch is read next, so that a disk can be asked for all of it at once. A
    /// hint: nothing depends on it, and nothing fails by it.
    fn will_read(&self, _position: u64, _length: u64) {}
    /// Makes the bytes and the length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
}
