//! How long to wait before trying again: full jitter under a bound that doubles.

use std::time::Duration;

/// Draws pauses. Every stream has its own, so that streams that failed together do not return
/// together.
#[derive(Debug)]
pub(crate) struct Backoff {
    random: fastrand::Rng,
    max: Duration,
}

impl Backoff {
    /// Pauses of at most `max`.
    pub(crate) fn new(max: Duration, seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), max }
    }

    /// The pause after so many failures in a row: anything from nothing to `base` doubled with each
    /// failure beyond the first.
    pub(crate) fn pause(&mut self, failures: u32, base: Duration) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = base.saturating_mul(doubled).min(self.max);
        bound.mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BACKOFF_BASE;

    #[test]
    fn pauses_are_spread_below_a_bound_that_doubles_up_to_the_ceiling() {
        let max = Duration::from_secs(5);
        let mut backoff = Backoff::new(max, 7);
        for failures in [0, 1, 2, 3, 10, 32, 33, u32::MAX] {
            let doubled = BACKOFF_BASE * 2_u32.pow(failures.clamp(1, 10) - 1);
            let bound = doubled.min(max);
            let pauses: Vec<_> = (0..200).map(|_| backoff.pause(failures, BACKOFF_BASE)).collect();
            assert!(pauses.iter().all(|pause| *pause <= bound), "{failures}");
            assert!(pauses.iter().any(|pause| *pause < bound / 4), "{failures}: no jitter");
            assert!(pauses.iter().any(|pause| *pause > bound / 4 * 3), "{failures}: no growth");
        }
    }
}
