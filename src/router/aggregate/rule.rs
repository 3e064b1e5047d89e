//! What holds for the records of a stream.

use memchr::{memchr, memmem};
use standpipe_wal::LogId;

use super::Naming;
use super::member::Member;
use crate::config::StreamConfig;
use crate::limits::GZIP_MEMORY_BYTES;
use crate::router::choice::Choice;

/// How a stream's events become records.
#[derive(Debug)]
pub(crate) struct Rule {
    joined: bool,
    events_max: u64,
    ends_open: bool,
    delimiter: Vec<u8>,
    finder: Option<memmem::Finder<'static>>,
    compressed: bool,
    naming: Option<Naming>,
}

impl Rule {
    /// What was chosen for a stream, and a destination of such records.
    pub(crate) fn new(
        choice: &Choice,
        settings: &StreamConfig,
        record_bytes_max: usize,
        log_id: LogId,
    ) -> Self {
        let StreamConfig { delimiter, identity, identity_as, .. } = settings;
        let event_bytes_max = record_bytes_max.saturating_sub(delimiter.len());
        // A single byte has a faster search of its own.
        let finder = (delimiter.len() > 1).then(|| memmem::Finder::new(delimiter).into_owned());
        Self {
            joined: choice.lines,
            events_max: choice.events_max,
            ends_open: choice.ends_open,
            finder,
            compressed: choice.compressed,
            naming: Naming::new(*identity, *identity_as, event_bytes_max, log_id),
            delimiter: delimiter.clone(),
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

    /// Whether a record is a gzip member.
    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// How events are named, where they are.
    pub(super) fn naming(&self) -> Option<Naming> {
        self.naming
    }

    /// What each event weighs at most beside its payload, before it is compressed.
    pub(crate) fn bytes_per_event(&self) -> usize {
        self.delimiter.len() + self.naming.map_or(0, Naming::bytes_max)
    }

    /// The room for so many records of so many bytes in all, so that they fit whatever is in them.
    pub(crate) fn room_for(&self, bytes: usize, records: usize) -> usize {
        if self.compressed { Member::bytes_max_of(bytes, records) } else { bytes }
    }

    /// What building a call takes beside its records and what is read.
    pub(crate) fn memory_bytes(&self) -> usize {
        if self.compressed { GZIP_MEMORY_BYTES } else { 0 }
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
