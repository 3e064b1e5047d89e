//! What is believed after a crash.
//!
//! [`run`] gathers facts ([`survey`], [`chain`], [`newest`]), looks up in a table what follows from
//! them ([`judge`], [`decide`]), and does it. Everything before the newest segment was synced before that one
//! was begun, and of the newest what its last frames prove: only the rest is read.
//!
//! Each step can be interrupted and done again: bytes are copied aside before anything is replaced,
//! and the new segment gets its name, in one instant, when it is complete.

use std::ops::Range;
use std::path::PathBuf;

use crate::offset::Offset;
use crate::segment::{LogId, Reason};

pub(crate) mod chain;
pub(crate) mod judge;
pub(crate) mod newest;
mod quarantine;
mod rewrite;
mod run;
#[cfg(test)]
mod scenarios;
pub(crate) mod start;
pub(crate) mod survey;
mod written;

pub(crate) use quarantine::{Quarantine, make_dir};
pub(crate) use run::run;

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What was known when everything was read.
    pub facts: Facts,
    /// What followed from it.
    pub decision: Decision,
    /// The offset of the next event.
    pub next: Offset,
    /// The first offset that is not durable; equal to `next` after opening.
    pub durable: Offset,
    /// Events that were not proven durable and were written again into a new segment.
    pub rewritten_events: u64,
    /// Ranges of the newest segment that were proven durable, are not committed, and cannot be read
    /// any more, as far as that was seen: what is proven durable is not read here, so most damage
    /// shows when a reader comes to it.
    pub lost: Vec<Range<Offset>>,
    /// Bytes that cannot be read and that nothing proves to have been durable: torn writes, or
    /// damage.
    pub unproven_bytes: u64,
    /// Segments whose header is damaged and which were read by their frames. Nothing of them is
    /// lost by it. Said at each opening until they are trimmed.
    pub damaged_headers: Vec<PathBuf>,
    /// Where unproven bytes and damaged headers were copied, or files moved.
    pub quarantined: Vec<PathBuf>,
    /// Files that do not belong to this log, where they were moved.
    pub set_aside: Vec<PathBuf>,
    /// Names in the stream's directory that mean nothing to the log and were left alone.
    pub strays: Vec<PathBuf>,
    /// Offsets below `next` that no event in the log has, because `committed` is beyond its end.
    pub gap: Option<Range<Offset>>,
    /// Whether the log got a new identity because bytes had to be set aside.
    pub new_log_id: bool,
    /// The identities that the log's segments carry, oldest first: what was noted under any of them
    /// is true of this log.
    pub known_ids: Vec<LogId>,
}

/// What is known about a log when everything was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "the columns of a table")]
pub struct Facts {
    /// There is a segment.
    pub any: bool,
    /// A header says which log this is.
    pub identified: bool,
    /// Frames were found whose end no later frame, seal, header or commit proves durable.
    pub unproven_events: bool,
    /// Bytes were found that should be frames and are not, and nothing proves them durable.
    pub unproven_bytes: bool,
    /// `next` is beyond the end of what was found: these offsets must not be given out again.
    pub gap: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    /// Nothing. The next segment is begun with the next sync.
    #[default]
    Keep,
    /// Begin a segment now, with nothing in it: its header carries what must not be forgotten.
    Begin(Reason),
    /// Begin a segment now, with the unproven frames in it.
    Rewrite,
}

/// The table: one row for each combination of facts. The second value is whether the log gets a new
/// identity.
fn decide(facts: Facts) -> (Decision, bool) {
    let Facts { unproven_events, unproven_bytes, gap, identified, any } = facts;
    let new_identity = unproven_bytes || !identified;
    let decision = match (any, unproven_events, unproven_bytes, gap, identified) {
        // What nothing proves durable is made durable before it is shown to anybody.
        (_, true, _, _, _) => Decision::Rewrite,
        // `next` would fall back if it were known from the committed offset alone.
        (_, false, _, true, _) => Decision::Begin(Reason::Gap),
        // A new identity is one only if it is on disk.
        (true, false, true, false, _) | (true, false, false, false, false) => {
            Decision::Begin(Reason::Recovery)
        }
        (false, false, true, false, _) => Decision::Begin(Reason::First),
        // A log that was closed cleanly, or whose every frame is proven, or that is new.
        (true, false, false, false, true) | (false, false, false, false, _) => Decision::Keep,
    };
    (decision, new_identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks all combinations and states, apart from the table, what must hold for each.
    #[test]
    fn every_combination_of_facts_has_a_safe_decision() {
        for bits in 0_u8..32 {
            let is = |bit: u8| bits & (1 << bit) != 0;
            let facts = Facts {
                unproven_events: is(0),
                unproven_bytes: is(1),
                gap: is(2),
                identified: is(3),
                any: is(4),
            };
            let (decision, new_identity) = decide(facts);
            assert_eq!(decision == Decision::Rewrite, facts.unproven_events, "{facts:?}");
            assert!(new_identity || (facts.identified && !facts.unproven_bytes), "{facts:?}");
            if decision == Decision::Keep {
                assert!(!facts.gap && !facts.unproven_bytes && !facts.unproven_events, "{facts:?}");
                assert!(!facts.any || facts.identified, "a new identity is forgotten: {facts:?}");
            }
        }
    }
}
