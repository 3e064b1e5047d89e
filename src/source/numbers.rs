//! Which lines of a read belong together.

use std::ops::Range;

/// Line numbers in ascending order, neighbours kept as one range: eight bytes for each, so that a
/// read of the shortest lines of alternating streams still takes less than the read itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(Vec<(u32, u32)>);

impl Numbers {
    /// Adds a number above all others.
    #[inline]
    pub fn add(&mut self, number: u32) {
        match self.0.last_mut() {
            Some((_, end)) if *end == number => *end += 1,
            _ => self.0.push((number, number + 1)),
        }
    }

    /// The ranges, half-open, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u32>> {
        self.0.iter().map(|&(start, end)| start..end)
    }

    /// How many ranges there are.
    pub fn ranges(&self) -> usize {
        self.0.len()
    }
}
