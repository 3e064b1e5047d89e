//! Where the newest segment has to be read from: what its last frames prove to be durable was synced,
//! and whoever reads it checks it.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::fs::File;
use crate::limits::{
    BODY_BYTES_CEILING, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, SALTED_EVENT_BYTES_MAX,
    SEGMENT_HEADER_BYTES,
};
use crate::offset::Offset;
use crate::segment::scan::{Found, frame_behind, read_frame};
use crate::segment::walk::Walk;
use crate::segment::window::Window;

/// How much of the end of the data is looked at. First what is enough where frames are small; then
/// the largest frame, and as much as a power cut usually tears.
const END_BYTES: [u64; 2] = [
    2 * SALTED_EVENT_BYTES_MAX as u64,
    (FRAME_HEADER_BYTES + BODY_BYTES_CEILING + FRAME_BYTES_MAX) as u64,
];

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
    for bytes in END_BYTES {
        let from = end.saturating_sub(bytes);
        if from > SEGMENT_HEADER_BYTES as u64
            && let Some(start) = near_end(file, salt, base, from..end)?
        {
            return Ok(start);
        }
    }
    from_beginning(file, salt, base)
}

/// Where reading has to begin, if a frame in the end of the data leads to another that proves what
/// is before it.
///
/// The search begins anywhere, so it may find a copy of a frame inside an event. But no large event
/// holds one, and frames that continue a copy lie in the same event: those behind it were not there
/// when the copy was made.
fn near_end(
    file: &dyn File,
    salt: u64,
    base: Offset,
    Range { start: from, end }: Range<u64>,
) -> io::Result<Option<Start>> {
    // The headers lie a few kilobytes apart: asked for one by one, each would wait for the disk.
    file.will_read(from, end - from);
    let mut window = Window::at(from);
    let Some(first) = frame_behind(file, &mut window, salt, base)? else { return Ok(None) };
    let first = Start { position: first.position, expected: first.header.base };
    let way = Way::along(file, salt, first)?;
    let Some(last) = way.last_right(file)? else { return Ok(None) };
    let is_longer_than_a_copy =
        last.end_position() - first.position > SALTED_EVENT_BYTES_MAX as u64;
    if !is_longer_than_a_copy || last.header.durable < first.expected {
        return Ok(None);
    }
    way.first_beyond(file, salt, last.header.durable).map(Some)
}

/// Goes over the headers of the frames, which takes a fraction of reading them, and believes them
/// as far as one of the last frames, which is read and whose checksum is right, says that everything
/// is durable. A header that is damaged ends the way: what it hides lies behind the place to begin.
fn from_beginning(file: &dyn File, salt: u64, base: Offset) -> io::Result<Start> {
    let first = Start { position: SEGMENT_HEADER_BYTES as u64, expected: base };
    let way = Way::along(file, salt, first)?;
    let proven = way.last_right(file)?.map_or(base, |found| found.header.durable.max(base));
    way.first_beyond(file, salt, proven)
}

/// Frames that continue each other, by their headers.
#[derive(Debug)]
struct Way {
    first: Start,
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
        Ok(Self { first, last, end })
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

    /// The first frame on the way that reaches beyond an offset, or the seal, or the end of the way.
    /// It is one of the last frames nearly always, and the way is not gone again then.
    fn first_beyond(&self, file: &dyn File, salt: u64, proven: Offset) -> io::Result<Start> {
        let is_proven = |found: &Found| found.header.end() <= proven && !found.header.seal;
        if !self.last.front().is_some_and(is_proven) {
            return walk(file, salt, self.first, is_proven);
        }
        let beyond = self.last.iter().find(|found| !is_proven(found));
        Ok(beyond.map_or(self.end, |found| Start {
            position: found.position,
            expected: found.header.base,
        }))
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
        push(&mut log, &[&vec![b'x'; 50_000], copied].concat());
        log.sync(1).unwrap();
        push(&mut log, &vec![b'b'; last]);
        log.sync(1).unwrap();
        world
    }

    /// The copy's last header leads over the true end of the log, and nothing stands there.
    #[test]
    fn a_copy_that_is_cut_off_does_not_lead_over_the_end_of_the_log() {
        let world = log_with_copy(6, 2 * FRAME + 2000, 100_000);
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

    /// Without the search for it in large events, this would look like the end of the log.
    #[test]
    fn a_large_event_that_holds_a_copy_of_the_segment_lies_in_another_one() {
        let world = World::new(16 << 20);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..200, 96);
        let copied = world.read(&name(0));
        push(&mut log, &copied[SEGMENT_HEADER_BYTES..][..200 * FRAME]);
        log.sync(1).unwrap();
        assert_eq!(log.segments(), 2);
        drop(log);
        let (log, recovery) = world.open(0);
        assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(2001), 1));
        assert_eq!((recovery.lost.as_slice(), recovery.unproven_bytes), ([].as_slice(), 0));
        assert_eq!(world.tail(0).offset(), Offset::ZERO);
        assert_eq!(log.oldest(), Offset::ZERO);
    }

    #[test]
    fn a_large_event_that_holds_the_salt_of_a_segment_without_events_replaces_it() {
        let world = World::new(16 << 20);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..1, 96);
        log.roll_idle(1).unwrap();
        let header = world.read(&name(10));
        push(&mut log, &[&header[..SEGMENT_HEADER_BYTES], &vec![b'x'; 70_000]].concat());
        log.sync(1).unwrap();
        assert_eq!((log.segments(), log.durable()), (2, Offset::new(11)));
        drop(log);
        let (_log, recovery) = world.open(0);
        assert_eq!((recovery.next, recovery.rewritten_events), (Offset::new(11), 1));
        assert_eq!(recovery.unproven_bytes, 0);
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
