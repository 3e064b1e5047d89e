//! Reads a segment whose header is damaged: its frames repeat the salt.

use std::io;

use crate::frame::{Claim, Decoded, decode_any};
use crate::fs::File;
use crate::limits::{EVENT_PREFIX_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::segment::window::Window;

/// The salt of the first frame that agrees with itself and can stand where it stands.
///
/// A file that was written again may hold frames of its earlier life, with another salt, perhaps of
/// another stream. The first frame of this life decides, since it stands where the first one of the
/// earlier life stood: where there is none, nothing of this life is there. Only where that place is
/// damaged too is one looked for behind it; then one that holds offsets which this segment cannot
/// have reached at that position is passed over.
pub(crate) fn find_salt(file: &dyn File, base: Offset) -> io::Result<Option<u64>> {
    let begin = SEGMENT_HEADER_BYTES as u64;
    let mut window = Window::at(begin);
    while window.need(file, FRAME_HEADER_BYTES)? {
        let is_first = window.position() == begin;
        let Some(head) = window.bytes().first_chunk::<FRAME_HEADER_BYTES>() else { break };
        if is_first && head.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if let Some(claim) = Claim::read(head) {
            let events_before = (window.position() - begin) / EVENT_PREFIX_BYTES as u64;
            let found = claim.header.base;
            let can_stand = found >= base && found.since(base) <= events_before;
            if (is_first || can_stand)
                && window.need(file, claim.disk_bytes())?
                && matches!(decode_any(window.bytes()), Decoded::Frame(_))
            {
                return Ok(Some(claim.header.salt).filter(|_| can_stand));
            }
        }
        window.pass(1);
    }
    Ok(None)
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use std::path::Path;

    use super::*;
    use crate::fs::sim::SimFs;
    use crate::fs::{Access, Fs};
    use crate::log::tests::frame_of_ten;

    const BASE: u64 = 100;

    fn frame(salt: u64, base: u64) -> Vec<u8> {
        frame_of_ten(salt, base, base)
    }

    /// The salt of a segment that begins at `BASE` and holds this behind its header.
    fn salt_of(parts: &[&[u8]]) -> Option<u64> {
        let disk = SimFs::new(1);
        let path = Path::new("/segment");
        let header = [0xff; SEGMENT_HEADER_BYTES];
        disk.plant(path, &[&header, parts.concat().as_slice(), &[0; 500]].concat()).unwrap();
        let file = disk.open(path, Access::Read).unwrap();
        find_salt(&*file, Offset::new(BASE)).unwrap()
    }

    #[test]
    fn the_frame_behind_the_header_decides() {
        assert_eq!(salt_of(&[&frame(9, BASE)]), Some(9));
        assert_eq!(salt_of(&[&frame(5, BASE + 1), &frame(9, BASE + 5)]), None, "an earlier life");
        assert_eq!(salt_of(&[&[0; 48], &frame(9, BASE + 5)]), None);
        assert_eq!(salt_of(&[b"?"]), None);
    }

    #[test]
    fn behind_damage_a_frame_decides_whose_offsets_can_be_reached_there() {
        // Eleven events without a payload take 44 bytes.
        let damage = [b'?'; 44];
        let reached = frame(9, BASE + 5);
        for base in [BASE + 12, BASE + 50, BASE - 1] {
            assert_eq!(salt_of(&[&damage, &frame(5, base), &reached]), Some(9), "{base}");
        }
        assert_eq!(salt_of(&[&damage, &frame(5, BASE + 11), &reached]), Some(5));
    }
}
