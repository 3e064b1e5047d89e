//! A reader that follows the log up to the durable offset, on another thread than the writer.
//!
//! It reads the segment files as they are: the writer may add frames, replace a segment that holds
//! nothing, unlink segments, and give their files another life, at any moment. What protects the
//! reader is the salt in each frame, the checksum, and the rule that everything before the durable
//! offset stays as it is until it is trimmed.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::events::{self, Flags};
use crate::fs::Fs;
use crate::limits::{EVENT_PREFIX_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::offset::Offset;
use crate::segment::scan::{Found, frame_behind, frame_here};
use crate::segment::walk::Walk;
use crate::segment::window::Window;
use crate::segment::{LogId, SegmentId};

mod directory;
#[cfg(test)]
mod tests;

use directory::{Bound, Directory, Place, Segment};

/// What one step of a [`Tail`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Events. The tail stands behind them now.
    Frame(TailFrame<'a>),
    /// Events that cannot be read. The tail stands at the range's end now.
    Missing {
        /// Their offsets.
        range: Range<Offset>,
        /// Why.
        cause: Cause,
    },
    /// Everything below `until` was read.
    UpToDate,
}

/// Why events cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// They were durable, and are damaged or gone.
    Lost,
    /// Nothing proves that they ever were durable: recovery left these offsets out, and says so.
    Unproven,
    /// Their segment was trimmed.
    Trimmed,
}

/// Events as they lie in the log.
#[derive(Debug, PartialEq, Eq)]
pub struct TailFrame<'a> {
    /// The offset of the first event.
    pub base: Offset,
    /// How many there are.
    pub count: u32,
    /// What holds for all of them.
    pub flags: Flags,
    /// When they were taken in, in milliseconds since 1970.
    pub time_ms: u64,
    /// The log that their segment was begun in: with it an offset names an event for ever. Absent
    /// where the segment's header is damaged.
    pub log_id: Option<LogId>,
    /// For [`crate::events::iter`].
    pub body: &'a [u8],
}

/// A reader of one stream.
#[derive(Debug)]
pub struct Tail {
    directory: Directory,
    offset: Offset,
    cursor: Option<Cursor>,
    rest: Option<Rest>,
    window: Window,
}

/// A place in a segment: that of the window.
#[derive(Debug)]
struct Cursor {
    segment: Segment,
    /// No frame at the window's position or behind it holds an offset before this one.
    expected: Offset,
    /// The frame that was lent last, if the window has not left it far behind.
    last: Option<Found>,
    /// The window came here by headers that nothing confirms yet.
    walked: bool,
    /// Frames before this offset are known to be in this segment, and not written again in a later
    /// one.
    checked: Offset,
}

/// Where a tail stood that has closed its file.
#[derive(Debug)]
struct Rest {
    id: SegmentId,
    salt: u64,
    position: u64,
    expected: Offset,
}

/// What to do next.
#[derive(Debug)]
enum Move {
    Deliver { found: Found, end: Offset },
    Skip { range: Range<Offset>, cause: Cause },
    Again,
}

impl Tail {
    /// A reader of the log in `stream_dir` that begins at `from`. Nothing is opened yet.
    pub fn open(fs: Arc<dyn Fs>, stream_dir: PathBuf, from: Offset) -> Self {
        Self {
            directory: Directory::new(fs, stream_dir),
            offset: from,
            cursor: None,
            rest: None,
            window: Window::default(),
        }
    }

    /// The offset of the next event to be read.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Goes on reading at `to`.
    pub fn seek(&mut self, to: Offset) {
        if let Some(cursor) = self.cursor.as_mut()
            && let Some(last) = cursor.last.filter(|last| last.header.base <= to)
            && to < cursor.expected
        {
            // Somebody took a part of what was lent.
            cursor.expected = last.header.base;
            self.window.back(last.position);
        }
        self.cursor = self.cursor.take().filter(|cursor| to >= cursor.expected);
        self.rest = self.rest.take().filter(|rest| to >= rest.expected);
        self.offset = to;
    }

    /// Gives memory and file back until the next step: to be called before waiting for anything.
    /// A tail that is up to date has done it itself.
    pub fn rest(&mut self) {
        if let Some(Cursor { segment, expected, .. }) = self.cursor.take() {
            let Segment { id, salt, .. } = segment;
            self.rest = Some(Rest { id, salt, position: self.window.position(), expected });
        }
        self.window.release();
    }

    /// One step, reading no further than `until`, which must not be beyond the durable offset: what
    /// cannot be read before it is reported as missing.
    ///
    /// # Errors
    /// Where a system call fails. The tail stays where it is, and the step can be tried again.
    pub fn next(&mut self, until: Offset) -> Result<Step<'_>, Error> {
        if self.offset >= until {
            // An idle stream must not keep the space of a trimmed segment by keeping it open.
            self.rest();
            return Ok(Step::UpToDate);
        }
        loop {
            match self.step(until)? {
                Move::Deliver { found, end } => return Ok(Step::Frame(self.deliver(found, end))),
                Move::Skip { range, cause } => {
                    self.offset = range.end;
                    return Ok(Step::Missing { range, cause });
                }
                Move::Again => {}
            }
        }
    }

    fn step(&mut self, until: Offset) -> Result<Move, Error> {
        let Some(cursor) = self.cursor.as_mut() else { return self.enter(until) };
        if let Some(end) = &cursor.segment.end
            && self.offset >= end.at
        {
            let begin = end.successor;
            if self.offset < begin {
                return Ok(self.skip(begin.min(until), Cause::Unproven));
            }
            self.cursor = None;
            return Ok(Move::Again);
        }
        let path = &cursor.segment.path;
        let file = &*cursor.segment.file;
        let salt = cursor.segment.salt;
        let mut found = frame_here(file, &mut self.window, salt).during("read", path)?;
        if found.is_none() {
            // What is in memory may be older than what the writer has written since.
            self.window.forget();
            found = frame_here(file, &mut self.window, salt).during("read", path)?;
        }
        match found.filter(|found| found.header.base >= cursor.expected) {
            Some(found) => self.arrive(found, until),
            None => self.search(until),
        }
    }

    /// Opens the segment that holds the offset.
    fn enter(&mut self, until: Offset) -> Result<Move, Error> {
        if let Some(Rest { id, salt, position, expected }) = self.rest.take()
            && let Some(segment) = self.directory.reopen(id, salt)?
        {
            self.stand(segment, position, expected, false);
            return Ok(Move::Again);
        }
        match self.directory.find(self.offset)? {
            Place::In(segment) => {
                let mut walk = Walk::new(&*segment.file, segment.salt, segment.id.base());
                while let Some(found) = walk.here().during("read", &segment.path)?
                    && found.header.end() <= self.offset
                    && !found.header.seal
                {
                    walk.pass(&found);
                }
                let (position, expected) = (walk.position(), walk.expected());
                let walked = expected > segment.id.base();
                self.stand(segment, position, expected, walked);
                Ok(Move::Again)
            }
            Place::Before(end) if self.offset < end.at => {
                Ok(self.skip(end.at.min(until), Cause::Trimmed))
            }
            Place::Before(end) => Ok(self.skip(end.successor.min(until), Cause::Unproven)),
            Place::Nowhere => Ok(self.skip(until, Cause::Trimmed)),
        }
    }

    fn stand(&mut self, segment: Segment, position: u64, expected: Offset, walked: bool) {
        let checked = Offset::ZERO;
        self.cursor = Some(Cursor { segment, expected, last: None, walked, checked });
        self.window.jump(position);
    }

    /// A frame stands at the window's position. Decides whether it is believed.
    fn arrive(&mut self, found: Found, until: Offset) -> Result<Move, Error> {
        let Some(cursor) = self.cursor.as_mut() else { return Ok(Move::Again) };
        let header = found.header;
        if cursor.walked && (header.base > self.offset || header.seal) {
            return Ok(self.restart());
        }
        cursor.walked = false;
        if header.end() <= self.offset && !header.seal {
            cursor.expected = header.end();
            self.window.pass(found.disk_bytes);
            return Ok(Move::Again);
        }
        if cursor.segment.end.is_none() && (header.seal || header.end().min(until) > cursor.checked)
        {
            // A write that failed may have left frames here that were never acknowledged. If this is
            // one of them, there is a later segment by now.
            let bound = self.directory.bound(&cursor.segment)?;
            if bound != Bound::Open {
                return Ok(self.learn(bound));
            }
            cursor.checked = until;
        }
        let believed = cursor.segment.end.as_ref().map_or(until, |end| end.at.min(until));
        if header.seal {
            // Durable events follow, and the next segment does not begin with them. If this one is
            // gone, so is that which followed: both were trimmed.
            if !self.directory.is_still(&cursor.segment)? {
                self.cursor = None;
                return Ok(Move::Again);
            }
            let sealed = cursor.segment.end.is_none();
            self.cursor = self.cursor.take().filter(|_| !sealed);
            return Ok(self.skip(believed, Cause::Lost));
        }
        if header.base > self.offset {
            // The writer itself put these two frames side by side. Where the second says that
            // everything before it was durable, a repair took out what was between them.
            let lost = header.durable.min(believed);
            if lost > self.offset {
                return Ok(self.skip(lost, Cause::Lost));
            }
            return Ok(self.skip(header.base.min(believed), Cause::Unproven));
        }
        Ok(Move::Deliver { found, end: header.end().min(believed) })
    }

    /// Goes over the segment again, frame by frame this time: a damaged header may have led astray.
    fn restart(&mut self) -> Move {
        if let Some(Cursor { segment, .. }) = self.cursor.take() {
            let base = segment.id.base();
            self.stand(segment, SEGMENT_HEADER_BYTES as u64, base, false);
        }
        Move::Again
    }

    /// No frame stands where one should. Looks for one behind.
    fn search(&mut self, until: Offset) -> Result<Move, Error> {
        let Some(cursor) = self.cursor.as_mut() else { return Ok(Move::Again) };
        if cursor.walked {
            return Ok(self.restart());
        }
        if !self.directory.is_still(&cursor.segment)? {
            self.cursor = None;
            return Ok(Move::Again);
        }
        if cursor.segment.end.is_none() {
            let bound = self.directory.bound(&cursor.segment)?;
            if bound != Bound::Open {
                return Ok(self.learn(bound));
            }
        }
        let believed = cursor.segment.end.as_ref().map_or(until, |end| end.at.min(until));
        let from = self.window.position();
        let Segment { file, salt, path, .. } = &cursor.segment;
        let found =
            frame_behind(&**file, &mut self.window, *salt, cursor.expected).during("read", path)?;
        // Before anything is called lost: the file may have been given away meanwhile.
        if !self.directory.is_still(&cursor.segment)? {
            self.cursor = None;
            return Ok(Move::Again);
        }
        let base = found.map_or(Offset::MAX, |found| found.header.base);
        if base <= self.offset {
            return Ok(Move::Again);
        }
        if base >= believed {
            // The next frame that is written here may stand anywhere behind.
            self.window.jump(from);
        }
        Ok(self.skip(base.min(believed), Cause::Lost))
    }

    /// Takes note of where the segment ends.
    fn learn(&mut self, bound: Bound) -> Move {
        match (bound, self.cursor.as_mut()) {
            (Bound::End(end), Some(cursor)) => cursor.segment.end = Some(end),
            (Bound::Gone, _) => self.cursor = None,
            (Bound::Open | Bound::End(_), _) => {}
        }
        Move::Again
    }

    fn skip(&self, to: Offset, cause: Cause) -> Move {
        Move::Skip { range: self.offset..to, cause }
    }

    /// Lends the events of the frame at the window's position from the tail's offset to `end`.
    fn deliver(&mut self, found: Found, end: Offset) -> TailFrame<'_> {
        let header = found.header;
        let base = self.offset;
        self.offset = end;
        let log_id = self.cursor.as_ref().and_then(|cursor| cursor.segment.log_id);
        if let Some(cursor) = self.cursor.as_mut() {
            cursor.last = Some(found);
            if end == header.end() {
                cursor.expected = end;
            }
        }
        let frame = if end == header.end() {
            self.window.take(found.disk_bytes)
        } else {
            self.window.bytes().get(..found.disk_bytes).unwrap_or_default()
        };
        let body = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let (flags, time_ms) = (header.flags, header.time_ms);
        if base == header.base && end == header.end() {
            return TailFrame { base, count: header.count, flags, time_ms, log_id, body };
        }
        let (count, body) = part(body, base.since(header.base), end.since(base));
        TailFrame { base, count, flags, time_ms, log_id, body }
    }
}

/// Some of the events of a body, and how many they are.
fn part(body: &[u8], skip: u64, take: u64) -> (u32, &[u8]) {
    let (mut begin, mut end, mut count) = (0, 0, 0);
    for (index, event) in (0..skip.saturating_add(take)).zip(events::iter(body)) {
        end += EVENT_PREFIX_BYTES + event.len();
        if index < skip {
            begin = end;
        } else {
            count += 1;
        }
    }
    (count, body.get(begin..end).unwrap_or_default())
}
