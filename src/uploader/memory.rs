//! The bytes that calls may take, over all streams.
//!
//! Whoever builds a call reserves its bytes first and gives them back when the call has ended, so
//! that memory is bounded whatever the backlog and the number of streams. Waiting is first come,
//! first served: no stream can overtake another one by asking again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::UPLOAD_MEMORY_MIN;

/// Permits count units of this many bytes, so that any size fits a permit count.
const UNIT_BYTES: usize = 1024;

/// The shared memory of all calls being built or in flight. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryPool {
    free: Arc<Semaphore>,
    capacity: usize,
}

/// Bytes of the pool that are taken; given back when dropped.
#[must_use = "bytes that are not held are free at once"]
#[derive(Debug)]
pub struct Reserved {
    permit: OwnedSemaphorePermit,
}

impl MemoryPool {
    /// A pool of `bytes`, raised to [`UPLOAD_MEMORY_MIN`] so that every event can be sent.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes.max(UPLOAD_MEMORY_MIN) / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), capacity: units * UNIT_BYTES }
    }

    /// The most that can be reserved at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that are not reserved.
    pub fn free(&self) -> usize {
        self.free.available_permits() * UNIT_BYTES
    }

    /// Waits until `bytes` are free and takes them. More than the whole pool is the whole pool.
    pub async fn reserve(&self, bytes: usize) -> Reserved {
        let units = units(bytes.min(self.capacity));
        loop {
            // The semaphore is never closed; asking again costs nothing and needs no panic.
            if let Ok(permit) = Arc::clone(&self.free).acquire_many_owned(units).await {
                return Reserved { permit };
            }
        }
    }
}

impl Reserved {
    /// How much is held.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT_BYTES
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.permit.split(surplus));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_reserved_is_not_free_and_comes_back() {
        let pool = MemoryPool::new(UPLOAD_MEMORY_MIN);
        let mut first = pool.reserve(3 * 1024 * 1024).await;
        assert_eq!(pool.free(), UPLOAD_MEMORY_MIN - 3 * 1024 * 1024);
        first.shrink_to(1000);
        assert_eq!(first.bytes(), 1024);
        assert_eq!(pool.free(), UPLOAD_MEMORY_MIN - 1024);
        drop(first);
        assert_eq!(pool.free(), UPLOAD_MEMORY_MIN);
    }

    #[tokio::test]
    async fn a_large_request_is_not_starved_by_small_ones() {
        let pool = MemoryPool::new(UPLOAD_MEMORY_MIN);
        let held = pool.reserve(UPLOAD_MEMORY_MIN / 2).await;
        let mut large = Box::pin(pool.reserve(UPLOAD_MEMORY_MIN));
        assert!(futures_poll(&mut large).await.is_none());
        // A later, smaller request would fit, and has to wait all the same.
        let mut small = Box::pin(pool.reserve(1024));
        assert!(futures_poll(&mut small).await.is_none());
        drop(held);
        drop(large.await);
        assert_eq!(small.await.bytes(), 1024);
    }

    #[tokio::test]
    async fn more_than_everything_is_everything() {
        let pool = MemoryPool::new(0);
        assert_eq!(pool.reserve(usize::MAX).await.bytes(), pool.capacity());
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
