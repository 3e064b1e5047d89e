//! The seam behind which sled sits.
//!
//! What is put in and what is made durable are two calls, as they are on a disk, so that the
//! simulated store can forget the first without the second.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

/// Keys and values as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(pub BTreeMap<Vec<u8>, Vec<u8>>);

/// Why a store could not do what it was asked. What to do next depends on nothing else.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It may work later, as it is: no space, no permission, no file descriptor, locked.
    #[error("{operation}")]
    Transient {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A sync failed. The kernel may have dropped what was to be written and answer the next
    /// sync of the same files with success, so they are never synced again.
    #[error("{operation}")]
    Unsynced {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The content cannot be read, or the store's code gave up on it.
    #[error("{operation}: {reason}")]
    Broken {
        /// What was tried.
        operation: &'static str,
        /// What the store said.
        reason: String,
    },
}

/// What becomes of a store that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// It is renamed aside for inspection.
    Keep,
    /// It is removed.
    Remove,
}

/// A durable map. One thread owns it.
///
/// After a failure of any call only [`OffsetStore::open`] and [`OffsetStore::replace`] are of use.
pub trait OffsetStore: Debug + Send {
    /// Opens the store, or begins an empty one, and returns everything in it: also what an earlier
    /// process put in and did not sync, so nothing may rely on it before [`OffsetStore::sync`].
    fn open(&mut self) -> Result<Entries, Failure>;

    /// Puts entries in, all of them or none. Not durable before [`OffsetStore::sync`].
    fn apply(&mut self, entries: &Entries) -> Result<(), Failure>;

    /// Makes durable what was put in, names of files included.
    fn sync(&mut self) -> Result<(), Failure>;

    /// Begins a store of exactly these entries, durable on return, and puts it in the old one's
    /// place: a crash at any moment leaves the one or the other. Returns where the old one was
    /// kept.
    fn replace(&mut self, entries: &Entries, old: Old) -> Result<Option<PathBuf>, Failure>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;

    /// Gives it up, so that it can be opened again.
    fn close(&mut self);
}
