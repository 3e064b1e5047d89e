//! How far a long command is: a bar on standard error, where that is a terminal and it takes long.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::read::{Taker, Why};

/// What is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a bar moves at most.
const STEPS: u64 = 1000;

/// Counts bytes.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    begin: Instant,
    bytes: u64,
    /// What the bar was told.
    told: u64,
    /// How much is worth telling.
    step: u64,
}

impl Progress {
    /// Of so many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        let template = "{bar:30} {percent:>3} % {bytes_per_sec:>14} {eta:>4}  {msg}";
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_the_default_will_do) => bar,
        };
        Self { bar, begin: Instant::now(), bytes: 0, told: 0, step: bytes / STEPS }
    }

    /// Of so many events of a stream.
    pub(super) fn of_events(events: u64, stream: &str) -> Self {
        let progress = Self::of(events);
        let template = "{bar:30} {percent:>3} % {human_pos:>14} events {eta:>4}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            progress.bar.set_style(style);
        }
        progress.say(stream);
        progress
    }

    /// Never shows: something else does, or nobody knows how much there will be.
    pub(super) fn none() -> Self {
        let mut progress = Self::of(0);
        progress.step = u64::MAX;
        progress
    }

    /// So many more are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        // Events come one by one, and most of them need no word.
        if self.bytes - self.told < self.step {
            return;
        }
        self.told = self.bytes;
        if self.bar.is_hidden() && self.begin.elapsed() >= PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(self.bytes);
    }

    /// What is being done.
    pub(super) fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// What was done so far, and how long it took.
    pub(super) fn done(&self) -> (u64, Duration) {
        (self.bytes, self.begin.elapsed())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Hands on what is read, and counts it.
#[derive(Debug)]
pub(super) struct Counted<T> {
    pub(super) taker: T,
    pub(super) progress: Progress,
    pub(super) events: u64,
}

impl<T> Counted<T> {
    pub(super) fn new(taker: T, progress: Progress) -> Self {
        Self { taker, progress, events: 0 }
    }
}

impl<T: Taker> Taker for Counted<T> {
    fn event(&mut self, offset: u64, time_ms: u64, payload: &[u8]) -> io::Result<()> {
        self.events += 1;
        self.progress.add(1);
        self.taker.event(offset, time_ms, payload)
    }

    fn missing(&mut self, range: Range<u64>, why: Why) -> io::Result<()> {
        self.progress.add(range.end - range.start);
        self.taker.missing(range, why)
    }
}
