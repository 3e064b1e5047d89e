//! Whose turn it is: what a stream sends next.

use tokio::time::Instant;

use super::outage::Cause;
use super::{Flight, Next, Uploader, Waiting, Why};
use crate::limits::{DELIVERED_RANGES_MAX, REFUSED_EVENTS_MAX, REFUSED_PARTS_MAX};
use crate::router::batch::Batch;
use crate::sink::Trouble;

impl Uploader {
    /// What to do now, where `fresh` says whether events of the log are ready to be sent. A call
    /// that this hands out is under way: [`Uploader::built`] or [`Uploader::unreadable`] follows.
    pub(crate) fn next(&mut self, now: Instant, fresh: bool) -> Next {
        let alone = self.overlap.ordered || self.outage.is_some();
        let slots = if alone { 1 } else { self.overlap.in_flight_max };
        if self.flights.len() >= slots {
            return Next::Wait(None);
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
            let id = self.begin(waiting.batch, waiting.why);
            return Next::Again(id, batch);
        }
        if fresh { self.begin_fresh() } else { Next::Wait(self.next_due()) }
    }

    /// Whether events of the log could go now, if there were any.
    pub(crate) fn could_take_fresh(&self) -> bool {
        let alone = self.overlap.ordered || self.outage.is_some();
        let slots = if alone { 1 } else { self.overlap.in_flight_max };
        self.flights.len() < slots && self.may_take_fresh()
    }

    /// Whether the bounds on what is unsettled allow another call from the log.
    fn may_take_fresh(&self) -> bool {
        let unsettled = self.unsettled();
        let aside = self.waiting.len() - unsettled;
        let held_up = if self.overlap.ordered { self.waiting.len() } else { unsettled };
        let parts_max =
            if self.is_refused() { REFUSED_PARTS_MAX } else { self.overlap.in_flight_max };
        self.flights.len() + held_up < parts_max
            && !(self.overlap.ordered && held_up > 0)
            && aside < REFUSED_EVENTS_MAX
            // Events between ranges that were delivered before a restart only close gaps.
            && (self.window.ranges() < DELIVERED_RANGES_MAX || self.taken_to < self.window.end())
    }

    /// Batches to be sent again that are not set aside.
    pub(super) fn unsettled(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.why != Why::Refused).count()
    }

    /// Whether the stream as a whole is taken for refused: then calls that were not tried yet go
    /// first, since only a success can show that some events alone are at fault.
    fn is_refused(&self) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.cause == Cause::Sink(Trouble::Refused))
    }

    /// The batch whose turn it is. In order: the first of all, or none. Else of those that are due
    /// the first in the log, or during an outage the one that was not tried for longest.
    fn first_due(&self, now: Instant) -> Option<usize> {
        let waiting = self.waiting.iter().enumerate();
        if self.overlap.ordered {
            let first = waiting.min_by_key(|(_, waiting)| waiting.batch.start());
            return first.filter(|(_, waiting)| waiting.due <= now).map(|(index, _)| index);
        }
        let due = waiting.filter(|(_, waiting)| waiting.due <= now);
        let out = self.outage.is_some();
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
        if self.overlap.ordered {
            return self.waiting.iter().min_by_key(|w| w.batch.start()).map(|w| w.due);
        }
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    fn begin_fresh(&mut self) -> Next {
        Next::Fresh(self.begin(Batch::default(), Why::First))
    }

    fn begin(&mut self, batch: Batch, why: Why) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let generation = self.generation;
        self.flights.insert(id, Flight { batch, spans: Vec::new(), why, generation });
        id
    }

    pub(super) fn wait(&mut self, batch: Batch, due: Instant, why: Why) {
        if !batch.is_empty() {
            let why = if why == Why::First { Why::Failed } else { why };
            self.waiting.push(Waiting { batch, due, why });
        }
    }
}
