//! Permits for lines that are longer than what every connection may hold.
//!
//! A connection takes one before it reads more than a short line, and holds it until the log has
//! taken the event. A stream that is stuck can hold only a few, so that the long lines of other
//! streams still get theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{LONG_LINES_MAX, LONG_LINES_PER_STREAM_MAX};

/// How many streams are remembered before those without a long line are forgotten.
const STREAMS_REMEMBERED_MAX: usize = 1024;

/// The permits of all connections.
#[derive(Debug)]
pub struct LongLines {
    all: Arc<Semaphore>,
    by_stream: Mutex<HashMap<Box<[u8]>, Arc<Semaphore>>>,
}

/// The right to hold one long line. Ends when it is dropped.
#[derive(Debug)]
pub struct LongLine {
    _of_stream: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Default for LongLines {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(LONG_LINES_MAX)), by_stream: Mutex::default() }
    }
}

impl LongLines {
    /// Waits for a permit for a line of `stream`, which need not be a valid name.
    pub async fn acquire(&self, stream: &[u8]) -> LongLine {
        // The stream's comes first: who waits for it holds none of the permits of all. Neither
        // semaphore is ever closed.
        let of_stream = self.of_stream(stream).acquire_owned().await.ok();
        let of_all = self.all.clone().acquire_owned().await.ok();
        LongLine { _of_stream: of_stream, _of_all: of_all }
    }

    fn of_stream(&self, stream: &[u8]) -> Arc<Semaphore> {
        let mut by_stream = self.by_stream.lock().unwrap_or_else(PoisonError::into_inner);
        if by_stream.len() >= STREAMS_REMEMBERED_MAX {
            // A permit or a waiter holds the semaphore too.
            by_stream.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let new = || Arc::new(Semaphore::new(LONG_LINES_PER_STREAM_MAX));
        by_stream.entry(stream.into()).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll_now(lines: &LongLines, stream: &[u8]) -> Option<LongLine> {
        match pin!(lines.acquire(stream)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(line) => Some(line),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_stream_cannot_take_the_permits_of_the_others() {
        let lines = LongLines::default();
        let mut stuck = Vec::new();
        while let Some(line) = poll_now(&lines, b"stuck") {
            stuck.push(line);
        }
        assert_eq!(stuck.len(), LONG_LINES_PER_STREAM_MAX);
        let other = poll_now(&lines, b"other");
        assert!(other.is_some());
        stuck.pop();
        assert!(poll_now(&lines, b"stuck").is_some());
    }

    #[test]
    fn streams_without_a_long_line_are_forgotten() {
        let lines = LongLines::default();
        let held = poll_now(&lines, b"held").unwrap();
        for index in 0..2 * STREAMS_REMEMBERED_MAX {
            assert!(poll_now(&lines, format!("s{index}").as_bytes()).is_some());
        }
        let by_stream = lines.by_stream.lock().unwrap();
        assert!(by_stream.len() <= STREAMS_REMEMBERED_MAX);
        assert!(by_stream.contains_key(&b"held"[..]));
        drop((by_stream, held));
    }
}
