//! Every choice of a run, drawn from its seed.

use std::sync::atomic::{AtomicU64, Ordering};

use standpipe_wal::log::Entropy;

/// `SplitMix64` (Steele, Lea, Flood 2014). Written out, so that a seed names a run whatever crates
/// are updated.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A source of its own, so that who draws more or less does not change what others draw.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.u64())
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.u64() % (most - least + 1)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.u64().is_multiple_of(times)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.u64() % from.len() as u64).unwrap()]
    }
}

/// The randomness that the agent is given.
#[derive(Debug)]
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for Seeded {
    fn u64(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }
}
