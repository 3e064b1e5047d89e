//! Whether the pipeline moves: what a watchdog is fed with, instead of a timer.
//!
//! Two things are asked. Every owner of the log answers a message that waits its turn behind all
//! others: idle or under load, an owner that works gets to it. And delivery has moved lately
//! somewhere, or nothing waits that could be delivered: a stream whose destination is in trouble is
//! not stuck, it is patient.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::admin::{Registry, Snapshot};
use crate::journal::Journal;
use crate::limits::service::DELIVERY_STILL_MAX;

/// See the module.
#[derive(Debug)]
pub struct Pulse {
    journal: Arc<Journal>,
    registry: Registry,
    delivery: Delivery,
}

impl Pulse {
    pub(super) fn new(journal: Arc<Journal>, registry: Registry, backoff_max: Duration) -> Self {
        let still_max = DELIVERY_STILL_MAX + backoff_max;
        Self { journal, registry, delivery: Delivery::new(still_max, Instant::now()) }
    }

    /// Returns once every owner has answered: with the numbers of that moment, and since when
    /// delivery has been still where it should not be. Does not return while an owner is stuck.
    pub async fn beat(&mut self) -> (Snapshot, Option<Duration>) {
        self.journal.probe().await;
        let snapshot = self.snapshot();
        let streams = self.journal.streams();
        let linger = streams.iter().map(|stream| stream.settings().linger).max();
        let linger = linger.unwrap_or_default();
        let stuck = self.delivery.observe(&snapshot, linger, Instant::now());
        (snapshot, stuck)
    }

    /// The numbers of this moment, whoever is stuck.
    pub fn snapshot(&self) -> Snapshot {
        self.registry.snapshot()
    }
}

/// Watches delivery by the numbers that it leaves behind.
#[derive(Debug)]
struct Delivery {
    still_max: Duration,
    seen: Vec<Mark>,
    moved_at: Instant,
}

/// Changes whenever anything happens to a stream's delivery.
type Mark = (u64, u64, u64, SystemTime);

impl Delivery {
    fn new(still_max: Duration, now: Instant) -> Self {
        Self { still_max, seen: Vec::new(), moved_at: now }
    }

    /// How long nothing has moved, where that is too long.
    fn observe(&mut self, snapshot: &Snapshot, linger: Duration, now: Instant) -> Option<Duration> {
        let streams = || snapshot.streams.iter();
        let marks = streams().map(|stream| {
            (stream.committed, stream.delivered_events, stream.calls, stream.upload.since)
        });
        let marks: Vec<Mark> = marks.collect();
        let waits =
            streams().any(|stream| stream.backlog_events > 0 && stream.upload.state == "ok");
        if marks != self.seen || !waits {
            self.seen = marks;
            self.moved_at = now;
        }
        let still = now.saturating_duration_since(self.moved_at);
        (still > self.still_max + linger).then_some(still)
    }
}

#[cfg(test)]
mod tests {
    use standpipe_wal::StreamName;

    use super::*;
    use crate::admin::Streams;
    use crate::status::{AgentStatus, Disk, StreamStatus};

    #[derive(Debug)]
    struct One(Arc<StreamStatus>);

    impl Streams for One {
        fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
            vec![("orders".parse().unwrap(), self.0.clone())]
        }

        fn disk(&self) -> Disk {
            Disk::default()
        }

        fn hurry(&self, _name: &StreamName) -> bool {
            false
        }
    }

    fn one() -> (Arc<StreamStatus>, Registry) {
        let status = Arc::<StreamStatus>::default();
        let registry =
            Registry::new(Arc::new(One(status.clone())), Arc::<AgentStatus>::default(), 0.0);
        (status, registry)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn delivery_is_stuck_only_where_something_waits_and_nothing_moves() {
        let (status, registry) = one();
        let start = Instant::now();
        let mut delivery = Delivery::new(4 * MINUTE, start);
        let mut at = |minutes: u32| {
            let now = start + minutes * MINUTE;
            delivery.observe(&registry.snapshot(), MINUTE, now).map(|still| still / 60)
        };
        assert_eq!(at(100), None, "nothing waits");
        status.durable.set(10);
        assert_eq!(at(104), None);
        assert_eq!(at(106), Some(Duration::from_secs(6)));
        status.calls.add(1);
        assert_eq!(at(107), None, "a call was made");
        status.committed.set(5);
        assert_eq!(at(111), None, "some of it was delivered");
        assert_eq!(at(117), Some(Duration::from_secs(6)));
        status.upload.enter("unreachable", "no network");
        assert_eq!(at(130), None, "that is the destination's trouble");
        assert_eq!(at(999), None);
    }

    #[tokio::test]
    async fn there_is_no_beat_while_an_owner_does_not_answer() {
        let (_, registry) = one();
        let (sender, mut owner) = tokio::sync::mpsc::channel(1);
        let journal = Arc::new(Journal::with_owner(sender, 1 << 20, 10));
        let delivery = Delivery::new(MINUTE, Instant::now());
        let mut pulse = Pulse { journal, registry, delivery };
        let mut beat = Box::pin(pulse.beat());
        tokio::select! {
            biased;
            _ = &mut beat => panic!("nobody has answered"),
            () = tokio::task::yield_now() => {}
        }
        let Some(crate::journal::Message::Probe(answer)) = owner.recv().await else {
            panic!("the owner is asked")
        };
        answer.send(()).unwrap();
        let (snapshot, stuck) = beat.await;
        assert_eq!((snapshot.streams.len(), stuck), (1, None));
    }
}
