//! How long something took, counted in fixed buckets: cheap to write, and enough to see a slow disk
//! or a slow destination.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper bounds of the buckets, included, in microseconds: from a sync on a fast disk to a call
/// over a slow link. What took longer is counted behind the last one.
pub const BOUNDS_MICROS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];

/// Durations that several threads may add to. Adding is two atomic additions.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts something that took so long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts of this moment.
    pub fn durations(&self) -> Durations {
        Durations {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)).to_vec(),
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
        }
    }
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// How many fell into each bucket of [`BOUNDS_MICROS`], and last how many into none.
    pub buckets: Vec<u64>,
    /// What all of them took together, in microseconds.
    pub sum_micros: u64,
}

impl Durations {
    /// Adds what another histogram held.
    pub fn add(&mut self, other: &Self) {
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum_micros += other.sum_micros;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_nothing_is_lost_behind_the_last() {
        let histogram = Histogram::default();
        for micros in [0, 250, 251, 30_000_000, 30_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut durations = histogram.durations();
        let filled = |durations: &Durations| {
            let filled = durations.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
            filled.map(|(bucket, count)| (bucket, *count)).collect::<Vec<_>>()
        };
        assert_eq!(filled(&durations), [(0, 2), (1, 1), (14, 1), (15, 1)]);
        assert_eq!(durations.sum_micros, 60_000_502);
        durations.add(&Durations::default());
        durations.add(&histogram.durations());
        assert_eq!((durations.count(), durations.sum_micros), (10, 120_001_004));
        assert!(BOUNDS_MICROS.is_sorted());
    }
}
