//! What must hold for any bytes, one function for each thing that reads bytes from outside. The
//! fuzz targets call these with what the fuzzer makes up, `tests/corpus.rs` with the corpus.

use standpipe::client::answer::Answer;
use standpipe::config;
use standpipe::offsets::{self, Key, Progress};
use standpipe::source::firehose::request;
use standpipe::source::hello::{self, Opening};
use standpipe::source::line::{Line, LineParser};
use standpipe_wal::events;
use standpipe_wal::frame::{self, Decoded};

pub mod letters;
pub mod recovery;

pub use letters::letters;
pub use recovery::recovery;

/// A function of this file, named like its fuzz target and the folder of its corpus.
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
}

pub const TARGETS: [Target; 9] = [
    Target { name: "line", check: line },
    Target { name: "hello", check: hello },
    Target { name: "frame", check: frame },
    Target { name: "recovery", check: recovery },
    Target { name: "offset_value", check: offset_value },
    Target { name: "config", check: config },
    Target { name: "firehose_body", check: firehose_body },
    Target { name: "letters", check: letters },
    Target { name: "answer", check: answer },
];

/// Small, so that a short input can be over it.
const EVENT_BYTES_MAX: usize = 64;

/// The line protocol: the same lines, however the reads cut them. The first byte says how.
pub fn line(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let whole = lines(std::iter::once(data));
    let cut = lines(data.chunks(usize::from(cut) + 1));
    assert_eq!(whole, cut);
    let pieces = data.split(|&byte| byte == b'\n').count();
    assert!(whole.len() <= pieces, "more lines than there can be");
}

fn lines<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Vec<u8>, &'static str>> {
    let mut parser = LineParser::new(b'\n', EVENT_BYTES_MAX);
    let mut found = Vec::new();
    let mut take = |line: Line<'_>| match line {
        Line::Event { stream, payload } => {
            assert!(!stream.is_empty() && !payload.is_empty() && !stream.contains(&b' '));
            assert!(payload.len() <= EVENT_BYTES_MAX && !payload.contains(&b'\n'));
            found.push(Ok([stream, b" ", payload].concat()));
        }
        Line::Refused { refusal, .. } => found.push(Err(refusal.code())),
    };
    for chunk in chunks {
        parser.feed(chunk, &mut take);
    }
    parser.end(&mut take);
    found
}

/// The beginning of a connection: once it is decided, more bytes do not change it.
pub fn hello(data: &[u8]) {
    let decided = hello::look(data, b'\n');
    if let Opening::Hello(length, _) = &decided {
        assert!(*length <= data.len());
    }
    for length in 0..data.len().min(256) {
        let early = hello::look(data.get(..length).unwrap_or_default(), b'\n');
        if early != Opening::Undecided {
            assert_eq!(early, decided, "decided after {length} bytes, then otherwise");
        }
    }
}

/// A frame: what is taken for one encodes to the same bytes.
pub fn frame(data: &[u8]) {
    let found = frame::decode_any(data);
    assert_eq!(found, frame::decode_any(data));
    if let Decoded::Frame(found) = found {
        assert_eq!(frame::decode(data, found.header.salt), Decoded::Frame(found));
        let encoded = found.header.encode(std::iter::once(found.body));
        assert_eq!([&encoded[..], found.body].concat(), data[..found.disk_bytes()]);
        assert!(events::is_well_formed(found.body, found.header.count));
    }
}

/// A value of the offset store, and a key.
pub fn offset_value(data: &[u8]) {
    if let offsets::Decoded::Progress(progress) = Progress::decode(data) {
        let again = Progress::decode(&progress.encode());
        assert_eq!(again, offsets::Decoded::Progress(progress));
    }
    if let Some(key) = Key::decode(data) {
        assert_eq!(key.encode(), data);
    }
}

/// A configuration: right, or an error that says something.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(problems) = config::from_text("fuzz.toml", text) {
        assert!(!problems.to_string().is_empty());
    }
}

/// Bodies of the Firehose API. Records that were taken are whole events.
pub fn firehose_body(data: &[u8]) {
    for put in [request::put_record(data), request::put_record_batch(data)].into_iter().flatten() {
        assert!(!put.runs.is_empty());
        for run in put.runs {
            assert!(run.count() > 0 && events::is_well_formed(run.body(), run.count()));
        }
    }
    if let Err(error) = request::describe(data) {
        assert!(!error.message().is_empty());
    }
}

/// What an agent answers: the same again, written as it was understood.
pub fn answer(data: &[u8]) {
    let line = match Answer::parse(data) {
        Answer::Ok => "OK".to_owned(),
        Answer::Ack(line) => format!("ACK {line}"),
        Answer::Nak { line, code, text } => format!("NAK {line} {code} {text}"),
        Answer::Err(text) => format!("ERR {text}"),
        Answer::Unknown(text) => text,
    };
    assert_eq!(Answer::parse(line.as_bytes()), Answer::parse(data));
}
