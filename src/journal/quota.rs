//! What the log may take on disk, over all streams, and what must stay free.
//!
//! Who finds no room waits for relief and looks again: [`Quota::relief`] first, then the look, then the
//! wait. Whatever makes room changes a number first and tells of it after, so that either the look
//! sees the number or the wait sees the telling.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::status::Disk;

/// The log's share of the disk. Owners report what they take, intake asks before it accepts.
#[derive(Debug)]
pub struct Quota {
    bytes_max: AtomicU64,
    free_bytes_min: AtomicU64,
    used: AtomicU64,
    free: AtomicU64,
    /// Counts the times that there became more room: waiters look again after each.
    relief: watch::Sender<u64>,
    /// How many wait for it.
    waiting: AtomicUsize,
}

impl Quota {
    /// A quota of `bytes_max` for everything, which leaves `free_bytes_min` of the file system.
    pub fn new(bytes_max: u64, free_bytes_min: u64) -> Self {
        Self {
            bytes_max: AtomicU64::new(bytes_max),
            free_bytes_min: AtomicU64::new(free_bytes_min),
            used: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            relief: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// From now on these limits hold. Who waits looks again.
    pub fn set_limits(&self, bytes_max: u64, free_bytes_min: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.free_bytes_min.store(free_bytes_min, Ordering::Relaxed);
        self.relieve();
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    fn free_bytes_min(&self) -> u64 {
        self.free_bytes_min.load(Ordering::Relaxed)
    }

    /// What is taken now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A stream took `now` bytes and took `before` the last time it was asked.
    pub(crate) fn report(&self, before: u64, now: u64) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
            self.relieve();
        }
    }

    /// Whether this would be less free space than must stay.
    pub(crate) fn is_short_of(&self, free_bytes: u64) -> bool {
        free_bytes < self.free_bytes_min()
    }

    /// The file system has this many bytes free.
    pub fn report_free(&self, bytes: u64) {
        let before = self.free.swap(bytes, Ordering::Relaxed);
        if before < self.free_bytes_min() && bytes >= self.free_bytes_min() {
            self.relieve();
        }
    }

    /// Which limit `bytes` more would break, on top of `in_flight` that were accepted already.
    pub(crate) fn full(&self, in_flight: u64, bytes: u64) -> Option<&'static str> {
        if self.used() + in_flight + bytes > self.bytes_max() {
            return Some("wal.bytes_max");
        }
        if self.free.load(Ordering::Relaxed) < self.free_bytes_min() {
            return Some("wal.free_bytes_min");
        }
        None
    }

    /// How things stand. What the pool takes is not known here.
    pub(crate) fn disk(&self) -> Disk {
        let free = self.free.load(Ordering::Relaxed);
        Disk {
            used_bytes: self.used(),
            bytes_max: self.bytes_max(),
            free_bytes: (free != u64::MAX).then_some(free),
            free_bytes_min: self.free_bytes_min(),
            pool_bytes: 0,
            full: self.full(0, 0).map(str::to_owned),
        }
    }

    /// Changes whenever there is more room than before, from here on.
    pub(crate) fn relief(&self) -> Relief<'_> {
        let changes = self.relief.subscribe();
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Relief { quota: self, changes }
    }

    fn relieve(&self) {
        self.relief.send_modify(|times| *times += 1);
    }

    /// Memory of events that were in flight was given back: that is room as well.
    ///
    /// This happens with every run of events, so it tells only where somebody waits. It adds nothing
    /// to the number of those, in order to be before or after each who adds himself: before, and he
    /// sees the memory that is free; after, and he is told.
    fn landed(&self) {
        if self.waiting.fetch_add(0, Ordering::AcqRel) > 0 {
            self.relieve();
        }
    }
}

/// Who waits for room.
#[derive(Debug)]
pub(crate) struct Relief<'a> {
    quota: &'a Quota,
    changes: watch::Receiver<u64>,
}

impl Relief<'_> {
    /// Returns once there was more room than at the last look.
    pub(crate) async fn changed(&mut self) {
        // The quota holds the sender, and this holds the quota.
        let _here = self.changes.changed().await.is_ok();
    }
}

impl Drop for Relief<'_> {
    fn drop(&mut self) {
        self.quota.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells the quota, when it is dropped, that what was in flight is so no more. To be dropped after the
/// memory that it speaks of.
#[derive(Debug)]
pub(crate) struct Landing(Arc<Quota>);

impl Landing {
    pub(crate) fn new(quota: &Arc<Quota>) -> Self {
        Self(Arc::clone(quota))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.landed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_counts_against_the_quota() {
        let quota = Quota::new(100, 10);
        quota.report(0, 60);
        assert_eq!(quota.full(20, 20), None);
        assert_eq!(quota.full(21, 20), Some("wal.bytes_max"));
        quota.report(60, 30);
        assert_eq!(quota.full(21, 20), None);
        quota.report_free(9);
        assert_eq!(quota.full(0, 1), Some("wal.free_bytes_min"));
        quota.report_free(10);
        assert_eq!(quota.full(0, 1), None);
    }

    #[test]
    fn relief_is_told_once_space_is_back() {
        let quota = Quota::new(100, 10);
        let relief = quota.relief();
        quota.report(0, 60);
        quota.report_free(5);
        assert!(!relief.changes.has_changed().unwrap());
        quota.report_free(50);
        assert!(relief.changes.has_changed().unwrap());
    }

    #[test]
    fn what_has_landed_is_told_to_who_waits_and_to_nobody_else() {
        let quota = Arc::new(Quota::new(100, 10));
        drop(Landing::new(&quota));
        let relief = quota.relief();
        assert!(!relief.changes.has_changed().unwrap());
        drop(Landing::new(&quota));
        assert!(relief.changes.has_changed().unwrap());
        drop(relief);
        assert_eq!(quota.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn limits_can_be_changed_and_who_waits_is_told() {
        let quota = Quota::new(100, 10);
        quota.report(0, 90);
        quota.report_free(20);
        assert_eq!(quota.full(0, 20), Some("wal.bytes_max"));
        let relief = quota.relief();
        quota.set_limits(200, 10);
        assert!(relief.changes.has_changed().unwrap());
        assert_eq!(quota.full(0, 20), None);
        quota.set_limits(200, 21);
        assert_eq!(quota.full(0, 20), Some("wal.free_bytes_min"));
        assert!(quota.is_short_of(20));
    }
}
