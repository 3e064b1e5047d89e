//! Records that are not simply their events: compressed ones, and those of events with names.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::config::{Identity, IdentityForm};
use crate::limits::GZIP_FLUSH_BYTES_MIN;

const LIMITS: Limits = Limits { records_max: 5, record_bytes_max: 40_000, call_bytes_max: 120_000 };

fn compressed(lines: bool) -> Rule {
    rule_of(&Choice { compressed: true, ..choice(lines) }, b"\n")
}

fn named(identity: Identity, identity_as: IdentityForm, compressed: bool) -> Rule {
    let settings = StreamConfig { identity, identity_as, ..defaults::stream() };
    let choice = Choice { compressed, ..choice(true) };
    Rule::new(&choice, &settings, SMALL.record_bytes_max * 10, LogId::new([0xab; 16]))
}

fn decompressed(data: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    MultiGzDecoder::new(data).read_to_end(&mut all).unwrap();
    all
}

/// All calls that events become, each in a buffer of the size that a router would reserve.
fn calls(rule: &Rule, limits: Limits, events: &[Vec<u8>]) -> Vec<Packed> {
    let mut calls = Vec::new();
    let mut at = 0;
    while at < events.len() {
        let data = Vec::with_capacity(limits.call_bytes_max);
        let mut packer = Packer::new(rule, limits, data);
        while at < events.len() {
            let mut run = Events::with_capacity(0, Flags::default());
            for event in events[at..].iter().take(20) {
                run.push(event);
            }
            let taken = packer.take(&lot(at as u64, false, &run));
            at = usize::try_from(taken.next.get()).unwrap();
            if taken.full {
                break;
            }
        }
        calls.push(packer.finish());
    }
    calls
}

#[test]
fn each_record_is_a_gzip_member_and_members_are_joined_by_nothing() {
    let rule = compressed(true);
    let mut packer = Packer::new(&rule, LIMITS, Vec::with_capacity(LIMITS.call_bytes_max));
    packer.take(&lot(0, false, &body(&[b"a", b"bc"])));
    packer.take(&lot(2, true, &body(&[b"raw"])));
    packer.take(&lot(9, false, &body(&[b"d"])));
    let call = packer.finish();
    let records: Vec<_> = texts(&call).into_iter().map(decompressed).collect();
    assert_eq!(records, [&b"a\nbc\n"[..], b"raw", b"d\n"]);
    assert_eq!(decompressed(&call.records.data), b"a\nbc\nrawd\n");
    let payloads: Vec<_> = call.spans.iter().map(|span| span.payload_bytes).collect();
    assert_eq!(payloads, [3, 3, 1]);
    assert_eq!(call.weight(1), 3 + 2 + 3 + 1 + 1 + 1);
}

#[test]
fn an_event_that_no_record_can_hold_goes_all_the_same() {
    let mut random = fastrand::Rng::with_seed(3);
    let event: Vec<u8> = (0..LIMITS.record_bytes_max * 4).map(|_| random.u8(..)).collect();
    let calls = calls(&compressed(true), LIMITS, &[event.clone(), b"small".to_vec()]);
    assert_eq!(decompressed(&calls[0].records.data), [&event, &b"\n"[..]].concat());
    assert_eq!(decompressed(&calls[1].records.data), b"small\n");
}

#[test]
fn names_count_against_the_limits_and_are_the_same_each_time() {
    let rule = named(Identity::Id, IdentityForm::Prefix, false);
    // Each event weighs its 32 + 1 + digits + 1 bytes of name, its payload and the delimiter.
    let events: Vec<Vec<u8>> = (0..40).map(|_| b"0123456789".to_vec()).collect();
    let limits = Limits { records_max: 5, record_bytes_max: 400, call_bytes_max: 1200 };
    let calls = calls(&rule, limits, &events);
    let sizes: Vec<_> = calls[0].spans.iter().map(|span| span.bytes).collect();
    assert_eq!(sizes, [8 * 46, 2 * 46 + 6 * 47, 8 * 47, 47]);
    let record = String::from_utf8(texts(&calls[0])[1].to_vec()).unwrap();
    let lines: Vec<_> = record.lines().collect();
    assert_eq!(lines[0], format!("{}-8 0123456789", "ab".repeat(16)));
    assert_eq!(lines[2], format!("{}-10 0123456789", "ab".repeat(16)));
    // The same event in another call, behind other ones.
    let mut packer = Packer::new(&rule, limits, Vec::new());
    packer.take(&lot(10, false, &body(&[b"0123456789"])));
    assert_eq!(texts(&packer.finish()), [format!("{}\n", lines[2]).as_bytes()]);
}

#[test]
fn events_without_a_name_are_counted_by_reason() {
    let rule = named(Identity::IdAndTime, IdentityForm::Members, false);
    let limits = Limits { records_max: 5, record_bytes_max: 4000, call_bytes_max: 4000 };
    let mut packer = Packer::new(&rule, limits, Vec::new());
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(SMALL.record_bytes_max * 10 - 20));
    packer.take(&lot(0, false, &body(&[b"{}", b"text", large.as_bytes()])));
    packer.take(&lot(3, true, &body(&[b"{}", b"{}"])));
    let call = packer.finish();
    assert_eq!(call.unnamed, Unnamed { not_object: 1, raw: 2, too_large: 1 });
    let lines = String::from_utf8(texts(&call)[0].to_vec()).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].contains("standpipe_time"), "{}", lines[0]);
    assert_eq!(&lines[1..], ["text", &large]);
    assert_eq!(&texts(&call)[1..], [b"{}", b"{}"]);
}

/// Events that compress well, badly or not at all.
fn events() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = "[a-f]{1,300}".prop_map(String::into_bytes);
    let same = (1usize..4000).prop_map(|size| vec![b'x'; size]);
    let noise = (any::<u64>(), 1usize..6000).prop_map(|(seed, size)| {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..size).map(|_| random.u8(..)).collect()
    });
    proptest::collection::vec(prop_oneof![4 => text, 1 => same, 2 => noise], 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the events: decompressing the calls gives them back in order, each once; limits hold
    /// for what is sent; nothing outgrows the memory that was reserved; and what is closed was full
    /// but for what a compressor may hold back.
    #[test]
    fn compressed_records_keep_the_limits_and_are_nearly_full(
        events in events(),
        lines in any::<bool>(),
    ) {
        let calls = calls(&compressed(lines), LIMITS, &events);
        let mut at = 0;
        for (number, call) in calls.iter().enumerate() {
            prop_assert!(call.records.data.len() <= LIMITS.call_bytes_max);
            prop_assert_eq!(call.records.data.capacity(), LIMITS.call_bytes_max);
            prop_assert!(call.spans.len() <= LIMITS.records_max);
            for (index, (span, record)) in call.spans.iter().zip(call.records.iter()).enumerate() {
                let end = usize::try_from(span.end.get()).unwrap();
                let mut expected = Vec::new();
                for event in &events[at..end] {
                    expected.extend_from_slice(event);
                    expected.push(b'\n');
                }
                prop_assert_eq!(decompressed(record), expected);
                prop_assert_eq!(span.bytes, record.len());
                prop_assert!(record.len() <= LIMITS.record_bytes_max);
                prop_assert!(lines || end == at + 1);
                at = end;
                let Some(next) = events.get(at) else { continue };
                let held_back = Member::bytes_max(GZIP_FLUSH_BYTES_MIN + next.len() + 1);
                let last = index + 1 == call.spans.len();
                if lines && !(last && number + 1 == calls.len()) {
                    prop_assert!(
                        record.len() + held_back > LIMITS.record_bytes_max
                            || call.records.data.len() + held_back > LIMITS.call_bytes_max,
                        "a record of {} bytes was closed", record.len()
                    );
                }
            }
        }
        prop_assert_eq!(at, events.len());
    }
}
