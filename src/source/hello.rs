//! The beginning of a connection: lines at once, a hello, or something that is not for this port.

use std::fmt;

use memchr::memchr;

use crate::limits::HELLO_BYTES_MAX;

/// What a hello begins with. The slash cannot stand in a stream name, so no event is mistaken.
const PREFIX: &[u8] = b"STANDPIPE/";

/// The methods of an HTTP request line. `PRI` opens HTTP/2.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI ",
];

/// What the first bytes of a connection mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// It takes more bytes to know.
    Undecided,
    /// Lines, from the first byte on; no answers.
    Lines,
    /// A hello of this many bytes, terminator included, and whether it can be served.
    Hello(usize, Result<(), BadHello>),
    /// An HTTP request.
    Http,
}

/// Why a hello is not served. It is answered with `ERR code text`, and the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHello {
    /// `unsupported` or `bad_hello`.
    pub code: &'static str,
    /// A sentence.
    pub text: String,
}

impl fmt::Display for BadHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// Looks at all that came so far.
pub fn look(bytes: &[u8], terminator: u8) -> Opening {
    let end = memchr(terminator, bytes);
    if begins(bytes, PREFIX) {
        return match end {
            Some(end) => {
                let line = bytes.get(PREFIX.len()..end);
                Opening::Hello(end + 1, line.map_or_else(|| Err(not_a_hello()), hello))
            }
            None if bytes.len() < HELLO_BYTES_MAX => Opening::Undecided,
            None => Opening::Hello(bytes.len(), Err(not_a_hello())),
        };
    }
    if METHODS.iter().any(|method| begins(bytes, method)) {
        // An HTTP line ends with a line feed, whatever ends the lines of this port.
        return match memchr(b'\n', bytes).or(end) {
            Some(end) if is_request_line(bytes.get(..end).unwrap_or_default()) => Opening::Http,
            None if bytes.len() < HELLO_BYTES_MAX => Opening::Undecided,
            _ => Opening::Lines,
        };
    }
    Opening::Lines
}

/// Whether `bytes` begin with `prefix`, or are the beginning of it.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes.get(..common) == prefix.get(..common)
}

fn is_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    [b" HTTP/1.0", b" HTTP/1.1", b" HTTP/2.0"].iter().any(|version| line.ends_with(*version))
}

/// The hello behind its prefix: a version, then options. A carriage return at its end is what
/// terminal programs add, and ignored here (in lines it belongs to the payload).
fn hello(line: &[u8]) -> Result<(), BadHello> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Ok(line) = std::str::from_utf8(line) else { return Err(not_a_hello()) };
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    match words.next() {
        Some("2") => {}
        version => {
            let asked = version.unwrap_or_default();
            return Err(unsupported(format!("version {asked:?}: this agent speaks STANDPIPE/2")));
        }
    }
    let mut seen = Vec::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(bad(format!("{word:?} is not key=value")));
        };
        if seen.contains(&key) {
            return Err(bad(format!("{key:?} is given twice")));
        }
        seen.push(key);
        option(key, value)?;
    }
    Ok(())
}

fn option(key: &str, value: &str) -> Result<(), BadHello> {
    match (key, value) {
        ("ack", "durable") | ("frame", "line") => Ok(()),
        ("ack", "delivered") => {
            Err(unsupported("ack=delivered: this agent answers ack=durable only".into()))
        }
        ("frame", "length") => {
            Err(unsupported("frame=length: this agent reads frame=line only".into()))
        }
        ("compress" | "token", _) => {
            Err(unsupported(format!("{key}: this agent does not take it yet")))
        }
        ("ack" | "frame", _) => Err(bad(format!("{value:?} is not a value of {key}"))),
        _ => Err(unsupported(format!("{key:?}: the options are ack=durable and frame=line"))),
    }
}

fn unsupported(text: String) -> BadHello {
    BadHello { code: "unsupported", text }
}

fn bad(text: String) -> BadHello {
    BadHello { code: "bad_hello", text }
}

fn not_a_hello() -> BadHello {
    bad("the first line is STANDPIPE/2 and options as key=value".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(opening: &Opening) -> &'static str {
        match opening {
            Opening::Undecided => "undecided",
            Opening::Lines => "lines",
            Opening::Http => "http",
            Opening::Hello(_, Ok(())) => "ok",
            Opening::Hello(_, Err(bad)) => bad.code,
        }
    }

    #[test]
    fn each_opening_has_its_meaning() {
        let cases: [(&[u8], &str); 24] = [
            (b"orders payload\n", "lines"),
            (b"STANDPIPE payload\n", "lines"),
            (b"STAND", "undecided"),
            (b"STANDPIPE/2", "undecided"),
            (b"STANDPIPE/2\n", "ok"),
            (b"STANDPIPE/2\r\n", "ok"),
            (b"STANDPIPE/2  ack=durable frame=line \norders 1\n", "ok"),
            (b"STANDPIPE/3\n", "unsupported"),
            (b"STANDPIPE/\n", "unsupported"),
            (b"STANDPIPE/2 ack=delivered\n", "unsupported"),
            (b"STANDPIPE/2 frame=length\n", "unsupported"),
            (b"STANDPIPE/2 compress=zstd\n", "unsupported"),
            (b"STANDPIPE/2 token=secret\n", "unsupported"),
            (b"STANDPIPE/2 colour=red\n", "unsupported"),
            (b"STANDPIPE/2 ack=maybe\n", "bad_hello"),
            (b"STANDPIPE/2 ack\n", "bad_hello"),
            (b"STANDPIPE/2 ack=durable ack=durable\n", "bad_hello"),
            (b"STANDPIPE/\xff\n", "bad_hello"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http"),
            (b"PRI * HTTP/2.0\r\n", "http"),
            (b"GET / HTTP/1.1", "undecided"),
            (b"GET me a coffee\n", "lines"),
            (b"POST ", "undecided"),
            (b"\x16\x03\x01\x02\x00", "lines"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(code(&look(bytes, b'\n')), expected, "{bytes:?}");
        }
        assert_eq!(look(b"STANDPIPE/2\norders", b'\n'), Opening::Hello(12, Ok(())));
        assert_eq!(look(b"GET / HTTP/1.1\r\n", 0), Opening::Http);
        let endless = [PREFIX, &[b'2'; HELLO_BYTES_MAX]].concat();
        assert_eq!(code(&look(&endless, b'\n')), "bad_hello");
    }

    proptest! {
        #[test]
        fn what_is_decided_early_is_not_decided_otherwise_later(
            tail in "[ -~\r\n]{0,60}",
            head in prop_oneof![Just("STANDPIPE/2 ack="), Just("GET / HTTP/1.1\r\n"), Just("GET "), Just("")],
        ) {
            let bytes = format!("{head}{tail}").into_bytes();
            let mut decided = None;
            for length in 1..=bytes.len() {
                let opening = look(&bytes[..length], b'\n');
                if let Some(earlier) = &decided {
                    prop_assert_eq!(earlier, &opening);
                } else if opening != Opening::Undecided {
                    decided = Some(opening);
                }
            }
        }
    }
}
