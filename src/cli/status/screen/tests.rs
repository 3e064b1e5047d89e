use std::time::{Duration, UNIX_EPOCH};

use super::super::row::expensive;
use super::*;
use crate::admin::rates::Rate;
use crate::cli::records::Records;
use crate::cli::wal::look::{Place, Sight};
use crate::sink::description::{Description, DestinationKind};
use crate::status::Incident;

fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

fn row(stream: &str, state: &str, reason: &str, backlog_events: u64) -> Row {
    Row {
        stream: stream.into(),
        state: state.into(),
        reason: reason.into(),
        since: Some(ago(192)),
        backlog_events,
        backlog_bytes: backlog_events * 200,
        oldest_age_seconds: (backlog_events > 0).then_some(190.0),
        rate: Some(Rate { events_in: 1500.0, events_out: 0.5, ..Rate::default() }),
        last_success: Some(ago(190)),
        last_error: Some(Incident { at: ago(2), state: state.into(), reason: reason.into() }),
        cost: Some(Cost { payload_bytes: 1 << 30, calls: 270, ..Cost::default() }),
        records: Records::default(),
    }
}

fn state(state: &str, reason: &str) -> State {
    State { state: state.into(), reason: reason.into(), since: UNIX_EPOCH }
}

fn seen(rows: Vec<Row>) -> Seen {
    let mut snapshot = crate::admin::Registry::new(
        std::sync::Arc::new(crate::admin::NoStreams),
        std::sync::Arc::default(),
        0.029,
    )
    .snapshot();
    snapshot.disk.bytes_max = 20 << 30;
    let sight = Sight {
        agent: Agent::Running,
        pid: Some(7),
        notes: Vec::new(),
        streams: Vec::new(),
        snapshot: Some(Box::new(snapshot)),
    };
    let place = Place::of_data_dir(std::path::Path::new("/data")).unwrap();
    let totals = super::super::totals(&rows, sight.snapshot.as_deref());
    Seen { place, sight, rows, totals }
}

fn two() -> Seen {
    seen(vec![
        row("clicks", "ok", "", 12),
        row("orders", "unreachable", "connection refused (127.0.0.1:9)", 1_234_567),
    ])
}

#[test]
fn the_stream_in_trouble_comes_first_and_the_columns_stand() {
    let screen = render(&two(), false, false, None);
    let lines: Vec<_> = screen.lines().collect();
    assert_eq!(
        lines[3],
        "1 of 2 streams in trouble, for up to 3m 12s; 1,234,567 events wait there"
    );
    let table = &lines[5..];
    assert!(table[0].starts_with("STREAM  STATE"), "{screen}");
    assert!(table[1].starts_with("orders  unreachable  3m 12s  1,234,567"), "{screen}");
    assert!(table[2].starts_with("clicks  ok           3m 12s         12"), "{screen}");
    assert!(table[3].starts_with("total                        1,234,579"), "{screen}");
    assert!(table[1].ends_with("3m 10s ago      2s ago  connection refused (127.0.0.1:9)"));
    let at = |line: &str, text: &str| line.find(text).map(|at| at + text.len());
    assert_eq!(at(table[0], "IN/S"), at(table[1], "1,500"), "{screen}");
    assert_eq!(at(table[0], "OUT/S"), at(table[1], "1,500    0.5"), "{screen}");
}

#[test]
fn a_full_disk_and_a_store_in_trouble_are_said_above_everything() {
    let mut seen = two();
    let snapshot = seen.sight.snapshot.as_mut().unwrap();
    snapshot.disk.full = Some("wal.bytes_max".into());
    snapshot.offsets = state("failing", "no space left on device");
    let screen = render(&seen, false, false, None);
    assert!(screen.contains("FULL: wal.bytes_max is reached"), "{screen}");
    assert!(screen.lines().next().unwrap().contains("offsets failing for"), "{screen}");
    assert!(screen.contains("no space left on device"), "{screen}");
}

#[test]
fn all_is_well_is_said_as_well() {
    let screen = render(&seen(vec![row("clicks", "ok", "", 12)]), false, false, None);
    assert!(screen.contains("\nall is well, 12 events wait\n"), "{screen}");
    assert!(!screen.contains("total"), "one stream needs no total:\n{screen}");
}

#[test]
fn costs_are_shown_where_they_are_asked_for() {
    assert!(!render(&two(), false, false, None).contains("RATIO"));
    let screen = render(&two(), true, false, None);
    assert!(screen.contains("RATIO") && screen.contains("\nall streams "), "{screen}");
    assert!(screen.contains("1.0 GiB"), "{screen}");
}

fn unasked(stream: &str, state: &str) -> Row {
    let settings = crate::config::from_text("test", "data_dir = \"/tmp\"").unwrap();
    let settings = settings.config.stream_default;
    let unknown = Description::of(DestinationKind::Unasked);
    let choice = crate::router::choice::choose(&settings, &unknown);
    let aggregate = State {
        state: choice.word().into(),
        reason: format!("{}; asked: no route to host", choice.reason),
        since: ago(75),
    };
    let compression = State { state: "none".into(), reason: "twice".into(), since: ago(75) };
    let records = Records {
        aggregate: Some(aggregate),
        compression: Some(compression),
        unnamed: Some([("not_json".to_owned(), 7)].into()),
    };
    Row { records, ..row(stream, state, "", 12) }
}

#[test]
fn how_records_are_made_and_why_is_shown_beside_the_costs() {
    let screen = render(&seen(vec![unasked("clicks", "ok")]), true, false, None);
    assert!(
        screen.contains("RECORDS  AGGREGATE     FOR  COMPRESSION  UNNAMED  BECAUSE\n"),
        "{screen}"
    );
    let line = screen.lines().last().unwrap();
    assert!(
        line.starts_with("clicks   none       1m 15s  none               7  the dest"),
        "{screen}"
    );
    for why in ["asked: no route to host", "not compressed: twice", "7 without a name: not_json"] {
        assert!(line.contains(why), "{line}");
    }
}

#[test]
fn one_event_per_record_without_need_is_said_once_with_what_to_do() {
    let mut rows: Vec<_> = ["a", "b", "c", "d"].map(|name| unasked(name, "ok")).into();
    rows.push(unasked("e", "paused"));
    let notes = expensive(&rows);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("(a, b, c and 1 more)"), "{notes:?}");
    assert!(
        notes[0].contains("upload.ask_within") && notes[0].contains("`aggregate`"),
        "{notes:?}"
    );
    for (state, reason, expected) in [
        ("none", "configured: aggregate = \"none\"", false),
        ("lines", "objects are records one behind the other", false),
        (
            "none",
            "the credentials may not ask the destination (firehose:DescribeDeliveryStream)",
            true,
        ),
    ] {
        let mut row = unasked("a", "ok");
        row.records.aggregate = Some(State { state: state.into(), ..self::state("", reason) });
        assert_eq!(!expensive(&[row]).is_empty(), expected, "{reason}");
    }
}
