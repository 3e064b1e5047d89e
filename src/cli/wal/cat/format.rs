//! How an event is printed.

use std::io::{self, Write};
use std::ops::Range;

use base64_simd::STANDARD;
use serde::Serialize;

use super::super::ls::time;
use super::super::read::{Taker, Why};
use crate::cli::{human, output};

/// What is printed of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::wal) enum Format {
    /// The payload.
    Raw,
    /// Offset, time and payload.
    WithOffsets,
    /// An object on a line of its own.
    Json,
}

/// An event as JSON.
#[derive(Serialize)]
struct Event<'a> {
    offset: u64,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// Where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// A range of events that cannot be read, as JSON.
#[derive(Serialize)]
struct Missing {
    #[serde(rename = "missing_from")]
    from: u64,
    #[serde(rename = "missing_until")]
    until: u64,
    reason: &'static str,
}

/// Prints events one after the other.
#[derive(Debug)]
pub(in crate::cli::wal) struct Printer<W> {
    to: W,
    format: Format,
    /// Behind each event.
    end: u8,
    /// Events share the time of their frame: it is put into words once.
    time: (u64, String),
    lost: u64,
    ambiguous: u64,
}

impl<W: Write> Printer<W> {
    pub(in crate::cli::wal) fn new(to: W, format: Format, end: u8) -> Self {
        Self { to, format, end, time: (0, time(0)), lost: 0, ambiguous: 0 }
    }

    pub(in crate::cli::wal) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// How many events were lost to damage.
    pub(in crate::cli::wal) fn lost(&self) -> u64 {
        self.lost
    }

    /// How many events hold the byte that ends them: what was printed cannot be split into the
    /// same events again.
    pub(in crate::cli::wal) fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    /// Where it was printed to.
    pub(in crate::cli::wal) fn into_inner(self) -> W {
        self.to
    }
}

impl<W: Write> Taker for Printer<W> {
    fn event(&mut self, offset: u64, time_ms: u64, payload: &[u8]) -> io::Result<()> {
        if self.format != Format::Raw && self.time.0 != time_ms {
            self.time = (time_ms, time(time_ms));
        }
        match self.format {
            Format::Raw => {}
            Format::WithOffsets => write!(self.to, "{offset} {} ", self.time.1)?,
            Format::Json => {
                let text = std::str::from_utf8(payload).ok();
                let event = Event {
                    offset,
                    time: &self.time.1,
                    payload: text,
                    payload_base64: text.is_none().then(|| STANDARD.encode_to_string(payload)),
                };
                serde_json::to_writer(&mut self.to, &event)?;
                return self.to.write_all(b"\n");
            }
        }
        self.ambiguous += u64::from(memchr::memchr(self.end, payload).is_some());
        self.to.write_all(payload)?;
        self.to.write_all(&[self.end])
    }

    fn missing(&mut self, range: Range<u64>, why: Why) -> io::Result<()> {
        let events = range.end - range.start;
        if why == Why::Lost {
            self.lost += events;
        }
        if self.format == Format::Json {
            let Range { start: from, end: until } = range;
            let missing = Missing { from, until, reason: why.as_str() };
            serde_json::to_writer(&mut self.to, &missing)?;
            return self.to.write_all(b"\n");
        }
        // In the order of what is read.
        self.to.flush()?;
        let Range { start, end } = range;
        let events = human::count(events);
        output::note(&format!("skipped offsets {start} to {end} ({events}): {}", why.explained()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, end: u8) -> (String, u64) {
        let mut printer = Printer::new(Vec::new(), format, end);
        printer.event(7, 1_700_000_000_000, b"one two").unwrap();
        printer.event(8, 1_700_000_000_001, b"a\nb\0").unwrap();
        if format == Format::Json {
            printer.event(9, 1_700_000_000_001, b"\xff\x00").unwrap();
            printer.missing(10..20, Why::Lost).unwrap();
            assert_eq!(printer.lost(), 10);
        }
        let ambiguous = printer.ambiguous();
        (String::from_utf8(printer.into_inner()).unwrap(), ambiguous)
    }

    #[test]
    fn an_event_is_printed_as_it_was_sent() {
        assert_eq!(printed(Format::Raw, b'\n'), ("one two\na\nb\0\n".into(), 1));
        assert_eq!(printed(Format::Raw, b'\0'), ("one two\0a\nb\0\0".into(), 1));
    }

    #[test]
    fn with_offsets_and_times() {
        let (text, _) = printed(Format::WithOffsets, b'\n');
        assert!(
            text.starts_with("7 2023-11-14T22:13:20.000Z one two\n8 2023-11-14T22:13:20.001Z a\n")
        );
    }

    #[test]
    fn json_holds_every_byte() {
        let (text, _) = printed(Format::Json, b'\n');
        let time = "2023-11-14T22:13:20.00";
        let expected = format!(
            "{{\"offset\":7,\"time\":\"{time}0Z\",\"payload\":\"one two\"}}\n\
             {{\"offset\":8,\"time\":\"{time}1Z\",\"payload\":\"a\\nb\\u0000\"}}\n\
             {{\"offset\":9,\"time\":\"{time}1Z\",\"payload_base64\":\"/wA=\"}}\n\
             {{\"missing_from\":10,\"missing_until\":20,\"reason\":\"lost\"}}\n"
        );
        assert_eq!(text, expected);
    }
}
