//! The state of a stream's delivery, and one log line for each change of it.
//!
//! The first recovery is said at once. Where trouble comes back soon after, the next recovery counts
//! only when it has lasted for a while, each time for twice as long: an endpoint that is well now
//! and then must fill no log, and a stream that is not well must not look so.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standpipe_wal::StreamName;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::limits::{OTHER_TROUBLE_LOG_INTERVAL, WELL_HOLD_MAX, WELL_HOLD_MIN};
use crate::status::{State, StreamStatus};

/// Enters states and says so, once per change.
#[derive(Debug)]
pub(crate) struct Condition {
    stream: StreamName,
    sink: String,
    status: Arc<StreamStatus>,
    /// Calls that failed since the state was last `ok`.
    failed_calls: u64,
    /// When the state became `ok` last.
    recovered: Option<Instant>,
    /// How long it must be well before the state is `ok`.
    hold: Duration,
    /// Since it is well: when the state becomes `ok`.
    ok_at: Option<Instant>,
    /// When a change from one trouble to another was logged last.
    other_logged: Option<Instant>,
}

impl Condition {
    /// A stream that is well until something is known.
    pub(crate) fn new(stream: StreamName, sink: String, status: Arc<StreamStatus>) -> Self {
        Self {
            stream,
            sink,
            status,
            failed_calls: 0,
            recovered: None,
            hold: Duration::ZERO,
            ok_at: None,
            other_logged: None,
        }
    }

    /// Counts a call that failed wholly or in part.
    pub(crate) fn call_failed(&mut self) {
        self.failed_calls += 1;
    }

    /// The destination has confirmed something.
    pub(crate) fn confirmed(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.status.last_success_ms.set(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    }

    /// The stream is well. The state says so once that has lasted.
    pub(crate) fn well(&mut self, now: Instant) {
        if self.status.upload.state().state != "ok" {
            self.ok_at.get_or_insert(now + self.hold);
            self.settle(now);
        }
    }

    /// When the state changes although nothing happens.
    pub(crate) fn ok_at(&self) -> Option<Instant> {
        self.ok_at
    }

    /// Enters the state `ok` if it is time.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.ok_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        self.recovered = Some(now);
        self.other_logged = None;
        let attempts = std::mem::take(&mut self.failed_calls);
        let Some(left) = self.status.upload.enter("ok", "") else { return };
        info!(
            stream = %self.stream, sink = self.sink, state = left.state,
            lasted = %lasted(&left), attempts, "delivery works again"
        );
    }

    /// The stream is in a state other than `ok`.
    pub(crate) fn troubled(&mut self, state: &str, reason: &str, now: Instant) {
        self.ok_at = None;
        self.status.last_error.note(state, reason);
        let Some(left) = self.status.upload.enter(state, reason) else { return };
        if left.state == "ok" {
            self.relapse(now);
        } else if self.other_logged.is_some_and(|at| now < at + OTHER_TROUBLE_LOG_INTERVAL) {
            return;
        } else {
            self.other_logged = Some(now);
        }
        let (stream, sink) = (&self.stream, &self.sink);
        if left.state == "ok" {
            warn!(%stream, sink, state, error = reason, "delivery is in trouble, events are kept");
        } else {
            warn!(
                %stream, sink, state, error = reason, before = left.state,
                lasted = %lasted(&left), "delivery is in other trouble, events are kept"
            );
        }
    }

    /// Trouble begins: soon after a recovery that was none, or after one that held.
    fn relapse(&mut self, now: Instant) {
        let held = self.recovered.is_none_or(|at| now >= at + WELL_HOLD_MIN.max(self.hold * 2));
        self.hold =
            if held { Duration::ZERO } else { (self.hold * 2).clamp(WELL_HOLD_MIN, WELL_HOLD_MAX) };
    }
}

/// How long a state lasted that has just been left, in whole milliseconds.
fn lasted(left: &State) -> humantime::FormattedDuration {
    let lasted = SystemTime::now().duration_since(left.since).unwrap_or_default();
    humantime::format_duration(Duration::from_millis(
        u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition() -> (Condition, Arc<StreamStatus>) {
        let status = Arc::new(StreamStatus::default());
        (Condition::new("s".parse().unwrap(), "sink".into(), Arc::clone(&status)), status)
    }

    #[test]
    fn one_outage_begins_and_ends_at_once() {
        let (mut condition, status) = condition();
        let mut now = Instant::now();
        for _ in 0..3 {
            condition.troubled("unreachable", "no", now);
            assert_eq!(status.upload.state().state, "unreachable");
            now += Duration::from_secs(5);
            condition.well(now);
            assert_eq!(status.upload.state().state, "ok");
            assert_eq!(condition.ok_at(), None);
            now += Duration::from_hours(1);
        }
    }

    /// The state is held for twice as long after each recovery that was none, up to a bound, and at
    /// once again after one that lasted for twice as long as it was held.
    #[test]
    fn a_recovery_that_does_not_last_is_believed_later_each_time() {
        let (mut condition, _status) = condition();
        let mut now = Instant::now();
        let mut held = |condition: &mut Condition, after: Duration| {
            now += after;
            condition.troubled("unreachable", "reset", now);
            condition.well(now);
            let at = condition.ok_at().unwrap_or(now);
            let hold = at - now;
            now = at;
            condition.settle(now);
            hold
        };
        let second = Duration::from_secs(1);
        assert_eq!(held(&mut condition, second), Duration::ZERO);
        for doubled in [1, 2, 4, 8, 16, 20, 20] {
            assert_eq!(held(&mut condition, second), WELL_HOLD_MIN * doubled);
        }
        assert_eq!(held(&mut condition, WELL_HOLD_MAX * 19 / 10), WELL_HOLD_MAX);
        assert_eq!(held(&mut condition, WELL_HOLD_MAX * 2), Duration::ZERO);
    }

    #[test]
    fn a_success_is_dated() {
        let (condition, status) = condition();
        condition.confirmed();
        assert!(status.last_success_ms.value() > 1_700_000_000_000, "the time of day");
    }

    /// Every five seconds a call fails and the next one is taken, for a day.
    #[test]
    fn an_endpoint_that_flaps_changes_the_state_a_few_times_and_not_each_time() {
        let (mut condition, status) = condition();
        let mut now = Instant::now();
        let mut changes = 0;
        for call in 0..17_280 {
            let before = status.upload.state().state;
            condition.settle(now);
            if call % 2 == 0 {
                condition.troubled("unreachable", "reset", now);
            } else {
                condition.well(now);
            }
            changes += u32::from(status.upload.state().state != before);
            now += Duration::from_secs(5);
        }
        assert!(changes <= 4, "{changes} changes in a day");
        assert_eq!(status.upload.state().state, "unreachable", "it is not well");
        // It is mended, and no call tells so: the state follows by itself.
        condition.well(now);
        let ok_at = condition.ok_at().expect("a time");
        assert!(ok_at <= now + WELL_HOLD_MAX);
        condition.settle(ok_at);
        assert_eq!(status.upload.state().state, "ok");
    }

    #[test]
    fn an_endpoint_that_flaps_slowly_is_held_longer_each_time() {
        let (mut condition, status) = condition();
        let mut now = Instant::now();
        let mut changes = 0;
        for _ in 0..360 {
            condition.troubled("throttled", "slow down", now);
            condition.well(now + Duration::from_secs(1));
            now += Duration::from_secs(10);
            let before = status.upload.state().state;
            condition.settle(now - Duration::from_secs(1));
            changes += u32::from(status.upload.state().state != before);
        }
        assert!(changes <= 4, "{changes} recoveries in an hour");
    }
}
