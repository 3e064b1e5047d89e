//! Writes frames that are not proven durable again, into a segment that is.

use std::io::{self, IoSlice};

use crate::error::{Context, Error};
use crate::frame;
use crate::limits::FRAME_HEADER_BYTES;
use crate::log::{Draft, Trouble, Workshop};
use crate::offset::Offset;
use crate::recovery::chain::Opened;
use crate::recovery::start::Start;
use crate::segment::Header;
use crate::segment::scan::{Found, Item, read_frame};

/// The first frame of a segment that reaches beyond `proven`.
pub(super) fn first_unproven(
    newest: &Opened<'_>,
    from: Start,
    proven: Offset,
) -> Result<Option<Found>, Error> {
    let mut scan = newest.scan_from(from);
    loop {
        match scan.next().during("read", &newest.link.path)? {
            Item::Frame(found) if found.header.end() > proven => return Ok(Some(found)),
            Item::Frame(_) | Item::Hole(_) => {}
            Item::End(_) => return Ok(None),
        }
    }
}

/// A draft that holds all frames of `newest` that reach beyond `proven`, and how many events these
/// are.
pub(super) fn copy_unproven(
    workshop: &Workshop,
    header: &Header,
    newest: &Opened<'_>,
    from: Start,
    proven: Offset,
) -> Result<(Draft, u64), Error> {
    let mut draft = workshop.draft(header, 0).map_err(Trouble::into_error)?;
    let mut scan = newest.scan_from(from);
    let mut events = 0;
    loop {
        let copied = match scan.next().during("read", &newest.link.path) {
            Ok(Item::Frame(found)) if found.header.end() > proven => {
                events += u64::from(found.header.count);
                copy_frame(workshop, &mut draft, newest, &found)
            }
            Ok(Item::Frame(_) | Item::Hole(_)) => Ok(()),
            Ok(Item::End(_)) => return Ok((draft, events)),
            Err(error) => Err(error),
        };
        if let Err(error) = copied {
            workshop.discard(&draft);
            return Err(error);
        }
    }
}

/// Everything stays what it is but the salt, which is that of the new segment: what the frame knew to
/// be durable still is.
fn copy_frame(
    workshop: &Workshop,
    draft: &mut Draft,
    newest: &Opened<'_>,
    found: &Found,
) -> Result<(), Error> {
    let changed =
        || io::Error::new(io::ErrorKind::InvalidData, "the file changes while it is read");
    let bytes = read_frame(&*newest.file, found)
        .and_then(|bytes| bytes.ok_or_else(changed))
        .during("read", &newest.link.path)?;
    let body = bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    let header = frame::Header { salt: draft.active.salt, ..found.header };
    let encoded = header.encode([body].into_iter());
    draft
        .active
        .reserve(found.disk_bytes as u64, workshop.segment_bytes)
        .and_then(|()| draft.active.append(&mut [IoSlice::new(&encoded), IoSlice::new(body)]))
        .map_err(Trouble::into_error)
}
