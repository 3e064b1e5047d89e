use proptest::prelude::*;
use standpipe_wal::{Events, Flags};

use super::*;
use crate::config::{StreamConfig, defaults};
use crate::router::choice::Choice;

mod worked;

const SMALL: Limits = Limits { records_max: 5, record_bytes_max: 40, call_bytes_max: 120 };

fn body(events: &[&[u8]]) -> Events {
    let mut run = Events::with_capacity(0, Flags::default());
    for event in events {
        run.push(event);
    }
    run
}

fn choice(lines: bool) -> Choice {
    Choice {
        lines,
        events_max: u64::MAX,
        ends_open: false,
        reason: String::new(),
        compressed: false,
        not_compressed_because: "",
    }
}

fn rule_of(choice: &Choice, delimiter: &[u8]) -> Rule {
    let settings = StreamConfig { delimiter: delimiter.to_vec(), ..defaults::stream() };
    Rule::new(choice, &settings, SMALL.record_bytes_max, LogId::new([0xab; 16]))
}

fn lot(base: u64, raw: bool, events: &Events) -> Lot<'_> {
    Lot { base: Offset::new(base), raw, log_id: None, time_ms: 0, body: events.body() }
}

fn pack(lines: bool, delimiter: &[u8], raw: bool, events: &[&[u8]]) -> (Packed, Taken) {
    pack_by(&rule_of(&choice(lines), delimiter), raw, events)
}

fn pack_by(rule: &Rule, raw: bool, events: &[&[u8]]) -> (Packed, Taken) {
    let mut packer = Packer::new(rule, SMALL, Vec::new());
    let taken = packer.take(&lot(0, raw, &body(events)));
    (packer.finish(), taken)
}

fn texts(packed: &Packed) -> Vec<&[u8]> {
    packed.records.iter().collect()
}

#[test]
fn the_delimiter_ends_every_event_also_the_last_of_a_record() {
    let (packed, _) = pack(true, b"\n", false, &[b"a", b"bc", b"d"]);
    assert_eq!(texts(&packed), [b"a\nbc\nd\n"]);
    let (packed, _) = pack(false, b"\r\n", false, &[b"a", b"bc"]);
    assert_eq!(texts(&packed), [&b"a\r\n"[..], b"bc\r\n"]);
    let (packed, _) = pack(true, b"", false, &[b"a", b"b"]);
    assert_eq!(texts(&packed), [b"ab"]);
}

#[test]
fn what_is_saved_by_joining_is_known_event_by_event() {
    let long = vec![b'x'; 5120];
    let rule = rule_of(&choice(true), b"\n");
    let limits = Limits { record_bytes_max: 100_000, call_bytes_max: 100_000, ..SMALL };
    let mut packer = Packer::new(&rule, limits, Vec::new());
    // With its delimiter the first is one byte beyond a step, the second fills one, raw has none.
    packer.take(&lot(0, false, &body(&[&long, &long[1..], b"x"])));
    packer.take(&lot(3, true, &body(&[&long])));
    let billed: Vec<_> = packer.finish().spans.iter().map(|span| span.billed_alone_bytes).collect();
    assert_eq!(billed, [4 * 5120, 5120]);
}

#[test]
fn raw_events_are_records_of_their_own_without_a_delimiter() {
    let rule = rule_of(&choice(true), b"\n");
    let mut packer = Packer::new(&rule, SMALL, Vec::new());
    packer.take(&lot(0, false, &body(&[b"a"])));
    packer.take(&lot(1, true, &body(&[b"r1", b"r2"])));
    packer.take(&lot(3, false, &body(&[b"b"])));
    assert_eq!(texts(&packer.finish()), [&b"a\n"[..], b"r1", b"r2", b"b\n"]);
}

#[test]
fn records_never_span_a_gap_in_the_log() {
    let rule = rule_of(&choice(true), b"\n");
    let mut packer = Packer::new(&rule, SMALL, Vec::new());
    packer.take(&lot(0, false, &body(&[b"a"])));
    packer.take(&lot(1, false, &body(&[b"b"])));
    packer.take(&lot(5, false, &body(&[b"c"])));
    let call = packer.finish();
    assert_eq!(texts(&call), [&b"a\nb\n"[..], b"c\n"]);
    let ranges: Vec<_> = call.spans.iter().map(|s| (s.start.get(), s.end.get())).collect();
    assert_eq!(ranges, [(0, 2), (5, 6)]);
}

#[test]
fn limits_are_met_exactly() {
    // 39 bytes and the delimiter are a full record; three of those are a full call.
    let event = [b'x'; 39];
    let (packed, taken) = pack(true, b"\n", false, &[&event, &event, &event, b"y"]);
    assert_eq!(packed.spans.iter().map(|s| s.bytes).collect::<Vec<_>>(), [40, 40, 40]);
    assert_eq!(taken, Taken { next: Offset::new(3), full: true });
    let (packed, taken) = pack(false, b"\n", false, &[b"1", b"2", b"3", b"4", b"5", b"6"]);
    assert_eq!((packed.spans.len(), taken.next.get(), taken.full), (5, 5, true));
}

#[test]
fn the_first_event_of_a_call_is_taken_whatever_its_size() {
    let (packed, taken) = pack(true, b"\n", false, &[&[b'x'; 500], b"y"]);
    assert_eq!((packed.spans.len(), taken.next.get(), taken.full), (1, 1, true));
}

#[test]
fn events_that_contain_the_delimiter_are_counted() {
    let (packed, _) = pack(true, b"\n", false, &[b"a\nb", b"c", b"\n"]);
    assert_eq!(packed.embedded_delimiter, 2);
    let (packed, _) = pack(true, b"||", false, &[b"a|b", b"a||b"]);
    assert_eq!(packed.embedded_delimiter, 1);
    let (packed, _) = pack(true, b"\n", true, &[b"a\nb"]);
    assert_eq!(packed.embedded_delimiter, 0, "nothing ends a raw event");
}

#[test]
fn a_record_of_an_open_end_has_its_delimiters_between_events() {
    let open = |lines| rule_of(&Choice { ends_open: true, ..choice(lines) }, b"\n");
    let (packed, _) = pack_by(&open(true), false, &[b"a", b"bc", b"d"]);
    assert_eq!(texts(&packed), [b"a\nbc\nd"]);
    let (packed, _) = pack_by(&open(false), false, &[b"a", b"bc"]);
    assert_eq!(texts(&packed), [&b"a"[..], b"bc"]);
    // 40 bytes without a delimiter fit exactly.
    let (packed, taken) = pack_by(&open(true), false, &[&[b'x'; 20], &[b'y'; 19], b"z"]);
    assert_eq!(packed.spans.iter().map(|s| s.bytes).collect::<Vec<_>>(), [40, 1]);
    assert!(!taken.full);
}

#[test]
fn a_record_holds_no_more_events_than_it_may() {
    let rule = rule_of(&Choice { events_max: 2, ..choice(true) }, b"\n");
    let (packed, _) = pack_by(&rule, false, &[b"a", b"b", b"c", b"d", b"e"]);
    assert_eq!(texts(&packed), [&b"a\nb\n"[..], b"c\nd\n", b"e\n"]);
    assert_eq!(rule.events_per_call(5), 10);
    assert_eq!(rule_of(&choice(false), b"\n").events_per_call(5), 5);
    assert_eq!(rule_of(&choice(true), b"\n").events_per_call(5), u64::MAX);
}

proptest! {
    /// Whatever the events and however they lie in frames: taking the calls' records apart again
    /// gives the events, in order, each once; every limit holds; and no record and no call has room
    /// for the event that follows it.
    #[test]
    fn calls_hold_every_event_once_and_are_as_full_as_their_limits_allow(
        frames in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec("[a-z]{0,50}", 1..12)), 1..8),
        (lines, ends_open) in any::<(bool, bool)>(),
        events_max in prop_oneof![1u64..6, Just(u64::MAX)],
    ) {
        let rule = rule_of(&Choice { events_max, ends_open, ..choice(lines) }, b"\n");
        let calls = pack_all(&rule, &frames);
        let events: Vec<(bool, &str)> = frames
            .iter()
            .flat_map(|(raw, events)| events.iter().map(|event| (*raw, event.as_str())))
            .collect();
        let mut expected = events.iter();
        for (number, call) in calls.iter().enumerate() {
            prop_assert!(call.spans.len() <= SMALL.records_max);
            prop_assert_eq!(call.spans.len(), call.records.len());
            for (index, (span, record)) in call.spans.iter().zip(call.records.iter()).enumerate() {
                let count = usize::try_from(span.end.since(span.start)).unwrap();
                let held: Vec<_> = expected.by_ref().take(count).collect();
                prop_assert!(lines && held.iter().all(|(raw, _)| !raw) || held.len() == 1);
                prop_assert!(held.len() as u64 <= events_max);
                let end = if held[0].0 { "" } else { "\n" };
                let mut rebuilt = held.iter().map(|(_, event)| *event).collect::<Vec<_>>().join(end);
                if !ends_open {
                    rebuilt.push_str(end);
                }
                prop_assert_eq!(rebuilt.as_bytes(), record);
                prop_assert_eq!(span.bytes, record.len());
                prop_assert!(record.len() <= SMALL.record_bytes_max || held.len() == 1);
                let payload: usize = held.iter().map(|(_, event)| event.len()).sum();
                prop_assert_eq!(payload, span.payload_bytes);
                let Some((raw, next)) = expected.as_slice().first() else { continue };
                // What the next event would add to this record, and as a record of its own.
                let joined = next.len() + 1;
                let alone = next.len() + usize::from(!*raw && !ends_open);
                let joinable = lines && !raw && !held[0].0 && (held.len() as u64) < events_max;
                let last = index + 1 == call.spans.len();
                let data = call.records.data.len();
                if last && number + 1 < calls.len() {
                    let records = call.records.len();
                    prop_assert!(
                        records == SMALL.records_max || data + alone > SMALL.call_bytes_max,
                        "the call had room for another record"
                    );
                }
                if joinable && (!last || data + joined <= SMALL.call_bytes_max) {
                    prop_assert!(
                        record.len() + joined > SMALL.record_bytes_max
                            || data + joined > SMALL.call_bytes_max,
                        "the record had room for another event"
                    );
                }
            }
            prop_assert!(call.records.data.len() <= SMALL.call_bytes_max || call.spans.len() == 1);
        }
        prop_assert!(expected.next().is_none());
    }
}

/// The calls that frames become.
fn pack_all(rule: &Rule, frames: &[(bool, Vec<String>)]) -> Vec<Packed> {
    let mut at = Offset::ZERO;
    let mut packer = Packer::new(rule, SMALL, Vec::new());
    let mut calls = Vec::new();
    for (raw, events) in frames {
        let mut rest: &[String] = events;
        loop {
            let run = body(&rest.iter().map(String::as_bytes).collect::<Vec<_>>());
            let taken = packer.take(&lot(at.get(), *raw, &run));
            rest = &rest[usize::try_from(taken.next.since(at)).unwrap()..];
            at = taken.next;
            if !taken.full {
                assert!(rest.is_empty());
                break;
            }
            calls.push(
                std::mem::replace(&mut packer, Packer::new(rule, SMALL, Vec::new())).finish(),
            );
        }
    }
    calls.push(packer.finish());
    calls
}
