//! Where the newest segment has to be read from: what its last frames prove to be durable was synced,
//! and whoever reads it checks it.

use std::collections::VecDeque;
use std::io;

use crate::fs::File;
use crate::limits::{
    BODY_BYTES_CEILING, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES,
};
use crate::offset::Offset;
use crate::segment::scan::{Found, Item, Scan, frame_behind, read_frame};
use crate::segment::walk::Walk;
use crate::segment::window::Window;

/// How much of the end of the data is looked at: the largest frame, and as much as a power cut
/// usually tears.
const END_BYTES: u64 = FRAME_BYTES_CEILING + FRAME_BYTES_MAX as u64;

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

/// The first frame behind a position, or rather the last behind it that may begin to be read, if all
/// that follows continues it, and if one of the last frames proves what is before it.
///
/// The search begins anywhere, so it may find a copy of a frame inside an event. But then the frame
/// around that event ends no more than the largest frame behind `from`; where a frame that is right
/// ends behind that, it does not continue the copy.
fn near_end(file: &dyn File, salt: u64, base: Offset, from: u64) -> io::Result<Option<Start>> {
    let mut window = Window::at(from);
    let Some(first) = frame_behind(file, &mut window, salt, base)? else { return Ok(None) };
    let first = Start { position: first.position, expected: first.header.base };
    let way = Way::along(file, salt, first)?;
    let Some(last) = way.last_right(file)? else { return Ok(None) };
    let reaches_over_any_frame = last.end_position() >= from + FRAME_BYTES_CEILING;
    if !reaches_over_any_frame || last.header.durable < first.expected {
        return Ok(None);
    }
    // Frames may follow that do not continue these.
    let mut scan = Scan::from(file, salt, way.end.expected, way.end.position);
    if !last.header.seal && scan.next()? != Item::End(way.end.position) {
        return Ok(None);
    }
    first_beyond(file, salt, first, last.header.durable).map(Some)
}

/// Goes over the headers of the frames, which takes a fraction of reading them, and believes them
/// as far as one of the last frames, which is read and whose checksum is right, says that everything
/// is durable. A header that is damaged ends the way: what it hides lies behind the place to begin.
fn from_beginning(file: &dyn File, salt: u64, base: Offset) -> io::Result<Start> {
    let first = Start { position: SEGMENT_HEADER_BYTES as u64, expected: base };
    let last = Way::along(file, salt, first)?.last_right(file)?;
    let proven = last.map_or(base, |found| found.header.durable.max(base));
    first_beyond(file, salt, first, proven)
}

/// The first frame on the way that reaches beyond an offset, or the seal, or the end of the way.
fn first_beyond(file: &dyn File, salt: u64, first: Start, proven: Offset) -> io::Result<Start> {
    walk(file, salt, first, |found| found.header.end() <= proven && !found.header.seal)
}

/// Frames that continue each other, by their headers.
#[derive(Debug)]
struct Way {
    /// The last of them.
    last: VecDeque<Found>,
    end: Start,
}

impl Way {
    fn along(file: &dyn File, salt: u64, first: Start) -> io::Result<Self> {
        let mut last = VecDeque::with_capacity(CANDIDATES_MAX);
        let end = walk(file, salt, first, |found| {
            if last.len() == CANDIDATES_MAX {
                last.pop_front();
            }
            last.push_back(*found);
            true
        })?;
        Ok(Self { last, end })
    }

    /// The last of the last frames whose checksum is right.
    fn last_right(&self, file: &dyn File) -> io::Result<Option<Found>> {
        for found in self.last.iter().rev() {
            if read_frame(file, found)?.is_some() {
                return Ok(Some(*found));
            }
        }
        Ok(None)
    }
}

/// Goes from header to header while they continue each other and `goes_on` says so. Returns where
/// it stopped.
fn walk(
    file: &dyn File,
    salt: u64,
    first: Start,
    mut goes_on: impl FnMut(&Found) -> bool,
) -> io::Result<Start> {
    let mut walk = Walk::from(file, salt, first.expected, first.position);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use crate::log::tests::{World, name, write_tens};
    use crate::{Events, Flags};

    /// Of a frame of ten events of 96 bytes.
    const FRAME: usize = 48 + 10 * 100;

    fn push(log: &mut Log, payload: &[u8]) {
        let mut events = Events::with_capacity(0, Flags::default());
        events.push(payload);
        log.push(events, 1);
    }

    /// A log of eight frames of ten events, a long event, one that ends with a copy of the frames
    /// before it from the given one on, up to so many bytes, and one more.
    fn log_with_copy(from: usize, bytes: usize, last: usize) -> World {
        let world = World::new(16 << 20);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..8, 96);
        push(&mut log, &vec![b'a'; 900_000]);
        log.sync(1).unwrap();
        let copied = world.read(&name(0));
        let copied = &copied[SEGMENT_HEADER_BYTES + from * FRAME..][..bytes];
        push(&mut log, &[&vec![b'x'; 1_000_000], copied].concat());
        log.sync(1).unwrap();
        push(&mut log, &vec![b'b'; last]);
        log.sync(1).unwrap();
        world
    }

    /// The copy's last header leads over the true end of the log, and nothing stands there.
    #[test]
    fn a_copy_that_is_cut_off_does_not_lead_over_the_end_of_the_log() {
        let world = log_with_copy(6, 2 * FRAME + 2000, 300_000);
        let (_log, recovery) = world.open(0);
        assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(83), 1));
        assert_eq!((recovery.lost.as_slice(), recovery.unproven_bytes), ([].as_slice(), 0));
    }

    #[test]
    fn a_copy_in_a_damaged_event_does_not_hide_that_it_is_lost() {
        let world = log_with_copy(0, 8 * FRAME, 100_000);
        let damaged = SEGMENT_HEADER_BYTES + 8 * FRAME + FRAME_HEADER_BYTES + 4 + 900_000;
        world.damage(&name(0), damaged as u64, b"????????????????");
        let (_log, recovery) = world.open(0);
        assert_eq!(recovery.next, Offset::new(83));
        assert_eq!(recovery.lost, [Offset::new(81)..Offset::new(82)]);
    }

    #[test]
    fn a_sync_that_is_longer_than_what_is_looked_at_is_written_again_as_a_whole() {
        let world = World::new(16 << 20);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..1, 96);
        (0..30).for_each(|_| push(&mut log, &vec![b'a'; 100_000]));
        log.sync(1).unwrap();
        drop(log);
        let (_log, recovery) = world.open(0);
        assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(40), 30));
    }

    /// On some file systems bytes that are zeros take no space, and the file's data ends before them.
    #[test]
    fn an_event_of_zeros_at_the_end_of_a_log_is_read_as_a_whole() {
        let world = World::new(16 << 20);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..3, 96);
        push(&mut log, &vec![0; 900_000]);
        log.sync(1).unwrap();
        drop(log);
        let (_log, recovery) = world.open(0);
        assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(31), 1));
        assert_eq!(recovery.unproven_bytes, 0);
    }
}
