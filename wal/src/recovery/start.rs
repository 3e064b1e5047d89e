//! Where the newest segment has to be read from: what its last frames prove to be durable was synced,
//! and whoever reads it checks it.

use std::collections::VecDeque;
use std::io;

use crate::fs::File;
use crate::limits::{BODY_BYTES_CEILING, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::segment::scan::{Found, Item, Scan, frame_behind, read_frame};
use crate::segment::walk::Walk;
use crate::segment::window::Window;

/// How much of the end of the data is looked at: the largest frame, and as much as a sync usually
/// writes.
const END_BYTES: u64 = 2 * FRAME_BYTES_CEILING;

/// The largest frame.
const FRAME_BYTES_CEILING: u64 = (FRAME_HEADER_BYTES + BODY_BYTES_CEILING) as u64;

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
    let from = end.saturating_sub(END_BYTES);
    if from > SEGMENT_HEADER_BYTES as u64
        && let Some(start) = near_end(file, salt, base, from)?
    {
        return Ok(start);
    }
    from_beginning(file, salt, base)
}

/// The first frame behind a position, if all that follows continues it, and if one of these frames
/// proves what is before it.
///
/// The search begins anywhere, so it may find a copy of a frame inside an event. But then the frame
/// around that event ends no more than the largest frame behind `from`; where the log goes on
/// behind that, what stands there does not continue the copy.
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
            Item::End(end) => {
                let reaches_over_any_frame = end >= from + FRAME_BYTES_CEILING;
                return Ok(
                    Some(start).filter(|_| reaches_over_any_frame && proven >= start.expected)
                );
            }
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
