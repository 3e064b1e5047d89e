//! What the newest segment holds: the only one of which something may not be durable. Reads, and
//! never changes anything.

use std::io;
use std::ops::Range;

use crate::error::{Context, Error};
use crate::frame::Claim;
use crate::fs::File;
use crate::limits::FRAME_HEADER_BYTES;
use crate::offset::Offset;
use crate::recovery::chain::{Link, Opened};
use crate::recovery::start::{Start, first_unproven};
use crate::segment::scan::{Item, SALT_POSITION};
use crate::segment::window::Window;

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

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use std::path::Path;

    use super::*;
    use crate::Flags;
    use crate::frame::Header;
    use crate::fs::sim::SimFs;
    use crate::fs::{Access, Fs};
    use crate::limits::READ_BYTES_MIN;

    const SALT: u64 = 0x0123_4567_89ab_cdef;

    /// The header of a frame of so many bytes, without them.
    fn torn(body_bytes: usize) -> Vec<u8> {
        let header = Header {
            salt: SALT,
            base: Offset::new(7),
            count: 1,
            flags: Flags::default(),
            seal: false,
            durable: Offset::new(7),
            time_ms: 1,
        };
        header.encode([vec![b'x'; body_bytes].as_slice()].into_iter()).to_vec()
    }

    /// Reading ends somewhere, and a salt may begin before and end behind it.
    #[test]
    fn what_a_torn_frame_claims_is_found_wherever_its_header_stands() {
        for position in (READ_BYTES_MIN - 70..READ_BYTES_MIN + 10).chain([0, 1, 999]) {
            let mut bytes = vec![b'.'; 200_000];
            let header = torn(100);
            bytes[position..position + header.len()].copy_from_slice(&header);
            let disk = SimFs::new(1);
            let path = Path::new("/segment");
            disk.plant(path, &bytes).unwrap();
            let file = disk.open(path, Access::Read).unwrap();
            let end = (position + header.len() + 100) as u64;
            assert_eq!(salted_end(&*file, SALT, 0).unwrap(), end, "{position}");
            assert_eq!(salted_end(&*file, !SALT, 0).unwrap(), 0);
        }
    }

    #[test]
    fn what_a_torn_frame_claims_ends_with_the_file() {
        let disk = SimFs::new(1);
        let path = Path::new("/segment");
        disk.plant(path, &[torn(1000), vec![0; 500]].concat()).unwrap();
        let file = disk.open(path, Access::Read).unwrap();
        assert_eq!(salted_end(&*file, SALT, 0).unwrap(), 548);
    }
}
