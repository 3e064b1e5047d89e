//! How many calls of a stream may be in flight at once.
//!
//! One, until a call was taken, and then one more for each that is: the slow start of RFC 5681
//! (section 3.1). Calls to a destination that hangs hold their memory and their connections until
//! they time out, and whoever begins with all of them takes both away from other streams. Where a call
//! takes long to be carried, more of them at once only take longer each.

/// How a stream's calls may overlap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlap {
    in_flight_max: usize,
    /// Whether a call waits until everything before it is confirmed.
    pub(super) ordered: bool,
    /// Calls in flight that the destination has shown to be up to.
    shown: usize,
}

impl Overlap {
    /// At most so many calls at once, and at least one. In strict order never more than one.
    pub(crate) fn new(in_flight_max: usize, ordered: bool) -> Self {
        Self { in_flight_max: in_flight_max.max(1), ordered, shown: 1 }
    }

    /// How many calls may be in flight now, where `alone` says that one asks for all.
    pub(super) fn limit(&self, alone: bool) -> usize {
        if alone || self.ordered { 1 } else { self.shown }
    }

    /// The most that there may ever be.
    pub(super) fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// A call, or a part of it, was taken, with time left for more beside it.
    pub(super) fn taken(&mut self) {
        self.shown = (self.shown + 1).min(self.in_flight_max);
    }

    /// Nothing got through for a while: what was shown before means nothing any more.
    pub(super) fn begin_anew(&mut self) {
        self.shown = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_are_taken_make_room_for_more_of_them() {
        let mut overlap = Overlap::new(4, false);
        let mut limits = Vec::new();
        for _ in 0..5 {
            limits.push(overlap.limit(false));
            overlap.taken();
        }
        assert_eq!((limits, overlap.limit(true)), (vec![1, 2, 3, 4, 4], 1));
        overlap.begin_anew();
        assert_eq!(overlap.limit(false), 1);
        let mut ordered = Overlap::new(0, true);
        ordered.taken();
        assert_eq!((ordered.limit(false), ordered.in_flight_max()), (1, 1));
    }
}
