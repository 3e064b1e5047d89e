//! The line protocol's parser: bytes in, lines out.
//!
//! A line is `STREAM SP PAYLOAD TERMINATOR`. The payload is every byte between the first space and
//! the terminator, spaces and carriage returns included. The parser copies nothing but the
//! unfinished rest of a chunk, and holds nothing between two lines.

use memchr::{memchr, memchr_iter};
use standpipe_wal::limits::STREAM_NAME_BYTES_MAX;
use standpipe_wal::stream_name::InvalidStreamName;

use crate::intake::Refusal;
use crate::limits::SHORT_LINE_BYTES_MAX;

/// One complete line, or what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A payload for a stream. The name is not checked yet; both are not empty.
    Event {
        /// What stands before the first space.
        stream: &'a [u8],
        /// What stands behind it.
        payload: &'a [u8],
    },
    /// A line that cannot be an event.
    Refused {
        /// What stands before the first space, as far as it is known.
        stream: &'a [u8],
        /// Why.
        refusal: Refusal,
    },
}

/// Cuts the bytes of one connection into lines, wherever the reads happen to cut them.
#[derive(Debug)]
pub struct LineParser {
    terminator: u8,
    event_bytes_max: usize,
    /// The beginning of a line whose terminator has not come yet.
    rest: Vec<u8>,
    /// The line was refused for its length already; its bytes are passed over.
    skipping: bool,
}

impl LineParser {
    /// A parser for lines that end with `terminator` and hold payloads up to `event_bytes_max`.
    pub fn new(terminator: u8, event_bytes_max: usize) -> Self {
        Self { terminator, event_bytes_max, rest: Vec::new(), skipping: false }
    }

    /// Takes what was read and tells each line that it completes, in order. A line that is over
    /// the limit is told as soon as that is certain, before its terminator has come.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut start = 0;
        for end in memchr_iter(self.terminator, chunk) {
            let piece = chunk.get(start..end).unwrap_or_default();
            start = end + 1;
            if self.rest.is_empty() && !self.skipping {
                each(split(piece, self.event_bytes_max));
            } else {
                self.complete(piece, &mut each);
            }
        }
        self.keep(chunk.get(start..).unwrap_or_default(), &mut each);
    }

    /// Whether a line has begun and not ended.
    pub fn is_mid_line(&self) -> bool {
        self.skipping || !self.rest.is_empty()
    }

    /// How much of an unfinished line is held, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.rest.len()
    }

    /// The stream of the unfinished line, as far as it is known.
    pub fn held_name(&self) -> &[u8] {
        name_of(&self.rest)
    }

    /// The input has ended. Tells an unfinished line as refused, unless it was before.
    pub fn end(&mut self, each: impl FnOnce(Line<'_>)) {
        self.skipping = false;
        let line = std::mem::take(&mut self.rest);
        if !line.is_empty() {
            each(Line::Refused { stream: name_of(&line), refusal: Refusal::Unfinished });
        }
    }

    /// The end of a line whose beginning came with an earlier chunk.
    #[cold]
    fn complete(&mut self, piece: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        let mut line = std::mem::take(&mut self.rest);
        if line.len() + piece.len() > self.line_bytes_max() {
            each(Line::Refused { stream: name_of(&line), refusal: self.too_large() });
            return;
        }
        line.extend_from_slice(piece);
        each(split(&line, self.event_bytes_max));
    }

    /// The beginning of a line, or more of its middle.
    fn keep(&mut self, piece: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if piece.is_empty() || self.skipping {
            return;
        }
        let line_bytes_max = self.line_bytes_max();
        let held = self.rest.len() + piece.len();
        if held > line_bytes_max {
            let mut line = std::mem::take(&mut self.rest);
            // Enough for the name, which the counters want to know.
            line.extend_from_slice(piece.get(..=STREAM_NAME_BYTES_MAX).unwrap_or(piece));
            self.skipping = true;
            each(Line::Refused { stream: name_of(&line), refusal: self.too_large() });
            return;
        }
        if held > SHORT_LINE_BYTES_MAX {
            // One reservation of the full size instead of doublings that could overshoot it.
            self.rest.reserve_exact(line_bytes_max - self.rest.len());
        }
        self.rest.extend_from_slice(piece);
    }

    /// A longer line is over the limit whatever its name is.
    fn line_bytes_max(&self) -> usize {
        STREAM_NAME_BYTES_MAX + 1 + self.event_bytes_max
    }

    fn too_large(&self) -> Refusal {
        Refusal::TooLarge { max: self.event_bytes_max }
    }
}

/// What stands before the first space, if it may be a name by its length.
fn name_of(line: &[u8]) -> &[u8] {
    let head = line.get(..=STREAM_NAME_BYTES_MAX).unwrap_or(line);
    memchr(b' ', head).and_then(|space| head.get(..space)).unwrap_or_default()
}

/// One line without its terminator.
#[inline]
fn split(line: &[u8], event_bytes_max: usize) -> Line<'_> {
    let stream = name_of(line);
    let payload = line.get(stream.len() + 1..).unwrap_or_default();
    if stream.is_empty() || payload.is_empty() || payload.len() > event_bytes_max {
        return refused(line, stream, payload, event_bytes_max);
    }
    Line::Event { stream, payload }
}

#[cold]
fn refused<'a>(
    line: &'a [u8],
    stream: &'a [u8],
    payload: &[u8],
    event_bytes_max: usize,
) -> Line<'a> {
    let line_bytes_max = STREAM_NAME_BYTES_MAX + 1 + event_bytes_max;
    let too_large =
        line.len() > line_bytes_max || (!stream.is_empty() && payload.len() > event_bytes_max);
    let refusal = if too_large {
        Refusal::TooLarge { max: event_bytes_max }
    } else if !stream.is_empty() {
        Refusal::Empty
    } else if memchr(b' ', line).is_some() {
        Refusal::BadStream(InvalidStreamName)
    } else {
        Refusal::Malformed
    };
    Line::Refused { stream, refusal }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 40;

    /// A line that owns its bytes, to be compared.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Told {
        Event(Vec<u8>, Vec<u8>),
        Refused(&'static str),
    }

    fn tell(line: Line<'_>) -> Told {
        match line {
            Line::Event { stream, payload } => Told::Event(stream.into(), payload.into()),
            Line::Refused { refusal, .. } => Told::Refused(refusal.code()),
        }
    }

    fn parse(chunks: &[&[u8]], terminator: u8) -> Vec<Told> {
        let mut parser = LineParser::new(terminator, MAX);
        let mut told = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, |line| told.push(tell(line)));
            assert!(parser.held_bytes() <= STREAM_NAME_BYTES_MAX + 1 + MAX);
        }
        parser.end(|line| told.push(tell(line)));
        assert!(!parser.is_mid_line());
        told
    }

    fn event(stream: &str, payload: &[u8]) -> Told {
        Told::Event(stream.into(), payload.into())
    }

    #[test]
    fn the_payload_is_every_byte_between_the_first_space_and_the_terminator() {
        let told = parse(&[b"orders a b  c\r\norders \0\xff \n"], b'\n');
        assert_eq!(told, [event("orders", b"a b  c\r"), event("orders", b"\0\xff ")]);
        let told = parse(&[b"orders two\nlines\0"], 0);
        assert_eq!(told, [event("orders", b"two\nlines")]);
    }

    #[test]
    fn what_cannot_be_an_event_is_told_with_its_reason_and_the_next_line_is_read() {
        let long_name = [b"x".repeat(65), b" payload".to_vec()].concat();
        let cases: [(&[u8], &str); 6] = [
            (b"", "malformed"),
            (b"orders", "malformed"),
            (b" payload", "bad_stream"),
            (&long_name, "bad_stream"),
            (b"orders ", "empty"),
            (b"o 12345678901234567890123456789012345678901", "too_large"),
        ];
        for (line, code) in cases {
            let input = [line, b"\norders good\n"].concat();
            let told = parse(&[&input], b'\n');
            assert_eq!(told, [Told::Refused(code), event("orders", b"good")], "{line:?}");
        }
    }

    #[test]
    fn an_over_long_line_is_refused_once_and_never_held() {
        let piece = [b'x'; 64];
        let mut chunks: Vec<&[u8]> = vec![b"orders first\norders "];
        chunks.extend(std::iter::repeat_n(&piece[..], 1000));
        chunks.push(b"\norders last\n");
        let told = parse(&chunks, b'\n');
        assert_eq!(
            told,
            [event("orders", b"first"), Told::Refused("too_large"), event("orders", b"last")]
        );
    }

    #[test]
    fn half_a_line_at_the_end_is_no_event() {
        assert_eq!(parse(&[b"orders half"], b'\n'), [Told::Refused("unfinished")]);
        // It was refused for its length already: not twice.
        let long = [b"orders ".to_vec(), b"x".repeat(200)].concat();
        assert_eq!(parse(&[&long], b'\n'), [Told::Refused("too_large")]);
    }

    /// Lines that are likely to be at the edge of something.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just(b"orders payload".to_vec()),
            Just(Vec::new()),
            Just(b"orders ".to_vec()),
            (1_usize..70, 0_usize..50).prop_map(|(name, payload)| {
                [b"n".repeat(name), b" ".to_vec(), b"p".repeat(payload)].concat()
            }),
            (0_usize..200).prop_map(|bytes| b"z".repeat(bytes)),
            proptest::collection::vec(any::<u8>(), 0..30),
        ];
        proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join(&b'\n'))
    }

    proptest! {
        #[test]
        fn where_the_reads_cut_the_input_makes_no_difference(
            input in input(),
            cuts in proptest::collection::vec(0_usize..400, 0..12),
        ) {
            let whole = parse(&[&input], b'\n');
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
            prop_assert_eq!(parse(&chunks, b'\n'), whole.clone());
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            prop_assert_eq!(parse(&bytes, b'\n'), whole);
        }

        #[test]
        fn every_line_is_told_exactly_once(input in input()) {
            let told = parse(&[&input], b'\n');
            let terminators = memchr_iter(b'\n', &input).count();
            let tail = !input.is_empty() && input.last() != Some(&b'\n');
            prop_assert_eq!(told.len(), terminators + usize::from(tail));
        }
    }
}
