//! What was pushed and is not durable: frames that are not written yet, or were written and not
//! synced.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use crate::events::{Events, Flags};
use crate::frame::Header;
use crate::limits::{BODY_BYTES_MAX, FRAME_HEADER_BYTES, SALTED_EVENT_BYTES_MAX};
use crate::offset::Offset;

/// A frame to be. Its body stays in the pieces in which it came: nothing is copied.
#[derive(Debug)]
struct Frame {
    base: Offset,
    count: u32,
    flags: Flags,
    time_ms: u64,
    body_bytes: usize,
    bodies: Vec<Events>,
}

impl Frame {
    fn disk_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.bodies.iter().map(Events::body)
    }

    /// Whether an event in it is large and may hold a copy of the segment of this salt.
    fn may_hold_copy(&self, salt: u64) -> bool {
        let finder = salt.to_le_bytes();
        let mut large =
            self.bodies.iter().filter(|events| events.largest() > SALTED_EVENT_BYTES_MAX);
        large.any(|events| memchr::memmem::find(events.body(), &finder).is_some())
    }

    fn has_room_for(&self, events: &Events) -> bool {
        self.flags == events.flags()
            && self.body_bytes + events.body().len() <= BODY_BYTES_MAX
            && self.count.checked_add(events.count()).is_some()
    }
}

/// The unsynced tail of a log, in memory.
#[derive(Debug)]
pub(super) struct Pending {
    frames: VecDeque<Frame>,
    next: Offset,
    body_bytes: usize,
}

/// The frames that go into one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) frames: usize,
    pub(super) disk_bytes: u64,
}

impl Pending {
    pub(super) fn new(next: Offset) -> Self {
        Self { frames: VecDeque::new(), next, body_bytes: 0 }
    }

    pub(super) fn next(&self) -> Offset {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Adds events to the last frame if they fit, else to a new one.
    pub(super) fn push(&mut self, events: Events, now_ms: u64) -> Range<Offset> {
        let base = self.next;
        if events.is_empty() {
            return base..base;
        }
        self.next = base.after(u64::from(events.count()));
        self.body_bytes += events.body().len();
        match self.frames.back_mut() {
            Some(frame) if frame.has_room_for(&events) => {
                frame.count += events.count();
                frame.body_bytes += events.body().len();
                frame.bodies.push(events);
            }
            Some(_) | None => self.frames.push_back(Frame {
                base,
                count: events.count(),
                flags: events.flags(),
                time_ms: now_ms,
                body_bytes: events.body().len(),
                bodies: vec![events],
            }),
        }
        base..self.next
    }

    /// The first frames that fit into `room` of a segment with this salt; the first one alone where
    /// `always_one` and it does not. A frame in which the salt stands is for another segment.
    pub(super) fn fitting(&self, room: u64, always_one: bool, salt: u64) -> Group {
        let mut group = Group { frames: 0, disk_bytes: 0 };
        for frame in &self.frames {
            let disk_bytes = group.disk_bytes + frame.disk_bytes() as u64;
            if disk_bytes > room && !(always_one && group.frames == 0) {
                break;
            }
            if frame.may_hold_copy(salt) {
                break;
            }
            group = Group { frames: group.frames + 1, disk_bytes };
        }
        group
    }

    /// The bytes that all frames take on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.disk_bytes() as u64).sum()
    }

    /// The headers of the first frames.
    pub(super) fn headers(
        &self,
        group: Group,
        salt: u64,
        durable: Offset,
    ) -> Vec<[u8; FRAME_HEADER_BYTES]> {
        let header = |frame: &Frame| {
            let header = Header {
                salt,
                base: frame.base,
                count: frame.count,
                flags: frame.flags,
                seal: false,
                durable,
                time_ms: frame.time_ms,
            };
            header.encode(frame.pieces())
        };
        self.frames.iter().take(group.frames).map(header).collect()
    }

    /// The first frames with their headers, as they are to be written.
    pub(super) fn slices<'a>(
        &'a self,
        headers: &'a [[u8; FRAME_HEADER_BYTES]],
    ) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(headers.len() * 2);
        for (header, frame) in headers.iter().zip(&self.frames) {
            slices.push(IoSlice::new(header));
            slices.extend(frame.pieces().map(IoSlice::new));
        }
        slices
    }

    /// Drops the first frames, which are durable now; returns the offset behind them.
    pub(super) fn drop_durable(&mut self, group: Group) -> Option<Offset> {
        let mut end = None;
        for frame in self.frames.drain(..group.frames.min(self.frames.len())) {
            self.body_bytes -= frame.body_bytes;
            end = Some(frame.base.after(u64::from(frame.count)));
        }
        end
    }

    /// Gives everything back and goes on at `durable`.
    pub(super) fn take(&mut self, durable: Offset) -> Vec<Events> {
        self.next = durable;
        self.body_bytes = 0;
        self.frames.drain(..).flat_map(|frame| frame.bodies).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(payload_bytes: usize, raw: bool) -> Events {
        let mut events = Events::with_capacity(0, Flags { raw });
        events.push(&vec![b'x'; payload_bytes]);
        events
    }

    #[test]
    fn small_pushes_share_a_frame_and_other_flags_begin_a_new_one() {
        let mut pending = Pending::new(Offset::new(5));
        assert_eq!(pending.push(events(3, false), 1), Offset::new(5)..Offset::new(6));
        pending.push(events(3, false), 2);
        pending.push(events(3, true), 3);
        pending.push(Events::default(), 4);
        let group = pending.fitting(u64::MAX, false, 1);
        assert_eq!(group, Group { frames: 2, disk_bytes: 2 * 48 + 3 * 7 });
        assert_eq!(pending.drop_durable(Group { frames: 1, disk_bytes: 0 }), Some(Offset::new(7)));
        assert_eq!((pending.body_bytes(), pending.next()), (7, Offset::new(8)));
        assert_eq!(pending.take(Offset::new(7)).len(), 1);
        assert_eq!((pending.body_bytes(), pending.next()), (0, Offset::new(7)));
    }

    #[test]
    fn a_frame_is_never_larger_than_the_limit_unless_one_event_is() {
        let mut pending = Pending::new(Offset::ZERO);
        for _ in 0..9 {
            pending.push(events(100_000, false), 1);
        }
        pending.push(events(crate::limits::EVENT_BYTES_MAX, false), 1);
        assert_eq!(pending.fitting(u64::MAX, false, 1).frames, 6);
        assert_eq!(pending.fitting(10, false, 1).frames, 0);
        assert_eq!(pending.fitting(10, true, 1).frames, 1);
        let two = 2 * (48 + 200_008);
        assert_eq!(pending.fitting(two, false, 1).frames, 2, "they fit exactly");
        assert_eq!(pending.fitting(two - 1, false, 1).frames, 1);
    }

    #[test]
    fn a_large_event_with_the_salt_of_a_segment_is_for_another_one() {
        let salt = 0x0123_4567_89ab_cdef_u64;
        let copy =
            [&vec![b'x'; SALTED_EVENT_BYTES_MAX - 8], salt.to_le_bytes().as_slice()].concat();
        let mut run = Events::with_capacity(0, Flags { raw: false });
        run.push(&copy);
        run.push(&copy);
        let mut pending = Pending::new(Offset::ZERO);
        pending.push(events(100_000, false), 1);
        pending.push(run, 1);
        assert_eq!(pending.fitting(u64::MAX, false, salt).frames, 1, "no event is too large");
        let mut run = Events::with_capacity(0, Flags { raw: true });
        run.push(&[b"y", copy.as_slice()].concat());
        pending.push(run, 1);
        pending.push(events(3, false), 1);
        assert_eq!(pending.fitting(u64::MAX, true, salt).frames, 1);
        assert_eq!(pending.fitting(u64::MAX, true, !salt).frames, 3);
        pending.drop_durable(Group { frames: 1, disk_bytes: 0 });
        assert_eq!(pending.fitting(u64::MAX, true, salt).frames, 0, "not even alone");
    }
}
