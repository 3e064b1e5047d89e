//! Tells disks apart by a number, so that a test can count how many different ones it has seen.

/// Mixes words into a number of 64 bits. Among a million disks two different ones get the same
/// number with a probability of one in thirty million.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn word(&mut self, word: u64) {
        // The finish of SplitMix64, which lets each bit reach every other.
        let mut mixed = (self.0 ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = mixed ^ (mixed >> 31);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.sparse(0, bytes);
    }

    /// Bytes at a position, of which zeros leave no trace: a hole is as good as a block of zeros.
    pub(super) fn sparse(&mut self, position: u64, bytes: &[u8]) {
        for (index, chunk) in (0..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            let word = u64::from_le_bytes(word);
            if word != 0 {
                self.word(position + 8 * index);
                self.word(word);
            }
        }
    }

    pub(super) fn finish(self) -> u64 {
        self.0
    }
}
