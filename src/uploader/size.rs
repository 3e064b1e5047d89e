//! How large a stream's calls may be at the moment.

use crate::limits::{CALL_BYTES_FLOOR, CALLS_BEFORE_SIZE_PROBE};

/// Two bounds, because two things can be wrong: the destination takes no calls of that size, which
/// is remembered; or the way to it is slow, which may be over with the next call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSize {
    max: usize,
    /// What the destination is thought to take.
    ceiling: usize,
    /// What the way there carries in time.
    patience: usize,
    /// Successful calls since `ceiling` was changed.
    successes: u32,
}

impl CallSize {
    /// Calls of up to `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, ceiling: max, patience: max, successes: 0 }
    }

    /// What a call may hold now. A single larger event goes all the same, alone.
    pub(crate) fn limit(&self) -> usize {
        self.ceiling.min(self.patience)
    }

    /// Whether calls were not answered in time lately.
    pub(crate) fn is_reduced(&self) -> bool {
        self.patience < self.max
    }

    /// A call of so many bytes was answered with success, and so `quick` that one of twice the size
    /// would have been as well. Returns whether calls may be larger for it.
    pub(crate) fn succeeded(&mut self, bytes: usize, quick: bool) -> bool {
        let before = self.limit();
        if quick {
            self.patience = self.patience.max(bytes.saturating_mul(2)).min(self.max);
        }
        if self.ceiling < self.max {
            self.successes += 1;
            if self.successes >= CALLS_BEFORE_SIZE_PROBE {
                self.successes = 0;
                self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
            }
        }
        self.limit() > before
    }

    /// A call of so many bytes was not answered in time.
    pub(crate) fn timed_out(&mut self, bytes: usize) {
        self.patience = self.smaller_than(bytes);
    }

    /// A call of so many bytes was too large. Returns whether calls can become smaller for it.
    pub(crate) fn too_large(&mut self, bytes: usize) -> bool {
        self.successes = 0;
        self.ceiling = self.smaller_than(bytes);
        self.ceiling < bytes
    }

    /// The next smaller limit. Of several calls in flight at once only the first lowers it.
    fn smaller_than(&self, bytes: usize) -> usize {
        if bytes > self.limit() {
            return self.limit();
        }
        (bytes / 2).max(CALL_BYTES_FLOOR.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4_000_000;

    #[test]
    fn time_outs_halve_down_to_the_floor_and_successes_restore() {
        let mut size = CallSize::new(MAX);
        assert!(!size.is_reduced());
        size.timed_out(MAX);
        assert_eq!((size.limit(), size.is_reduced()), (MAX / 2, true));
        for _ in 0..20 {
            size.timed_out(size.limit());
        }
        assert_eq!(size.limit(), CALL_BYTES_FLOOR);
        size.succeeded(CALL_BYTES_FLOOR, false);
        assert_eq!(size.limit(), CALL_BYTES_FLOOR, "it took too long for a larger one");
        size.succeeded(1000, true);
        assert_eq!(size.limit(), CALL_BYTES_FLOOR, "a small one shows nothing about large ones");
        for _ in 0..20 {
            let may_grow = size.limit() < MAX;
            assert_eq!(size.succeeded(size.limit(), true), may_grow);
        }
        assert_eq!((size.limit(), size.is_reduced()), (MAX, false));
    }

    #[test]
    fn a_size_refusal_is_remembered_and_probed_again_after_many_calls() {
        let mut size = CallSize::new(MAX);
        assert!(size.too_large(3_000_000));
        assert_eq!(size.limit(), 1_500_000);
        assert!(size.too_large(3_000_000), "another one of the same time");
        assert_eq!(size.limit(), 1_500_000);
        for _ in 1..CALLS_BEFORE_SIZE_PROBE {
            size.succeeded(1_500_000, true);
        }
        assert_eq!(size.limit(), 1_500_000);
        size.succeeded(1_500_000, true);
        assert_eq!(size.limit(), 3_000_000);
        assert!(!size.too_large(CALL_BYTES_FLOOR), "nothing smaller is left to try");
    }
}
