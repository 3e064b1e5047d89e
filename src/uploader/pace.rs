//! How fast calls to one delivery stream may begin.
//!
//! A token bucket each for bytes, records and calls, filled at the configured quota or at a rate
//! that was learned, whichever is less. Nothing is learned until the service throttles: then the
//! rate becomes somewhat less than what the service has taken, stays near that for a while, and
//! grows faster and faster the longer nothing is throttled, until the limit is forgotten. A quota
//! that other hosts share, or that somebody changes, is followed in the same way. Pure: time is
//! passed in, and the same calls at the same times give the same answers.
//!
//! Throttling is taken for a matter of the rate. A service that throttles one call in ten whatever the
//! rate is slowed down for in vain, to the least rates (`PACE_RATES_MIN`); one in a hundred costs less
//! than a tenth of the rate.

use std::time::Duration;

use tokio::time::Instant;

use self::meter::{Measured, Meter};
use crate::config::Rates;
use crate::limits::{
    CALL_BYTES_FLOOR, PACE_CREDIT, PACE_CUT, PACE_FORGET_AT, PACE_METER_MIN, PACE_RATES_MIN,
    PACE_RECOVERY,
};

mod meter;

/// What is counted: bytes of data, records, calls.
pub(super) const DIMENSIONS: usize = 3;

/// What a call weighs, or a rate per second, in each dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load(pub(super) [f64; DIMENSIONS]);

impl Load {
    /// One call of so many bytes and records.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn call(bytes: usize, records: usize) -> Self {
        Self([bytes as f64, records as f64, 1.0])
    }

    fn bytes(self) -> f64 {
        let [bytes, ..] = self.0;
        bytes
    }

    /// Combines two loads dimension by dimension.
    fn with(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let mut combined = self;
        for (value, other) in combined.0.iter_mut().zip(other.0) {
            *value = combine(*value, other);
        }
        combined
    }
}

/// A call that was let through, to be shown again with its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    at: Instant,
    load: Load,
}

/// The pace of one delivery stream, for everybody on this host who sends to it.
#[derive(Debug)]
pub(crate) struct Pace {
    /// What was configured; infinite where nothing was.
    quota: Load,
    learned: Option<Learned>,
    /// Calls that could begin; negative after a call that was larger than what was there.
    tokens: Load,
    filled: Instant,
    meter: Meter,
    random: fastrand::Rng,
}

/// What throttling has taught.
#[derive(Clone, Copy, Debug)]
struct Learned {
    /// What the service took when it throttled last, per second.
    rates: Load,
    /// When that was.
    since: Instant,
    /// When the rate is back at `rates`: drawn anew each time, so that the hosts of a fleet which
    /// were throttled together do not come back together.
    recovery: Duration,
}

impl Learned {
    /// The part of `rates` that may be used: a cubic that begins below one, is flat around it, and
    /// rises ever faster behind it.
    fn level(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        let distance = elapsed / self.recovery.as_secs_f64() - 1.0;
        1.0 + (1.0 - PACE_CUT) * distance.powi(3)
    }
}

impl Pace {
    /// A pace under a quota.
    pub(crate) fn new(quota: Rates, seed: u64, now: Instant) -> Self {
        Self {
            quota: of_quota(quota),
            learned: None,
            tokens: Load::default(),
            filled: now,
            meter: Meter::new(now),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// No quota holds until one is given.
    pub(crate) fn lift_quota(&mut self) {
        self.quota = of_quota(Rates::default());
    }

    /// Somebody else who sends to this delivery stream was given this quota: the least one holds.
    pub(crate) fn lower_quota(&mut self, quota: Rates) {
        self.quota = self.quota.with(of_quota(quota), f64::min);
    }

    /// The largest call that fits the pace: one second of it. Larger ones would be taken in part.
    pub(crate) fn call_bytes_max(&self, now: Instant) -> usize {
        let bytes = self.rates(now).bytes();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from a float saturates, and rates are positive"
        )]
        let bytes = bytes as usize;
        bytes.max(CALL_BYTES_FLOOR)
    }

    /// Somebody wants to send.
    pub(crate) fn arrive(&mut self, now: Instant) {
        self.meter.arrive(now);
    }

    /// Whoever arrived has an answer or has given up.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.meter.leave(now);
    }

    /// When the next call may begin, as it looks now.
    pub(crate) fn ready_at(&mut self, now: Instant) -> Instant {
        self.fill(now);
        let rates = self.rates(now);
        let waits = self.tokens.with(rates, |tokens, rate| (-tokens).max(0.0) / rate);
        let wait = waits.0.into_iter().fold(0.0, f64::max);
        // Rounded up, so that whoever waits for it finds it so.
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
        let wait = if wait.is_zero() { wait } else { wait.saturating_add(Duration::from_nanos(1)) };
        now.checked_add(wait).unwrap_or(now + Duration::from_hours(1))
    }

    /// Lets a call through that is expected to weigh this much.
    pub(crate) fn begin(&mut self, load: Load, now: Instant) -> Admitted {
        self.fill(now);
        self.spend(load);
        Admitted { at: now, load }
    }

    /// Notes what the call weighs now that it is built.
    pub(crate) fn correct(&mut self, admitted: &mut Admitted, load: Load, now: Instant) {
        self.fill(now);
        self.spend(load.with(admitted.load, |actual, expected| actual - expected));
        admitted.load = load;
    }

    /// Notes an answer: what of the call was taken, and whether anything was throttled.
    pub(crate) fn answered(
        &mut self,
        admitted: Admitted,
        taken: Load,
        throttled: bool,
        now: Instant,
    ) {
        self.fill(now);
        self.meter.answered(taken, now);
        // A call that began at the rate before the last change says nothing about the present one.
        let is_news = self.learned.is_none_or(|learned| admitted.at > learned.since);
        if throttled && is_news {
            self.learn(now);
        }
    }

    /// Takes what the service took as what it can take. Where it takes nothing at all, or nobody has
    /// sent for long enough, that says nothing about a rate: the uploader's pauses are for that.
    fn learn(&mut self, now: Instant) {
        let rates = self.rates(now);
        let Measured { busy, taken } = self.meter.measured(now);
        let measured = match &self.learned {
            _ if taken.bytes() <= 0.0 => return,
            None if busy < PACE_METER_MIN => return,
            Some(_) if busy < PACE_METER_MIN => rates,
            None | Some(_) => taken,
        };
        let rates = rates.with(measured, f64::min).with(Load(PACE_RATES_MIN), f64::max);
        let recovery = PACE_RECOVERY.mul_f64(0.75 + self.random.f64() / 2.0);
        self.learned = Some(Learned { rates, since: now, recovery });
        self.tokens = self.tokens.with(Load::default(), f64::min);
        self.meter.restart(now);
    }

    /// What may be sent per second.
    fn rates(&self, now: Instant) -> Load {
        let Some(learned) = &self.learned else { return self.quota };
        let level = learned.level(now);
        learned.rates.with(self.quota, |rate, quota| (rate * level).min(quota))
    }

    fn fill(&mut self, now: Instant) {
        if self.learned.is_some_and(|learned| learned.level(now) > PACE_FORGET_AT) {
            self.learned = None;
        }
        let rates = self.rates(now);
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        let credit = PACE_CREDIT.as_secs_f64();
        self.tokens = self.tokens.with(rates, |tokens, rate| {
            if rate.is_infinite() { 0.0 } else { (tokens + rate * elapsed).min(rate * credit) }
        });
    }

    fn spend(&mut self, load: Load) {
        self.tokens = self.tokens.with(load, |tokens, spent| tokens - spent);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a quota is far below 2^52")]
fn of_quota(quota: Rates) -> Load {
    let Rates { bytes_per_second, records_per_second, calls_per_second } = quota;
    let rates = [bytes_per_second, records_per_second, calls_per_second];
    Load(rates.map(|rate| rate.map_or(f64::INFINITY, |rate| rate as f64)))
}

#[cfg(test)]
mod tests;
