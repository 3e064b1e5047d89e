//! What was promised about a stream, and what may be found in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use standpipe_wal::Offset;

/// The promises of one stream, by offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged: must be there until it is committed, with these bytes.
    promised: BTreeMap<u64, Arc<[u8]>>,
    /// Every payload that ever was pushed at an offset: what was not acknowledged may be there.
    possible: BTreeMap<u64, Vec<Arc<[u8]>>>,
    /// The first offset behind everything that was promised.
    end: u64,
    /// What was damaged.
    damage: Damage,
    /// A start gave the log a new identity.
    renewed: bool,
}

/// What was damaged behind the log's back. Nothing else may be missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damage {
    /// Events of which durable bytes were damaged.
    pub(crate) events: BTreeSet<u64>,
    /// Headers were damaged.
    pub(crate) headers: bool,
    /// Files were put there, moved or replaced.
    pub(crate) strangers: bool,
    /// Nobody knows what.
    pub(crate) anything: bool,
}

impl Ledger {
    /// No promises yet, about a log of which anything may have been damaged.
    pub(crate) fn of_damaged_log() -> Self {
        Self { damage: Damage { anything: true, ..Damage::default() }, ..Self::default() }
    }

    /// Takes note of damage.
    pub(crate) fn damaged(&mut self, damage: &Damage) {
        self.damage.events.extend(&damage.events);
        self.damage.headers |= damage.headers;
        self.damage.strangers |= damage.strangers;
        self.damage.anything |= damage.anything;
    }

    pub(crate) fn may_find_strangers(&self) -> bool {
        self.damage.strangers || self.damage.anything
    }

    /// Whether a segment of this log may look like another log's. Where damage gave the log a new
    /// identity, and a power cut in the middle of a trim has left a segment of the old one and not
    /// the one behind it, nothing says any more how the rest goes on from it.
    pub(crate) fn may_be_disowned(&self, base: Offset, committed: Offset) -> bool {
        self.renewed && base < committed
    }

    pub(crate) fn may_find_damaged_headers(&self) -> bool {
        self.damage.headers || self.damage.anything
    }

    fn may_lack(&self, offset: u64) -> bool {
        self.damage.anything || self.damage.events.contains(&offset)
    }

    /// Takes note of events that were handed to the log at these offsets.
    pub(crate) fn pushed(&mut self, offsets: Range<Offset>, payloads: Vec<Vec<u8>>) {
        assert_eq!(offsets.end.since(offsets.start), payloads.len() as u64);
        for (offset, payload) in (offsets.start.get()..).zip(payloads) {
            if self.damage.events.remove(&offset) {
                // Lost with all that proved it, and nobody could read the log since.
                self.promised.remove(&offset);
            }
            self.end = self.end.min(offset);
            assert!(!self.promised.contains_key(&offset), "offset {offset} was given twice");
            self.possible.entry(offset).or_default().push(payload.into());
        }
    }

    /// Everything below `durable` was acknowledged: of several payloads that were pushed at an
    /// offset, the last one.
    pub(crate) fn acknowledged(&mut self, durable: Offset) {
        let from = self.end.min(durable.get());
        for (offset, payloads) in self.possible.range(from..durable.get()) {
            self.promised.insert(*offset, payloads.last().unwrap().clone());
        }
        self.end = self.end.max(durable.get());
    }

    /// A start found these events and said that everything below `next` is durable from now on.
    pub(crate) fn recovered(&mut self, found: &[(u64, Vec<u8>)], next: Offset) {
        let damaged = std::mem::take(&mut self.damage.events);
        self.promised.retain(|offset, _| !damaged.contains(offset));
        for (offset, payload) in found {
            self.promised.insert(*offset, payload.as_slice().into());
        }
        // What was not found then stays lost; behind the end there are no old promises any more.
        let is_lost = |offset: &u64| *offset < next.get() && !self.promised.contains_key(offset);
        self.damage.events = damaged.into_iter().filter(is_lost).collect();
        self.promised.split_off(&next.get());
        self.end = next.get();
    }

    /// A start said that everything below `next` is durable, and the disk did not let anybody see
    /// what that is: offsets below may be without an event.
    pub(crate) fn recovered_unseen(&mut self, next: Offset) {
        self.promised.split_off(&next.get());
        self.end = next.get();
    }

    /// A start gave the log a new identity.
    pub(crate) fn renewed(&mut self) {
        self.renewed = true;
    }

    /// The first offset that may be given to another event.
    pub(crate) fn end(&self) -> Offset {
        Offset::new(self.end)
    }

    /// Checks an event that was read. Below `committed` nobody reads: segments are unlinked in any
    /// order, and where the one is gone that says where another ends, that one shows what it holds
    /// behind its end.
    pub(crate) fn check_event(
        &self,
        offset: u64,
        payload: &[u8],
        committed: Offset,
    ) -> Result<(), String> {
        let promised = self.promised.get(&offset);
        let is_promised = promised.is_some_and(|promised| **promised == *payload);
        let is_possible = || {
            let possible = self.possible.get(&offset);
            possible.is_some_and(|possible| possible.iter().any(|one| **one == *payload))
        };
        let may_differ = promised.is_none() || self.may_lack(offset) || offset < committed.get();
        if is_promised || (may_differ && is_possible()) {
            return Ok(());
        }
        let expected = match promised {
            Some(promised) => format!("{:?} was acknowledged", show(promised)),
            None => "nothing like it was written there".to_owned(),
        };
        Err(format!("event {offset} reads {:?}, but {expected}", show(payload)))
    }

    /// Checks that no promised event at or above `committed` lies in a range that cannot be read.
    pub(crate) fn check_missing(
        &self,
        range: &Range<Offset>,
        committed: Offset,
    ) -> Result<(), String> {
        match self.promises_broken(range.start.max(committed), range.end) {
            None => Ok(()),
            Some(offset) => {
                Err(format!("event {offset} was acknowledged and lies in the gap {range:?}"))
            }
        }
    }

    /// Checks that no promised offset is given again where the log goes on at `next`.
    pub(crate) fn check_next(&self, next: Offset) -> Result<(), String> {
        match self.promises_broken(next, Offset::new(self.end)) {
            None => Ok(()),
            Some(offset) => {
                Err(format!("offsets from {next} would be given again: {offset} was acknowledged"))
            }
        }
    }

    fn promises_broken(&self, from: Offset, until: Offset) -> Option<u64> {
        let until = until.max(from).get();
        let mut promised = self.promised.range(from.get()..until).map(|(offset, _)| *offset);
        promised.find(|offset| !self.may_lack(*offset))
    }

    /// Checks that what is called lost was damaged. Trimmed segments may be unlinked in any order:
    /// a gap below `committed` is no loss. A header says where the segment before it ends, and so
    /// which offsets a start left out: where it is damaged, those are called lost as well.
    pub(crate) fn check_lost(
        &self,
        range: &Range<Offset>,
        committed: Offset,
    ) -> Result<(), String> {
        let mut offsets = range.start.max(committed).get()..range.end.get();
        let never_was = |offset: &u64| self.damage.headers && !self.promised.contains_key(offset);
        match offsets.find(|offset| !self.may_lack(*offset) && !never_was(offset)) {
            None => Ok(()),
            Some(offset) => {
                Err(format!("{range:?} is called lost, but {offset} was never damaged"))
            }
        }
    }
}

/// The beginning of a payload, which names it.
fn show(payload: &[u8]) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(12)]).into_owned()
}
