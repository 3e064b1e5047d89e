//! What is in the way of a whole stream.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{BACKOFF_BASE, BACKOFF_BASE_SLOW};
use crate::sink::Trouble;

/// While nothing gets through, one call at a time asks whether that is still so.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) cause: Cause,
    pub(super) reason: String,
    pub(super) until: Instant,
}

/// What is in the way of a whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The destination, or the way to it.
    Sink(Trouble),
    /// The log itself.
    Log,
}

impl Cause {
    /// The state that this is.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sink(trouble) => trouble.word(),
            Self::Log => "failing",
        }
    }

    /// The bound of the first pause. What a person has to mend is asked about less often.
    pub(super) fn backoff_base(self) -> Duration {
        match self {
            Self::Sink(Trouble::Missing | Trouble::Denied | Trouble::Refused) => BACKOFF_BASE_SLOW,
            Self::Sink(
                Trouble::Throttled
                | Trouble::Unreachable
                | Trouble::TimedOut
                | Trouble::Faulty
                | Trouble::TooLarge,
            )
            | Self::Log => BACKOFF_BASE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_has_to_mend_is_asked_about_less_often() {
        let base = |trouble| Cause::Sink(trouble).backoff_base();
        let soon = [base(Trouble::Throttled), base(Trouble::TimedOut), Cause::Log.backoff_base()];
        for later in [Trouble::Missing, Trouble::Denied, Trouble::Refused].map(base) {
            assert!(
                soon.iter().all(|soon| !soon.is_zero() && *soon < later),
                "{soon:?}, {later:?}"
            );
        }
    }
}
