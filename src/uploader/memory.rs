//! The bytes that calls may take, over all streams.
//!
//! Whoever builds a call reserves its bytes first and gives them back when the call has ended, so
//! that memory is bounded whatever the backlog and the number of streams. Where full calls wait too
//! long, because the memory is in calls that hang, smaller ones go instead.

use super::pool::{Held, Pool, Share};
use crate::limits::{MEMORY_PATIENCE, UPLOAD_MEMORY_MIN};

/// The pool counts units of this many bytes, so that any size fits a permit count.
const UNIT_BYTES: usize = 1024;

/// The shared memory of all calls being built or in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryPool(Pool);

/// One stream's part in it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryShare(Share);

/// Bytes of the pool that are taken; given back when dropped.
#[must_use = "bytes that are not held are free at once"]
#[derive(Debug)]
pub(crate) struct Reserved(Held);

impl MemoryPool {
    /// A pool of `bytes`, raised to [`UPLOAD_MEMORY_MIN`] so that every event can be sent.
    pub fn new(bytes: usize) -> Self {
        Self(Pool::new(bytes.max(UPLOAD_MEMORY_MIN) / UNIT_BYTES))
    }

    /// The most that can be reserved at once.
    pub fn capacity(&self) -> usize {
        self.0.capacity() * UNIT_BYTES
    }

    /// Bytes that are not reserved.
    pub fn free(&self) -> usize {
        self.0.free() * UNIT_BYTES
    }

    /// The part of one more stream.
    pub(crate) fn share(&self) -> MemoryShare {
        MemoryShare(self.0.share())
    }
}

impl MemoryShare {
    /// Waits until `bytes` are free and takes them; after [`MEMORY_PATIENCE`] it waits for `least`
    /// alone. More than the whole pool is the whole pool.
    pub(crate) async fn reserve(&self, bytes: usize, least: usize) -> Reserved {
        let all = self.0.take(bytes.div_ceil(UNIT_BYTES));
        if least >= bytes {
            return Reserved(all.await);
        }
        match tokio::time::timeout(MEMORY_PATIENCE, all).await {
            Ok(held) => Reserved(held),
            Err(_elapsed) => Reserved(self.0.take(least.div_ceil(UNIT_BYTES)).await),
        }
    }
}

impl Reserved {
    /// How much is held.
    pub(crate) fn bytes(&self) -> usize {
        self.0.units() * UNIT_BYTES
    }

    /// Gives back what is held beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.0.shrink_to(bytes.div_ceil(UNIT_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn what_is_reserved_is_not_free_and_comes_back() {
        let pool = MemoryPool::new(UPLOAD_MEMORY_MIN);
        let mut first = pool.share().reserve(3 * MIB, 3 * MIB).await;
        assert_eq!(pool.free(), UPLOAD_MEMORY_MIN - 3 * MIB);
        first.shrink_to(1000);
        assert_eq!(first.bytes(), 1024);
        assert_eq!(pool.free(), UPLOAD_MEMORY_MIN - 1024);
        drop(first);
        assert_eq!(pool.free(), UPLOAD_MEMORY_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_much_makes_do_with_little() {
        let pool = MemoryPool::new(UPLOAD_MEMORY_MIN);
        let hangs = pool.share().reserve(UPLOAD_MEMORY_MIN - 2 * MIB, 0).await;
        let share = pool.share();
        let before = tokio::time::Instant::now();
        let little = share.reserve(8 * MIB, MIB).await;
        assert_eq!((little.bytes(), before.elapsed()), (MIB, MEMORY_PATIENCE));
        drop((hangs, little));
        assert_eq!(share.reserve(8 * MIB, MIB).await.bytes(), 8 * MIB);
    }

    #[tokio::test]
    async fn more_than_everything_is_everything() {
        let pool = MemoryPool::new(0);
        let all = pool.share().reserve(usize::MAX, usize::MAX).await;
        assert_eq!(all.bytes(), pool.capacity());
    }
}
