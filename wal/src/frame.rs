//! A frame: events of one stream that were taken in together, with one checksum.
//!
//! Pure code: bytes in, values out. `FORMAT.md` draws the header.

use crate::events::{self, Flags};
use crate::limits::{BODY_BYTES_CEILING, EVENT_PREFIX_BYTES, FRAME_HEADER_BYTES, OFFSET_MAX};
use crate::offset::Offset;

/// Bit 0 of a frame's flags: no delimiter is added behind its events.
const FLAG_RAW: u16 = 1 << 0;
/// Bit 1: nothing follows in this segment.
const FLAG_SEAL: u16 = 1 << 1;

/// The fixed part of a frame, less its checksum and its length, which follow from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The salt of the segment that the frame belongs to.
    pub salt: u64,
    /// The offset of the first event. Of a seal: the offset of the event that would come next.
    pub base: Offset,
    /// How many events there are; none in a seal.
    pub count: u32,
    /// What holds for all events.
    pub flags: Flags,
    /// Whether the frame closes its segment.
    pub seal: bool,
    /// The first offset that was not known to be durable when the frame was written: proof that
    /// everything before it was.
    pub durable: Offset,
    /// When the events were taken in, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Header {
    /// The offset behind the last event.
    pub fn end(&self) -> Offset {
        self.base.after(u64::from(self.count))
    }

    /// The header's bytes for a body that is given in pieces.
    ///
    /// # Panics
    /// Where the body is larger than [`BODY_BYTES_CEILING`], which is a bug of the caller.
    pub fn encode<'a>(
        &self,
        body: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> [u8; FRAME_HEADER_BYTES] {
        let length: usize = body.clone().map(<[u8]>::len).sum();
        assert!(length <= BODY_BYTES_CEILING, "a frame's body is larger than any body can be");
        #[expect(clippy::cast_possible_truncation, reason = "at most BODY_BYTES_CEILING")]
        let length = length as u32;
        let mut fields = Fields::default();
        fields.put(&[0; 4]);
        fields.put(&length.to_le_bytes());
        fields.put(&self.salt.to_le_bytes());
        fields.put(&self.base.get().to_le_bytes());
        fields.put(&self.count.to_le_bytes());
        fields.put(&self.flag_bits().to_le_bytes());
        fields.put(&[0; 2]);
        fields.put(&self.durable.get().to_le_bytes());
        fields.put(&self.time_ms.to_le_bytes());
        let mut header = fields.bytes;
        let mut hasher = crc32fast::Hasher::new();
        if let Some((checksum, covered)) = header.split_first_chunk_mut::<4>() {
            hasher.update(covered);
            body.for_each(|piece| hasher.update(piece));
            *checksum = hasher.finalize().to_le_bytes();
        }
        header
    }

    fn flag_bits(&self) -> u16 {
        let raw = if self.flags.raw { FLAG_RAW } else { 0 };
        let seal = if self.seal { FLAG_SEAL } else { 0 };
        raw | seal
    }
}

/// Writes fields one behind the other into a header.
#[derive(Debug)]
struct Fields {
    bytes: [u8; FRAME_HEADER_BYTES],
    used: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self { bytes: [0; FRAME_HEADER_BYTES], used: 0 }
    }
}

impl Fields {
    fn put(&mut self, field: &[u8]) {
        let end = self.used + field.len();
        if let Some(room) = self.bytes.get_mut(self.used..end) {
            room.copy_from_slice(field);
        }
        self.used = end;
    }
}

/// A frame that was found to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its fixed part.
    pub header: Header,
    /// Its events, for [`events::iter`].
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// The bytes that it takes on disk.
    pub fn disk_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body.len()
    }
}

/// What some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A frame of this segment, complete and right.
    Frame(Frame<'a>),
    /// So far as one can see a frame of this segment, but there are fewer bytes than it needs.
    Short {
        /// How many bytes it needs.
        needed: usize,
    },
    /// No frame of this segment.
    Bad,
}

/// What the fixed part of a frame says, before its checksum is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its fields.
    pub header: Header,
    /// The length of its body.
    pub body_bytes: usize,
    checksum: u32,
}

impl Claim {
    /// Reads a header. Nothing where the fields cannot be those of a frame, whatever its checksum:
    /// so searching through garbage rarely comes as far as computing one.
    pub fn read(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let checksum = u32::from_le_bytes(take(&mut rest)?);
        let body_bytes = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        let salt = u64::from_le_bytes(take(&mut rest)?);
        let base = u64::from_le_bytes(take(&mut rest)?);
        let count = u32::from_le_bytes(take(&mut rest)?);
        let flags = u16::from_le_bytes(take(&mut rest)?);
        let reserved = u16::from_le_bytes(take(&mut rest)?);
        let durable = u64::from_le_bytes(take(&mut rest)?);
        let time_ms = u64::from_le_bytes(take(&mut rest)?);
        let seal = flags & FLAG_SEAL != 0;
        let events_fit = if seal {
            // It is written when everything before it is durable, and says so.
            count == 0 && body_bytes == 0 && durable == base
        } else {
            count > 0 && body_bytes / EVENT_PREFIX_BYTES >= usize::try_from(count).ok()?
        };
        let plausible = events_fit
            && salt != 0
            && body_bytes <= BODY_BYTES_CEILING
            && flags & !(FLAG_RAW | FLAG_SEAL) == 0
            && reserved == 0
            && base <= OFFSET_MAX
            && durable <= base;
        plausible.then_some(Self {
            header: Header {
                salt,
                base: Offset::new(base),
                count,
                flags: Flags { raw: flags & FLAG_RAW != 0 },
                seal,
                durable: Offset::new(durable),
                time_ms,
            },
            body_bytes,
            checksum,
        })
    }

    /// The bytes that the frame takes on disk, if it is one.
    pub fn disk_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*field)
}

/// Looks for a frame of the segment with this salt at the beginning of `bytes`.
pub fn decode(bytes: &[u8], salt: u64) -> Decoded<'_> {
    let Some(header_bytes) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Decoded::Short { needed: FRAME_HEADER_BYTES };
    };
    match Claim::read(header_bytes) {
        Some(claim) if claim.header.salt == salt => verify(bytes, &claim),
        Some(_) | None => Decoded::Bad,
    }
}

/// Looks for a frame of any segment at the beginning of `bytes`: it must agree with itself alone.
pub fn decode_any(bytes: &[u8]) -> Decoded<'_> {
    match bytes.first_chunk::<FRAME_HEADER_BYTES>().map(Claim::read) {
        Some(Some(claim)) => verify(bytes, &claim),
        Some(None) => Decoded::Bad,
        None => Decoded::Short { needed: FRAME_HEADER_BYTES },
    }
}

fn verify<'a>(bytes: &'a [u8], claim: &Claim) -> Decoded<'a> {
    let needed = claim.disk_bytes();
    let (Some(covered), Some(body)) = (bytes.get(4..needed), bytes.get(FRAME_HEADER_BYTES..needed))
    else {
        return Decoded::Short { needed };
    };
    if crc32fast::hash(covered) == claim.checksum
        && events::is_well_formed(body, claim.header.count)
    {
        Decoded::Frame(Frame { header: claim.header, body })
    } else {
        Decoded::Bad
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::Events;

    const SALT: u64 = 0x1122_3344_5566_7788;

    fn header(base: u64, count: u32) -> Header {
        Header {
            salt: SALT,
            base: Offset::new(base),
            count,
            flags: Flags::default(),
            seal: false,
            durable: Offset::ZERO,
            time_ms: 7,
        }
    }

    #[test]
    fn a_header_that_claims_more_events_than_fit_is_none() {
        let claim = |count, body: &[u8]| Claim::read(&header(0, count).encode([body].into_iter()));
        let body = [0; 3 * EVENT_PREFIX_BYTES];
        assert!(claim(3, &body).is_some() && claim(4, &body).is_none());
        assert!(claim(0, &body).is_none() && claim(1, &body[..3]).is_none());
    }

    #[test]
    fn flags_are_separate_bits() {
        for (raw, seal, bits) in [(false, false, 0), (true, false, 1), (false, true, 2)] {
            let header = Header { flags: Flags { raw }, seal, ..header(0, 1) };
            assert_eq!(header.flag_bits(), bits);
        }
    }

    fn frame(header: &Header, body: &[u8]) -> Vec<u8> {
        let mut bytes = header.encode([body].into_iter()).to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    fn two_events() -> Vec<u8> {
        let mut events = Events::default();
        events.push(b"one");
        events.push(b"three");
        frame(&header(5, 2), events.body())
    }

    #[test]
    fn a_body_in_pieces_gives_the_same_bytes() {
        let mut one = Events::default();
        one.push(b"one");
        let mut two = Events::default();
        two.push(b"three");
        let pieces = header(5, 2).encode([one.body(), two.body()].into_iter());
        assert_eq!(pieces, two_events()[..FRAME_HEADER_BYTES]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let right = two_events();
        assert!(matches!(decode(&right, SALT), Decoded::Frame(_)));
        for bit in 0..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&wrong, SALT), Decoded::Frame(_)), "bit {bit}");
        }
    }

    #[test]
    fn every_missing_byte_is_noticed_and_the_need_is_named() {
        let right = two_events();
        for length in 0..right.len() {
            let needed = if length < FRAME_HEADER_BYTES { FRAME_HEADER_BYTES } else { right.len() };
            assert_eq!(decode(&right[..length], SALT), Decoded::Short { needed });
        }
    }

    #[test]
    fn a_frame_of_another_salt_or_of_zeros_is_none() {
        assert_eq!(decode(&two_events(), SALT + 1), Decoded::Bad);
        assert_eq!(decode(&[0; 100], 0), Decoded::Bad);
        assert!(matches!(decode_any(&two_events()), Decoded::Frame(_)));
    }

    #[test]
    fn a_right_checksum_over_a_body_that_holds_other_events_does_not_help() {
        let mut events = Events::default();
        events.push(b"one");
        assert_eq!(decode(&frame(&header(5, 2), events.body()), SALT), Decoded::Bad);
    }

    #[test]
    fn a_seal_has_no_events_and_says_that_all_before_it_is_durable() {
        let seal = Header { seal: true, durable: Offset::new(5), ..header(5, 0) };
        let bytes = frame(&seal, b"");
        assert_eq!(decode(&bytes, SALT), Decoded::Frame(Frame { header: seal, body: b"" }));
        assert_eq!(decode(&frame(&header(5, 0), b""), SALT), Decoded::Bad);
        // Recovery would write it again behind events, and what follows a seal is not read.
        let unproven = Header { durable: Offset::new(4), ..seal };
        assert_eq!(decode(&frame(&unproven, b""), SALT), Decoded::Bad);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            base in 0..=OFFSET_MAX, behind in 0_u64..1000, raw: bool, time_ms: u64,
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..9),
        ) {
            let mut events = Events::with_capacity(0, Flags { raw });
            for payload in &payloads {
                events.push(payload);
            }
            let header = Header {
                flags: Flags { raw },
                durable: Offset::new(base.saturating_sub(behind)),
                time_ms,
                ..header(base, events.count())
            };
            let mut bytes = frame(&header, events.body());
            bytes.extend_from_slice(b"what follows");
            prop_assert_eq!(
                decode(&bytes, SALT),
                Decoded::Frame(Frame { header, body: events.body() })
            );
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(decode_any(&bytes), Decoded::Frame(_)));
        }
    }
}
