//! What waiting events will weigh as records, judged by those before them: compressed records are
//! smaller than what is in them, and a call is full when they fill it, not when their events would.

use crate::limits::SHRINK_SAMPLE_BYTES_MIN;

/// Parts of a thousand that remain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shrink(u64);

/// Never less than this, so that events of a kind that compresses well do not wait for ever more.
const LEAST: u64 = 10;
const WHOLE: u64 = 1000;

impl Default for Shrink {
    fn default() -> Self {
        Self(WHOLE)
    }
}

impl Shrink {
    /// What so many bytes become.
    pub(super) fn of(self, bytes: usize) -> usize {
        let remains = bytes as u64 / WHOLE * self.0 + bytes as u64 % WHOLE * self.0 / WHOLE;
        usize::try_from(remains).unwrap_or(usize::MAX)
    }

    /// Takes note of what bytes became. A few say nothing about many.
    pub(super) fn learn(&mut self, bytes: usize, remain: usize) {
        if bytes >= SHRINK_SAMPLE_BYTES_MIN {
            self.0 = (remain as u64 * WHOLE / bytes as u64).clamp(LEAST, WHOLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_judged_by_what_was() {
        let mut shrink = Shrink::default();
        assert_eq!(shrink.of(usize::MAX / 1000), usize::MAX / 1000);
        shrink.learn(1_000_000, 125_000);
        assert_eq!((shrink.of(8_000_000), shrink.of(80)), (1_000_000, 10));
        shrink.learn(100, 100);
        assert_eq!(shrink.of(8_000_000), 1_000_000, "too few to judge by");
        shrink.learn(1_000_000, 2_000_000);
        assert_eq!(shrink.of(8), 8);
        shrink.learn(usize::MAX, 0);
        assert_eq!(shrink.of(1000), 10);
    }
}
