//! How many calls may be under way to one sink, over all its streams: as many connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pool::{Held, Pool, Share};
use crate::limits::PROBES_SHARE;

/// The slots of one sink. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Slots {
    all: Pool,
    /// What streams to which nothing gets through may take of them: each of their calls may hang
    /// until it times out, and there may be many such streams.
    probes: Arc<Semaphore>,
}

/// One stream's part in them.
#[derive(Clone, Debug)]
pub(crate) struct SlotShare {
    share: Share,
    probes: Arc<Semaphore>,
}

/// A call may be under way while this is held.
#[derive(Debug)]
pub(crate) struct Slot {
    _slot: Held,
    _probe: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// So many calls at once, at least one.
    pub fn new(calls_max: usize) -> Self {
        let calls_max = calls_max.max(1);
        let probes_max = (calls_max / PROBES_SHARE).max(1);
        Self { all: Pool::new(calls_max), probes: Arc::new(Semaphore::new(probes_max)) }
    }

    /// The part of one more stream.
    pub(crate) fn share(&self) -> SlotShare {
        SlotShare { share: self.all.share(), probes: Arc::clone(&self.probes) }
    }
}

impl SlotShare {
    /// Waits for a slot, where `probing` says that nothing gets through for this stream.
    pub(crate) async fn take(&self, probing: bool) -> Slot {
        let probe = if probing { self.probes.clone().acquire_owned().await.ok() } else { None };
        Slot { _slot: self.share.take(1).await, _probe: probe }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn streams_in_trouble_leave_most_slots_to_the_others() {
        let slots = Slots::new(16);
        let mut hanging = Vec::new();
        for _ in 0..100 {
            let share = slots.share();
            let probe = tokio::time::timeout(Duration::from_secs(1), share.take(true)).await;
            hanging.extend(probe.ok());
        }
        assert_eq!(hanging.len(), 4);
        let well: Vec<_> = (0..12).map(|_| slots.share()).collect();
        for share in &well {
            let slot = tokio::time::timeout(Duration::from_secs(1), share.take(false)).await;
            hanging.push(slot.expect("a slot for a stream that is well"));
        }
    }
}
