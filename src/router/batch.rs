//! Events on their way, as positions: while a batch waits it holds ranges of offsets and no payload.

use std::ops::Range;

use standpipe_wal::{Offset, offset};

use crate::router::aggregate::Span;

/// Ranges of events that travel together, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The ranges; never empty ones.
    pub(crate) ranges: Vec<Range<Offset>>,
    /// What the records of these events weigh at most.
    pub(crate) bytes_max: usize,
    /// When the first of them was taken in, in milliseconds of Unix time.
    pub(crate) oldest_ms: u64,
    /// Failures in a row in which little of it was delivered.
    pub(crate) failures: u32,
}

impl Batch {
    /// The events of some records, with touching ranges joined: they are packed anew when they are
    /// sent again.
    pub(crate) fn of<'a>(spans: impl IntoIterator<Item = &'a Span>, oldest_ms: u64) -> Self {
        let mut batch = Self { oldest_ms, ..Self::default() };
        for span in spans {
            batch.bytes_max += span.bytes;
            batch.push(span.start..span.end);
        }
        batch
    }

    /// Adds a range behind the last one.
    pub(crate) fn push(&mut self, range: Range<Offset>) {
        match self.ranges.last_mut() {
            _ if range.start >= range.end => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }

    /// Adds another batch, wherever its ranges lie between this one's.
    pub(crate) fn absorb(&mut self, other: Self) {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.extend(other.ranges);
        ranges.sort_unstable_by_key(|range| range.start);
        for range in ranges {
            self.push(range);
        }
        self.bytes_max += other.bytes_max;
        self.oldest_ms = self.oldest_ms.min(other.oldest_ms);
        self.failures = self.failures.max(other.failures);
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> Offset {
        self.ranges.first().map_or(Offset::MAX, |range| range.start)
    }

    /// How many events it holds.
    pub(crate) fn events(&self) -> u64 {
        self.ranges.iter().map(offset::count).sum()
    }

    /// Whether it holds none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The first half of the events and the second. A batch of one event has an empty second half.
    pub(crate) fn halves(self) -> (Self, Self) {
        let mut first = Self { ranges: Vec::new(), ..self.clone() };
        let mut second = first.clone();
        let mut wanted = self.events().div_ceil(2);
        for range in self.ranges {
            let middle = range.start.after(wanted.min(offset::count(&range)));
            wanted -= middle.since(range.start);
            first.push(range.start..middle);
            second.push(middle..range.end);
        }
        (first, second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Range<Offset> {
        Offset::new(start)..Offset::new(end)
    }

    #[test]
    fn halves_hold_every_event_once() {
        let mut batch = Batch::default();
        batch.push(range(0, 3));
        batch.push(range(3, 5));
        batch.push(range(9, 12));
        assert_eq!(batch.ranges, [range(0, 5), range(9, 12)]);
        let (first, second) = batch.halves();
        assert_eq!(first.ranges, [range(0, 4)]);
        assert_eq!(second.ranges, [range(4, 5), range(9, 12)]);
        let (one, none) = first.halves().0.halves().0.halves();
        assert_eq!((one.ranges, none.is_empty()), (vec![range(0, 1)], true));
    }

    #[test]
    fn an_absorbed_batch_lies_between_the_ranges_of_the_other() {
        let mut batch = Batch { bytes_max: 10, oldest_ms: 5, failures: 1, ..Batch::default() };
        batch.push(range(0, 2));
        batch.push(range(7, 9));
        let mut other = Batch { bytes_max: 5, oldest_ms: 3, failures: 2, ..Batch::default() };
        other.push(range(2, 4));
        other.push(range(5, 6));
        batch.absorb(other);
        assert_eq!(batch.ranges, [range(0, 4), range(5, 6), range(7, 9)]);
        assert_eq!((batch.bytes_max, batch.oldest_ms, batch.failures), (15, 3, 2));
    }
}
