//! One attempt: a call, its answer, and which record each part of the answer belongs to.

use crate::router::aggregate::Span;
use crate::sink::{Call, Failure, Fate, Sink, Trouble};

/// What an attempt came to: one fate per record, or why there is none.
pub(crate) type Answer = Result<Vec<Fate>, Failure>;

/// Makes a call and gives up on it in time, whatever the sink does.
pub(crate) async fn attempt(sink: &dyn Sink, call: Call) -> Answer {
    let patience = call.timeout;
    match tokio::time::timeout(patience, sink.deliver(call)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Failure {
            trouble: Trouble::TimedOut,
            ambiguous: true,
            message: format!("no answer within {}", humantime::format_duration(patience)),
        }),
    }
}

/// The records of an answered call, by what is to be done with them.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// Confirmed, each by its own fate.
    pub(crate) delivered: Vec<Span>,
    /// To be sent again.
    pub(crate) again: Vec<(Span, Trouble)>,
    /// Not to be taken as they are.
    pub(crate) refused: Vec<Span>,
    /// Why the first of `again` was not taken.
    pub(crate) again_because: Option<(Trouble, String)>,
    /// Why the first of `refused` was refused.
    pub(crate) refused_because: Option<String>,
}

/// Pairs records with fates by their place in the call. An answer of another length says nothing
/// about any record: it is no success, and the records may have been taken.
pub(crate) fn pair(spans: &[Span], fates: Vec<Fate>) -> Result<Sorted, Failure> {
    if spans.len() != fates.len() {
        return Err(Failure {
            trouble: Trouble::Faulty,
            ambiguous: true,
            message: format!("{} records were answered by {} results", spans.len(), fates.len()),
        });
    }
    let mut sorted = Sorted::default();
    for (&span, fate) in spans.iter().zip(fates) {
        match fate {
            Fate::Delivered => sorted.delivered.push(span),
            Fate::Retry { trouble, code, message } => {
                sorted.again.push((span, trouble));
                sorted.again_because.get_or_insert_with(|| (trouble, sentence(&code, &message)));
            }
            Fate::Refused { code, message } => {
                sorted.refused.push(span);
                sorted.refused_because.get_or_insert_with(|| sentence(&code, &message));
            }
        }
    }
    Ok(sorted)
}

fn sentence(code: &str, message: &str) -> String {
    if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::limits::{ATTEMPT_TIMEOUT_BASE, attempt_timeout};
    use standpipe_wal::Offset;

    use super::*;

    fn spans(count: u64) -> Vec<Span> {
        (0..count)
            .map(|at| Span {
                start: Offset::new(at),
                end: Offset::new(at + 1),
                bytes: 2,
                payload_bytes: 1,
                billed_alone_bytes: 0,
            })
            .collect()
    }

    #[test]
    fn each_record_has_the_fate_of_its_own_place() {
        let retry = || Fate::Retry {
            trouble: Trouble::Throttled,
            code: "T".into(),
            message: "slow".into(),
        };
        let refused = || Fate::Refused { code: "R".into(), message: String::new() };
        let fates = vec![retry(), Fate::Delivered, refused(), Fate::Delivered, retry()];
        let sorted = pair(&spans(5), fates).unwrap();
        let starts = |spans: &[Span]| spans.iter().map(|s| s.start.get()).collect::<Vec<_>>();
        assert_eq!(starts(&sorted.delivered), [1, 3]);
        assert_eq!(starts(&sorted.again.iter().map(|(s, _)| *s).collect::<Vec<_>>()), [0, 4]);
        assert_eq!(starts(&sorted.refused), [2]);
        assert_eq!(sorted.again_because, Some((Trouble::Throttled, "T: slow".into())));
        assert_eq!(sorted.refused_because, Some("R".into()));
    }

    #[test]
    fn an_answer_of_another_length_confirms_nothing() {
        for count in [0, 4, 6] {
            let failure = pair(&spans(5), vec![Fate::Delivered; count]).unwrap_err();
            assert!(failure.ambiguous);
            assert_eq!(failure.trouble, Trouble::Faulty);
        }
    }

    #[test]
    fn larger_bodies_have_more_time() {
        assert_eq!(attempt_timeout(0), ATTEMPT_TIMEOUT_BASE);
        assert_eq!(attempt_timeout(64 * 1024 * 30), ATTEMPT_TIMEOUT_BASE + Duration::from_secs(30));
    }
}
