//! Offsets: how many events of a stream came before.

use std::fmt;
use std::ops::Range;

/// The number of events of a stream that precede this point.
///
/// Every offset in Standpipe is half-open: `next`, `durable`, `delivered` and `committed` name the
/// first event *not* included, so an empty log is `0..0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every stream.
    pub const ZERO: Self = Self(0);
    /// Larger than every offset that an event can have.
    pub const MAX: Self = Self(u64::MAX);

    /// The offset that `events` events precede.
    pub const fn new(events: u64) -> Self {
        Self(events)
    }

    /// How many events precede this offset.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset behind `events` further events; stops at the largest one.
    #[must_use]
    pub const fn after(self, events: u64) -> Self {
        Self(self.0.saturating_add(events))
    }

    /// How many events lie between `earlier` and this offset; zero where `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many events a half-open range holds.
pub fn count(range: &Range<Offset>) -> u64 {
    range.end.since(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_shown_as_its_number() {
        assert_eq!(format!("{} {:>4}", Offset::new(42), Offset::new(7)), "42    7");
    }
}
