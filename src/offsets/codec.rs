//! What lies in the store: keys `SINK NUL STREAM`, values a version byte and then bincode.
//!
//! The bincode options are pinned here, because its two entry points have different defaults:
//! fixed-width integers, little-endian, nothing behind the value. A new version gets a new byte and
//! a new struct; old bytes stay readable.

use bincode::Options;
use standpipe_wal::StreamName;

use serde::Deserialize;

use super::{Key, Progress, Unconfirmed};

/// What is written.
const VERSION: u8 = 2;

/// Until 0.1: without what was passed beyond the commit, and without a bound.
const VERSION_1: u8 = 1;

/// The value of version 1.
#[derive(Deserialize)]
struct Progress1 {
    log_id: [u8; 16],
    committed: u64,
    delivered: Vec<(u64, u64)>,
    unconfirmed: Vec<Unconfirmed>,
}

impl From<Progress1> for Progress {
    fn from(old: Progress1) -> Self {
        let Progress1 { log_id, committed, delivered, unconfirmed } = old;
        Self { log_id, committed, delivered, unconfirmed, ..Self::default() }
    }
}

/// Between sink and stream. No stream name can hold it, so the last one always separates.
const SEPARATOR: u8 = 0;

/// What the bytes of a value were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A value.
    Progress(Progress),
    /// Written by a version that this one does not know.
    UnknownVersion(u8),
    /// No value of the version that it claims.
    Malformed,
}

impl Key {
    /// The key's bytes in the store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.sink.len() + 1 + self.stream.as_str().len());
        bytes.extend_from_slice(self.sink.as_bytes());
        bytes.push(SEPARATOR);
        bytes.extend_from_slice(self.stream.as_str().as_bytes());
        bytes
    }

    /// The key that has these bytes, if one can.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let at = bytes.iter().rposition(|&byte| byte == SEPARATOR)?;
        let (sink, stream) = (bytes.get(..at)?, bytes.get(at + 1..)?);
        Some(Self {
            stream: StreamName::from_bytes(stream).ok()?,
            sink: std::str::from_utf8(sink).ok()?.to_owned(),
        })
    }
}

impl Progress {
    /// The value's bytes in the store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        #[expect(clippy::expect_used, reason = "plain fields into memory: nothing can fail")]
        options().serialize_into(&mut bytes, self).expect("a progress can be encoded");
        bytes
    }

    /// Reads a value. Takes any bytes.
    pub fn decode(bytes: &[u8]) -> Decoded {
        let progress = match bytes.split_first() {
            Some((&VERSION, rest)) => options().deserialize::<Self>(rest),
            Some((&VERSION_1, rest)) => options().deserialize::<Progress1>(rest).map(Self::from),
            Some((&version, _)) => return Decoded::UnknownVersion(version),
            None => return Decoded::Malformed,
        };
        match progress {
            Ok(progress) if progress.is_consistent() => Decoded::Progress(progress),
            Ok(_) | Err(_) => Decoded::Malformed,
        }
    }

    /// Whether the ranges are what the fields promise.
    fn is_consistent(&self) -> bool {
        ascend(self.committed, self.delivered.iter().copied())
            && ascend(self.committed, self.passed.iter().map(|passed| (passed.start, passed.end)))
            && self.unconfirmed.iter().all(|range| range.start < range.end)
            && self.folded.is_sorted_by(|(reason, _), (next, _)| reason < next)
    }
}

/// Whether ranges lie one behind the other, none of them empty, none before `from`.
fn ascend(from: u64, mut ranges: impl Iterator<Item = (u64, u64)>) -> bool {
    let mut end_before = from;
    ranges.all(|(start, end)| {
        let fits = end_before <= start && start < end;
        end_before = end;
        fits
    })
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .reject_trailing_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offsets::{Reason, Unconfirmed};

    /// Version 1, byte for byte: what lies on disks out there.
    const GOLDEN_1: &str = "01\
        000102030405060708090a0b0c0d0e0f\
        e803000000000000\
        0100000000000000d0070000000000003408000000000000\
        0200000000000000\
        0a000000000000000c0000000000000000000000\
        14000000000000001500000000000000\
        02000000";

    /// Version 2, which is what is written.
    const GOLDEN: &str = "02\
        000102030405060708090a0b0c0d0e0f\
        e803000000000000\
        0100000000000000d0070000000000003408000000000000\
        0100000000000000\
        340800000000000035080000000000000200\
        0000\
        0200000000000000\
        0a000000000000000c0000000000000000000000\
        14000000000000001500000000000000\
        02000000\
        0100000000000000\
        030000000700000000000000";

    fn golden_1() -> Progress {
        Progress { passed: Vec::new(), folded: Vec::new(), ..golden() }
    }

    fn golden() -> Progress {
        Progress {
            log_id: std::array::from_fn(|i| u8::try_from(i).unwrap()),
            committed: 1000,
            delivered: vec![(2000, 2100)],
            passed: vec![Unconfirmed { start: 2100, end: 2101, reason: Reason::DeadLetter }],
            folded: vec![(Reason::Trimmed, 7)],
            unconfirmed: vec![
                Unconfirmed { start: 10, end: 12, reason: Reason::Lost },
                Unconfirmed { start: 20, end: 21, reason: Reason::DeadLetter },
            ],
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn version_2_keeps_its_bytes_and_version_1_stays_readable() {
        assert_eq!(golden().encode(), unhex(GOLDEN));
        assert_eq!(Progress::decode(&unhex(GOLDEN)), Decoded::Progress(golden()));
        assert_eq!(Progress::decode(&unhex(GOLDEN_1)), Decoded::Progress(golden_1()));
    }

    #[test]
    fn reasons_keep_their_numbers() {
        for (number, reason) in
            [Reason::Lost, Reason::Reserved, Reason::DeadLetter, Reason::Trimmed, Reason::Unproven]
                .iter()
                .enumerate()
        {
            let expected = u32::try_from(number).unwrap().to_le_bytes();
            assert_eq!(options().serialize(reason).unwrap(), expected, "{reason:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_said_to_be_none() {
        let whole = unhex(GOLDEN);
        for length in 0..whole.len() {
            assert_eq!(Progress::decode(&whole[..length]), Decoded::Malformed, "{length} bytes");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(Progress::decode(&longer), Decoded::Malformed);

        let mut newer = whole;
        newer[0] = 3;
        assert_eq!(Progress::decode(&newer), Decoded::UnknownVersion(3));

        for delivered in [vec![(5, 5)], vec![(999, 1001)], vec![(1005, 1010), (1009, 1012)]] {
            let wrong = Progress { delivered, ..golden() }.encode();
            assert_eq!(Progress::decode(&wrong), Decoded::Malformed);
        }
    }

    #[test]
    fn keys_survive_sink_names_of_any_kind() {
        for sink in ["firehose", "", "a\0b", "größer"] {
            let key = Key { stream: "orders.eu".parse().unwrap(), sink: sink.into() };
            assert_eq!(Key::decode(&key.encode()), Some(key));
        }
        for bad in [&b"no separator"[..], b"", b"sink\0", b"sink\0bad name", b"\xff\0stream"] {
            assert_eq!(Key::decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes: Vec<u8>) {
            if let Decoded::Progress(progress) = Progress::decode(&bytes) {
                let again = Progress::decode(&progress.encode());
                prop_assert_eq!(again, Decoded::Progress(progress));
            }
        }

        #[test]
        fn every_consistent_value_survives(
            log_id: [u8; 16],
            committed in 0..1_u64 << 60,
            gaps in proptest::collection::vec((0..1000_u64, 1..1000_u64), 0..20),
        ) {
            let mut end_before = committed;
            let delivered = gaps.iter().map(|(gap, length)| {
                let range = (end_before + gap, end_before + gap + length);
                end_before = range.1;
                range
            }).collect();
            let progress = Progress { log_id, committed, delivered, ..Progress::default() };
            let bytes = progress.encode();
            prop_assert_eq!(Progress::decode(&bytes), Decoded::Progress(progress));
        }
    }
}
