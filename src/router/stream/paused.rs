//! A stream that accepts and keeps, and delivers nothing.

use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::super::backlog::show_backlog;
use super::Stream;
use crate::limits::PAUSED_STATUS_INTERVAL;

impl Stream {
    /// A stream that was paused until now is well until something else is known.
    pub(super) fn note_unpaused(&self) {
        if self.status.upload.state().state == "paused" {
            self.status.upload.enter("ok", "");
            info!(stream = %self.key.stream, sink = self.key.sink, "delivery is not paused any more");
        }
    }

    /// Sends nothing until told to stop.
    pub(super) async fn stay_paused(mut self) {
        self.status.upload.enter("paused", "the stream is configured with `paused = true`");
        info!(stream = %self.key.stream, sink = self.key.sink, "delivery is paused");
        while !self.stop.is_stopped() && !self.relief.is_stopped() {
            self.pending.observe(*self.durable.borrow_and_update(), Instant::now());
            show_backlog(&self.status, &self.pending, &self.uploader);
            let later = sleep_until(Instant::now() + PAUSED_STATUS_INTERVAL);
            tokio::select! {
                biased;
                () = self.stop.stopped() => {}
                () = self.relief.stopped() => {}
                () = later => {}
            }
        }
    }
}
