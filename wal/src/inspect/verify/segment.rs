//! Checks one segment, frame by frame.

use std::io;
use std::ops::Range;

use crate::fs::File;
use crate::offset::Offset;
use crate::recovery::chain::Opened;
use crate::recovery::newest::residue;
use crate::segment::scan::{Found, Item};

use super::Request;

/// How much is read between two words about the progress.
pub(super) const PROGRESS_BYTES: u64 = 8 * 1024 * 1024;

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentCheck {
    /// The file's name.
    pub name: String,
    /// The first offset that it can hold.
    pub base: Offset,
    /// The first offset behind it.
    pub end: Offset,
    /// Its size, reserved space included.
    pub bytes: u64,
    /// Frames whose checksum is right, a seal included.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Whether its header is whole.
    pub header: bool,
    /// Bytes that should be frames and are not, and events that should be there.
    pub damage: Vec<Damage>,
    /// Offsets that the writer left out knowingly: nothing proves that they ever were events.
    pub gaps: Vec<Range<Offset>>,
    /// Events that are lost, and whose damage a repair took out.
    pub taken_out: Vec<Range<Offset>>,
    /// Frames that are not believed: a write that failed left them, and the next segment holds
    /// their events.
    pub superseded: u64,
}

/// Bytes that are damaged, and what that costs. A range of offsets without events is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they lie in the file; empty where they are missing.
    pub bytes: Range<u64>,
    /// The offsets that the frames around them leave out.
    pub offsets: Range<Offset>,
    /// Those of them that were durable and are not delivered.
    pub lost: Range<Offset>,
    /// Those of which nothing proves that they ever were durable. Where it is not known how many
    /// there were, because nothing follows, this is empty.
    pub unproven: Range<Offset>,
}

impl SegmentCheck {
    /// Whether all is as it was written.
    pub fn is_clean(&self) -> bool {
        self.header && self.damage.is_empty()
    }
}

/// Reads a segment as a whole.
pub(super) fn check(
    opened: &Opened<'_>,
    request: Request,
    proven: Offset,
    progress: &mut dyn FnMut(u64),
) -> io::Result<SegmentCheck> {
    let link = opened.link;
    let name = link.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut pass = Pass {
        committed: request.committed,
        proven,
        // What a writer adds behind what is durable is not looked at.
        believed: link.end.or(request.durable),
        expected: link.id.base(),
        hole: None,
        check: SegmentCheck {
            name: name.unwrap_or_default(),
            base: link.id.base(),
            end: link.id.base(),
            bytes: link.bytes,
            frames: 0,
            events: 0,
            header: link.header.is_some(),
            damage: Vec::new(),
            gaps: Vec::new(),
            taken_out: Vec::new(),
            superseded: 0,
        },
    };
    let mut scan = opened.scan();
    let (mut told, mut sealed) = (0, false);
    loop {
        match scan.next()? {
            Item::Frame(found) => {
                pass.frame(&found);
                sealed = found.header.seal;
                let position = found.end_position();
                if position - told >= PROGRESS_BYTES {
                    progress(position - told);
                    told = position;
                }
            }
            Item::Hole(bytes) => pass.hole = Some(bytes),
            Item::End(position) => {
                let end = link.end;
                pass.end(opened, position, end, sealed)?;
                progress(link.bytes.saturating_sub(told));
                return Ok(pass.check);
            }
        }
    }
}

/// On the way through a segment.
struct Pass {
    committed: Offset,
    proven: Offset,
    /// Nothing is believed from here on.
    believed: Option<Offset>,
    /// The offset behind the last frame.
    expected: Offset,
    /// Bytes behind it that are no frame.
    hole: Option<Range<u64>>,
    check: SegmentCheck,
}

impl Pass {
    fn frame(&mut self, found: &Found) {
        let header = found.header;
        let offsets = self.expected..header.base;
        self.expected = header.end();
        if let Some(bytes) = self.hole.take() {
            self.missing(bytes, offsets);
        } else {
            let Range { start, end } = self.as_far_as_believed(offsets);
            let durable = header.durable.clamp(start, end);
            self.check.taken_out.extend((start < durable).then_some(start..durable));
            self.check.gaps.extend((durable < end).then_some(durable..end));
        }
        if !header.seal && self.believed.is_some_and(|end| header.base >= end) {
            self.check.superseded += 1;
            return;
        }
        self.check.frames += 1;
        self.check.events += u64::from(header.count);
        self.check.end = header.end();
    }

    /// The last frame was passed; `position` is behind it.
    fn end(
        &mut self,
        opened: &Opened<'_>,
        position: u64,
        end: Option<Offset>,
        sealed: bool,
    ) -> io::Result<()> {
        let file: &dyn File = &*opened.file;
        let behind =
            if sealed { position..position } else { residue(file, opened.link, position)? };
        match self.believed {
            Some(believed) if self.expected < believed => {
                let size = file.size()?;
                let bytes = position..behind.end.min(size).max(position);
                self.missing(bytes, self.expected..believed);
                self.check.end = believed;
            }
            None if !behind.is_empty() => {
                let none = self.expected..self.expected;
                let (lost, unproven) = (none.clone(), none.clone());
                self.check.damage.push(Damage { bytes: behind, offsets: none, lost, unproven });
            }
            // Zeros, a write that failed, or one that goes on.
            None | Some(_) => {}
        }
        if let Some(end) = end {
            self.check.end = end;
        }
        Ok(())
    }

    /// Takes note of bytes that are no frame, and of the offsets that are missing with them.
    fn missing(&mut self, bytes: Range<u64>, offsets: Range<Offset>) {
        if self.believed.is_some_and(|end| offsets.start >= end) {
            return;
        }
        let offsets = self.as_far_as_believed(offsets);
        let clamp = |offset: Offset| offset.clamp(offsets.start, offsets.end);
        let (proven, committed) = (clamp(self.proven), clamp(self.committed));
        let lost = committed.min(proven)..proven;
        let unproven = committed.max(proven)..offsets.end;
        self.check.damage.push(Damage { bytes, offsets, lost, unproven });
    }

    fn as_far_as_believed(&self, offsets: Range<Offset>) -> Range<Offset> {
        let end = self.believed.map_or(offsets.end, |end| offsets.end.min(end));
        offsets.start..end.max(offsets.start)
    }
}
