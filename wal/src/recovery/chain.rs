//! Which segments follow each other, and where each ends. Reads, and never changes anything.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::fs::{Access, File, Fs};
use crate::limits::SEGMENT_HEADER_BYTES;
use crate::offset::Offset;
use crate::recovery::start::Start;
use crate::recovery::survey::Surveyed;
use crate::recovery::written::Written;
use crate::segment::salvage::find_salt;
use crate::segment::scan::{Item, Scan, frame_behind, frame_here};
use crate::segment::window::Window;
use crate::segment::{Header, SegmentId};

/// A segment that is believed.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) salt: u64,
    /// Absent where it is damaged; the salt comes from the frames then.
    pub(crate) header: Option<Header>,
    /// The first offset that is not believed from it, because a later segment says so. Absent for
    /// the newest.
    pub(crate) end: Option<Offset>,
}

/// A segment that is being read.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) link: &'a Link,
    pub(crate) file: Arc<dyn File>,
}

impl Link {
    /// Opens the segment's file.
    pub(crate) fn open(&self, fs: &dyn Fs) -> Result<Opened<'_>, Error> {
        let file = fs.open(&self.path, Access::Read).during("open", &self.path)?;
        Ok(Opened { link: self, file })
    }

    /// The same for one that nobody writes: what was reserved and not written is not read.
    pub(crate) fn open_written(&self, fs: &dyn Fs) -> Result<Opened<'_>, Error> {
        let Opened { link, file } = self.open(fs)?;
        let file = Arc::new(Written::new(file).during("look at", &self.path)?);
        Ok(Opened { link, file })
    }
}

impl Opened<'_> {
    /// Goes over its frames.
    pub(crate) fn scan(&self) -> Scan<'_> {
        Scan::new(&*self.file, self.link.salt, self.link.id.base())
    }

    /// Goes over those from a place on.
    pub(crate) fn scan_from(&self, from: Start) -> Scan<'_> {
        Scan::from(&*self.file, self.link.salt, from.expected, from.position)
    }
}

/// The segments of a log.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Oldest first.
    pub(crate) links: Vec<Link>,
    /// Neither a header nor a frame can be read.
    pub(crate) unreadable: Vec<Surveyed>,
    /// Segments that overlap others and come from another life of the log.
    pub(crate) misplaced: Vec<Link>,
}

/// Puts the segments of a survey in order.
pub(crate) fn resolve(fs: &dyn Fs, segments: Vec<Surveyed>) -> Result<Chain, Error> {
    let mut chain = Chain::default();
    let mut rest = Vec::with_capacity(segments.len());
    let mut behind: Option<u64> = None;
    for surveyed in segments.into_iter().rev() {
        let salt = match &surveyed.header {
            Some(header) => Some(header.salt),
            None => salt_of_damaged(fs, &surveyed, behind)?,
        };
        behind = surveyed.header.as_ref().map(|header| header.predecessor.salt);
        let Some(salt) = salt else {
            chain.unreadable.push(surveyed);
            continue;
        };
        let Surveyed { id, path, bytes, header } = surveyed;
        rest.push(Link { id, path, bytes, salt, header, end: None });
    }
    rest.reverse();
    while let Some(current) = rest.pop() {
        chain.connect(fs, current, &mut rest)?;
    }
    chain.links.reverse();
    Ok(chain)
}

/// The salt of a segment whose header is damaged: the one that the next header names, if its frames
/// agree, else that of the first frame that agrees with itself.
fn salt_of_damaged(
    fs: &dyn Fs,
    surveyed: &Surveyed,
    behind: Option<u64>,
) -> Result<Option<u64>, Error> {
    let Surveyed { id, path, .. } = surveyed;
    let file = fs.open(path, Access::Read).during("open", path)?;
    if let Some(salt) = behind.filter(|salt| *salt != 0) {
        let mut window = Window::at(SEGMENT_HEADER_BYTES as u64);
        let here = frame_here(&*file, &mut window, salt).during("read", path)?;
        if here.is_some()
            || frame_behind(&*file, &mut window, salt, id.base()).during("read", path)?.is_some()
        {
            return Ok(Some(salt));
        }
    }
    find_salt(&*file, id.base()).during("read", path)
}

impl Chain {
    /// Takes the newest of the remaining segments, sets aside what does not go with it, and says
    /// where the one before it ends.
    fn connect(&mut self, fs: &dyn Fs, current: Link, rest: &mut Vec<Link>) -> Result<(), Error> {
        let predecessor = current.header.as_ref().map(|header| header.predecessor);
        let linked = predecessor
            .filter(|predecessor| predecessor.salt != 0)
            .and_then(|predecessor| rest.iter().rposition(|link| link.salt == predecessor.salt));
        if let (Some(index), Some(predecessor)) = (linked, predecessor) {
            // Nothing was ever between the two.
            self.misplaced.extend(rest.drain(index + 1..));
            if let Some(previous) = rest.last_mut() {
                previous.end = Some(predecessor.end);
            }
            self.links.push(current);
            return Ok(());
        }
        // The one before it was removed, or one of the two was brought here.
        while let Some(previous) = rest.last_mut() {
            if !is_of_another_life(fs, previous, &current)? {
                // Behind the end of the one that is gone there was never anything.
                let end = predecessor.map(|one| one.end).filter(|end| *end > previous.id.base());
                previous.end = Some(end.unwrap_or(current.id.base()));
                break;
            }
            if self.links.is_empty() && created_ms(previous) > created_ms(&current) {
                self.misplaced.push(current);
                return Ok(());
            }
            self.misplaced.extend(rest.pop());
        }
        self.links.push(current);
        Ok(())
    }
}

/// Whether two neighbours cannot both be of this log: they have different identities and overlap.
fn is_of_another_life(fs: &dyn Fs, previous: &Link, current: &Link) -> Result<bool, Error> {
    let (Some(one), Some(other)) = (&previous.header, &current.header) else { return Ok(false) };
    if one.log_id == other.log_id {
        return Ok(false);
    }
    let opened = previous.open(fs)?;
    let mut scan = opened.scan();
    loop {
        match scan.next().during("read", &previous.path)? {
            Item::Frame(found) if found.header.end() > current.id.base() => return Ok(true),
            Item::Frame(_) | Item::Hole(_) => {}
            Item::End(_) => return Ok(false),
        }
    }
}

fn created_ms(link: &Link) -> u64 {
    link.header.as_ref().map_or(0, |header| header.created_ms)
}
