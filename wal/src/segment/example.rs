//! The worked example of `FORMAT.md` is what this code writes and reads, byte for byte.

use super::{Decoded, Header, LogId, Predecessor, Reason, SegmentId};
use crate::events::{Events, Flags};
use crate::frame;
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::offset::Offset;

const SALT: u64 = 0xfeed_0123_4567_89ab;

fn header() -> Header {
    Header {
        stream: "orders".parse().unwrap(),
        base: Offset::new(1000),
        log_id: LogId::new(*b"0123456789abcdef"),
        salt: SALT,
        predecessor: Predecessor { salt: 0x1122_3344_5566_7788, end: Offset::new(1000) },
        reason: Reason::Roll,
        recycled: false,
        created_ms: 1_735_689_600_000,
    }
}

fn events() -> Events {
    let mut events = Events::default();
    events.push(b"hello");
    events.push(b"world!");
    events
}

fn data() -> frame::Header {
    frame::Header {
        salt: SALT,
        base: Offset::new(1000),
        count: 2,
        flags: Flags::default(),
        seal: false,
        durable: Offset::new(1000),
        time_ms: 1_735_689_600_500,
    }
}

fn seal() -> frame::Header {
    frame::Header {
        base: Offset::new(1002),
        count: 0,
        seal: true,
        durable: Offset::new(1002),
        time_ms: 1_735_689_601_000,
        ..data()
    }
}

fn encoded() -> Vec<u8> {
    let mut bytes = header().encode();
    bytes.extend_from_slice(&data().encode([events().body()].into_iter()));
    bytes.extend_from_slice(events().body());
    bytes.extend_from_slice(&seal().encode(std::iter::empty()));
    bytes
}

/// The bytes of the listing that follows the heading "Worked example", in the form of `hexdump -C`:
/// position, up to sixteen bytes, and text; a star stands for lines like the one before it.
fn documented() -> Vec<u8> {
    let page = include_str!("../../FORMAT.md");
    let (_, section) = page.split_once("## Worked example").unwrap();
    let listing = section.split("```").nth(1).unwrap();
    let mut bytes: Vec<u8> = Vec::new();
    let mut starred = false;
    for line in listing.lines().skip(1).filter(|line| !line.is_empty()) {
        if line == "*" {
            starred = true;
            continue;
        }
        let (position, rest) = line.split_once("  ").unwrap_or((line, ""));
        let position = usize::from_str_radix(position, 16).unwrap();
        if std::mem::take(&mut starred) {
            let last = bytes[bytes.len() - 16..].to_vec();
            while bytes.len() < position {
                bytes.extend_from_slice(&last);
            }
        }
        assert_eq!(bytes.len(), position, "{line}");
        let (hex, _text) = rest.split_once("  |").unwrap_or((rest, ""));
        bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

fn listing(bytes: &[u8]) -> String {
    let mut lines = Vec::new();
    let mut last: Option<&[u8]> = None;
    let mut starred = false;
    for (index, line) in bytes.chunks(16).enumerate() {
        if last == Some(line) {
            if !std::mem::replace(&mut starred, true) {
                lines.push("*".to_owned());
            }
            continue;
        }
        (last, starred) = (Some(line), false);
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = line
            .iter()
            .map(
                |byte| {
                    if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }
                },
            )
            .collect();
        lines.push(format!("{:08x}  {:<47}  |{text}|", index * 16, hex.join(" ")));
    }
    lines.push(format!("{:08x}", bytes.len()));
    lines.join("\n")
}

#[test]
fn the_documented_bytes_are_what_is_written() {
    assert!(documented() == encoded(), "FORMAT.md should say:\n{}", listing(&encoded()));
}

#[test]
fn the_documented_bytes_are_read() {
    let bytes = documented();
    let (block, frames) = bytes.split_at(SEGMENT_HEADER_BYTES);
    assert_eq!(Header::decode(block), Decoded::Header(header()));
    let frame::Decoded::Frame(first) = frame::decode(frames, SALT) else {
        panic!("the first frame is not read");
    };
    assert_eq!((first.header, first.body), (data(), events().body()));
    let frame::Decoded::Frame(second) = frame::decode(&frames[first.disk_bytes()..], SALT) else {
        panic!("the seal is not read");
    };
    assert_eq!((second.header, second.body), (seal(), b"".as_slice()));
    assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES + first.disk_bytes() + second.disk_bytes());
    assert_eq!(SegmentId::new(header().base).file_name(), "00000000000000001000.seg");
}
