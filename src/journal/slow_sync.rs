//! Syncs that take longer than a disk in good order ever takes: said, with what was expected, and
//! not said again for each of the thousand streams that share the disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use standpipe_wal::StreamName;
use tokio::time::Instant;

use crate::limits::{SLOW_SYNC_LOG_INTERVAL, SYNC_EXPECTED_MAX};

/// Shared by all owners.
#[derive(Debug, Default)]
pub(super) struct SlowSyncs(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    said_at: Option<Instant>,
    /// Slow ones that nothing was said about.
    unsaid: u64,
}

impl SlowSyncs {
    /// Looks at how long a round took to become durable, and logs it if that is due.
    pub(super) fn look(&self, stream: &StreamName, took: Duration) {
        if took <= SYNC_EXPECTED_MAX {
            return;
        }
        let Some(unsaid) = self.due(Instant::now()) else { return };
        tracing::warn!(
            %stream, took = %humantime::format_duration(whole_millis(took)),
            expected_max = %humantime::format_duration(SYNC_EXPECTED_MAX), unsaid,
            "the disk is slow: a sync took longer than expected, acknowledgements waited for it"
        );
    }

    /// How many slow ones went unsaid before this one; none where this one does as well.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.said_at.is_some_and(|at| now.duration_since(at) < SLOW_SYNC_LOG_INTERVAL) {
            seen.unsaid += 1;
            return None;
        }
        seen.said_at = Some(now);
        Some(std::mem::take(&mut seen.unsaid))
    }
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_syncs_are_said_once_in_a_while_and_the_others_counted() {
        let slow = SlowSyncs::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let said: Vec<_> = [0, 1, 9, 10, 11, 30].map(|seconds| slow.due(at(seconds))).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
