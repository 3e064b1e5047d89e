//! Writes the seeds into `corpus/`: `cargo run --bin seeds` in this folder. They are kept in the
//! repository; this is how they were made.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use standpipe::offsets::{Key, Progress, Reason, Unconfirmed};
use standpipe_fuzz::recovery::HEADER_FIELDS_BYTES;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::SimFs;
use standpipe_wal::limits::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use standpipe_wal::log::OsEntropy;
use standpipe_wal::{Events, Flags, Log, Offset, Options};

fn main() {
    lines();
    hellos();
    offset_values();
    configurations();
    firehose_bodies();
    letters();
    answers();
    segments_and_frames();
}

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir).expect("the corpus");
    fs::write(dir.join(name), bytes).expect("a seed");
}

/// The first byte is the size of the pieces, less one.
fn lines() {
    seed("line", "good", b"\x06orders {\"id\": 1}\nusers two words \xff\0\r\n");
    seed("line", "bad", b"\x00no-space\n name\nempty \n\n  \nbad/name x\n");
    seed("line", "unfinished", b"\xfforders half a li");
    let long = ["orders ".as_bytes(), &[b'x'; 65], b"\nnext line\n"].concat();
    seed("line", "too_long", &[&b"\x20"[..], &long].concat());
}

fn hellos() {
    seed("hello", "durable", b"STANDPIPE/2 ack=durable\norders x\n");
    seed("hello", "unsupported", b"STANDPIPE/2 ack=delivered frame=length compress=zstd token=t\n");
    seed("hello", "other_version", b"STANDPIPE/3\n");
    seed("hello", "bad", b"STANDPIPE/2 ack ack=durable =x \xff\n");
    seed("hello", "http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    seed("hello", "http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    seed("hello", "lines", b"GET the payload of a stream called GET\n");
}

/// The first byte is the number of letters, less one; then come the changes.
fn letters() {
    seed("letters", "whole", b"\x03");
    seed("letters", "first_byte_other", b"\x02\x00\x00\x01\x01x");
    seed("letters", "cut_off", b"\x01\x80\x01\xff\x00");
    seed("letters", "more_between", b"\x01\x44\x01\x00\x04more\x00\x00\x00\x02xx");
}

fn answers() {
    seed("answer", "ok", b"OK version=2");
    seed("answer", "ack", b"ACK 18446744073709551615");
    seed("answer", "nak", b"NAK 7 empty the payload is empty");
    seed("answer", "err", b"ERR unsupported x");
    seed("answer", "http", b"HTTP/1.1 400 Bad Request");
}

fn offset_values() {
    let progress = Progress {
        log_id: *b"0123456789abcdef",
        committed: 1000,
        delivered: vec![(1010, 1020), (1030, 1031)],
        passed: vec![Unconfirmed { start: 1020, end: 1022, reason: Reason::DeadLetter }],
        unconfirmed: vec![Unconfirmed { start: 3, end: 4, reason: Reason::Dropped }],
        folded: vec![(Reason::Lost, 7)],
    };
    seed("offset_value", "version_2", &progress.encode());
    seed("offset_value", "default", &Progress::default().encode());
    let overlapping = Progress { delivered: vec![(5, 9), (8, 10)], ..Progress::default() };
    seed("offset_value", "overlapping", &overlapping.encode());
    let key = Key { stream: "orders".parse().expect("a name"), sink: "firehose".into() };
    seed("offset_value", "key", &key.encode());
}

fn configurations() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/standpipe.toml");
    seed("config", "shipped", &fs::read(shipped).expect("the shipped configuration"));
    let full = "[[source]]\nkind = \"firehose\"\nlisten = \"[::1]:0\"\nunknown_streams = \"open\"\n\
        [sink.a]\nkind = \"file\"\npath = \"/x\"\nbytes_max = \"1MiB\"\n\
        [wal]\nsync = \"200ms\"\n[stream.default]\nsink = \"a\"\ndelimiter = \"\"\n\
        [stream.b]\npaused = true\nwhen_full = \"reject\"\nretain_delivered = \"1h\"\n";
    seed("config", "full", full.as_bytes());
    seed("config", "wrong", b"[wal]\nsnyc = 1\n[[source]]\nkind = \"smoke\"\n[stream.\"a b\"]\n");
    seed("config", "sizes", b"[wal]\nsegment_bytes = \"99999999999999999999TiB\"\nsync = \"9y\"\n");
}

fn firehose_bodies() {
    seed("firehose_body", "one", br#"{"DeliveryStreamName":"s","Record":{"Data":"aGVsbG8="}}"#);
    seed(
        "firehose_body",
        "batch",
        br#"{"DeliveryStreamName":"s","Records":[{"Data":"YQ=="},{"Data":"Yg=="}],"Extra":1}"#,
    );
    seed("firehose_body", "empty", br#"{"DeliveryStreamName":"s","Records":[{"Data":""}]}"#);
    seed("firehose_body", "base64", br#"{"DeliveryStreamName":"s","Record":{"Data":"a=="}}"#);
    seed(
        "firehose_body",
        "escaped",
        br#"{"DeliveryStreamName":"s","Record":{"Data":"YQ\u003d="}}"#,
    );
    seed("firehose_body", "describe", br#"{"DeliveryStreamName":"a/b"}"#);
}

/// The form of [`recovery`]'s input: how to read it, the committed offset, and then each segment
/// with its length before it.
fn compact(mend: bool, committed: u8, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![u8::from(mend), committed];
    for segment in segments {
        let mut short = segment.clone();
        short.drain(HEADER_FIELDS_BYTES..SEGMENT_HEADER_BYTES);
        let end = short.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        short.truncate(end);
        bytes.extend(u16::try_from(short.len()).expect("a small segment").to_le_bytes());
        bytes.extend(short);
    }
    bytes
}

/// Real segments: one alone, one with a successor after a stop, one cut in its last frame.
fn segments_and_frames() {
    let disk = SimFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let dir = Path::new("/streams");
    fs.create_dir(dir).expect("a new directory");
    let stream = "fuzz".parse().expect("a name");
    let options = Options { segment_bytes: 64 * 1024, entropy: Arc::new(OsEntropy), pool: None };
    let read = || {
        let names = fs.list(&dir.join("fuzz")).expect("the stream's directory");
        let segments = names.iter().filter(|entry| entry.name.ends_with(".seg"));
        let read = |name: &str| disk.read(&dir.join("fuzz").join(name)).expect("a segment");
        segments.map(|entry| read(&entry.name)).collect::<Vec<_>>()
    };
    let append = |log: &mut Log, payloads: &[&[u8]], raw: bool| {
        let mut run = Events::with_capacity(64, Flags { raw });
        payloads.iter().for_each(|payload| run.push(payload));
        log.push(run, 1_700_000_000_000);
        log.sync(1_700_000_000_000).expect("the disk is well");
    };

    let (mut log, _) = Log::open(&fs, dir, &stream, &options, Offset::ZERO, 1).expect("a log");
    seed("recovery", "no_segment", &compact(false, 0, &read()));
    append(&mut log, &[b"one", b"two"], false);
    let frame = read()[0].split_off(SEGMENT_HEADER_BYTES);
    seed("frame", "two_events", &frame[..96]);
    append(&mut log, &[b"three"], true);
    seed("recovery", "two_frames", &compact(false, 0, &read()));
    seed("recovery", "two_frames_mended", &compact(true, 1, &read()));
    let mut torn = read();
    let whole = compact(false, 0, &torn).len() - compact(false, 0, &[]).len() - 2;
    torn[0].truncate(SEGMENT_HEADER_BYTES + whole - 140 - 3);
    seed("recovery", "torn", &compact(false, 0, &torn));
    log.close(2).expect("a seal");
    let frames = read()[0].split_off(SEGMENT_HEADER_BYTES);
    seed("frame", "several", &frames);
    seed("frame", "seal", &frames[frames.len() - FRAME_HEADER_BYTES..]);
    let (mut log, _) = Log::open(&fs, dir, &stream, &options, Offset::ZERO, 2).expect("a log");
    append(&mut log, &[b"four"], false);
    seed("recovery", "two_segments", &compact(false, 2, &read()));
    seed("recovery", "two_segments_mended", &compact(true, 200, &read()));
    let mut gap = read();
    gap.remove(0);
    seed("recovery", "first_segment_missing", &compact(true, 0, &gap));
}
