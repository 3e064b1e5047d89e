//! Whose turn it is: what a stream sends next.

use standpipe_wal::Offset;
use tokio::time::Instant;

use super::outage::Cause;
use super::poison::Refusal;
use super::{Flight, Next, Uploader, Waiting, Why};
use crate::limits::{DELIVERED_RANGES_MAX, REFUSED_EVENTS_MAX, REFUSED_PARTS_MAX};
use crate::router::batch::Batch;
use crate::sink::Trouble;

impl Uploader {
    /// What to do now, where `fresh` says whether events of the log are ready to be sent. A call
    /// that this hands out is under way: [`Uploader::built`] or [`Uploader::unreadable`] follows, or
    /// [`Uploader::buried`].
    pub(crate) fn next(&mut self, now: Instant, fresh: bool) -> Next {
        self.condition.settle(now);
        match self.decide(now, fresh) {
            Next::Wait(until) => Next::Wait(until.into_iter().chain(self.condition.ok_at()).min()),
            next @ (Next::Again(..) | Next::Fresh(_) | Next::Bury(..)) => next,
        }
    }

    fn decide(&mut self, now: Instant, fresh: bool) -> Next {
        if self.flights.len() >= self.overlap.limit(self.is_out()) {
            return Next::Wait(None);
        }
        if let Some(waiting) = self.next_condemned() {
            let batch = waiting.batch.clone();
            let reason = waiting.refusal.as_ref().map(|refusal| refusal.reason.clone());
            let id = self.begin(waiting.batch, waiting.why, waiting.refusal);
            return Next::Bury(id, batch, reason.unwrap_or_default());
        }
        if let Some(outage) = self.outage.as_ref().filter(|outage| outage.until > now) {
            return Next::Wait(Some(outage.until));
        }
        let fresh = fresh && self.may_take_fresh();
        if fresh && self.is_refused() {
            return self.begin_fresh();
        }
        if let Some(index) = self.first_due(now) {
            let waiting = self.gather(index, now);
            let batch = waiting.batch.clone();
            let id = self.begin(waiting.batch, waiting.why, waiting.refusal);
            return Next::Again(id, batch);
        }
        if fresh { self.begin_fresh() } else { Next::Wait(self.next_due()) }
    }

    /// Whether events of the log could go now, if there were any.
    pub(crate) fn could_take_fresh(&self) -> bool {
        self.flights.len() < self.overlap.limit(self.is_out()) && self.may_take_fresh()
    }

    /// Whether the bounds on what is unsettled allow another call from the log.
    fn may_take_fresh(&self) -> bool {
        let unsettled = self.unsettled();
        let aside = self.waiting.len() - unsettled;
        let parts_max =
            if self.is_refused() { REFUSED_PARTS_MAX } else { self.overlap.in_flight_max() };
        self.flights.len() + unsettled < parts_max
            && !(self.overlap.ordered && unsettled > 0)
            && aside < REFUSED_EVENTS_MAX
            // Events between ranges that were delivered before a restart only close gaps.
            && (self.window.ranges() < DELIVERED_RANGES_MAX || self.taken_to < self.window.end())
    }

    /// Batches to be sent again that are not set aside.
    pub(super) fn unsettled(&self) -> usize {
        self.waiting.iter().filter(|waiting| !waiting.is_aside()).count()
    }

    /// Whether the stream as a whole is taken for refused: then calls that were not tried yet go
    /// first, since only a success can show that some events alone are at fault. Not in strict
    /// order, where what comes first is tried first until it is known to be at fault.
    fn is_refused(&self) -> bool {
        !self.overlap.ordered
            && self.outage.as_ref().is_some_and(|o| o.cause == Cause::Sink(Trouble::Refused))
    }

    /// The batch whose turn it is: of those that are due the first in the log, or during an outage
    /// the one that was not tried for longest.
    fn first_due(&self, now: Instant) -> Option<usize> {
        let first = self.first_in_line();
        let waiting = self.waiting.iter().enumerate();
        let due = waiting.filter(|(_, w)| w.due <= now && w.has_turn(first));
        // In strict order it is the first in line that asks, also during an outage.
        let out = self.outage.is_some() && !self.overlap.ordered;
        due.min_by_key(|(_, waiting)| (out.then_some(waiting.due), waiting.batch.start()))
            .map(|(index, _)| index)
    }

    /// Takes a batch whose turn it is, and with it what else is due, as far as a call holds it: what
    /// is left of several calls goes in one. Not what is suspected to be at fault, and not while
    /// nothing gets through, when a call must not depend on what others hold.
    fn gather(&mut self, index: usize, now: Instant) -> Waiting {
        let mut first = self.waiting.swap_remove(index);
        if self.overlap.ordered || self.is_out() || first.why != Why::Failed {
            return first;
        }
        let mut room = self.size.limit().saturating_sub(first.batch.bytes_max);
        let mut index = 0;
        while let Some(other) = self.waiting.get(index) {
            let joins = other.why == Why::Failed && other.due <= now;
            if joins && other.batch.bytes_max <= room {
                room -= other.batch.bytes_max;
                first.batch.absorb(self.waiting.swap_remove(index).batch);
            } else {
                index += 1;
            }
        }
        first
    }

    /// When the next batch is due.
    fn next_due(&self) -> Option<Instant> {
        let first = self.first_in_line();
        self.waiting.iter().filter(|w| w.has_turn(first)).map(|waiting| waiting.due).min()
    }

    /// Where the only batch begins that may go before all others, in strict order.
    fn first_in_line(&self) -> Option<Offset> {
        let in_line = self.waiting.iter().filter(|_| self.overlap.ordered);
        in_line.filter(|waiting| !waiting.is_aside()).map(|waiting| waiting.batch.start()).min()
    }

    fn begin_fresh(&mut self) -> Next {
        Next::Fresh(self.begin(Batch::default(), Why::First, None))
    }

    fn begin(&mut self, batch: Batch, why: Why, refusal: Option<Refusal>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let generation = self.generation;
        self.flights
            .insert(id, Flight { batch, spans: Vec::new(), why, refusal, sent: None, generation });
        id
    }

    pub(super) fn wait(&mut self, batch: Batch, due: Instant, why: Why) {
        if !batch.is_empty() {
            let why = if why == Why::First { Why::Failed } else { why };
            self.waiting.push(Waiting { batch, due, why, refusal: None });
        }
    }

    /// The same for a call that failed, with what is known about its event.
    pub(super) fn wait_again(&mut self, batch: Batch, flight: &Flight, due: Instant) {
        self.wait(batch, due, flight.why);
        if let Some(last) = self.waiting.last_mut().filter(|_| flight.refusal.is_some()) {
            last.refusal.clone_from(&flight.refusal);
        }
    }
}

impl Waiting {
    /// Whether it holds nobody up but the commit.
    fn is_aside(&self) -> bool {
        matches!(self.why, Why::Refused | Why::Condemned)
    }

    /// Whether it needs not wait for others, where `first` is the first in line if there is a line.
    /// What was set aside lies before it.
    fn has_turn(&self, first: Option<Offset>) -> bool {
        !self.rests() && first.is_none_or(|first| self.batch.start() <= first)
    }
}
