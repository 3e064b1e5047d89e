//! Finds the frames of a segment, also behind bytes that are none.

use std::io;
use std::ops::Range;

use crate::frame::{Decoded, Header, decode};
use crate::fs::File;
use crate::limits::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::segment::window::Window;

/// Where the salt stands in a frame's header.
pub(crate) const SALT_POSITION: usize = 8;
const SALT_BYTES: usize = 8;

/// A frame and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its position in the file.
    pub(crate) position: u64,
    /// What it says.
    pub(crate) header: Header,
    /// Its length on disk.
    pub(crate) disk_bytes: usize,
}

impl Found {
    /// The position behind it.
    pub(crate) fn end_position(&self) -> u64 {
        self.position + self.disk_bytes as u64
    }
}

/// The frame at the window's position, which then lies in the window as a whole.
pub(crate) fn frame_here(
    file: &dyn File,
    window: &mut Window,
    salt: u64,
) -> io::Result<Option<Found>> {
    loop {
        match decode(window.bytes(), salt) {
            Decoded::Frame(frame) => {
                let (header, disk_bytes) = (frame.header, frame.disk_bytes());
                return Ok(Some(Found { position: window.position(), header, disk_bytes }));
            }
            Decoded::Short { needed } => {
                if !window.need(file, needed)? {
                    return Ok(None);
                }
            }
            Decoded::Bad => return Ok(None),
        }
    }
}

/// The first frame behind the window's position, wherever it begins, that holds nothing before
/// `expected`. The window stands at it then, or at the end of the file.
pub(crate) fn frame_behind(
    file: &dyn File,
    window: &mut Window,
    salt: u64,
    expected: Offset,
) -> io::Result<Option<Found>> {
    let finder = salt.to_le_bytes();
    // A frame begins one byte further on at the earliest.
    let nearest = 1 + SALT_POSITION;
    loop {
        let hit =
            window.bytes().get(nearest..).and_then(|rest| memchr::memmem::find(rest, &finder));
        if let Some(hit) = hit {
            window.pass(1 + hit);
            if let Some(found) = frame_here(file, window, salt)?
                && found.header.base >= expected
            {
                return Ok(Some(found));
            }
            continue;
        }
        // Keep what may be the beginning of a frame whose salt is not read yet.
        let held = window.bytes().len();
        window.pass(held.saturating_sub(nearest + SALT_BYTES - 1));
        // Behind its salt a frame has a count or the flag of a seal: none begins in what is kept if
        // only zeros follow.
        let kept = window.bytes().len();
        let only_zeros = file.next_data(window.position() + kept as u64)?.is_none();
        if only_zeros || !window.need(file, kept + 1)? {
            window.pass(kept);
            return Ok(None);
        }
    }
}

/// What lies next in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A frame that continues the ones before it; a jump of offsets is possible.
    Frame(Found),
    /// Bytes between two frames that are none.
    Hole(Range<u64>),
    /// There is no further frame; what follows from this position on is none.
    End(u64),
}

/// Goes over a whole segment, frame by frame. Nothing is read behind a seal.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    salt: u64,
    window: Window,
    expected: Offset,
    /// Found behind a hole that was returned first.
    behind: Option<Found>,
    ended: Option<u64>,
}

impl<'a> Scan<'a> {
    /// A scan of the segment that begins at `base`.
    pub(crate) fn new(file: &'a dyn File, salt: u64, base: Offset) -> Self {
        Self::from(file, salt, base, SEGMENT_HEADER_BYTES as u64)
    }

    /// A scan from a position on, where a frame should stand that begins at `expected`.
    pub(crate) fn from(file: &'a dyn File, salt: u64, expected: Offset, position: u64) -> Self {
        Self { file, salt, window: Window::at(position), expected, behind: None, ended: None }
    }

    /// The next thing; [`Item::End`] again and again at the end.
    pub(crate) fn next(&mut self) -> io::Result<Item> {
        if let Some(position) = self.ended {
            return Ok(Item::End(position));
        }
        if let Some(found) = self.behind.take() {
            return Ok(self.pass(found));
        }
        let from = self.window.position();
        if let Some(found) = frame_here(self.file, &mut self.window, self.salt)?
            && found.header.base >= self.expected
        {
            return Ok(self.pass(found));
        }
        self.behind = frame_behind(self.file, &mut self.window, self.salt, self.expected)?;
        if let Some(found) = self.behind {
            return Ok(Item::Hole(from..found.position));
        }
        self.ended = Some(from);
        Ok(Item::End(from))
    }

    fn pass(&mut self, found: Found) -> Item {
        self.expected = found.header.end();
        self.window.pass(found.disk_bytes);
        if found.header.seal {
            self.ended = Some(found.end_position());
        }
        Item::Frame(found)
    }
}

/// The bytes of a frame that was found, header included; nothing where they have changed since.
pub(crate) fn read_frame(file: &dyn File, found: &Found) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; found.disk_bytes.max(FRAME_HEADER_BYTES)];
    crate::segment::read_full(file, &mut bytes, found.position)?;
    match decode(&bytes, found.header.salt) {
        Decoded::Frame(frame) if frame.header == found.header => Ok(Some(bytes)),
        Decoded::Frame(_) | Decoded::Short { .. } | Decoded::Bad => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Access;
    use crate::log::tests::{SEGMENT, World, frame_of_ten, name, write_tens};

    /// Of a frame of ten events of 96 bytes.
    const FRAME: u64 = 48 + 10 * 100;

    fn position(frame: u64) -> u64 {
        SEGMENT_HEADER_BYTES as u64 + frame * FRAME
    }

    /// Where each of them begins and ends.
    type Pairs = Vec<(u64, u64)>;

    /// The frames by their offsets, the holes by their positions, and the position of the end.
    fn scan(world: &World, salt: u64) -> (Pairs, Pairs, u64) {
        let file = world.fs.open(&world.path(&name(0)), Access::Read).unwrap();
        let mut scan = Scan::new(&*file, salt, Offset::ZERO);
        let (mut frames, mut holes) = (Vec::new(), Vec::new());
        loop {
            match scan.next().unwrap() {
                Item::Frame(found) => {
                    frames.push((found.header.base.get(), found.header.end().get()));
                }
                Item::Hole(bytes) => holes.push((bytes.start, bytes.end)),
                Item::End(position) => return (frames, holes, position),
            }
        }
    }

    /// Reading ends somewhere, and a salt may begin before and end behind it.
    #[test]
    fn a_frame_is_found_behind_other_bytes_wherever_it_stands() {
        let salt = 0x0123_4567_89ab_cdef;
        let frame = frame_of_ten(salt, 7, 7);
        let world = World::new(SEGMENT);
        let _log = world.open(0);
        let read_bytes = crate::limits::READ_BYTES_MIN;
        for position in (read_bytes - 70..read_bytes + 10).chain([1, 2, 999]) {
            let other = vec![b'.'; position];
            let path = format!("file{position}");
            world.plant(&path, &[other.as_slice(), &frame, &[0; 5000]].concat());
            let file = world.fs.open(&world.path(&path), Access::Read).unwrap();
            let find = |salt, expected| {
                let mut window = Window::at(0);
                frame_behind(&*file, &mut window, salt, Offset::new(expected)).unwrap()
            };
            let found = find(salt, 0).map(|found| found.position);
            assert_eq!(found, Some(position as u64));
            assert_eq!(find(salt, 8), None, "its offsets were passed");
            assert_eq!(find(!salt, 0), None);
        }
    }

    #[test]
    fn a_frame_that_has_changed_since_it_was_found_is_not_read() {
        let world = World::new(SEGMENT);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..2, 96);
        let salt = world.salt();
        let file = world.fs.open(&world.path(&name(0)), Access::Read).unwrap();
        let mut walk = Scan::new(&*file, salt, Offset::ZERO);
        let Item::Frame(found) = walk.next().unwrap() else { panic!("no frame") };
        assert_eq!(read_frame(&*file, &found).unwrap().unwrap().len() as u64, FRAME);
        world.damage(&name(0), position(0), &frame_of_ten(salt, 3, 3));
        assert_eq!(read_frame(&*file, &found).unwrap(), None);
    }

    /// A write that went to the wrong place puts a frame that is right in itself where offsets have
    /// already passed it: directly behind a frame, or behind bytes that are none.
    #[test]
    fn a_frame_whose_offsets_were_passed_is_a_hole_also_behind_damage() {
        let world = World::new(SEGMENT);
        let (mut log, _) = world.open(0);
        write_tens(&mut log, 0..5, 96);
        let salt = world.salt();
        let (begin, end) = (position(0), position(1));
        let first = world.read(&name(0));
        let first = &first[usize::try_from(begin).unwrap()..usize::try_from(end).unwrap()];

        world.damage(&name(0), position(2), first);
        let expected = vec![(0, 10), (10, 20), (30, 40), (40, 50)];
        assert_eq!(scan(&world, salt), (expected, vec![(position(2), position(3))], position(5)));

        world.damage(&name(0), position(1) + 100, b"??");
        let expected = vec![(0, 10), (30, 40), (40, 50)];
        assert_eq!(scan(&world, salt), (expected, vec![(position(1), position(3))], position(5)));

        // Nothing right follows: then it is no end either, but bytes behind the end.
        world.damage(&name(0), position(3), first);
        world.damage(&name(0), position(4), first);
        assert_eq!(scan(&world, salt), (vec![(0, 10)], vec![], position(1)));
    }
}
