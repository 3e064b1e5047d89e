//! What holds for the records of a stream.

use memchr::{memchr, memmem};

use crate::router::choice::Choice;

/// How a stream's events become records.
#[derive(Debug)]
pub(crate) struct Rule {
    joined: bool,
    events_max: u64,
    ends_open: bool,
    delimiter: Vec<u8>,
    finder: Option<memmem::Finder<'static>>,
}

impl Rule {
    /// What was chosen, for a stream with this delimiter.
    pub(crate) fn new(choice: &Choice, delimiter: &[u8]) -> Self {
        // A single byte has a faster search of its own.
        let finder = (delimiter.len() > 1).then(|| memmem::Finder::new(delimiter).into_owned());
        Self {
            joined: choice.lines,
            events_max: choice.events_max,
            ends_open: choice.ends_open,
            delimiter: delimiter.to_vec(),
            finder,
        }
    }

    /// Whether a record may hold several events.
    pub(crate) fn joins(&self) -> bool {
        self.joined
    }

    /// Events in a record.
    pub(crate) fn events_max(&self) -> u64 {
        self.events_max
    }

    /// Behind every event, or between two.
    pub(crate) fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }

    /// Whether a record's last event is left without the delimiter.
    pub(crate) fn ends_open(&self) -> bool {
        self.ends_open
    }

    /// What ends a record of one event.
    pub(super) fn end_bytes(&self, raw: bool) -> usize {
        if raw || self.ends_open { 0 } else { self.delimiter.len() }
    }

    /// What each event weighs at most beside its payload.
    pub(crate) fn bytes_per_event(&self) -> usize {
        self.delimiter.len()
    }

    /// How many waiting events fill a call of so many records, whatever they weigh.
    pub(crate) fn events_per_call(&self, records_max: usize) -> u64 {
        let events_max = if self.joined { self.events_max } else { 1 };
        events_max.saturating_mul(records_max as u64)
    }

    /// Whether an event contains the delimiter.
    pub(super) fn is_in(&self, event: &[u8]) -> bool {
        match (&self.finder, self.delimiter.as_slice()) {
            (Some(finder), _) => finder.find(event).is_some(),
            (None, [byte]) => memchr(*byte, event).is_some(),
            (None, _) => false,
        }
    }
}
