//! What an answer means for a stream: what is confirmed, what goes again and when, what is refused.

use std::time::Duration;

use standpipe_wal::offset;
use tokio::time::Instant;

use super::attempt::{Answer, Sorted, pair};
use super::outage::{Cause, Outage};
use super::pace::Load;
use super::poison::Refusal;
use super::{Flight, Uploader, Waiting, Why, payload_bytes};
use crate::limits::{
    BACKOFF_BASE, CLEAN_CALLS_BEFORE_OK, REFUSALS_BEFORE_SLOW, attempt_timeout, billed_bytes,
};
use crate::router::aggregate::Span;
use crate::router::batch::Batch;
use crate::sink::{Failure, Trouble};

/// What an answer says about the destination's capacity.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// What was confirmed.
    pub(crate) load: Load,
    /// Whether the call, or a record of it, was to come later.
    pub(crate) throttled: bool,
}

impl Taken {
    fn of(sorted: &Sorted) -> Self {
        let bytes = sorted.delivered.iter().map(|span| span.bytes).sum();
        let throttled = sorted.again.iter().any(|(_, trouble)| *trouble == Trouble::Throttled);
        Self { load: Load::call(bytes, sorted.delivered.len()), throttled }
    }
}

impl Uploader {
    /// Takes the answer to a call. Says what of the call was taken, and whether the destination
    /// asked for less.
    pub(crate) fn answered(&mut self, id: u64, answer: Answer, now: Instant) -> Taken {
        let Some(flight) = self.flights.remove(&id) else { return Taken::default() };
        let taken = match answer.and_then(|fates| pair(&flight.spans, fates)) {
            Ok(sorted) => {
                let taken = Taken::of(&sorted);
                self.sorted(id, &flight, sorted, now);
                taken
            }
            Err(failure) => {
                let throttled = failure.trouble == Trouble::Throttled;
                self.failed(flight, failure, now);
                Taken { throttled, ..Taken::default() }
            }
        };
        if self.flights.is_empty() && self.waiting.is_empty() {
            self.unconfirmed_bytes = 0;
        }
        self.try_one(None);
        self.show(now);
        taken
    }

    /// Each record has a fate.
    fn sorted(&mut self, id: u64, flight: &Flight, sorted: Sorted, now: Instant) {
        let Sorted { delivered, again, refused, again_because, refused_because } = sorted;
        let clean = again.is_empty() && refused.is_empty();
        self.clean_calls = if clean { self.clean_calls.saturating_add(1) } else { 0 };
        if !clean {
            self.condition.call_failed();
        }
        if !delivered.is_empty() {
            self.delivered(id, &delivered, now);
            self.carried(flight, now);
        }
        if let Some((trouble, reason)) = again_because {
            self.count_again(&again);
            let mut batch = Batch::of(again.iter().map(|(span, _)| span), flight.batch.oldest_ms);
            let got_on = delivered.len() >= again.len();
            batch.failures = if got_on { 1 } else { flight.batch.failures.saturating_add(1) };
            if delivered.is_empty() {
                self.wait_again(batch, flight, now);
                self.fail(Cause::Sink(trouble), reason, flight.generation, now);
            } else {
                let due = now + self.backoff.pause(batch.failures, BACKOFF_BASE);
                self.wait(batch, due, flight.why);
                self.partly = Some((trouble, reason));
            }
        }
        let Some(reason) = refused_because else { return };
        self.status.retried.add(Trouble::Refused.word(), refused.len() as u64);
        if delivered.is_empty() {
            let batch = Batch::of(&refused, flight.batch.oldest_ms);
            self.refused(batch, flight, reason, now);
        } else {
            self.refused_because = reason;
            for span in &refused {
                self.isolate(Batch::of([span], flight.batch.oldest_ms), None, now);
            }
        }
    }

    /// The call has no fates.
    fn failed(&mut self, mut flight: Flight, failure: Failure, now: Instant) {
        self.clean_calls = 0;
        self.condition.call_failed();
        let Failure { trouble, ambiguous, message } = failure;
        self.status.retried.add(trouble.word(), flight.spans.len() as u64);
        if ambiguous {
            self.status.possible_duplicates.add(flight.batch.events());
        }
        let batch = std::mem::take(&mut flight.batch);
        let bytes = batch.bytes_max;
        match trouble {
            Trouble::TooLarge if batch.events() > 1 && self.size.too_large(bytes) => {
                self.wait(batch, now, flight.why);
            }
            Trouble::TooLarge | Trouble::Refused => self.refused(batch, &flight, message, now),
            Trouble::TimedOut => {
                self.size.timed_out(bytes);
                self.wait_again(batch, &flight, now);
                self.fail(Cause::Sink(trouble), message, flight.generation, now);
            }
            Trouble::Throttled
            | Trouble::Missing
            | Trouble::Denied
            | Trouble::Unreachable
            | Trouble::Faulty => {
                self.wait_again(batch, &flight, now);
                self.fail(Cause::Sink(trouble), message, flight.generation, now);
            }
        }
    }

    /// Records were confirmed: they leave, and what was held back by an outage may go.
    fn delivered(&mut self, id: u64, spans: &[Span], now: Instant) {
        for span in spans {
            self.window.deliver(&(span.start..span.end));
            self.status.delivered_events.add(offset::count(&(span.start..span.end)));
            self.status.billed_bytes.add(billed_bytes(span.bytes));
            self.status.billed_alone_bytes.add(span.billed_alone_bytes);
        }
        let bytes = payload_bytes(spans);
        self.status.delivered_bytes.add(bytes);
        self.unconfirmed_bytes = self.unconfirmed_bytes.saturating_sub(bytes);
        self.condition.confirmed();
        self.count_unconfirmed();
        self.failures = 0;
        self.refusals = 0;
        if self.outage.take().is_some() {
            self.overlap.begin_anew();
            self.waiting.iter_mut().for_each(|waiting| waiting.due = now);
        }
        self.witness(id, now);
    }

    /// A call was carried. Where it was answered within half of the time in which it is given up, one of
    /// twice the size would have been as well, and so would twice as many at once; where it took longer
    /// they might be carried half way, given up, and carried once more, for ever. After a time-out a call
    /// is judged as if it had been as large as calls may be: a small one is always quick.
    fn carried(&mut self, flight: &Flight, now: Instant) {
        let bytes = flight.batch.bytes_max;
        let judged = if self.size.is_reduced() { self.size.limit().max(bytes) } else { bytes };
        let times = u32::try_from(judged / bytes.max(1)).unwrap_or(u32::MAX);
        let took = flight.sent.map_or(Duration::ZERO, |sent| now.saturating_duration_since(sent));
        let quick = took.saturating_mul(times).saturating_mul(2) <= attempt_timeout(judged);
        let larger = self.size.succeeded(bytes, quick);
        // One or the other: both at once would be four times as much.
        if quick && !larger {
            self.overlap.taken();
        }
    }

    fn count_again(&mut self, again: &[(Span, Trouble)]) {
        for (span, trouble) in again {
            self.status.retried.add(trouble.word(), 1);
            // The service says of such a record that it *might* have failed.
            if *trouble == Trouble::Faulty {
                let events = offset::count(&(span.start..span.end));
                self.status.possible_duplicates.add(events);
            }
        }
    }

    /// Nothing of a call got through. Calls that failed together count as one failure.
    pub(super) fn fail(&mut self, cause: Cause, reason: String, generation: u64, now: Instant) {
        if let Some(outage) = self.outage.as_mut().filter(|_| generation != self.generation) {
            outage.cause = cause;
            outage.reason = reason;
            return;
        }
        self.generation += 1;
        self.failures = self.failures.saturating_add(1);
        let pause = self.backoff.pause(self.failures, cause.backoff_base());
        self.outage = Some(Outage { cause, reason, until: now + pause });
    }

    /// Events were refused with nothing of their call delivered. Splitting finds the event that is
    /// at fault, as long as now and then something gets through: a destination that refuses
    /// everything is not asked about every event of a backlog.
    fn refused(&mut self, batch: Batch, flight: &Flight, reason: String, now: Instant) {
        self.refused_because.clone_from(&reason);
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        if flight.why == Why::Refused {
            return self.isolate(batch, flight.refusal.clone(), now);
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals < REFUSALS_BEFORE_SLOW {
            return self.isolate(batch, None, now);
        }
        self.wait(batch, now, flight.why);
        self.fail(Cause::Sink(Trouble::Refused), reason, flight.generation, now);
    }

    /// Sends halves separately; sets a single event aside.
    fn isolate(&mut self, batch: Batch, earlier: Option<Refusal>, now: Instant) {
        if batch.events() > 1 {
            let (first, second) = batch.halves();
            self.wait(first, now, Why::Suspect);
            self.wait(second, now, Why::Suspect);
        } else {
            self.set_aside(batch, earlier, now);
        }
    }

    /// Enters the state that the facts amount to.
    pub(super) fn show(&mut self, now: Instant) {
        let suspicion = |why: Why| matches!(why, Why::Suspect | Why::Refused | Why::Condemned);
        let settled = self.flights.is_empty() && self.waiting.is_empty();
        if settled || self.clean_calls >= CLEAN_CALLS_BEFORE_OK {
            self.partly = None;
        }
        if !self.waiting.iter().any(|waiting| waiting.why == Why::Refused) {
            self.kept_because = None;
        }
        if let Some(outage) = &self.outage {
            self.condition.troubled(outage.cause.word(), &outage.reason, now);
        } else if self.waiting.iter().any(|waiting: &Waiting| suspicion(waiting.why))
            || self.flights.values().any(|flight| suspicion(flight.why))
        {
            let reason = self.kept_because.as_ref().unwrap_or(&self.refused_because);
            self.condition.troubled(Trouble::Refused.word(), reason, now);
        } else if let Some((trouble, reason)) = &self.partly {
            self.condition.troubled(trouble.word(), reason, now);
        } else {
            self.condition.well(now);
        }
    }
}
