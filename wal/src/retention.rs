//! Giving space back.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::fs::Fs;

/// Trimmed segments that wait to be written again: syncs into blocks that were written before are
/// the cheapest there are. Shared by all logs of a data directory.
#[derive(Debug)]
pub struct Pool {}

impl Pool {
    /// A pool of at most `bytes_max`, in a directory of its own on the file system of the streams.
    /// Files of an earlier run are removed.
    pub fn open(_fs: Arc<dyn Fs>, _dir: PathBuf, _bytes_max: u64) -> Result<Self, Error> {
        unimplemented!()
    }

    /// What the pool holds.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Removes files that have waited since before `given_before_ms`; returns their bytes.
    pub fn expire(&self, _given_before_ms: u64) -> Result<u64, Error> {
        unimplemented!()
    }

    /// Removes everything, for when space is short; returns the bytes.
    pub fn clear(&self) -> Result<u64, Error> {
        unimplemented!()
    }
}
