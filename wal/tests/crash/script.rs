//! What the host does, as data: the same seed gives the same steps.

/// `SplitMix64`: small, and the same for ever.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.u64() % end
    }
}

/// One thing that the host does. Streams are named by their index.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Hand events of these sizes to a stream's log; nothing is written yet. Raw events and others
    /// cannot share a frame.
    Push { stream: usize, raw: bool, sizes: Vec<usize> },
    /// Make them durable and acknowledge them.
    Sync { stream: usize },
    /// Read on, at most so many frames: a reader that is behind holds on to a segment that may be
    /// given up meanwhile.
    Read { stream: usize, frames: usize },
    /// Commit everything durable except the last `behind` events of each stream, then trim.
    Commit { behind: u64 },
    /// Replace the newest segment by an empty one.
    RollIdle { stream: usize },
    /// Stop in an orderly way and start again.
    Restart,
    /// Forget everything in memory and start again: a dead process.
    Die,
}

/// A script that fills several segments of both streams, recycles some, and stops in both ways.
pub(crate) fn script(seed: u64) -> Vec<Step> {
    let mut random = Random(seed);
    let mut steps = Vec::new();
    for round in 0..14 {
        // The second stream takes over files that the first one has used, and the other way round.
        let stream = usize::from(matches!(round, 3 | 6 | 9 | 10));
        for _ in 0..=random.below(3) {
            let raw = random.below(2) == 1;
            steps.push(Step::Push { stream, raw, sizes: sizes(&mut random) });
        }
        steps.push(Step::Sync { stream });
        let frames = if round % 3 == 2 { usize::MAX } else { 1 };
        steps.push(Step::Read { stream, frames });
        match round {
            3 | 5 | 8 => steps.push(Step::Commit { behind: random.below(3) }),
            6 => steps.push(Step::Restart),
            7 => steps.extend([Step::Commit { behind: 0 }, Step::RollIdle { stream: 0 }]),
            9 => {
                steps.push(Step::Commit { behind: 0 });
                steps.push(Step::Push { stream, raw: false, sizes: vec![7] });
            }
            10 => steps.push(Step::Die),
            12 => steps.extend([Step::RollIdle { stream: 1 }, Step::Commit { behind: 1 }]),
            _ => {}
        }
    }
    steps
}

/// One life of a host: any steps in any order, with something pushed before most of the others.
pub(crate) fn life(random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..12 + random.below(24) {
        let stream = random.below(4).saturating_sub(2) as usize;
        let raw = random.below(2) == 1;
        steps.push(match random.below(20) {
            0..8 => Step::Push { stream, raw, sizes: sizes(random) },
            8..14 => Step::Sync { stream },
            14 => Step::Read { stream, frames: 1 + random.below(3) as usize },
            15..17 => Step::Commit { behind: random.below(4) },
            17 => Step::RollIdle { stream },
            18 => Step::Restart,
            _ => Step::Die,
        });
    }
    steps
}

/// Mostly small events, sometimes larger than a sector, seldom larger than a whole segment.
fn sizes(random: &mut Random) -> Vec<usize> {
    (0..=random.below(4))
        .map(|_| match random.below(16) {
            0..8 => random.below(60),
            8..15 => 300 + random.below(900),
            _ => 7000,
        } as usize)
        .collect()
}
