//! Where the newest segment has to be read from: what its last frames prove to be durable was synced,
//! and whoever reads it checks it.

use std::collections::VecDeque;
use std::io;

use crate::fs::File;
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::offset::Offset;
use crate::segment::scan::{Found, Item, Scan, frame_behind, read_frame};
use crate::segment::walk::Walk;
use crate::segment::window::Window;

/// How much of the end of the data is looked at first, and then. A sync that wrote more is found
/// from the beginning of the segment.
const ENDS_BYTES: [u64; 3] = [4 << 10, 64 << 10, 1 << 20];

/// How many of the last frames are tried: what a power cut leaves of the last sync may be more, and
/// then everything is read.
const CANDIDATES_MAX: usize = 16;

/// Where reading has to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) position: u64,
    /// The offset that a frame there begins with.
    pub(crate) expected: Offset,
}

/// The first frame that reaches beyond what is proven, or one before it.
pub(crate) fn first_unproven(file: &dyn File, salt: u64, base: Offset) -> io::Result<Start> {
    let end = file.data_end(SEGMENT_HEADER_BYTES as u64)?;
    for bytes in ENDS_BYTES {
        let from = end.saturating_sub(bytes);
        if from <= SEGMENT_HEADER_BYTES as u64 {
            break;
        }
        if let Some(start) = near_end(file, salt, base, from)? {
            return Ok(start);
        }
    }
    from_beginning(file, salt, base)
}

/// The first frame behind a position from which on all frames continue each other, if one of them
/// proves what is before it. A search that begins in the middle of an event may find a copy of a
/// frame in it; but what follows that does not continue it.
fn near_end(file: &dyn File, salt: u64, base: Offset, from: u64) -> io::Result<Option<Start>> {
    let mut window = Window::at(from);
    let Some(first) = frame_behind(file, &mut window, salt, base)? else { return Ok(None) };
    let start = Start { position: first.position, expected: first.header.base };
    let mut scan = Scan::from(file, salt, start.expected, start.position);
    let (mut expected, mut proven) = (start.expected, base);
    loop {
        match scan.next()? {
            Item::Frame(found) if found.header.base == expected => {
                expected = found.header.end();
                proven = proven.max(found.header.durable);
            }
            Item::Frame(_) | Item::Hole(_) => return Ok(None),
            Item::End(_) => return Ok((proven >= start.expected).then_some(start)),
        }
    }
}

/// Goes over the headers of the frames, which takes a fraction of reading them, and believes them
/// as far as one of the last frames, which is read and whose checksum is right, says that everything
/// is durable. A header that is damaged ends the way: what it hides lies behind the place to begin.
fn from_beginning(file: &dyn File, salt: u64, base: Offset) -> io::Result<Start> {
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
