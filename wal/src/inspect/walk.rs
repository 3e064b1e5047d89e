//! Adds up a segment from the headers of its frames.

use std::io;

use crate::events;
use crate::inspect::Backlog;
use crate::limits::{EVENT_PREFIX_BYTES, FRAME_HEADER_BYTES};
use crate::offset::Offset;
use crate::recovery::chain::Opened;
use crate::segment::scan::{Found, Item, Scan, read_frame};
use crate::segment::walk::Walk;

/// Adds the events of a segment from `from` on.
pub(super) fn add(backlog: &mut Backlog, opened: &Opened<'_>, from: Offset) -> io::Result<()> {
    let link = opened.link;
    let mut sum = Sum { backlog, opened, from };
    let mut walk = Walk::new(&*opened.file, link.salt, link.id.base());
    while let Some(found) = walk.here()? {
        if found.header.seal || !sum.frame(&found)? {
            return Ok(());
        }
        walk.pass(&found);
    }
    // The end, or damage. Only a scan can tell, and find what is behind.
    let mut scan = Scan::from(&*opened.file, link.salt, walk.expected(), walk.position());
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
