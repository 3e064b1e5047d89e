//! Which events are at fault themselves, and not the stream or the way to it.
//!
//! An event that was refused alone is set aside. One of those is on trial: it is tried again whenever
//! another call was taken, and now and then. It becomes a dead letter only under two guards: it was
//! refused [`REFUSALS_BEFORE_DEAD_LETTER`] times between two calls that were taken, the second of
//! which began after the refusal, with no more than [`REFUSALS_BETWEEN_MAX`] refusals between the
//! two; and no more than so many events become dead letters in a minute. A stream that is not what
//! was meant, or a proxy that answers 400 to everything, takes nothing shortly before and behind,
//! also if it is well for moments; what refuses whatever it likes is stopped by the second guard.

use std::time::Duration;

use tokio::time::Instant;

use super::{Uploader, Waiting, Why};
use crate::limits::{
    REFUSALS_BEFORE_DEAD_LETTER, REFUSALS_BETWEEN_MAX, REFUSED_RETRY_INTERVAL, TRIALS_IN_VAIN_MAX,
};
use crate::offsets::Reason;
use crate::router::batch::Batch;

/// What is known about an event that was refused alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The destination's words.
    pub(crate) reason: String,
    /// The first call that began after the refusal.
    after: u64,
    /// Whether it is the one that is tried again.
    on_trial: bool,
    /// How often it was tried without a call being taken in between.
    in_vain: u32,
    /// Refusals for which the event itself must be the reason.
    proven: u32,
}

/// Lets so many through in a minute.
#[derive(Debug)]
pub(super) struct Allowance {
    per_minute: u32,
    /// What is there; refilled as time goes.
    left: f64,
    filled: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, left: f64::from(per_minute), filled: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let most = f64::from(self.per_minute);
        let filled = self.filled.replace(now).unwrap_or(now);
        let minutes = now.saturating_duration_since(filled).as_secs_f64() / 60.0;
        self.left = (self.left + most * minutes).min(most);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

impl Uploader {
    /// Sets an event aside that was refused alone. `earlier` is what was known about it before.
    pub(super) fn set_aside(&mut self, batch: Batch, earlier: Option<Refusal>, now: Instant) {
        let mut refusal = earlier.unwrap_or_default();
        refusal.reason.clone_from(&self.refused_because);
        refusal.after = self.next_id;
        if refusal.on_trial {
            refusal.in_vain += 1;
            refusal.on_trial = refusal.in_vain < TRIALS_IN_VAIN_MAX;
        }
        let due = self.slowly(now);
        self.waiting.push(Waiting { batch, due, why: Why::Refused, refusal: Some(refusal) });
        self.try_one(Some(due));
    }

    /// A call was taken. It shows for the event on trial, if that was refused shortly before, that the
    /// event itself must be the reason.
    pub(super) fn witness(&mut self, call: u64, now: Instant) {
        let refused = std::mem::take(&mut self.refused_in_a_row);
        let mut condemned = None;
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            let Some(refusal) = waiting.refusal.as_mut() else { continue };
            if refusal.on_trial && refusal.after <= call {
                refusal.in_vain = 0;
                waiting.due = now;
                // Until it is refused again.
                refusal.after = u64::MAX;
                let itself = refused <= REFUSALS_BETWEEN_MAX;
                refusal.proven += u32::from(itself);
                let enough = refusal.proven >= REFUSALS_BEFORE_DEAD_LETTER;
                condemned = condemned.or(enough.then_some(index));
            }
        }
        if let Some(index) = condemned {
            self.condemn(index, now);
        }
        self.try_one(Some(now));
    }

    /// Puts the event on trial that was not tried for longest, if none is: two at a time would be
    /// each other's reason for doubt.
    pub(super) fn try_one(&mut self, due: Option<Instant>) {
        let is_tried = |refusal: Option<&Refusal>| refusal.is_some_and(|refusal| refusal.on_trial);
        if self.waiting.iter().any(|waiting| is_tried(waiting.refusal.as_ref()))
            || self.flights.values().any(|flight| is_tried(flight.refusal.as_ref()))
        {
            return;
        }
        let aside = self.waiting.iter_mut().filter(|waiting| waiting.why == Why::Refused);
        if let Some(waiting) = aside.min_by_key(|waiting| waiting.refused_after()) {
            waiting.due = due.unwrap_or(waiting.due);
            let unknown = || Refusal { after: u64::MAX, ..Refusal::default() };
            let refusal = waiting.refusal.get_or_insert_with(unknown);
            refusal.on_trial = true;
            refusal.in_vain = 0;
        }
    }

    fn condemn(&mut self, index: usize, now: Instant) {
        let allowed = self.dead_letters.take(now);
        let per_minute = self.dead_letters.per_minute;
        let Some(waiting) = self.waiting.get_mut(index) else { return };
        if allowed {
            waiting.why = Why::Condemned;
            return;
        }
        // Kept, and tried again like all the others: something is wrong with more than one event.
        let after = self.next_id;
        let Some(refusal) = &mut waiting.refusal else { return };
        refusal.proven = 0;
        refusal.after = after;
        refusal.on_trial = false;
        self.kept_because =
            Some(format!("{} (kept: at most {per_minute} dead letters a minute)", refusal.reason));
    }

    /// The event whose turn it is to become a dead letter.
    pub(super) fn next_condemned(&mut self) -> Option<Waiting> {
        let index = self.waiting.iter().position(|waiting| waiting.why == Why::Condemned)?;
        Some(self.waiting.swap_remove(index))
    }

    /// Notes that an event was stored as a dead letter, or why not: then it is kept.
    pub(crate) fn buried(&mut self, id: u64, outcome: Result<u64, String>, now: Instant) {
        let Some(flight) = self.flights.remove(&id) else { return };
        match outcome {
            Ok(payload_bytes) => {
                for range in &flight.batch.ranges {
                    self.window.pass(range, Reason::DeadLetter);
                }
                self.unconfirmed_bytes = self.unconfirmed_bytes.saturating_sub(payload_bytes);
                self.kept_because = None;
                self.count_unconfirmed();
            }
            Err(reason) => {
                self.kept_because = Some(reason);
                let mut refusal = flight.refusal.unwrap_or_default();
                self.refused_because.clone_from(&refusal.reason);
                refusal.proven = 0;
                self.set_aside(flight.batch, Some(refusal), now);
            }
        }
        if self.flights.is_empty() && self.waiting.is_empty() {
            self.unconfirmed_bytes = 0;
        }
        self.try_one(None);
        self.show(now);
    }

    /// When something that is refused is tried again: spread, so that events which were refused
    /// together do not come back together for ever.
    fn slowly(&mut self, now: Instant) -> Instant {
        let half: Duration = REFUSED_RETRY_INTERVAL / 2;
        now + half + self.backoff.pause(0, half)
    }
}

impl Waiting {
    /// Whether it was set aside and is not on trial.
    pub(super) fn rests(&self) -> bool {
        let on_trial = self.refusal.as_ref().is_some_and(|refusal| refusal.on_trial);
        self.why == Why::Refused && !on_trial
    }

    /// The first call that began after its last refusal.
    fn refused_after(&self) -> u64 {
        self.refusal.as_ref().map_or(0, |refusal| refusal.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_time() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(60);
        let mut take_all = |now: Instant| (0..1000).take_while(|_| allowance.take(now)).count();
        assert_eq!((take_all(now), take_all(now)), (60, 0));
        now += Duration::from_millis(2500);
        assert_eq!(take_all(now), 2, "one a second");
        now += Duration::from_millis(500);
        assert_eq!(take_all(now), 1);
        now += Duration::from_hours(24);
        assert_eq!(take_all(now), 60, "a quiet day is not saved up");
    }
}
