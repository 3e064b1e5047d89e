//! What was promised about a stream, and what may be found in it.

use std::collections::BTreeMap;
use std::ops::Range;

use standpipe_wal::Offset;

/// The promises of one stream, by offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged: must be there until it is committed, with these bytes.
    promised: BTreeMap<u64, Vec<u8>>,
    /// Every payload that ever was pushed at an offset: what was not acknowledged may be there.
    possible: BTreeMap<u64, Vec<Vec<u8>>>,
    /// The first offset behind everything that was promised.
    end: u64,
    /// Whether durable bytes were damaged, so that the log may call events lost.
    damaged: bool,
}

impl Ledger {
    /// No promises yet, about a log in which durable bytes were damaged.
    pub(crate) fn of_damaged_log() -> Self {
        Self { damaged: true, ..Self::default() }
    }

    /// Whether the log is right to call anything lost.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Takes note of events that were handed to the log at these offsets.
    pub(crate) fn pushed(&mut self, offsets: Range<Offset>, payloads: Vec<Vec<u8>>) {
        assert_eq!(offsets.end.since(offsets.start), payloads.len() as u64);
        for (offset, payload) in (offsets.start.get()..).zip(payloads) {
            assert!(!self.promised.contains_key(&offset), "offset {offset} was given twice");
            self.possible.entry(offset).or_default().push(payload);
        }
    }

    /// Everything below `durable` was acknowledged: of several payloads that were pushed at an
    /// offset, the last one.
    pub(crate) fn acknowledged(&mut self, durable: Offset) {
        for (offset, payloads) in self.possible.range(self.end..durable.get()) {
            self.promised.insert(*offset, payloads.last().unwrap().clone());
        }
        self.end = self.end.max(durable.get());
    }

    /// A start found these events and said that everything below `next` is durable from now on.
    pub(crate) fn recovered(&mut self, found: &[(u64, Vec<u8>)], next: Offset) {
        for (offset, payload) in found {
            self.promised.insert(*offset, payload.clone());
        }
        self.end = self.end.max(next.get());
    }

    /// The first offset that may be given to another event.
    pub(crate) fn end(&self) -> Offset {
        Offset::new(self.end)
    }

    /// Checks an event that was read.
    pub(crate) fn check_event(&self, offset: u64, payload: &[u8]) -> Result<(), String> {
        let right = match self.promised.get(&offset) {
            Some(promised) => promised == payload,
            None => self
                .possible
                .get(&offset)
                .is_some_and(|possible| possible.iter().any(|one| one == payload)),
        };
        if right {
            return Ok(());
        }
        let expected = match self.promised.get(&offset) {
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
        let from = range.start.max(committed).get();
        let until = range.end.get().max(from);
        match self.promised.range(from..until).next() {
            None => Ok(()),
            Some((offset, _)) => {
                Err(format!("event {offset} was acknowledged and lies in the gap {range:?}"))
            }
        }
    }
}

/// The beginning of a payload, which names it.
fn show(payload: &[u8]) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(12)]).into_owned()
}
