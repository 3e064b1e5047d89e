//! Giving space back: which segments may go, and the pool that keeps some of them to be written
//! again.

use std::ops::Range;

use crate::offset::Offset;

mod pool;

pub use pool::Pool;
pub(crate) use pool::{Offered, Pooled};

/// How a segment leaves the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Its bytes are of no further use.
    Release,
    /// Some of it was damaged: somebody may want to look at it.
    Quarantine,
}

/// How the oldest segments leave the log, given the offsets of each, oldest first: those that lie
/// wholly below the committed offset. The newest stays even if it is empty, so that its name keeps
/// the offsets from being given out again.
pub(crate) fn exits(
    segments: &[Range<Offset>],
    committed: Offset,
    damaged: &[Range<Offset>],
) -> Vec<Exit> {
    let Some((_newest, older)) = segments.split_last() else { return Vec::new() };
    older
        .iter()
        .take_while(|segment| segment.end <= committed)
        .map(|segment| {
            let overlaps = |range: &Range<Offset>| {
                range.start < segment.end && segment.start < range.end && range.start < range.end
            };
            if damaged.iter().any(overlaps) { Exit::Quarantine } else { Exit::Release }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(bounds: &[u64]) -> Vec<Range<Offset>> {
        bounds.windows(2).map(|pair| Offset::new(pair[0])..Offset::new(pair[1])).collect()
    }

    #[test]
    fn only_what_is_wholly_committed_goes_and_the_newest_stays() {
        let segments = ranges(&[0, 10, 20, 30]);
        for (committed, gone) in [(0, 0), (9, 0), (10, 1), (29, 2), (30, 2), (99, 2)] {
            let exits = exits(&segments, Offset::new(committed), &[]);
            assert_eq!(exits, vec![Exit::Release; gone], "committed {committed}");
        }
        assert_eq!(exits(&[], Offset::new(9), &[]), []);
    }

    #[test]
    fn a_damaged_segment_is_kept_aside() {
        let damaged = [Offset::new(12)..Offset::new(13), Offset::new(20)..Offset::new(20)];
        let found = exits(&ranges(&[0, 10, 20, 30, 40]), Offset::new(40), &damaged);
        assert_eq!(found, [Exit::Release, Exit::Quarantine, Exit::Release]);
        let whole = [Offset::new(10)..Offset::new(20)];
        let found = exits(&ranges(&[0, 10, 20, 30, 40]), Offset::new(40), &whole);
        assert_eq!(
            found,
            [Exit::Release, Exit::Quarantine, Exit::Release],
            "its neighbours are not"
        );
    }

    proptest! {
        #[test]
        fn nothing_at_or_above_the_committed_offset_ever_goes(
            mut bounds in proptest::collection::vec(0_u64..100, 0..9), committed in 0_u64..110,
        ) {
            bounds.sort_unstable();
            let segments = ranges(&bounds);
            let gone = exits(&segments, Offset::new(committed), &[]).len();
            prop_assert!(gone < segments.len().max(1));
            for segment in &segments[..gone] {
                prop_assert!(segment.end <= Offset::new(committed));
            }
        }
    }
}
