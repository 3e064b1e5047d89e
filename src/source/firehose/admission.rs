//! What the calls in progress may hold in memory: so much over all streams, and no stream so much
//! that the others find nothing left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use standpipe_wal::StreamName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{FIREHOSE_DOOR_BYTES_MAX, FIREHOSE_DOOR_STREAM_BYTES_MAX};

/// Permits are counted in units of this size, because a semaphore counts up to 2³² at a time.
const UNIT_BYTES: usize = 1024;

/// The calls in progress.
#[derive(Debug)]
pub(super) struct Admission {
    units: Arc<Semaphore>,
    by_stream: Mutex<HashMap<StreamName, usize>>,
}

/// A stream's part, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    admission: &'a Admission,
    stream: StreamName,
    bytes: usize,
}

impl Admission {
    pub(super) fn new() -> Self {
        let units = Arc::new(Semaphore::new(FIREHOSE_DOOR_BYTES_MAX / UNIT_BYTES));
        Self { units, by_stream: Mutex::default() }
    }

    /// Waits for room for a body.
    pub(super) async fn body(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        // Never closed, so always a permit.
        self.units.clone().acquire_many_owned(units).await.ok()
    }

    /// A stream's part for a call of this size, unless the stream has too much in progress.
    pub(super) fn share(&self, stream: &StreamName, bytes: usize) -> Option<Share<'_>> {
        let mut by_stream = self.by_stream.lock().unwrap_or_else(PoisonError::into_inner);
        let held = by_stream.get(stream).copied().unwrap_or_default();
        if held + bytes > FIREHOSE_DOOR_STREAM_BYTES_MAX {
            return None;
        }
        by_stream.insert(stream.clone(), held + bytes);
        Some(Share { admission: self, stream: stream.clone(), bytes })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut by_stream = self.admission.by_stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = by_stream.get_mut(&self.stream) {
            *held -= self.bytes;
            if *held == 0 {
                by_stream.remove(&self.stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_its_part_and_leaves_the_rest() {
        let admission = Admission::new();
        let (stuck, other) = ("stuck".parse().unwrap(), "other".parse().unwrap());
        let all = admission.share(&stuck, FIREHOSE_DOOR_STREAM_BYTES_MAX);
        assert!(all.is_some());
        assert!(admission.share(&stuck, 1).is_none());
        assert!(admission.share(&other, 1).is_some());
        drop(all);
        assert!(admission.by_stream.lock().unwrap().is_empty());
        assert!(admission.share(&stuck, 1).is_some());
    }
}
