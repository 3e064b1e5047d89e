//! Goes from frame to frame by their headers alone, without reading what they hold: fast, and to be
//! believed only where something else confirms it.

use std::io;

use crate::frame::Claim;
use crate::fs::File;
use crate::limits::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::segment::read_full;
use crate::segment::scan::Found;

/// What is read at a time: one block, with the headers of several small frames or of one large one.
const BLOCK_BYTES: usize = 4096;

/// A walk over the headers of a segment.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    salt: u64,
    /// Where the next header should stand.
    position: u64,
    /// The offset that it should begin with.
    expected: Offset,
    block: [u8; BLOCK_BYTES],
    block_position: u64,
    block_bytes: usize,
}

impl<'a> Walk<'a> {
    /// A walk over the segment that begins at `base`.
    pub(crate) fn new(file: &'a dyn File, salt: u64, base: Offset) -> Self {
        Self::from(file, salt, base, SEGMENT_HEADER_BYTES as u64)
    }

    /// A walk from a position on, where a frame should stand that begins at `expected`.
    pub(crate) fn from(file: &'a dyn File, salt: u64, expected: Offset, position: u64) -> Self {
        Self {
            file,
            salt,
            position,
            expected,
            block: [0; BLOCK_BYTES],
            block_position: 0,
            block_bytes: 0,
        }
    }

    /// Where the walk stands.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The offset behind the last frame that was passed.
    pub(crate) fn expected(&self) -> Offset {
        self.expected
    }

    /// The frame whose header stands here, if one does. The walk stays.
    pub(crate) fn here(&mut self) -> io::Result<Option<Found>> {
        if self.header().is_none() {
            self.block_position = self.position;
            self.block_bytes = read_full(self.file, &mut self.block, self.position)?;
        }
        let claim = self.header().and_then(Claim::read);
        Ok(claim
            .filter(|claim| claim.header.salt == self.salt && claim.header.base >= self.expected)
            .map(|claim| Found {
                position: self.position,
                header: claim.header,
                disk_bytes: claim.disk_bytes(),
            }))
    }

    /// Goes on behind a frame.
    pub(crate) fn pass(&mut self, found: &Found) {
        self.position = found.end_position();
        self.expected = found.header.end();
    }

    fn header(&self) -> Option<&[u8; FRAME_HEADER_BYTES]> {
        let index = usize::try_from(self.position.checked_sub(self.block_position)?).ok()?;
        self.block.get(..self.block_bytes)?.get(index..)?.first_chunk()
    }
}
