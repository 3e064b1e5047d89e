//! A fixed amount of something that all streams share: fair, and never all of it for one.
//!
//! Two rules. Who asks first is served first, so that a large request is not starved by small ones.
//! And a stream that holds some already gets more only while it then holds no more than
//! [`SHARE_OF_FREE`] times what is left: alone it may have most of it, among many each has as much,
//! and streams whose calls hang leave something for those whose calls do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::limits::SHARE_OF_FREE;

/// What is shared. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    /// Changed whenever something comes back. A value to wait on, so that no return is missed.
    free: Arc<watch::Sender<usize>>,
    capacity: usize,
}

/// One stream's part in it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pool: Pool,
    held: Arc<AtomicUsize>,
}

/// What is held; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    permit: Option<OwnedSemaphorePermit>,
    share: Share,
}

impl Pool {
    /// So many units.
    pub(super) fn new(units: usize) -> Self {
        let units = units.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(units)),
            free: Arc::new(watch::Sender::new(units)),
            capacity: units,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// The part of one more stream.
    pub(super) fn share(&self) -> Share {
        Share { pool: self.clone(), held: Arc::default() }
    }
}

impl Share {
    /// Waits until so many units are free and this stream's turn has come. More than all of them
    /// are all of them.
    pub(super) async fn take(&self, units: usize) -> Held {
        let units = units.min(self.pool.capacity);
        let mut free = self.pool.free.subscribe();
        // The pool is held, so there is always somebody who can tell.
        let _closed = free.wait_for(|_| self.may_have(units)).await.is_err();
        let permit = loop {
            // The semaphore is never closed; asking again costs nothing and needs no panic.
            let permits = u32::try_from(units).unwrap_or(u32::MAX);
            if let Ok(permit) = self.pool.permits.clone().acquire_many_owned(permits).await {
                break permit;
            }
        };
        self.held.fetch_add(permit.num_permits(), Ordering::Relaxed);
        Held { permit: Some(permit), share: self.clone() }
    }

    fn may_have(&self, units: usize) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        let left = self.pool.free().saturating_sub(units);
        held == 0 || held + units <= left.saturating_mul(SHARE_OF_FREE)
    }
}

impl Held {
    pub(super) fn units(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Gives back what is held beyond so many units.
    pub(super) fn shrink_to(&mut self, units: usize) {
        let surplus = self.units().saturating_sub(units);
        let surplus = self.permit.as_mut().and_then(|permit| permit.split(surplus));
        self.give_back(surplus);
    }

    fn give_back(&self, permit: Option<OwnedSemaphorePermit>) {
        let Some(permit) = permit else { return };
        self.share.held.fetch_sub(permit.num_permits(), Ordering::Relaxed);
        drop(permit);
        self.share.pool.free.send_replace(self.share.pool.free());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let permit = self.permit.take();
        self.give_back(permit);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes, unless that would have to wait.
    async fn now(share: &Share, units: usize) -> Option<Held> {
        tokio::time::timeout(Duration::from_millis(1), share.take(units)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_stream_leaves_something_and_many_have_as_much_each() {
        let pool = Pool::new(90);
        let (greedy, other) = (pool.share(), pool.share());
        let mut held = Vec::new();
        while let Some(one) = now(&greedy, 10).await {
            held.push(one);
        }
        assert_eq!(held.len(), 6, "two thirds");
        let first = now(&other, 20).await.expect("the first of a stream needs only room");
        assert!(now(&other, 1).await.is_none());
        held.truncate(3);
        assert!(now(&other, 10).await.is_some());
        drop((first, held));
        assert_eq!(pool.free(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_counts_for_the_stream_no_more() {
        let pool = Pool::new(90);
        let share = pool.share();
        for _ in 0..3 {
            let mut held = now(&share, 60).await.expect("it has nothing");
            assert!(now(&share, 20).await.is_none(), "it has two thirds");
            held.shrink_to(10);
            assert_eq!((held.units(), pool.free()), (10, 80));
            assert!(now(&share, 20).await.is_some());
        }
        assert_eq!(pool.free(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_is_not_starved_by_small_ones() {
        let pool = Pool::new(100);
        let (holder, large, small) = (pool.share(), pool.share(), pool.share());
        let held = holder.take(50).await;
        let mut wants_all = Box::pin(large.take(usize::MAX));
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut wants_all).await.is_err());
        // A later, smaller request would fit, and has to wait all the same.
        let mut wants_one = Box::pin(small.take(1));
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut wants_one).await.is_err());
        drop(held);
        assert_eq!(wants_all.await.units(), 100);
        assert_eq!(wants_one.await.units(), 1);
    }
}
