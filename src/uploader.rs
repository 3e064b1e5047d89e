//! Attempts in flight, repetition of what failed, and how far delivery has come.
//!
//! One [`Uploader`] per stream decides what goes next and what an answer means; it does no I/O and
//! waits for nothing, so every pattern of failures can be tried without a network or a clock. Three
//! rules hold: a record leaves only with its own confirmation, the committed offset passes only
//! contiguous ranges, and what failed is sent again for ever.

pub(crate) mod attempt;
pub(crate) mod backoff;
pub mod gate;
pub(crate) mod health;
pub mod memory;
mod outage;
mod outcome;
mod overlap;
pub(crate) mod pace;
pub(crate) mod poison;
mod pool;
pub(crate) mod size;
pub mod slots;
mod turn;
pub mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use standpipe_wal::Offset;
use tokio::time::Instant;

use self::backoff::Backoff;
use self::health::Condition;
use self::outage::{Cause, Outage};
pub(crate) use self::overlap::Overlap;
use self::poison::{Allowance, Refusal};
use self::size::CallSize;
use self::window::Window;
use crate::limits::CALL_BYTES_FLOOR;
use crate::offsets::Progress;
use crate::router::aggregate::Span;
use crate::router::batch::Batch;
use crate::router::tail::Read;
use crate::sink::Trouble;
use crate::status::StreamStatus;

/// What a stream does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Build and send a call of these events again.
    Again(u64, Batch),
    /// Build and send a call of the events that come next in the log.
    Fresh(u64),
    /// Store this event as a dead letter, for this reason.
    Bury(u64, Batch, String),
    /// Nothing, until a call ends, events come, or this point in time.
    Wait(Option<Instant>),
}

/// The delivery of one stream.
#[derive(Debug)]
pub(crate) struct Uploader {
    overlap: Overlap,
    status: Arc<StreamStatus>,
    condition: Condition,
    window: Window,
    size: CallSize,
    backoff: Backoff,
    waiting: Vec<Waiting>,
    flights: BTreeMap<u64, Flight>,
    next_id: u64,
    outage: Option<Outage>,
    /// Counts the outages and their probes, so that calls which failed together count once.
    generation: u64,
    /// Failed probes in a row.
    failures: u32,
    /// Whole calls refused since the last success, without those of events that were set aside.
    refusals: u32,
    /// All of them.
    refused_in_a_row: u32,
    /// Why an event was refused last.
    refused_because: String,
    /// Why refused events do not become dead letters, where it is not for want of evidence.
    kept_because: Option<String>,
    /// How many more events may become dead letters now.
    dead_letters: Allowance,
    /// Why records were not taken last, while that is not long ago.
    partly: Option<(Trouble, String)>,
    /// Answers without a record to send again, in a row.
    clean_calls: u32,
    /// Payload bytes that were read and are not confirmed.
    unconfirmed_bytes: u64,
    /// Where the next new events are.
    taken_to: Offset,
}

/// Events that are to be sent again.
#[derive(Debug)]
struct Waiting {
    batch: Batch,
    due: Instant,
    why: Why,
    refusal: Option<Refusal>,
}

/// Why events are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// They are not: this is their first call.
    First,
    /// The call failed, or these records of it did.
    Failed,
    /// They are part of a call that was refused, which of them is at fault is not known yet.
    Suspect,
    /// The event was refused alone. It waits aside and holds nobody up but the commit.
    Refused,
    /// It was refused for certain, and becomes a dead letter.
    Condemned,
}

/// A call being built or in flight.
#[derive(Debug)]
struct Flight {
    batch: Batch,
    spans: Vec<Span>,
    why: Why,
    refusal: Option<Refusal>,
    /// When it was sent, once it is.
    sent: Option<Instant>,
    generation: u64,
}

impl Uploader {
    /// A stream whose delivery has come as far as `window`, with calls of up to `call_bytes_max`.
    pub(crate) fn new(
        overlap: Overlap,
        call_bytes_max: usize,
        window: Window,
        backoff: Backoff,
        dead_letters_per_minute: u32,
        condition: Condition,
        status: Arc<StreamStatus>,
    ) -> Self {
        let taken_to = window.committed();
        let mut uploader = Self {
            overlap,
            status,
            condition,
            window,
            size: CallSize::new(call_bytes_max),
            backoff,
            waiting: Vec::new(),
            flights: BTreeMap::new(),
            next_id: 0,
            outage: None,
            generation: 0,
            failures: 0,
            refusals: 0,
            refused_in_a_row: 0,
            refused_because: String::new(),
            kept_because: None,
            dead_letters: Allowance::new(dead_letters_per_minute),
            partly: None,
            clean_calls: 0,
            unconfirmed_bytes: 0,
            taken_to,
        };
        uploader.count_unconfirmed();
        uploader
    }

    /// Notes what was read for a call: what is missing, what did not fit, what is in it. Returns
    /// whether there is anything to send.
    pub(crate) fn built(&mut self, id: u64, read: &mut Read, now: Instant) -> bool {
        for (range, reason) in read.missing.drain(..) {
            self.taken_to = self.taken_to.max(range.end);
            self.window.pass(&range, reason);
        }
        self.count_unconfirmed();
        let spans = std::mem::take(&mut read.packed.spans);
        let Some(mut flight) = self.flights.remove(&id) else { return false };
        let oldest_ms = match flight.why {
            Why::First => read.first_ms.unwrap_or_default(),
            Why::Failed | Why::Suspect | Why::Refused | Why::Condemned => flight.batch.oldest_ms,
        };
        if flight.why == Why::First {
            self.taken_to = spans.last().map_or(self.taken_to, |span| span.end.max(self.taken_to));
            self.unconfirmed_bytes += payload_bytes(&spans);
        }
        if !read.rest.is_empty() {
            let mut rest = Batch { ranges: Vec::new(), ..flight.batch.clone() };
            read.rest.drain(..).for_each(|range| rest.push(range));
            self.waiting.push(Waiting { batch: rest, due: now, why: flight.why, refusal: None });
        }
        if spans.is_empty() {
            return false;
        }
        let failures = flight.batch.failures;
        flight.batch = Batch { failures, ..Batch::of(&spans, oldest_ms) };
        flight.spans = spans;
        flight.sent = Some(now);
        self.status.calls.add(1);
        self.status.records_sent.add(flight.spans.len() as u64);
        self.flights.insert(id, flight);
        true
    }

    /// Notes that the log could not be read for a call.
    pub(crate) fn unreadable(&mut self, id: u64, reason: &str, now: Instant) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        let generation = flight.generation;
        self.wait_again(std::mem::take(&mut flight.batch), &flight, now);
        self.fail(Cause::Log, format!("the log cannot be read: {reason}"), generation, now);
        self.show(now);
    }

    /// What a call may hold now. While nothing gets through little is sent to find out, whatever may
    /// become of it.
    pub(crate) fn call_bytes_max(&self) -> usize {
        let limit = self.size.limit();
        if self.is_out() { limit.min(CALL_BYTES_FLOOR) } else { limit }
    }

    /// Whether nothing gets through at the moment.
    pub(crate) fn is_out(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether everything that was taken from the log is confirmed, but for events set aside.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.unsettled() == 0
    }

    /// Calls being built or in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What was delivered so far.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// What has to be stored.
    pub(crate) fn progress(&self, log_id: [u8; 16]) -> Progress {
        self.window.progress(log_id)
    }

    /// Payload bytes that were read and are not confirmed.
    pub(crate) fn unconfirmed_bytes(&self) -> u64 {
        self.unconfirmed_bytes
    }

    /// When the oldest event was taken in that was read and is not confirmed.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        let waiting = self.waiting.iter().map(|waiting| &waiting.batch);
        let batches = waiting.chain(self.flights.values().map(|flight| &flight.batch));
        batches.filter(|batch| !batch.is_empty()).map(|batch| batch.oldest_ms).min()
    }

    fn count_unconfirmed(&mut self) {
        for (reason, events) in self.window.take_uncounted() {
            self.status.unconfirmed.add(reason.word(), events);
        }
        self.status.committed.set(self.window.committed().get());
    }
}

fn payload_bytes(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.payload_bytes as u64).sum()
}

#[cfg(test)]
mod tests;
