//! How events become records, and records a call. Pure.

use standpipe_wal::{Offset, events};

use crate::sink::{Limits, Records};

mod rule;

pub(crate) use rule::Rule;

/// One record of a call: which events it holds and what it weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first event.
    pub(crate) start: Offset,
    /// The first event not included.
    pub(crate) end: Offset,
    /// Bytes of the record, delimiters included.
    pub(crate) bytes: usize,
    /// Bytes of the payloads alone.
    pub(crate) payload_bytes: usize,
}

/// A call that was put together.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// What the sink gets.
    pub(crate) records: Records,
    /// One entry per record, in the same order.
    pub(crate) spans: Vec<Span>,
    /// Events whose payload contains the delimiter.
    pub(crate) embedded_delimiter: u64,
}

/// Fills the records of one call with events, as full as they become: an event begins a new record
/// only where it does not fit the one before, and a new call only where it does not fit this one.
#[derive(Debug)]
pub(crate) struct Packer<'a> {
    rule: &'a Rule,
    limits: Limits,
    packed: Packed,
    open: Option<Open>,
}

/// The record that is being filled.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: Offset,
    end: Offset,
    /// Where it begins in the call's data.
    begins: usize,
    payload_bytes: usize,
    /// Whether another event may join it.
    joinable: bool,
}

/// How far a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The first event that was not taken.
    pub(crate) next: Offset,
    /// Whether that is because the call has no room for it.
    pub(crate) full: bool,
}

impl<'a> Packer<'a> {
    /// A packer that writes into `data`, which brings its capacity with it.
    pub(crate) fn new(rule: &'a Rule, limits: Limits, mut data: Vec<u8>) -> Self {
        data.clear();
        let records = Records { data, ends: Vec::new() };
        Self { rule, limits, packed: Packed { records, ..Packed::default() }, open: None }
    }

    /// Whether nothing was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.packed.spans.is_empty()
    }

    /// Takes events of a frame, in order, as far as the call has room. An event is never split. The
    /// first event of a call is taken whatever its size: nothing else could ever send it.
    pub(crate) fn take(&mut self, base: Offset, raw: bool, body: &[u8]) -> Taken {
        let rule = self.rule;
        let delimiter: &[u8] = if raw { &[] } else { rule.delimiter() };
        let joinable = rule.joins() && !raw;
        if self.open.is_some_and(|open| open.end != base) {
            self.close();
        }
        let mut next = base;
        for event in events::iter(body) {
            if joinable && self.fits_open(event.len() + delimiter.len()) {
                if rule.ends_open() {
                    // It ends the event before, which is not the last of its record any more.
                    self.packed.records.data.extend_from_slice(delimiter);
                }
            } else {
                self.close();
                if !self.has_room(event.len() + rule.end_bytes(raw)) {
                    return Taken { next, full: true };
                }
                let begins = self.packed.records.data.len();
                self.open =
                    Some(Open { start: next, end: next, begins, payload_bytes: 0, joinable });
            }
            self.packed.records.data.extend_from_slice(event);
            if !rule.ends_open() {
                self.packed.records.data.extend_from_slice(delimiter);
            }
            if !raw && rule.is_in(event) {
                self.packed.embedded_delimiter += 1;
            }
            next = next.after(1);
            if let Some(open) = &mut self.open {
                open.end = next;
                open.payload_bytes += event.len();
            }
        }
        Taken { next, full: false }
    }

    /// The finished call.
    pub(crate) fn finish(mut self) -> Packed {
        self.close();
        self.packed
    }

    /// Whether an event may join the open record.
    fn fits_open(&self, size: usize) -> bool {
        let Some(open) = self.open.filter(|open| open.joinable) else { return false };
        let data = self.packed.records.data.len();
        data - open.begins + size <= self.limits.record_bytes_max
            && data + size <= self.limits.call_bytes_max
            && open.end.since(open.start) < self.rule.events_max()
    }

    /// Whether another record of this size has room in the call. Nothing is open.
    fn has_room(&self, size: usize) -> bool {
        let records = self.packed.spans.len();
        records == 0
            || (records < self.limits.records_max
                && self.packed.records.data.len() + size <= self.limits.call_bytes_max)
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let end = self.packed.records.data.len();
        self.packed.records.ends.push(end);
        self.packed.spans.push(Span {
            start: open.start,
            end: open.end,
            bytes: end - open.begins,
            payload_bytes: open.payload_bytes,
        });
    }
}

#[cfg(test)]
#[path = "aggregate/tests.rs"]
mod tests;
