//! What a service has taken lately, per second in which somebody wanted to send.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Load;
use crate::limits::{PACE_METER_SLOT, PACE_METER_SLOTS};

/// Sums over slots of time, the oldest of which are forgotten. Time in which nobody wants to send
/// does not count: a stream that sends now and then is not slow.
#[derive(Debug)]
pub(super) struct Meter {
    slots: VecDeque<Slot>,
    /// How many have arrived and not left.
    present: usize,
    /// Up to when `slots` knows whether anybody was present.
    known_to: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    busy: Duration,
    taken: Load,
}

/// The time in which somebody wanted to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// How long that was.
    pub(super) busy: Duration,
    /// What was taken per second of it.
    pub(super) taken: Load,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self { slots: VecDeque::from([Slot::default()]), present: 0, known_to: now }
    }

    pub(super) fn arrive(&mut self, now: Instant) {
        self.catch_up(now);
        self.present += 1;
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.catch_up(now);
        self.present = self.present.saturating_sub(1);
    }

    pub(super) fn answered(&mut self, taken: Load, now: Instant) {
        self.catch_up(now);
        if let Some(slot) = self.slots.back_mut() {
            slot.taken = slot.taken.with(taken, |sum, more| sum + more);
        }
    }

    /// What was taken lately.
    pub(super) fn measured(&mut self, now: Instant) -> Measured {
        self.catch_up(now);
        let busy: Duration = self.slots.iter().map(|slot| slot.busy).sum();
        // Less than a slot says little about a second, and nothing cannot be divided by.
        let seconds = busy.max(PACE_METER_SLOT).as_secs_f64();
        let add = |sum: Load, slot: &Slot| sum.with(slot.taken, |sum, more| sum + more / seconds);
        Measured { busy, taken: self.slots.iter().fold(Load::default(), add) }
    }

    /// Forgets all of it.
    pub(super) fn restart(&mut self, now: Instant) {
        self.catch_up(now);
        self.slots = VecDeque::from([Slot::default()]);
    }

    /// Adds the time since the last look, if somebody was present in it.
    fn catch_up(&mut self, now: Instant) {
        let mut left = now.saturating_duration_since(self.known_to);
        self.known_to = self.known_to.max(now);
        if self.present == 0 {
            return;
        }
        let most = PACE_METER_SLOT.saturating_mul(PACE_METER_SLOTS);
        left = left.min(most);
        while !left.is_zero() {
            let Some(slot) = self.slots.back_mut() else { return };
            let more = left.min(PACE_METER_SLOT.saturating_sub(slot.busy));
            slot.busy += more;
            left -= more;
            if slot.busy >= PACE_METER_SLOT {
                self.slots.push_back(Slot::default());
                if self.slots.len() > PACE_METER_SLOTS as usize {
                    self.slots.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What was taken per second, to the whole.
    fn per_second(taken: Load) -> String {
        format!("{:.0?}", taken.0)
    }

    #[test]
    fn time_counts_while_somebody_wants_to_send_and_no_other() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let at = |seconds| start + SECOND * seconds;
        meter.arrive(at(10));
        meter.arrive(at(11));
        meter.answered(Load::call(3000, 30), at(12));
        meter.leave(at(12));
        meter.answered(Load::call(3000, 60), at(12));
        meter.leave(at(13));
        // Of a call that nobody waited for any more.
        meter.answered(Load::call(600, 9), at(15));
        let Measured { busy, taken } = meter.measured(at(60));
        assert_eq!(busy, SECOND * 3);
        assert_eq!(per_second(taken), "[2200, 33, 1]");
        meter.restart(at(60));
        let Measured { busy, taken } = meter.measured(at(61));
        assert_eq!((busy, per_second(taken)), (Duration::ZERO, "[0, 0, 0]".to_owned()));
    }

    #[test]
    fn what_is_long_ago_is_forgotten_slot_by_slot() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.arrive(start);
        meter.answered(Load::call(1_000_000, 1000), start);
        let half = PACE_METER_SLOT / 2;
        // The last slot is half full.
        let kept = PACE_METER_SLOT * (PACE_METER_SLOTS - 1) + half;
        let Measured { busy, taken } = meter.measured(start + kept);
        assert_eq!((busy, taken.0.map(|taken| taken > 0.0)), (kept, [true; 3]));
        for rest in [PACE_METER_SLOT, PACE_METER_SLOT * PACE_METER_SLOTS * 3] {
            let Measured { busy, taken } = meter.measured(start + kept + rest);
            assert_eq!((busy, per_second(taken)), (kept, "[0, 0, 0]".to_owned()));
        }
    }

    #[test]
    fn less_than_a_slot_is_taken_for_a_slot() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.arrive(start);
        let now = start + PACE_METER_SLOT / 100;
        meter.answered(Load::call(500, 5), now);
        let Measured { busy, taken } = meter.measured(now);
        assert_eq!((busy, per_second(taken)), (PACE_METER_SLOT / 100, "[1000, 10, 2]".to_owned()));
    }
}
