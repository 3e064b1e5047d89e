//! Reads a segment whose header is damaged: its frames repeat the salt.

use std::io;

use crate::frame::{Claim, Decoded, decode_any};
use crate::fs::File;
use crate::limits::{EVENT_PREFIX_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::segment::window::Window;

/// The salt of the first frame that agrees with itself and can stand where it stands.
///
/// A file that was written again may hold frames of its earlier life, with another salt. They stand
/// behind the ones of this life; and one that holds offsets which this segment cannot have reached
/// at that position is passed over.
pub(crate) fn find_salt(file: &dyn File, base: Offset) -> io::Result<Option<u64>> {
    let begin = SEGMENT_HEADER_BYTES as u64;
    let mut window = Window::at(begin);
    while window.need(file, FRAME_HEADER_BYTES)? {
        let claim = window.bytes().first_chunk::<FRAME_HEADER_BYTES>().and_then(Claim::read);
        if let Some(claim) = claim {
            let events_before = (window.position() - begin) / EVENT_PREFIX_BYTES as u64;
            let found = claim.header.base;
            if found >= base
                && found.since(base) <= events_before
                && window.need(file, claim.disk_bytes())?
                && matches!(decode_any(window.bytes()), Decoded::Frame(_))
            {
                return Ok(Some(claim.header.salt));
            }
        }
        window.pass(1);
    }
    Ok(None)
}
