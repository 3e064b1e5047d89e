//! How fast events come and go: the counters of now against those of ten seconds ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use standpipe_wal::StreamName;
use tokio::time::Instant;

use crate::limits::RATE_INTERVALS;
use crate::status::StreamStatus;

/// What comes and goes in a second, averaged over the last ten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Events that became durable.
    pub events_in: f64,
    /// Their payload bytes.
    pub bytes_in: f64,
    /// Events that the destination confirmed.
    pub events_out: f64,
    /// Their payload bytes.
    pub bytes_out: f64,
}

/// The last looks at all streams, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<VecDeque<Look>>);

#[derive(Debug)]
struct Look {
    at: Instant,
    counts: BTreeMap<StreamName, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    events_in: u64,
    bytes_in: u64,
    events_out: u64,
    bytes_out: u64,
}

impl Counts {
    fn of(status: &StreamStatus) -> Self {
        Self {
            events_in: status.accepted_events.value(),
            bytes_in: status.accepted_bytes.value(),
            events_out: status.delivered_events.value(),
            bytes_out: status.delivered_bytes.value(),
        }
    }
}

impl Rates {
    /// Takes a look, and forgets the one that is too old.
    pub(super) fn look(&self, streams: &[(StreamName, Arc<StreamStatus>)], now: Instant) {
        let counts = streams.iter().map(|(name, status)| (name.clone(), Counts::of(status)));
        let look = Look { at: now, counts: counts.collect() };
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.push_back(look);
        if looks.len() > RATE_INTERVALS {
            looks.pop_front();
        }
    }

    /// A stream's rates since the oldest look, to which a stream that it does not know was new and
    /// had counted nothing; none before the first look.
    pub(super) fn rate(
        &self,
        name: &StreamName,
        status: &StreamStatus,
        now: Instant,
    ) -> Option<Rate> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = looks.front()?;
        let then = oldest.counts.get(name).copied().unwrap_or_default();
        let seconds = now.duration_since(oldest.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let now = Counts::of(status);
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        let per_second = |then: u64, now: u64| now.saturating_sub(then) as f64 / seconds;
        Some(Rate {
            events_in: per_second(then.events_in, now.events_in),
            bytes_in: per_second(then.bytes_in, now.bytes_in),
            events_out: per_second(then.events_out, now.events_out),
            bytes_out: per_second(then.bytes_out, now.bytes_out),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_those_of_the_last_intervals_alone() {
        let (rates, start) = (Rates::default(), Instant::now());
        let name: StreamName = "orders".parse().unwrap();
        let streams = [(name.clone(), Arc::new(StreamStatus::default()))];
        let status = &streams[0].1;
        assert_eq!(rates.rate(&name, status, start), None, "nobody has looked yet");
        // A burst that is over before the window begins.
        status.accepted_events.add(1_000_000);
        let seconds = RATE_INTERVALS as u64 + 5;
        for second in 0..seconds {
            rates.look(&streams, start + Duration::from_secs(second));
            status.accepted_events.add(100);
            status.delivered_bytes.add(50);
        }
        let rate = rates.rate(&name, status, start + Duration::from_secs(seconds)).unwrap();
        assert_eq!((rate.events_in, rate.bytes_out, rate.events_out), (100.0, 50.0, 0.0));
        let new = StreamStatus::default();
        new.delivered_events.add(RATE_INTERVALS as u64 * 7);
        let rate = rates.rate(&"new".parse().unwrap(), &new, start + Duration::from_secs(seconds));
        let events_out = rate.map(|rate| rate.events_out);
        assert_eq!(events_out, Some(7.0), "it was new in the window");
    }
}
