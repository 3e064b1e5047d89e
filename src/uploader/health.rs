//! The state of a stream's delivery, and one log line for each change of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standpipe_wal::StreamName;
use tracing::{info, warn};

use crate::status::{State, StreamStatus};

/// Enters states and says so, once per change.
#[derive(Debug)]
pub(crate) struct Condition {
    stream: StreamName,
    sink: String,
    status: Arc<StreamStatus>,
    /// Calls that failed since the state was last `ok`.
    failed_calls: u64,
}

impl Condition {
    /// A stream that is well until something is known.
    pub(crate) fn new(stream: StreamName, sink: String, status: Arc<StreamStatus>) -> Self {
        Self { stream, sink, status, failed_calls: 0 }
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

    /// The stream is well.
    pub(crate) fn well(&mut self) {
        let attempts = std::mem::take(&mut self.failed_calls);
        let Some(left) = self.status.upload.enter("ok", "") else { return };
        info!(
            stream = %self.stream, sink = self.sink, state = left.state,
            lasted = %lasted(&left), attempts, "delivery works again"
        );
    }

    /// The stream is in a state other than `ok`.
    pub(crate) fn troubled(&mut self, state: &str, reason: &str) {
        self.status.last_error.note(state, reason);
        let Some(left) = self.status.upload.enter(state, reason) else { return };
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
}

/// How long a state lasted that has just been left, in whole milliseconds.
fn lasted(left: &State) -> humantime::FormattedDuration {
    let lasted = SystemTime::now().duration_since(left.since).unwrap_or_default();
    humantime::format_duration(Duration::from_millis(
        u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
    ))
}
