//! From a byte stream to blocks of lines of the protocol.

use memchr::memchr_iter;
use standpipe_wal::StreamName;

use crate::limits::LINE_EVENT_BYTES_MAX;

/// Whole lines, each with its stream's name before it: what goes on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The bytes to send.
    pub bytes: Vec<u8>,
    /// How many lines they hold.
    pub lines: u64,
    /// How many bytes of the input they stand for.
    pub input_bytes: u64,
}

/// Lines of the input that are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Empty lines: an event has at least one byte.
    pub empty: u64,
    /// Lines that are larger than an event can be.
    pub too_large: u64,
}

/// Cuts the input into lines and writes the stream's name before each. Nothing but the unfinished
/// line is held, and no more of it than an event can have.
#[derive(Debug)]
pub struct Packer {
    prefix: Vec<u8>,
    rest: Vec<u8>,
    /// The unfinished line is too large already.
    skipping: bool,
    skipped: Skipped,
}

impl Packer {
    /// For events of this stream.
    pub fn new(stream: &StreamName) -> Self {
        let prefix = format!("{stream} ").into_bytes();
        Self { prefix, rest: Vec::new(), skipping: false, skipped: Skipped::default() }
    }

    /// What was left out so far.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// The lines that `input` completes.
    pub fn pack(&mut self, input: &[u8]) -> Block {
        let mut block = Block { input_bytes: input.len() as u64, ..Block::default() };
        // Exact for lines of a hundred bytes and names of ten; more is allocated if it takes more.
        block.bytes.reserve(input.len() + input.len() / 8 + self.rest.len() + 64);
        let mut start = 0;
        for end in memchr_iter(b'\n', input) {
            let piece = input.get(start..end).unwrap_or_default();
            start = end + 1;
            if self.rest.is_empty() && !self.skipping {
                self.add(piece, &mut block);
            } else {
                self.hold(piece);
                self.finish(&mut block);
            }
        }
        self.hold(input.get(start..).unwrap_or_default());
        block
    }

    /// The input has ended: its last line needs no line feed.
    pub fn end(&mut self) -> Block {
        let mut block = Block::default();
        if self.skipping || !self.rest.is_empty() {
            self.finish(&mut block);
        }
        block
    }

    fn add(&mut self, payload: &[u8], block: &mut Block) {
        if payload.is_empty() {
            self.skipped.empty += 1;
        } else if payload.len() > LINE_EVENT_BYTES_MAX {
            self.skipped.too_large += 1;
        } else {
            block.bytes.extend_from_slice(&self.prefix);
            block.bytes.extend_from_slice(payload);
            block.bytes.push(b'\n');
            block.lines += 1;
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skipping || self.rest.len() + piece.len() > LINE_EVENT_BYTES_MAX {
            self.skipping = true;
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(piece);
        }
    }

    fn finish(&mut self, block: &mut Block) {
        let line = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.skipping) {
            self.skipped.too_large += 1;
        } else {
            self.add(&line, block);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(pieces: &[&[u8]]) -> (Vec<u8>, u64, Skipped) {
        let mut packer = Packer::new(&"s".parse().unwrap());
        let mut blocks: Vec<Block> = pieces.iter().map(|piece| packer.pack(piece)).collect();
        blocks.push(packer.end());
        let bytes = blocks.iter().flat_map(|block| block.bytes.clone()).collect();
        (bytes, blocks.iter().map(|block| block.lines).sum(), packer.skipped())
    }

    #[test]
    fn lines_keep_their_bytes_and_what_is_no_event_is_counted() {
        let (bytes, lines, skipped) = pack(&[b"a\r\n\n\xff \0\nlast"]);
        assert_eq!(bytes, b"s a\r\ns \xff \0\ns last\n");
        assert_eq!((lines, skipped), (3, Skipped { empty: 1, too_large: 0 }));
        let large = vec![b'x'; LINE_EVENT_BYTES_MAX + 1];
        let (bytes, lines, skipped) = pack(&[&large, b"\n", &large[1..], b"\n", &large]);
        assert_eq!((bytes.len(), lines), (LINE_EVENT_BYTES_MAX + 3, 1));
        assert_eq!(skipped, Skipped { empty: 0, too_large: 2 });
    }

    proptest! {
        #[test]
        fn the_cuts_of_the_input_make_no_difference(
            input in "[ab\n]{0,60}",
            cut in 0_usize..60,
        ) {
            let input = input.as_bytes();
            let (left, right) = input.split_at(cut.min(input.len()));
            prop_assert_eq!(pack(&[left, right]), pack(&[input]));
        }
    }
}
