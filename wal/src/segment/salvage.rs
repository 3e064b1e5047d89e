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
