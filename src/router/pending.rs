//! How much of the log waits to be sent, and since when: known without reading it.

use std::time::Duration;

use standpipe_wal::Offset;
use tokio::time::Instant;

use crate::journal::Durable;
use crate::router::aggregate::Span;

/// What lies between the reader and the durable offset.
#[derive(Debug)]
pub(crate) struct Pending {
    cursor: Offset,
    durable: Durable,
    /// From here on the payload bytes are known; before it lies what earlier runs left.
    counted_from: Offset,
    /// `durable.payload_bytes` at `cursor`, as far as it is known.
    read_payload_bytes: u64,
    /// Since when the oldest event waits.
    since: Instant,
    /// The same in milliseconds of Unix time; 0 where it is not known.
    since_ms: u64,
}

impl Pending {
    /// What lies behind `cursor`. Events that were durable before now have waited long enough.
    pub(crate) fn new(cursor: Offset, durable: Durable, now: Instant) -> Self {
        Self {
            cursor,
            durable,
            counted_from: durable.offset.max(cursor),
            read_payload_bytes: durable.payload_bytes,
            since: now,
            since_ms: 0,
        }
    }

    /// Where the next event is read.
    pub(crate) fn cursor(&self) -> Offset {
        self.cursor
    }

    /// Events that wait.
    pub(crate) fn events(&self) -> u64 {
        self.durable.offset.since(self.cursor)
    }

    /// Whether somebody wants the events that wait to go now.
    pub(crate) fn is_hurried(&self) -> bool {
        self.cursor < self.durable.hurry_to
    }

    /// Payload bytes that wait, or none where that is not known.
    pub(crate) fn payload_bytes(&self) -> Option<u64> {
        (self.cursor >= self.counted_from).then(|| self.counted_payload_bytes())
    }

    /// Payload bytes of this run that wait, whether or not others do.
    pub(crate) fn counted_payload_bytes(&self) -> u64 {
        self.durable.payload_bytes.saturating_sub(self.read_payload_bytes)
    }

    /// Events left by earlier runs that wait.
    pub(crate) fn uncounted_events(&self) -> u64 {
        self.counted_from.since(self.cursor)
    }

    /// When the oldest event that waits was taken in, in milliseconds of Unix time; 0 where that is
    /// not known.
    pub(crate) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Until when it may wait for company.
    pub(crate) fn deadline(&self, linger: Duration) -> Instant {
        self.since + linger
    }

    /// When the oldest event will have waited long enough. None where it has: it waits for something
    /// else then, and to wake up for it would be to spin.
    pub(crate) fn ripens(&self, linger: Duration, now: Instant) -> Option<Instant> {
        Some(self.deadline(linger)).filter(|deadline| *deadline > now)
    }

    /// Takes note of the durable offset.
    pub(crate) fn observe(&mut self, durable: Durable, now: Instant) {
        if self.events() == 0 && durable.offset > self.cursor {
            self.since = now;
            self.since_ms = durable.newest_ms;
        }
        self.durable = durable;
    }

    /// Takes note of what was read: up to `cursor`, `payload_bytes` of it counted ones, with
    /// `until` as the end of the log. `last_ms` is when the last event, or the one behind it, was
    /// taken in: no later than the oldest that still waits.
    pub(crate) fn read(
        &mut self,
        cursor: Offset,
        payload_bytes: u64,
        until: Durable,
        last_ms: Option<u64>,
        clock: Clock,
    ) {
        self.cursor = cursor;
        self.read_payload_bytes += payload_bytes;
        if cursor >= until.offset {
            // Whatever could not be read is behind us as well.
            self.read_payload_bytes = until.payload_bytes;
            self.since_ms = until.newest_ms;
            self.since = clock.instant_of(until.newest_ms);
        } else if let Some(last_ms) = last_ms {
            self.since_ms = last_ms;
            self.since = clock.instant_of(last_ms);
        }
    }

    /// Of the records that were read, the payload bytes that were counted when they became durable.
    pub(crate) fn counted(&self, spans: &[Span]) -> u64 {
        let counted = spans.iter().filter(|span| span.start >= self.counted_from);
        counted.map(|span| span.payload_bytes as u64).sum()
    }

    /// Jumps over events that were delivered before a restart.
    pub(crate) fn skip(&mut self, cursor: Offset) {
        self.cursor = cursor;
    }
}

/// The two clocks at one moment: events carry times of day, waiting is measured by the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The clock that only goes forward.
    pub(crate) now: Instant,
    /// The time of day, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

impl Clock {
    /// When an event of that time of day was taken in; never in the future.
    fn instant_of(self, time_ms: u64) -> Instant {
        let age = Duration::from_millis(self.now_ms.saturating_sub(time_ms));
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durable(offset: u64, payload_bytes: u64, newest_ms: u64) -> Durable {
        Durable { offset: Offset::new(offset), payload_bytes, newest_ms, ..Durable::default() }
    }

    #[test]
    fn the_oldest_event_decides_how_long_to_wait() {
        let start = Instant::now();
        let linger = Duration::from_secs(5);
        let second = Duration::from_secs(1);
        let mut pending = Pending::new(Offset::ZERO, durable(0, 0, 0), start);
        pending.observe(durable(3, 30, 1000), start + second);
        pending.observe(durable(9, 90, 4000), start + 4 * second);
        assert_eq!(pending.deadline(linger), start + 6 * second);
        assert_eq!(pending.ripens(linger, start + 5 * second), Some(start + 6 * second));
        assert_eq!(pending.ripens(linger, start + 6 * second), None, "nothing to wake up for");
        assert_eq!(pending.payload_bytes(), Some(90));
        // Three were taken; the oldest of the rest came at 4000 ms, which was two seconds ago.
        let clock = Clock { now: start + 6 * second, now_ms: 6000 };
        pending.read(Offset::new(3), 30, durable(9, 90, 4000), Some(4000), clock);
        assert_eq!((pending.events(), pending.payload_bytes()), (6, Some(60)));
        assert_eq!(pending.deadline(linger), start + 9 * second);
    }

    #[test]
    fn what_was_durable_when_somebody_hurried_goes_at_once_and_nothing_else() {
        let now = Instant::now();
        let mut pending = Pending::new(Offset::ZERO, durable(0, 0, 0), now);
        pending.observe(Durable { hurry_to: Offset::new(3), ..durable(9, 90, 1) }, now);
        assert!(pending.is_hurried());
        pending.read(Offset::new(3), 30, durable(9, 90, 1), Some(1), Clock { now, now_ms: 1 });
        assert!(!pending.is_hurried(), "the six that came later wait for company");
    }

    #[test]
    fn what_earlier_runs_left_has_no_known_size_and_what_is_lost_is_not_counted_for_ever() {
        let now = Instant::now();
        let clock = Clock { now, now_ms: 1 };
        let mut pending = Pending::new(Offset::ZERO, durable(100, 0, 1), now);
        assert_eq!((pending.payload_bytes(), pending.uncounted_events()), (None, 100));
        pending.observe(durable(110, 1000, 1), now);
        pending.read(Offset::new(105), 500, durable(110, 1000, 1), Some(1), clock);
        assert_eq!(pending.payload_bytes(), Some(500));
        // The last five could not be read, so their bytes were never counted as read.
        pending.read(Offset::new(110), 0, durable(110, 1000, 1), None, clock);
        assert_eq!((pending.events(), pending.payload_bytes()), (0, Some(0)));
    }
}
