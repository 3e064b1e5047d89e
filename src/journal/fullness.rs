//! Whether a stream has met a limit of the disk space that it may take, and who waits for room.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What did not fit last, and how many wait.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    /// Zero where all is well.
    wanted_bytes: AtomicU64,
    waiting: AtomicUsize,
}

impl Fullness {
    /// So much did not fit.
    pub(crate) fn met(&self, bytes: u64) {
        self.wanted_bytes.store(bytes.max(1), Ordering::Relaxed);
    }

    /// What did not fit last, where nobody waits for it any more.
    pub(super) fn left_behind(&self) -> Option<u64> {
        let bytes = self.wanted_bytes.load(Ordering::Relaxed);
        (bytes > 0 && self.waiting.load(Ordering::Relaxed) == 0).then_some(bytes)
    }

    pub(super) fn over(&self) {
        self.wanted_bytes.store(0, Ordering::Relaxed);
    }

    /// Somebody waits for room until this is dropped, be it that the connection has ended.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }
}

/// See [`Fullness::wait`].
#[derive(Debug)]
#[must_use = "nobody waits once it is dropped"]
pub(crate) struct Waiting<'a>(&'a Fullness);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
