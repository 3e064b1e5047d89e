//! How far this host's clock is from the service's.
//!
//! The SDK makes up for a clock that is off: it signs with the time of the last answer's `Date`, so
//! that one call fails and the next is taken. What is left is a service whose answers have no date, or
//! that of something in between.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_firehose::config::http::HttpResponse;
use aws_sdk_firehose::primitives::{DateTime, DateTimeFormat};

/// A difference of two clocks, in whole seconds, as `Date` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    pub(super) by: Duration,
    ahead: bool,
}

/// Requests are refused where the clocks differ by more: their signature has expired, or is to come.
pub(super) const SKEW_MAX: Duration = Duration::from_mins(5);

/// What is suspected from here on, since `Date` is a while old when it is read.
const SKEW_SUSPECTED: Duration = Duration::from_mins(4);

impl Skew {
    /// Of our clock against the date of an answer. `None` where that cannot be read.
    pub(super) fn of(date: &str, here: SystemTime) -> Option<Self> {
        let there = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
        let there = u64::try_from(there.secs()).ok()?;
        let here = here.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Some(Self { by: Duration::from_secs(here.abs_diff(there)), ahead: here > there })
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.ahead { "ahead of" } else { "behind" };
        write!(f, "{} s {way} the service's", self.by.as_secs())
    }
}

/// What to add to the service's words where it refuses a signature and the clock is why.
pub(super) fn hint(
    code: &str,
    words: &str,
    answer: &HttpResponse,
    here: SystemTime,
) -> Option<String> {
    let about_time = matches!(code, "RequestTimeTooSkewed" | "RequestExpired");
    if !about_time && !matches!(code, "InvalidSignatureException" | "SignatureDoesNotMatch") {
        return None;
    }
    let skew = answer.headers().get("date").and_then(|date| Skew::of(date, here));
    if let Some(skew) = skew.filter(|skew| skew.by >= SKEW_SUSPECTED) {
        return Some(format!("this host's clock is {skew}"));
    }
    // The service's sentences for it. They decide nothing but what is said.
    let says_so = ["Signature expired", "Signature not yet current"];
    let about_time = about_time || says_so.iter().any(|sentence| words.contains(sentence));
    about_time.then(|| "this host's clock is off: `standpipe doctor` compares it".to_owned())
}

#[cfg(test)]
mod tests {

    use super::*;

    fn answer(date: Option<&'static str>) -> HttpResponse {
        let mut answer = HttpResponse::new(400.try_into().unwrap(), Vec::<u8>::new().into());
        if let Some(date) = date {
            answer.headers_mut().insert("date", date);
        }
        answer
    }

    #[test]
    fn a_clock_is_named_where_it_is_why_and_nowhere_else() {
        let here = humantime::parse_rfc3339("2026-11-25T10:00:00Z").unwrap();
        let hour = Some("Wed, 25 Nov 2026 11:00:00 GMT");
        let same = Some("Wed, 25 Nov 2026 10:00:00 GMT");
        let expired = "Signature expired: 20261125T100000Z is now earlier than 20261125T105500Z";
        for (code, words, date, says) in [
            ("InvalidSignatureException", "", hour, Some("3600 s behind the service's")),
            ("SignatureDoesNotMatch", "", hour, Some("3600 s behind the service's")),
            ("InvalidSignatureException", expired, same, Some("clock is off")),
            ("InvalidSignatureException", expired, None, Some("clock is off")),
            ("RequestTimeTooSkewed", "", Some("yesterday"), Some("clock is off")),
            // A wrong key.
            ("InvalidSignatureException", "The request signature we calculated", same, None),
            ("AccessDeniedException", "", hour, None),
        ] {
            let hint = hint(code, words, &answer(date), here);
            let found = hint.as_deref().map(|hint| says.is_some_and(|says| hint.contains(says)));
            assert_eq!(found, says.map(|_| true), "{code} {words} {date:?}: {hint:?}");
        }
    }
}
