//! What of a stream's settings does not suit its destination: what `aggregate = "auto"` would have
//! done otherwise, and what the destination cannot take. Nothing of it fails a call; it is seen by
//! whoever reads the data, or on the bill.

use super::{Choice, Packing, choose, row};
use crate::config::{Aggregate, StreamConfig};
use crate::sink::description::{Description, DestinationKind, Step};

/// One thing that does not suit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// What, in a sentence.
    pub(crate) says: String,
    /// What to do.
    pub(crate) advice: &'static str,
}

/// All that does not suit. Nothing does not suit what is not known.
pub(crate) fn misfits(settings: &StreamConfig, seen: &Description) -> Vec<Misfit> {
    if matches!(seen.kind, DestinationKind::Unasked | DestinationKind::Withheld) {
        return Vec::new();
    }
    let choice = choose(settings, seen);
    let automatic = choose(&StreamConfig { aggregate: Aggregate::Auto, ..settings.clone() }, seen);
    [
        unwanted_lines(&choice, &automatic),
        too_many_events(settings, seen, &choice),
        second_delimiter(settings, seen, &choice, &automatic),
        unread_compression(&choice),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unwanted_lines(choice: &Choice, automatic: &Choice) -> Option<Misfit> {
    (choice.lines && !automatic.lines).then(|| Misfit {
        says: format!("aggregate = \"lines\" does not suit it: {}", automatic.reason),
        advice: "set aggregate = \"auto\" or \"none\"",
    })
}

/// The service does not take such a record apart and does not say so.
fn too_many_events(settings: &StreamConfig, seen: &Description, choice: &Choice) -> Option<Misfit> {
    let Packing::LinesUpTo(max) = row(seen, &settings.delimiter).packing else { return None };
    (choice.lines && choice.events_max > max).then(|| Misfit {
        says: format!(
            "records are taken apart, which fails without an error above {max} events, and a record \
             may hold more"
        ),
        advice: "set events_per_record_max = 500, or aggregate = \"auto\"",
    })
}

/// Whoever reads finds an empty event behind each record.
fn second_delimiter(
    settings: &StreamConfig,
    seen: &Description,
    choice: &Choice,
    automatic: &Choice,
) -> Option<Misfit> {
    let appended = seen.steps.iter().any(|step| matches!(step, Step::Append(_)));
    let twice = appended && automatic.ends_open && !choice.ends_open;
    (twice && !settings.delimiter.is_empty()).then(|| Misfit {
        says: "the delivery stream puts a delimiter behind each record, which ends in one already"
            .to_owned(),
        advice: "set aggregate = \"auto\", or take AppendDelimiterToRecord out of the delivery stream",
    })
}

fn unread_compression(choice: &Choice) -> Option<Misfit> {
    let why = choice.not_compressed_because;
    (!why.is_empty()).then(|| Misfit {
        says: format!("it cannot take compression: {why}"),
        advice: "take `compression` out of the stream's table",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What does not suit objects in S3 with these steps on the way.
    fn found(settings: &str, steps: &[Step]) -> Vec<String> {
        of(settings, DestinationKind::S3, steps)
    }

    fn of(settings: &str, kind: DestinationKind, steps: &[Step]) -> Vec<String> {
        let text = format!("data_dir = \"/tmp\"\n[stream.default]\n{settings}");
        let settings = crate::config::from_text("test", &text).unwrap().config.stream_default;
        let seen = Description { kind, steps: steps.to_vec() };
        misfits(&settings, &seen).into_iter().map(|misfit| misfit.says).collect()
    }

    #[track_caller]
    fn assert_one(found: &[String], says: &str) {
        assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
    }

    #[test]
    fn what_auto_chooses_suits_every_destination() {
        use DestinationKind::{HttpEndpoint, OpenSearch, Redshift, S3, SplunkRaw};
        let append = || Step::Append("\n".to_owned());
        for kind in [S3, Redshift, OpenSearch, SplunkRaw, HttpEndpoint] {
            for steps in [vec![], vec![append()], vec![Step::DeaggregateJson], vec![Step::Lambda]] {
                let none: &[String] = &[];
                assert_eq!(of("", kind, &steps), none, "{kind:?} {steps:?}");
            }
        }
    }

    #[test]
    fn lines_where_one_event_is_expected_do_not_suit() {
        let lines = "aggregate = \"lines\"";
        assert_one(&of(lines, DestinationKind::OpenSearch, &[]), "does not suit");
        assert_one(&found(lines, &[Step::Lambda]), "does not suit");
        assert!(found(lines, &[]).is_empty());
        assert!(of(lines, DestinationKind::Withheld, &[]).is_empty(), "nobody knows");
    }

    #[test]
    fn more_events_than_are_taken_apart_do_not_suit() {
        let json = [Step::DeaggregateJson];
        assert_one(&found("aggregate = \"lines\"", &json), "above 500 events");
        let bounded = |max| format!("aggregate = \"lines\"\nevents_per_record_max = {max}");
        assert_one(&found(&bounded(501), &json), "above 500 events");
        assert!(found(&bounded(500), &json).is_empty());
        assert!(found("aggregate = \"none\"", &json).is_empty());
        assert!(found("events_per_record_max = 501", &json).is_empty(), "auto stays below");
    }

    #[test]
    fn a_delimiter_that_is_put_twice_does_not_suit() {
        for appended in ["\n", "|"] {
            let append = [Step::Append(appended.to_owned())];
            assert_one(&found("aggregate = \"none\"", &append), "ends in one already");
            assert!(found("aggregate = \"none\"\ndelimiter = \"\"", &append).is_empty());
        }
        let append = || Step::Append("\n".to_owned());
        assert_one(&found("aggregate = \"lines\"", &[append()]), "already");
        let converted = found("aggregate = \"lines\"", &[Step::Convert, append()]);
        assert!(converted.is_empty(), "what reads JSON does not see it: {converted:?}");
    }

    #[test]
    fn compression_that_nobody_reads_does_not_suit() {
        let gzip = "aggregate = \"lines\"\ncompression = \"gzip\"";
        assert_one(&found(gzip, &[Step::Compress("GZIP".to_owned())]), "compressed twice");
        assert!(found(gzip, &[]).is_empty());
        let several = found(gzip, &[Step::Append("\n".to_owned())]);
        assert_eq!(several.len(), 2, "each is said: {several:?}");
    }
}
