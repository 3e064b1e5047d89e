use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::defaults;
use crate::sink::description::DestinationKind;

fn seen(kind: DestinationKind, steps: &[Step]) -> Description {
    Description { kind, steps: steps.to_vec() }
}

fn auto() -> StreamConfig {
    defaults::stream()
}

/// What a mark is made from, for a stream whose events end in a newline.
fn step(mark: Mark) -> Step {
    match mark {
        Mark::ForeignSource => Step::ForeignSource("KinesisStreamAsSource".into()),
        Mark::Deaggregates => Step::DeaggregateJson,
        Mark::DeaggregatesOther => Step::DeaggregateDelimited("####".into()),
        Mark::Lambda => Step::Lambda,
        Mark::Converts => Step::Convert,
        Mark::Partitions => Step::Partition,
        Mark::Extracts => Step::Extract,
        Mark::Appends => Step::Append("\n".into()),
        Mark::AppendsOther => Step::Append("|".into()),
        Mark::Compresses => Step::Compress("GZIP".into()),
        Mark::OtherProcessor => Step::Other("Decompression".into()),
    }
}

#[test]
fn every_row_is_met_by_what_it_describes() {
    for (index, row_meant) in ROWS.iter().enumerate() {
        let steps: Vec<_> = row_meant.marks.iter().map(|mark| step(*mark)).collect();
        let kinds = if row_meant.kinds.is_empty() && row_meant.marks.is_empty() {
            &[DestinationKind::Unknown][..]
        } else if row_meant.kinds.is_empty() {
            // S3 alone, where rows of its own do not come first.
            let taken = row_meant.marks == [Mark::Deaggregates];
            if taken { &[DestinationKind::Redshift][..] } else { &[DestinationKind::S3] }
        } else {
            row_meant.kinds
        };
        for kind in kinds {
            let found = row(&seen(*kind, &steps), b"\n");
            assert!(std::ptr::eq(found, row_meant), "row {index}: {found:?}");
        }
    }
}

#[test]
fn what_is_chosen_for_what_is_seen() {
    use DestinationKind::{Files, HttpEndpoint, Iceberg, OpenSearch, Redshift, S3, Snowflake};
    let delimited = |at: &str| Step::DeaggregateDelimited(at.into());
    let append = |what: &str| Step::Append(what.into());
    let gzip = Step::Compress("GZIP".into());
    // lines, events in a record, whether the last event stays without a delimiter
    for (kind, steps, expected) in [
        (S3, vec![], (true, u64::MAX, false)),
        (S3, vec![gzip.clone()], (true, u64::MAX, false)),
        (S3, vec![append("\n")], (true, u64::MAX, true)),
        (S3, vec![append("\r\n")], (false, u64::MAX, true)),
        (S3, vec![Step::DeaggregateJson], (true, 500, true)),
        (S3, vec![delimited("\n")], (true, 500, true)),
        (S3, vec![delimited("####")], (false, u64::MAX, true)),
        (S3, vec![Step::Lambda], (false, u64::MAX, false)),
        (S3, vec![Step::Lambda, append("\n")], (false, u64::MAX, true)),
        (S3, vec![Step::DeaggregateJson, Step::Lambda], (true, 500, true)),
        (S3, vec![Step::Convert], (true, u64::MAX, false)),
        (S3, vec![Step::Convert, Step::Lambda], (false, u64::MAX, false)),
        (S3, vec![Step::Partition, Step::Extract], (false, u64::MAX, false)),
        (S3, vec![Step::Partition, Step::Extract, append("\n")], (false, u64::MAX, true)),
        (
            S3,
            vec![Step::DeaggregateJson, Step::Extract, append("\n"), Step::Partition],
            (true, 500, true),
        ),
        (S3, vec![Step::Other("New".into())], (false, u64::MAX, false)),
        (S3, vec![Step::ForeignSource("MSKAsSource".into())], (false, u64::MAX, false)),
        (Redshift, vec![], (true, u64::MAX, false)),
        (Redshift, vec![gzip], (true, u64::MAX, false)),
        (Redshift, vec![Step::Lambda], (false, u64::MAX, false)),
        (OpenSearch, vec![], (false, u64::MAX, true)),
        (OpenSearch, vec![Step::DeaggregateJson], (false, u64::MAX, true)),
        (DestinationKind::SplunkRaw, vec![], (true, u64::MAX, false)),
        (DestinationKind::SplunkRaw, vec![Step::Lambda], (false, u64::MAX, false)),
        (DestinationKind::SplunkEvent, vec![], (false, u64::MAX, true)),
        (HttpEndpoint, vec![], (false, u64::MAX, true)),
        (Iceberg, vec![], (false, u64::MAX, true)),
        (Iceberg, vec![Step::DeaggregateJson], (false, u64::MAX, true)),
        (Snowflake, vec![], (false, u64::MAX, true)),
        (Files, vec![], (true, u64::MAX, false)),
        (DestinationKind::Unknown, vec![], (false, u64::MAX, false)),
        (DestinationKind::Withheld, vec![], (false, u64::MAX, false)),
        (DestinationKind::Unasked, vec![], (false, u64::MAX, false)),
    ] {
        let chosen = choose(&auto(), &seen(kind, &steps));
        let found = (chosen.lines, chosen.events_max, chosen.ends_open);
        assert_eq!(found, expected, "{kind:?} {steps:?}: {}", chosen.reason);
    }
}

#[test]
fn what_is_configured_wins_but_for_the_limit_of_de_aggregation() {
    let s3 = seen(DestinationKind::S3, &[Step::DeaggregateJson]);
    let search = seen(DestinationKind::OpenSearch, &[]);
    let lines = StreamConfig { aggregate: Aggregate::Lines, ..auto() };
    assert!(choose(&lines, &search).lines);
    assert!(!choose(&lines, &search).ends_open);
    let none = StreamConfig { aggregate: Aggregate::None, ..auto() };
    assert!(!choose(&none, &s3).lines);
    for (configured, expected) in [(None, 500), (Some(100), 100), (Some(5000), 500)] {
        let settings = StreamConfig { events_per_record_max: configured, ..auto() };
        assert_eq!(choose(&settings, &s3).events_max, expected);
    }
    let settings = StreamConfig { events_per_record_max: Some(5000), ..lines };
    assert_eq!(choose(&settings, &s3).events_max, 5000);
}

#[test]
fn records_are_compressed_where_that_is_configured_and_nothing_speaks_against_it() {
    let gzip = |aggregate| StreamConfig { aggregate, compression: Compression::Gzip, ..auto() };
    let append = [Step::Append("\n".into())];
    for (kind, steps, compressed) in [
        (DestinationKind::S3, &[][..], true),
        (DestinationKind::S3, &append, false),
        (DestinationKind::S3, &[Step::Compress("Snappy".into())], false),
        (DestinationKind::S3, &[Step::DeaggregateJson], false),
        (DestinationKind::S3, &[Step::Lambda], false),
        (DestinationKind::S3, &[Step::Convert], false),
        (DestinationKind::Redshift, &[], false),
        (DestinationKind::OpenSearch, &[], false),
        (DestinationKind::SplunkRaw, &[], false),
        (DestinationKind::Files, &[], true),
        // Nobody knows better than who configured it.
        (DestinationKind::Unasked, &[], true),
        (DestinationKind::Withheld, &[], true),
        (DestinationKind::Unknown, &[], true),
    ] {
        let seen = seen(kind, steps);
        for aggregate in [Aggregate::Auto, Aggregate::Lines, Aggregate::None] {
            let choice = choose(&gzip(aggregate), &seen);
            assert_eq!(choice.compressed, compressed, "{seen:?}");
            assert_eq!(choice.not_compressed_because.is_empty(), compressed, "{seen:?}");
            assert!(depends_on_destination(&gzip(aggregate)));
        }
        let choice = choose(&auto(), &seen);
        assert_eq!((choice.compressed, choice.not_compressed_because), (false, ""));
    }
    let explicit = StreamConfig { aggregate: Aggregate::Lines, ..auto() };
    assert!(!depends_on_destination(&explicit), "nobody is asked for nothing");
}

#[test]
fn events_never_run_together_for_want_of_a_delimiter() {
    let settings = StreamConfig { delimiter: Vec::new(), ..auto() };
    assert!(!choose(&settings, &seen(DestinationKind::S3, &[])).lines);
    // Objects of JSON are told apart without one.
    assert!(choose(&settings, &seen(DestinationKind::S3, &[Step::DeaggregateJson])).lines);
    let other = StreamConfig { delimiter: b"|".to_vec(), ..auto() };
    assert!(!choose(&other, &seen(DestinationKind::S3, &[Step::DeaggregateJson])).lines);
}

/// The table as the documentation shows it.
fn documented() -> String {
    let mut text = String::from(
        "| destination | on the way | records | delimiter | `gzip` | why |\n|---|---|---|---|---|---|\n",
    );
    for Row { kinds, marks, packing, delimiter, gzip, reason } in ROWS {
        let kinds = joined(kinds.iter().map(|kind| format!("{kind:?}")), ", ");
        let marks = joined(marks.iter().map(|mark| format!("{mark:?}")), " + ");
        let packing = match packing {
            Packing::Lines => "`lines`".to_owned(),
            Packing::LinesUpTo(max) => format!("`lines`, at most {max} events"),
            Packing::None => "`none`".to_owned(),
        };
        let delimiter = match (delimiter, packing.as_str()) {
            (Placement::AfterEach, _) => "after each event",
            (Placement::Between, "`none`") => "none",
            (Placement::Between, _) => "between events",
        };
        let gzip = match gzip {
            Gzip::Taken => "yes".to_owned(),
            Gzip::Unproven => "as configured".to_owned(),
            Gzip::Refused(why) => format!("no: {why}"),
        };
        writeln!(text, "| {kinds} | {marks} | {packing} | {delimiter} | {gzip} | {reason} |")
            .unwrap();
    }
    text
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "any".to_owned() } else { parts.join(between) }
}

#[test]
fn the_documentation_shows_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/AGGREGATION.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = documented();
    assert!(page.contains(&table), "docs/AGGREGATION.md has to show this:\n{table}");
}
