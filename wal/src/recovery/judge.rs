//! What follows from what was found, before anything is done about it. Pure: opening a log does it,
//! looking at one only says it.

use std::ops::Range;

use crate::offset::Offset;
use crate::recovery::chain::Link;
use crate::recovery::newest::Content;
use crate::recovery::{Decision, Facts, decide};
use crate::segment::LogId;

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The offset of the next event.
    pub(crate) next: Offset,
    /// Behind the last frame.
    pub(crate) end: Offset,
    /// Everything before is proven durable.
    pub(crate) proven: Offset,
    /// Offsets below `next` that no event has, because `committed` is beyond the end.
    pub(crate) gap: Option<Range<Offset>>,
    /// Proven durable, not committed, and missing from the newest segment.
    pub(crate) lost: Vec<Range<Offset>>,
    /// Bytes of the newest segment that cannot be read and that nothing proves durable.
    pub(crate) unproven: Vec<Range<u64>>,
    /// What was known.
    pub(crate) facts: Facts,
    /// What is to be done.
    pub(crate) decision: Decision,
    /// Whether the log gets a new identity, where it has one.
    pub(crate) new_log_id: bool,
    /// The identity that it keeps.
    pub(crate) log_id: Option<LogId>,
}

/// Judges the segments that are believed, what the newest of them holds, and how many bytes of
/// segments cannot be read at all.
pub(crate) fn judge(
    chain: &[Link],
    newest: Option<&Content>,
    unreadable_bytes: u64,
    committed: Offset,
) -> Judgement {
    let end = newest.map_or(Offset::ZERO, |content| content.end);
    let proven = newest.map_or(committed, |content| content.proven.max(committed));
    let next = end.max(committed);
    let gap = (end < next).then_some(end..next);
    let (lost, unproven) =
        newest.map(|content| examine(content, committed, proven)).unwrap_or_default();
    let is_unproven = unreadable_bytes > 0 || !unproven.is_empty();
    let identity = chain.iter().rev().find_map(|link| link.header.as_ref()).map(|h| h.log_id);
    let facts = Facts {
        unproven_events: end > proven,
        unproven_bytes: is_unproven,
        gap: gap.is_some(),
        identified: identity.is_some(),
        any: !chain.is_empty(),
    };
    let (decision, new_identity) = decide(facts);
    Judgement {
        next,
        end,
        proven,
        gap,
        lost,
        unproven,
        facts,
        decision,
        new_log_id: new_identity && (!chain.is_empty() || is_unproven),
        log_id: identity.filter(|_| !new_identity),
    }
}

/// What is lost in the newest segment, and which of its bytes are unproven and unreadable.
fn examine(
    content: &Content,
    committed: Offset,
    proven: Offset,
) -> (Vec<Range<Offset>>, Vec<Range<u64>>) {
    let (mut lost, mut unproven) = (Vec::new(), Vec::new());
    for hole in &content.holes {
        let missing = hole.offsets.start.max(committed)..hole.offsets.end.min(proven);
        if missing.start < missing.end {
            lost.push(missing);
        }
        if hole.offsets.start < hole.offsets.end && hole.offsets.end > proven {
            unproven.push(hole.bytes.clone());
        }
    }
    if !content.residue.is_empty() {
        unproven.push(content.residue.clone());
    }
    (lost, unproven)
}
