use proptest::prelude::*;
use standpipe_wal::{Events, Flags};

use super::*;

const SMALL: Limits = Limits { records_max: 5, record_bytes_max: 40, call_bytes_max: 120 };

fn body(events: &[&[u8]]) -> Events {
    let mut run = Events::with_capacity(0, Flags::default());
    for event in events {
        run.push(event);
    }
    run
}

fn pack(aggregate: Aggregate, delimiter: &[u8], raw: bool, events: &[&[u8]]) -> (Packed, Taken) {
    let rule = Rule::new(aggregate, delimiter);
    let mut packer = Packer::new(&rule, SMALL, Vec::new());
    let taken = packer.take(Offset::ZERO, raw, body(events).body());
    (packer.finish(), taken)
}

fn texts(packed: &Packed) -> Vec<&[u8]> {
    packed.records.iter().collect()
}

#[test]
fn the_delimiter_ends_every_event_also_the_last_of_a_record() {
    let (packed, _) = pack(Aggregate::Lines, b"\n", false, &[b"a", b"bc", b"d"]);
    assert_eq!(texts(&packed), [b"a\nbc\nd\n"]);
    let (packed, _) = pack(Aggregate::None, b"\r\n", false, &[b"a", b"bc"]);
    assert_eq!(texts(&packed), [&b"a\r\n"[..], b"bc\r\n"]);
    let (packed, _) = pack(Aggregate::Auto, b"\n", false, &[b"a", b"b"]);
    assert_eq!(texts(&packed), [b"a\n", b"b\n"], "auto means none");
    let (packed, _) = pack(Aggregate::Lines, b"", false, &[b"a", b"b"]);
    assert_eq!(texts(&packed), [b"ab"]);
}

#[test]
fn raw_events_are_records_of_their_own_without_a_delimiter() {
    let rule = Rule::new(Aggregate::Lines, b"\n");
    let mut packer = Packer::new(&rule, SMALL, Vec::new());
    packer.take(Offset::ZERO, false, body(&[b"a"]).body());
    packer.take(Offset::new(1), true, body(&[b"r1", b"r2"]).body());
    packer.take(Offset::new(3), false, body(&[b"b"]).body());
    assert_eq!(texts(&packer.finish()), [&b"a\n"[..], b"r1", b"r2", b"b\n"]);
}

#[test]
fn records_never_span_a_gap_in_the_log() {
    let rule = Rule::new(Aggregate::Lines, b"\n");
    let mut packer = Packer::new(&rule, SMALL, Vec::new());
    packer.take(Offset::ZERO, false, body(&[b"a"]).body());
    packer.take(Offset::new(1), false, body(&[b"b"]).body());
    packer.take(Offset::new(5), false, body(&[b"c"]).body());
    let call = packer.finish();
    assert_eq!(texts(&call), [&b"a\nb\n"[..], b"c\n"]);
    let ranges: Vec<_> = call.spans.iter().map(|s| (s.start.get(), s.end.get())).collect();
    assert_eq!(ranges, [(0, 2), (5, 6)]);
}

#[test]
fn limits_are_met_exactly() {
    // 39 bytes and the delimiter are a full record; three of those are a full call.
    let event = [b'x'; 39];
    let (packed, taken) = pack(Aggregate::Lines, b"\n", false, &[&event, &event, &event, b"y"]);
    assert_eq!(packed.spans.iter().map(|s| s.bytes).collect::<Vec<_>>(), [40, 40, 40]);
    assert_eq!(taken, Taken { next: Offset::new(3), full: true });
    let (packed, taken) =
        pack(Aggregate::None, b"\n", false, &[b"1", b"2", b"3", b"4", b"5", b"6"]);
    assert_eq!((packed.spans.len(), taken.next.get(), taken.full), (5, 5, true));
}

#[test]
fn the_first_event_of_a_call_is_taken_whatever_its_size() {
    let (packed, taken) = pack(Aggregate::Lines, b"\n", false, &[&[b'x'; 500], b"y"]);
    assert_eq!((packed.spans.len(), taken.next.get(), taken.full), (1, 1, true));
}

#[test]
fn events_that_contain_the_delimiter_are_counted() {
    let (packed, _) = pack(Aggregate::Lines, b"\n", false, &[b"a\nb", b"c", b"\n"]);
    assert_eq!(packed.embedded_delimiter, 2);
    let (packed, _) = pack(Aggregate::Lines, b"||", false, &[b"a|b", b"a||b"]);
    assert_eq!(packed.embedded_delimiter, 1);
    let (packed, _) = pack(Aggregate::Lines, b"\n", true, &[b"a\nb"]);
    assert_eq!(packed.embedded_delimiter, 0, "nothing ends a raw event");
}

proptest! {
    /// Whatever the events and however they lie in frames: taking the calls' records apart again
    /// gives the events, in order, each once, and every limit holds.
    #[test]
    fn calls_hold_every_event_once_and_keep_the_limits(
        frames in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec("[a-z]{0,50}", 1..12)), 1..8),
        lines in any::<bool>(),
    ) {
        let aggregate = if lines { Aggregate::Lines } else { Aggregate::None };
        let rule = Rule::new(aggregate, b"\n");
        let mut at = Offset::ZERO;
        let mut packer = Packer::new(&rule, SMALL, Vec::new());
        let mut calls = Vec::new();
        for (raw, events) in &frames {
            let mut rest: &[String] = events;
            loop {
                let run = body(&rest.iter().map(String::as_bytes).collect::<Vec<_>>());
                let taken = packer.take(at, *raw, run.body());
                rest = &rest[usize::try_from(taken.next.since(at)).unwrap()..];
                at = taken.next;
                if !taken.full {
                    prop_assert!(rest.is_empty());
                    break;
                }
                calls.push(packer.finish());
                packer = Packer::new(&rule, SMALL, Vec::new());
            }
        }
        calls.push(packer.finish());
        let mut expected = frames
            .iter()
            .flat_map(|(raw, events)| events.iter().map(move |event| (*raw, event)));
        let mut offset = Offset::ZERO;
        for call in &calls {
            let alone = call.spans.len() == 1 && offset.after(1) == call.spans[0].end;
            prop_assert!(call.records.data.len() <= SMALL.call_bytes_max || alone);
            prop_assert!(call.spans.len() <= SMALL.records_max);
            prop_assert_eq!(call.spans.len(), call.records.len());
            for (span, record) in call.spans.iter().zip(call.records.iter()) {
                prop_assert_eq!(span.start, offset);
                prop_assert_eq!(span.bytes, record.len());
                let count = span.end.since(span.start);
                prop_assert!(record.len() <= SMALL.record_bytes_max || count == 1);
                prop_assert!(lines || count == 1);
                let mut rebuilt = Vec::new();
                let mut payload = 0;
                for _ in 0..count {
                    let (raw, event) = expected.next().unwrap();
                    prop_assert!(!raw || count == 1);
                    payload += event.len();
                    rebuilt.extend_from_slice(event.as_bytes());
                    if !raw {
                        rebuilt.push(b'\n');
                    }
                }
                prop_assert_eq!(&rebuilt[..], record);
                prop_assert_eq!(payload, span.payload_bytes);
                offset = span.end;
            }
        }
        prop_assert!(expected.next().is_none());
    }
}
