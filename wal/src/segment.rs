//! A segment: a file that holds a stretch of a stream's frames behind a header.
//!
//! The header says where the segment belongs, so that a file in the wrong place is recognised, and
//! where the one before it ended, so that frames which a failed write left there are not believed.
//! `FORMAT.md` draws it.

use std::fmt;
use std::io;

use crate::fs::File;
use crate::limits::{OFFSET_MAX, SEGMENT_HEADER_BYTES, STREAM_NAME_BYTES_MAX};
use crate::offset::Offset;
use crate::stream_name::StreamName;

#[cfg(test)]
mod example;
pub(crate) mod salvage;
pub(crate) mod scan;
pub(crate) mod walk;
pub(crate) mod window;

/// The version of the format that this code writes; it reads no other.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"SPIPEWAL";
/// The bytes of the header that carry something; the checksum follows, then zeros.
const USED_BYTES: usize = 136;
const SUFFIX: &str = ".seg";
/// Twenty digits hold every `u64`, so names sort like offsets.
const DIGITS: usize = 20;

/// Which segment: the offset of its first event, which is also its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(Offset);

impl SegmentId {
    /// The segment that begins at `base`.
    pub const fn new(base: Offset) -> Self {
        Self(base)
    }

    /// The offset of its first event.
    pub const fn base(self) -> Offset {
        self.0
    }

    /// Its file's name: the offset in twenty digits, then `.seg`.
    pub fn file_name(self) -> String {
        format!("{:0DIGITS$}{SUFFIX}", self.0.get())
    }

    /// The segment of a file's name; nothing for names that [`SegmentId::file_name`] does not give.
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(SUFFIX)?;
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let base: u64 = digits.parse().ok()?;
        (base <= OFFSET_MAX).then_some(Self(Offset::new(base)))
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$}", self.0.get())
    }
}

/// A random name for the life of a log: (`log_id`, offset) names an event for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; 16]);

impl LogId {
    /// The identity with these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// In hexadecimal digits.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a segment was begun. Said for people; nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The log had no segment.
    First,
    /// The one before it was full.
    Roll,
    /// The log was opened; nothing is ever appended to a segment of an earlier run.
    Recovery,
    /// A write or a sync of the one before it failed.
    FailedWrite,
    /// The log was opened, and the offsets between the end of the one before it and this one belong
    /// to no event.
    Gap,
    /// The one before it was delivered completely and was given up.
    Idle,
}

impl Reason {
    const ALL: [(u8, Self); 6] = [
        (1, Self::First),
        (2, Self::Roll),
        (3, Self::Recovery),
        (4, Self::FailedWrite),
        (5, Self::Gap),
        (6, Self::Idle),
    ];

    fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, reason)| *reason == self).map_or(0, |(code, _)| *code)
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, reason)| *reason)
    }
}

/// The segment before, as the one behind it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its salt; zero for the first segment of a log.
    pub salt: u64,
    /// Where it ends. Frames that it holds from here on were never acknowledged, or were written
    /// again into a later segment. Everything before was durable when the header was written.
    pub end: Offset,
}

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream it belongs to.
    pub stream: StreamName,
    /// The offset of its first event.
    pub base: Offset,
    /// The identity of the log.
    pub log_id: LogId,
    /// Repeated by each of its frames, different in each life of a file, never zero.
    pub salt: u64,
    /// The segment before it.
    pub predecessor: Predecessor,
    /// Why it was begun.
    pub reason: Reason,
    /// Whether the file held another segment before, so that bytes of it may stand behind the last
    /// frame.
    pub recycled: bool,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
}

/// What the first bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A header.
    Header(Header),
    /// A header of a version that this code does not know.
    Unknown {
        /// The version.
        version: u16,
    },
    /// No header.
    Bad,
}

impl Header {
    /// The block at the beginning of the segment's file.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.push(self.reason.code());
        block.push(u8::from(self.recycled));
        let name = self.stream.as_str().as_bytes();
        #[expect(clippy::cast_possible_truncation, reason = "at most STREAM_NAME_BYTES_MAX")]
        block.extend_from_slice(&(name.len() as u32).to_le_bytes());
        block.extend_from_slice(name);
        block.resize(MAGIC.len() + 8 + STREAM_NAME_BYTES_MAX, 0);
        block.extend_from_slice(&self.base.get().to_le_bytes());
        block.extend_from_slice(self.log_id.as_bytes());
        block.extend_from_slice(&self.salt.to_le_bytes());
        block.extend_from_slice(&self.predecessor.salt.to_le_bytes());
        block.extend_from_slice(&self.predecessor.end.get().to_le_bytes());
        block.extend_from_slice(&self.created_ms.to_le_bytes());
        debug_assert_eq!(block.len(), USED_BYTES, "the header's fields have another size");
        let checksum = crc32fast::hash(&block);
        block.extend_from_slice(&checksum.to_le_bytes());
        block.resize(SEGMENT_HEADER_BYTES, 0);
        block
    }

    /// Reads the block at the beginning of a file.
    pub fn decode(block: &[u8]) -> Decoded {
        let (Some(used), Some(checksum)) =
            (block.get(..USED_BYTES), block.get(USED_BYTES..USED_BYTES + 4))
        else {
            return Decoded::Bad;
        };
        if crc32fast::hash(used).to_le_bytes() != *checksum {
            return Decoded::Bad;
        }
        let mut fields = Fields(used);
        if fields.array::<8>() != Some(MAGIC) {
            return Decoded::Bad;
        }
        match fields.array().map(u16::from_le_bytes) {
            Some(VERSION) => Self::fields(fields).map_or(Decoded::Bad, Decoded::Header),
            Some(version) => Decoded::Unknown { version },
            None => Decoded::Bad,
        }
    }

    fn fields(mut fields: Fields<'_>) -> Option<Self> {
        let [reason] = fields.array()?;
        let [recycled] = fields.array()?;
        let name_bytes = usize::try_from(u32::from_le_bytes(fields.array()?)).ok()?;
        let name: [u8; STREAM_NAME_BYTES_MAX] = fields.array()?;
        let header = Self {
            reason: Reason::from_code(reason)?,
            recycled: recycled != 0,
            stream: StreamName::from_bytes(name.get(..name_bytes)?).ok()?,
            base: Offset::new(fields.u64()?),
            log_id: LogId(fields.array()?),
            salt: fields.u64()?,
            predecessor: Predecessor { salt: fields.u64()?, end: Offset::new(fields.u64()?) },
            created_ms: fields.u64()?,
        };
        let plausible = header.salt != 0
            && header.base.get() <= OFFSET_MAX
            && header.predecessor.end <= header.base;
        plausible.then_some(header)
    }

    /// Whether this is the header of the file with this name in this stream's directory, and not of
    /// one that was copied or moved there.
    pub fn belongs_to(&self, stream: &StreamName, id: SegmentId) -> bool {
        self.stream == *stream && self.base == id.base()
    }
}

/// Takes fields one behind the other from a header.
#[derive(Debug)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Reads the header of a file.
pub(crate) fn read_header(file: &dyn File) -> io::Result<Decoded> {
    let mut block = [0; SEGMENT_HEADER_BYTES];
    let read = read_full(file, &mut block, 0)?;
    Ok(Header::decode(block.get(..read).unwrap_or_default()))
}

/// Reads until the buffer is full or the file ends; returns how much was read.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, position.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            stream: "orders".parse().unwrap(),
            base: Offset::new(1000),
            log_id: LogId([7; 16]),
            salt: 0x0102_0304_0506_0708,
            predecessor: Predecessor { salt: 9, end: Offset::new(990) },
            reason: Reason::Gap,
            recycled: true,
            created_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn names_sort_like_offsets_and_come_back() {
        let mut names: Vec<String> = Vec::new();
        for base in [0, 9, 10, 99_999, OFFSET_MAX] {
            let id = SegmentId::new(Offset::new(base));
            assert_eq!(SegmentId::parse(&id.file_name()), Some(id));
            names.push(id.file_name());
        }
        assert!(names.is_sorted());
        let too_large = format!("{}.seg", u64::MAX);
        for strange in [
            "1.seg",
            "0000000000000000000a.seg",
            "00000000000000000001.seg.new",
            "",
            "+0000000000000000001.seg",
            &too_large,
        ] {
            assert_eq!(SegmentId::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn names_are_shown_in_all_their_digits() {
        let id = LogId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(SegmentId::new(Offset::new(1000)).to_string(), "00000000000000001000");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
    }

    #[test]
    fn a_header_comes_back_and_fills_its_block() {
        for (_, reason) in Reason::ALL {
            let header = Header { reason, ..header() };
            let block = header.encode();
            assert_eq!(block.len(), SEGMENT_HEADER_BYTES);
            assert_eq!(Header::decode(&block), Decoded::Header(header));
        }
    }

    #[test]
    fn a_header_that_cannot_be_true_is_none_although_its_checksum_is_right() {
        let (base, above) = (Offset::new(1000), Offset::new(1001));
        let predecessor = |end| Predecessor { salt: 9, end };
        let at_most =
            Header { base: Offset::new(OFFSET_MAX), predecessor: predecessor(base), ..header() };
        let touching = Header { predecessor: predecessor(base), ..header() };
        for right in [at_most, touching] {
            assert_eq!(Header::decode(&right.encode()), Decoded::Header(right));
        }
        let unsalted = Header { salt: 0, ..header() };
        let too_far = Header { base: Offset::new(OFFSET_MAX + 1), ..header() };
        let overlapping = Header { predecessor: predecessor(above), ..header() };
        for wrong in [unsalted, too_far, overlapping] {
            assert_eq!(Header::decode(&wrong.encode()), Decoded::Bad, "{wrong:?}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let right = header().encode();
        for bit in 0..(USED_BYTES + 4) * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&wrong), Decoded::Bad, "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_a_later_version_is_told_apart_from_damage() {
        let mut block = header().encode();
        block[8] = 2;
        let checksum = crc32fast::hash(&block[..USED_BYTES]);
        block[USED_BYTES..USED_BYTES + 4].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::decode(&block), Decoded::Unknown { version: 2 });
    }

    #[test]
    fn a_copied_file_does_not_belong() {
        let (header, id) = (header(), SegmentId::new(Offset::new(1000)));
        assert!(header.belongs_to(&"orders".parse().unwrap(), id));
        assert!(!header.belongs_to(&"other".parse().unwrap(), id));
        assert!(!header.belongs_to(&header.stream, SegmentId::new(Offset::new(1001))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Header::decode(&bytes), Decoded::Bad);
        }
    }
}
