//! A stream that is being delivered: what another router needs to go on where this one ends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use standpipe_wal::{LogId, Offset};
use tokio::sync::watch;

use crate::config::StreamConfig;
use crate::journal::{Durable, Stream};
use crate::offsets::{Key, Offsets, Progress};
use crate::router::Commits;
use crate::tasks::Stopper;

/// A router and what it was given.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) place: Place,
    pub(super) settings: Arc<StreamConfig>,
    pub(super) carried: Arc<Carried>,
    /// Dropped to tell it that another one is to go on.
    pub(super) relief: Option<Stopper>,
}

/// Where a stream's events are, whatever its settings.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) stream: Arc<Stream>,
    pub(super) dir: PathBuf,
    pub(super) log_id: LogId,
    pub(super) oldest: Offset,
    pub(super) durable: watch::Receiver<Durable>,
}

/// Hands progress to the offset store, and remembers it: what is stored lies behind what is known.
#[derive(Debug)]
pub(super) struct Carried {
    offsets: Arc<Offsets>,
    last: Mutex<Option<Progress>>,
}

impl Carried {
    pub(super) fn new(offsets: Arc<Offsets>, progress: Option<Progress>) -> Self {
        Self { offsets, last: Mutex::new(progress) }
    }

    /// The latest progress.
    pub(super) fn last(&self) -> Option<Progress> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Commits for Carried {
    fn commit(&self, key: &Key, progress: Progress) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        self.offsets.commit(key, progress);
    }
}
