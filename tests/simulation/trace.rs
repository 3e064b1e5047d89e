//! What happened, line by line: the same seed writes the same lines.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    text: String,
    /// When the present life began, and what all lives before it took.
    began: Option<Instant>,
    before: Duration,
    /// Whether each line is printed as it comes: a run that does not end shows where it is.
    echo: bool,
}

impl Trace {
    pub(crate) fn new(echo: bool) -> Self {
        Self(Arc::new(Mutex::new(Lines { echo, ..Lines::default() })))
    }

    /// A runtime with a clock of its own has begun.
    pub(crate) fn begin(&self) {
        self.0.lock().unwrap().began = Some(Instant::now());
    }

    /// It is about to end.
    pub(crate) fn end(&self) {
        let mut lines = self.0.lock().unwrap();
        lines.before = lines.elapsed();
        lines.began = None;
    }

    /// Adds a line, with the simulated time.
    pub(crate) fn line(&self, what: &str) {
        let mut lines = self.0.lock().unwrap();
        let at = lines.elapsed().as_micros();
        let line = format!("{:>6}.{:06} {what}", at / 1_000_000, at % 1_000_000);
        if lines.echo {
            println!("{line}");
        }
        writeln!(lines.text, "{line}").unwrap();
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().elapsed()
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().text.clone()
    }
}

impl Lines {
    fn elapsed(&self) -> Duration {
        self.before + self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

/// What a trace is known by (FNV-1a).
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
