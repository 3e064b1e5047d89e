//! One case of an enumeration: named, so that a failure can be repeated, and counted.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many times as many seeds as usual are asked for.
pub(crate) fn scale() -> u64 {
    std::env::var("STANDPIPE_CRASH_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// Counts what was looked at, and says so at the end: a run that looked at nothing proves nothing.
#[derive(Debug)]
pub(crate) struct Tally {
    what: &'static str,
    cases: u64,
}

impl Tally {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, cases: 0 }
    }

    /// Runs one case.
    ///
    /// # Panics
    /// With the name of the case, where it fails or panics.
    pub(crate) fn case(&mut self, name: impl Display, run: impl FnOnce() -> Result<(), String>) {
        self.cases += 1;
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => panic!("{}: {name}: {problem}", self.what),
            Err(panic) => {
                println!("{}: {name}: panicked", self.what);
                resume_unwind(panic);
            }
        }
    }

    /// Says how much was looked at, and demands that it was enough to mean something.
    pub(crate) fn finish(self, at_least: u64) {
        println!("{}: {} states, scale {}", self.what, self.cases, scale());
        assert!(self.cases >= at_least, "{}: only {} states", self.what, self.cases);
    }
}
