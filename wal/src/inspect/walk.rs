//! Adds up a segment from the headers of its frames.

use std::io;

use crate::events;
use crate::frame::Claim;
use crate::fs::File;
use crate::inspect::Backlog;
use crate::limits::{EVENT_PREFIX_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::recovery::chain::Opened;
use crate::segment::read_full;
use crate::segment::scan::{Found, Item, Scan, read_frame};

/// What is read at a time: one block, with the headers of several small frames or of one large one.
const BLOCK_BYTES: usize = 4096;

/// Adds the events of a segment from `from` on.
pub(super) fn add(backlog: &mut Backlog, opened: &Opened<'_>, from: Offset) -> io::Result<()> {
    let link = opened.link;
    let mut sum = Sum { backlog, opened, from };
    let mut block = Block { bytes: [0; BLOCK_BYTES], begin: 0, filled: 0 };
    let mut position = SEGMENT_HEADER_BYTES as u64;
    let mut expected = link.id.base();
    loop {
        let claim = block.header(&*opened.file, position)?.as_ref().and_then(Claim::read);
        let header = claim.map(|claim| claim.header);
        match (claim, header) {
            (Some(claim), Some(header)) if header.salt == link.salt && header.base >= expected => {
                let found = Found { position, header, disk_bytes: claim.disk_bytes() };
                if header.seal || !sum.frame(&found)? {
                    return Ok(());
                }
                expected = header.end();
                position = found.end_position();
            }
            _ => break,
        }
    }
    // The end, or damage. Only a scan can tell, and find what is behind.
    let mut scan = Scan::from(&*opened.file, link.salt, expected, position);
    loop {
        match scan.next()? {
            Item::Frame(found) => {
                if !sum.frame(&found)? {
                    return Ok(());
                }
            }
            Item::Hole(_) => {}
            Item::End(_) => return Ok(()),
        }
    }
}

/// What was added up so far.
#[derive(Debug)]
struct Sum<'a> {
    backlog: &'a mut Backlog,
    opened: &'a Opened<'a>,
    from: Offset,
}

impl Sum<'_> {
    /// Adds a frame; false where the segment is believed no further.
    fn frame(&mut self, found: &Found) -> io::Result<bool> {
        let header = found.header;
        if self.opened.link.end.is_some_and(|end| header.base >= end) {
            return Ok(false);
        }
        if header.end() <= self.from {
            return Ok(true);
        }
        let body_bytes = (found.disk_bytes - FRAME_HEADER_BYTES) as u64;
        let (mut events, mut bytes) = (
            u64::from(header.count),
            body_bytes.saturating_sub(u64::from(header.count) * EVENT_PREFIX_BYTES as u64),
        );
        if header.base < self.from {
            let before = self.from.since(header.base);
            bytes = bytes.saturating_sub(self.payload_bytes(found, before)?);
            events = events.saturating_sub(before);
        }
        self.backlog.events += events;
        self.backlog.bytes += bytes;
        self.backlog.oldest_time_ms.get_or_insert(header.time_ms);
        Ok(true)
    }

    /// The payload of the first events of a frame.
    fn payload_bytes(&self, found: &Found, events: u64) -> io::Result<u64> {
        let frame = read_frame(&*self.opened.file, found)?;
        let body = frame.as_ref().and_then(|frame| frame.get(FRAME_HEADER_BYTES..));
        let payloads = events::iter(body.unwrap_or_default());
        Ok((0..events).zip(payloads).map(|(_, payload)| payload.len() as u64).sum())
    }
}

/// A block of a file in memory.
#[derive(Debug)]
struct Block {
    bytes: [u8; BLOCK_BYTES],
    begin: u64,
    filled: usize,
}

impl Block {
    /// The bytes of a frame's header; nothing where the file ends before.
    fn header(
        &mut self,
        file: &dyn File,
        position: u64,
    ) -> io::Result<Option<[u8; FRAME_HEADER_BYTES]>> {
        if self.at(position).is_none() {
            self.begin = position;
            self.filled = read_full(file, &mut self.bytes, position)?;
        }
        Ok(self.at(position))
    }

    fn at(&self, position: u64) -> Option<[u8; FRAME_HEADER_BYTES]> {
        let index = usize::try_from(position.checked_sub(self.begin)?).ok()?;
        self.bytes.get(..self.filled)?.get(index..)?.first_chunk().copied()
    }
}
