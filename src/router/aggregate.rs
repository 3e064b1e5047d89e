//! How events become records, and records a call. Pure.

use standpipe_wal::{LogId, Offset, events, offset};

use crate::limits::{GZIP_FLUSH_BYTES_MIN, billed_bytes};
use crate::sink::{Limits, Records};

mod identity;
mod member;
mod rule;

use identity::Namer;
pub(crate) use identity::{Naming, Unnamed};
use member::Member;
pub(crate) use rule::Rule;

/// Events as the log holds them: of one frame, with consecutive offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lot<'a> {
    /// The offset of the first one.
    pub(crate) base: Offset,
    /// Whether they are delivered exactly as they are.
    pub(crate) raw: bool,
    /// The log that they were written in, where that is known.
    pub(crate) log_id: Option<LogId>,
    /// When they were taken in, in milliseconds of Unix time.
    pub(crate) time_ms: u64,
    /// For [`events::iter`].
    pub(crate) body: &'a [u8],
}

/// One record of a call: which events it holds and what it weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first event.
    pub(crate) start: Offset,
    /// The first event not included.
    pub(crate) end: Offset,
    /// Bytes of the record as it is sent.
    pub(crate) bytes: usize,
    /// Bytes of the payloads alone.
    pub(crate) payload_bytes: usize,
    /// What would be billed for its events if each were a record of its own.
    pub(crate) billed_alone_bytes: u64,
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
    /// Events that were to have a name and have none.
    pub(crate) unnamed: Unnamed,
}

impl Packed {
    /// What the events weigh before they are compressed, where each weighs so much beside its
    /// payload.
    pub(crate) fn weight(&self, bytes_per_event: usize) -> usize {
        let weight = |span: &Span| {
            let events = usize::try_from(offset::count(&(span.start..span.end)));
            span.payload_bytes + events.unwrap_or(usize::MAX).saturating_mul(bytes_per_event)
        };
        self.spans.iter().map(weight).sum()
    }
}

/// Fills the records of one call with events, as full as they become: an event begins a new record
/// only where it does not fit the one before, and a new call only where it does not fit this one.
#[derive(Debug)]
pub(crate) struct Packer<'a> {
    rule: &'a Rule,
    limits: Limits,
    packed: Packed,
    open: Option<Open>,
    /// Absent where records are not compressed.
    member: Option<Member>,
    /// Absent where events have no names.
    namer: Option<Namer>,
}

/// The record that is being filled.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: Offset,
    end: Offset,
    /// Where it begins in the call's data.
    begins: usize,
    payload_bytes: usize,
    billed_alone_bytes: u64,
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

/// What an event becomes.
trait Form {
    /// The parts of it, one behind the other.
    fn parts<'a>(
        &'a mut self,
        offset: Offset,
        event: &'a [u8],
        unnamed: &mut Unnamed,
    ) -> [&'a [u8]; 3];
}

/// Nothing else than what it is.
struct AsItIs;

impl Form for AsItIs {
    #[inline]
    fn parts<'a>(&'a mut self, _: Offset, event: &'a [u8], _: &mut Unnamed) -> [&'a [u8]; 3] {
        [event, &[], &[]]
    }
}

impl Form for Namer {
    fn parts<'a>(
        &'a mut self,
        offset: Offset,
        event: &'a [u8],
        unnamed: &mut Unnamed,
    ) -> [&'a [u8]; 3] {
        self.name(offset.get(), event, unnamed)
    }
}

impl<'a> Packer<'a> {
    /// A packer that writes into `data`, which brings its capacity with it.
    pub(crate) fn new(rule: &'a Rule, limits: Limits, mut data: Vec<u8>) -> Self {
        data.clear();
        let records = Records { data, ends: Vec::new() };
        Self {
            rule,
            limits,
            packed: Packed { records, ..Packed::default() },
            open: None,
            member: rule.is_compressed().then(Member::new),
            namer: rule.naming().map(Namer::new),
        }
    }

    /// Whether nothing was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.packed.spans.is_empty()
    }

    /// Takes events of a frame, in order, as far as the call has room. An event is never split. The
    /// first event of a call is taken whatever its size: nothing else could ever send it.
    pub(crate) fn take(&mut self, lot: &Lot<'_>) -> Taken {
        if self.open.is_some_and(|open| open.end != lot.base) {
            self.close();
        }
        let mut namer = self.namer.take();
        let taken = match &mut namer {
            Some(namer) if !lot.raw => {
                namer.begin(lot);
                self.take_each(lot, namer)
            }
            namer => {
                let taken = self.take_each(lot, &mut AsItIs);
                let unnamed = if namer.is_some() { taken.next.since(lot.base) } else { 0 };
                self.packed.unnamed.raw += unnamed;
                taken
            }
        };
        self.namer = namer;
        taken
    }

    fn take_each(&mut self, lot: &Lot<'_>, form: &mut impl Form) -> Taken {
        let rule = self.rule;
        let Lot { base, raw, body, .. } = *lot;
        let delimiter: &[u8] = if raw { &[] } else { rule.delimiter() };
        let joinable = rule.joins() && !raw;
        let mut next = base;
        for event in events::iter(body) {
            let parts = form.parts(next, event, &mut self.packed.unnamed);
            let size = parts.iter().map(|part| part.len()).sum::<usize>();
            if joinable && self.fits_open(size + delimiter.len()) {
                if rule.ends_open() {
                    // It ends the event before, which is not the last of its record any more.
                    self.write(delimiter);
                }
            } else {
                self.close();
                if !self.has_room(size + rule.end_bytes(raw)) {
                    return Taken { next, full: true };
                }
                let begins = self.packed.records.data.len();
                self.open = Some(Open {
                    start: next,
                    end: next,
                    begins,
                    payload_bytes: 0,
                    billed_alone_bytes: 0,
                    joinable,
                });
            }
            for part in parts {
                self.write(part);
            }
            if !rule.ends_open() {
                self.write(delimiter);
            }
            if !raw && rule.is_in(event) {
                self.packed.embedded_delimiter += 1;
            }
            next = next.after(1);
            if let Some(open) = &mut self.open {
                open.end = next;
                open.payload_bytes += event.len();
                open.billed_alone_bytes += billed_bytes(size + rule.end_bytes(raw));
            }
        }
        Taken { next, full: false }
    }

    fn write(&mut self, bytes: &[u8]) {
        let data = &mut self.packed.records.data;
        match &mut self.member {
            Some(member) => member.write(bytes, data),
            None => data.extend_from_slice(bytes),
        }
    }

    /// The finished call.
    pub(crate) fn finish(mut self) -> Packed {
        self.close();
        self.packed
    }

    /// Whether an event may join the open record.
    fn fits_open(&mut self, size: usize) -> bool {
        let Some(open) = self.open.filter(|open| open.joinable) else { return false };
        if open.end.since(open.start) >= self.rule.events_max() {
            return false;
        }
        let data = &mut self.packed.records.data;
        let end_max = (open.begins + self.limits.record_bytes_max).min(self.limits.call_bytes_max);
        match &mut self.member {
            Some(member) => member.fits(size, end_max, data),
            None => data.len() + size <= end_max,
        }
    }

    /// Whether another record that begins with so much has room in the call. Nothing is open.
    fn has_room(&self, size: usize) -> bool {
        // Where the member before it could not take the event, a new one could not take many.
        let size = match &self.member {
            Some(_) => Member::bytes_max(size + GZIP_FLUSH_BYTES_MIN),
            None => size,
        };
        let records = self.packed.spans.len();
        records == 0
            || (records < self.limits.records_max
                && self.packed.records.data.len() + size <= self.limits.call_bytes_max)
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Some(member) = &mut self.member {
            member.finish(&mut self.packed.records.data);
        }
        let end = self.packed.records.data.len();
        self.packed.records.ends.push(end);
        self.packed.spans.push(Span {
            start: open.start,
            end: open.end,
            bytes: end - open.begins,
            payload_bytes: open.payload_bytes,
            billed_alone_bytes: open.billed_alone_bytes,
        });
    }
}

#[cfg(test)]
mod tests;
