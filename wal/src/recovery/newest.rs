//! What the newest segment holds: the only one of which something may not be durable. Reads, and
//! never changes anything.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::error::{Context, Error};
use crate::frame::Claim;
use crate::fs::File;
use crate::limits::FRAME_HEADER_BYTES;
use crate::offset::Offset;
use crate::recovery::chain::{Link, Opened};
use crate::segment::scan::{Found, Item, SALT_POSITION, read_frame};
use crate::segment::walk::Walk;
use crate::segment::window::Window;

/// How many of the last frames are tried: what a power cut leaves of the last sync may be more, and
/// then everything is read.
const CANDIDATES_MAX: usize = 16;

/// Bytes where frames should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where they lie in the file.
    pub(crate) bytes: Range<u64>,
    /// The offsets that the frames around them leave out.
    pub(crate) offsets: Range<Offset>,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Where the first frame lies that was read.
    pub(crate) from: Start,
    /// The offset behind its last frame; its base if it has none.
    pub(crate) end: Offset,
    /// What its header and its frames prove to be durable.
    pub(crate) proven: Offset,
    /// Whether its last frame is a seal.
    pub(crate) sealed: bool,
    /// Between frames, or before the first.
    pub(crate) holes: Vec<Hole>,
    /// Bytes behind the last frame that are neither zeros nor of an earlier life of the file.
    pub(crate) residue: Range<u64>,
}

/// Reads a segment from the first frame on that is not proven durable: what is proven was synced,
/// and whoever reads it checks it.
pub(crate) fn read(opened: &Opened<'_>) -> Result<Content, Error> {
    read_content(opened).during("read", &opened.link.path)
}

fn read_content(opened: &Opened<'_>) -> io::Result<Content> {
    let Opened { link, file } = opened;
    let base = link.id.base();
    let from = first_unproven(&**file, link.salt, base)?;
    let expected = from.expected;
    let mut scan = opened.scan_from(from);
    let mut content = Content {
        from,
        end: expected,
        // Where the header is damaged, its name still says what was durable when it was begun.
        proven: link.header.as_ref().map_or(base, |header| header.predecessor.end).max(expected),
        sealed: false,
        holes: Vec::new(),
        residue: 0..0,
    };
    let mut hole = None;
    loop {
        match scan.next()? {
            Item::Frame(found) => {
                let header = found.header;
                if let Some(bytes) = hole.take() {
                    let offsets = content.end..header.base;
                    content.holes.push(Hole { bytes, offsets });
                }
                content.end = header.end();
                content.proven = content.proven.max(header.durable);
                content.sealed = header.seal;
            }
            Item::Hole(bytes) => hole = Some(bytes),
            Item::End(position) => {
                if !content.sealed {
                    content.residue = residue(&**file, link, position)?;
                }
                return Ok(content);
            }
        }
    }
}

/// Where reading has to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) position: u64,
    /// The offset that a frame there begins with.
    pub(crate) expected: Offset,
}

/// Goes over the headers of the frames, which takes a fraction of reading them, and believes them
/// as far as one of the last frames, which is read and whose checksum is right, says that everything
/// is durable. A header that is damaged ends the way: what it hides lies behind the place to begin.
fn first_unproven(file: &dyn File, salt: u64, base: Offset) -> io::Result<Start> {
    let mut last = VecDeque::with_capacity(CANDIDATES_MAX);
    walk(file, salt, base, |found| {
        if last.len() == CANDIDATES_MAX {
            last.pop_front();
        }
        last.push_back(*found);
        true
    })?;
    let mut proven = base;
    for found in last.iter().rev() {
        if read_frame(file, found)?.is_some() {
            proven = found.header.durable.max(base);
            break;
        }
    }
    walk(file, salt, base, |found| found.header.end() <= proven && !found.header.seal)
}

/// Goes from header to header while they continue each other and `goes_on` says so. Returns where
/// it stopped.
fn walk(
    file: &dyn File,
    salt: u64,
    base: Offset,
    mut goes_on: impl FnMut(&Found) -> bool,
) -> io::Result<Start> {
    let mut walk = Walk::new(file, salt, base);
    while let Some(found) = walk.here()?.filter(|found| found.header.base == walk.expected()) {
        if !goes_on(&found) {
            break;
        }
        walk.pass(&found);
        if found.header.seal {
            break;
        }
    }
    Ok(Start { position: walk.position(), expected: walk.expected() })
}

/// What stands behind the last frame and should not. In a file that was written before, only bytes
/// with this segment's salt can be told from those of its earlier life.
pub(crate) fn residue(file: &dyn File, link: &Link, from: u64) -> io::Result<Range<u64>> {
    let recycled = link.header.as_ref().is_none_or(|header| header.recycled);
    let end = if recycled { salted_end(file, link.salt, from)? } else { nonzero_end(file, from)? };
    Ok(from..end.max(from))
}

/// The position behind the last byte that is not zero.
fn nonzero_end(file: &dyn File, from: u64) -> io::Result<u64> {
    let mut window = Window::at(from);
    let mut end = from;
    while file.next_data(window.position())?.is_some() && window.need(file, 1)? {
        let bytes = window.bytes();
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = window.position() + last as u64 + 1;
        }
        window.pass(bytes.len());
    }
    Ok(end)
}

/// The position behind the last frame that its header claims, whether it is complete or not.
fn salted_end(file: &dyn File, salt: u64, from: u64) -> io::Result<u64> {
    let finder = salt.to_le_bytes();
    let mut window = Window::at(from);
    let size = file.size()?;
    let mut end = from;
    while window.need(file, FRAME_HEADER_BYTES)? {
        let rest = window.bytes().get(SALT_POSITION..).unwrap_or_default();
        let Some(hit) = memchr::memmem::find(rest, &finder) else {
            // The salt itself may be cut in two by the end of the window.
            let held = window.bytes().len();
            window.pass(held - (SALT_POSITION + finder.len() - 1));
            // No salt is zero, so none begins where only zeros are.
            if file.next_data(window.position())?.is_none() {
                break;
            }
            continue;
        };
        window.pass(hit);
        if window.need(file, FRAME_HEADER_BYTES)? {
            let claim = window.bytes().first_chunk::<FRAME_HEADER_BYTES>().and_then(Claim::read);
            let bytes = claim.map_or(FRAME_HEADER_BYTES, |claim| claim.disk_bytes()) as u64;
            end = end.max((window.position() + bytes).min(size));
            window.pass(1);
        }
    }
    Ok(end)
}
