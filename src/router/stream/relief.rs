//! How a stream's delivery ends, and how it is handed over to a task with other settings.

use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::Stream;

impl Stream {
    /// Begins nothing more and waits for what is under way, as long as a stop would: what is confirmed
    /// meanwhile is not sent again. Where nothing gets through anyway, nothing is waited for: other
    /// settings may be what helps.
    pub(super) async fn hand_over(mut self) {
        let until = Instant::now() + self.drain_timeout;
        while !self.calls.is_empty() && !self.uploader.is_out() {
            tokio::select! {
                biased;
                Some(done) = self.calls.join_next_with_id() => self.ended(done),
                () = sleep_until(until) => break,
            }
        }
        self.end();
    }

    pub(super) fn end(mut self) {
        let cut_off = self.uploader.in_flight();
        self.calls.abort_all();
        self.commit();
        info!(
            stream = %self.key.stream, sink = self.key.sink,
            offset = %self.uploader.window().committed(), cut_off, "delivery has ended"
        );
    }
}
