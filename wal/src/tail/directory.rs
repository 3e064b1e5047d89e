//! Finds the segment that holds an offset, in a directory that may change at any moment.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::fs::{Access, File, Fs};
use crate::offset::Offset;
use crate::segment::salvage::find_salt;
use crate::segment::{Decoded, Header, LogId, SegmentId, read_header};
use crate::stream_name::StreamName;

/// A stream's directory.
#[derive(Debug)]
pub(super) struct Directory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// The directory's name; absent where it is none that a stream can have.
    stream: Option<StreamName>,
}

/// An open segment. Stays readable when its name is gone.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) salt: u64,
    /// The log that it was begun in; absent where its header is damaged.
    pub(super) log_id: Option<LogId>,
    /// Where it ends, once there is a later segment.
    pub(super) end: Option<End>,
}

/// Where a segment ends, and the next begins. There is a gap between the two where recovery found
/// nothing that it could prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The first offset that is not believed from it.
    pub(super) at: Offset,
    /// The first offset of the next segment.
    pub(super) successor: Offset,
}

/// What is known about the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// It is the newest one.
    Open,
    /// A later one follows.
    End(End),
    /// It is no longer in the log, and the one behind it is not either: where it ended cannot be
    /// known, and what its file holds must not be believed.
    Gone,
}

/// Where an offset lies.
#[derive(Debug)]
pub(super) enum Place {
    /// In this segment, if anywhere.
    In(Segment),
    /// Before the first segment.
    Before(End),
    /// There is no segment.
    Nowhere,
}

/// What a file with a segment's name is.
#[derive(Debug)]
enum Named {
    Segment {
        file: Arc<dyn File>,
        salt: u64,
        header: Option<Header>,
    },
    /// Damaged beyond use, or brought here from another place: as if it were not there.
    Useless,
    /// Gone between listing and opening. Where it is listed again, it is a name that leads nowhere.
    Gone,
}

impl Directory {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        let name = dir.file_name().map(|name| name.as_encoded_bytes().to_owned());
        let stream = name.and_then(|name| StreamName::from_bytes(&name).ok());
        Self { fs, dir, stream }
    }

    /// The segment that holds `offset`: the last one that begins at or before it.
    pub(super) fn find(&self, offset: Offset) -> Result<Place, Error> {
        let mut vanished = BTreeSet::new();
        'listing: loop {
            let ids = self.ids()?;
            for id in ids.iter().rev().filter(|id| id.base() <= offset) {
                match self.open(*id)? {
                    Named::Segment { file, salt, header } => {
                        let path = self.dir.join(id.file_name());
                        let log_id = header.map(|header| header.log_id);
                        let mut segment = Segment { id: *id, path, file, salt, log_id, end: None };
                        match self.bound(&segment)? {
                            Bound::Open => {}
                            Bound::End(end) => segment.end = Some(end),
                            Bound::Gone => continue 'listing,
                        }
                        return Ok(Place::In(segment));
                    }
                    Named::Gone if vanished.insert(*id) => continue 'listing,
                    Named::Useless | Named::Gone => {}
                }
            }
            for id in ids.iter().filter(|id| id.base() > offset) {
                match self.open(*id)? {
                    Named::Segment { header, .. } => {
                        let successor = id.base();
                        let at = header.map_or(successor, |header| header.predecessor.end);
                        return Ok(Place::Before(End { at, successor }));
                    }
                    Named::Gone if vanished.insert(*id) => continue 'listing,
                    Named::Useless | Named::Gone => {}
                }
            }
            return Ok(Place::Nowhere);
        }
    }

    /// The segment again, if it is still the same.
    pub(super) fn reopen(&self, id: SegmentId, salt: u64) -> Result<Option<Segment>, Error> {
        Ok(match self.open(id)? {
            Named::Segment { file, salt: found, header } if found == salt => {
                let path = self.dir.join(id.file_name());
                let log_id = header.map(|header| header.log_id);
                Some(Segment { id, path, file, salt, log_id, end: None })
            }
            Named::Segment { .. } | Named::Useless | Named::Gone => None,
        })
    }

    /// Where a segment ends: only a header that names this segment's salt says it exactly.
    pub(super) fn bound(&self, segment: &Segment) -> Result<Bound, Error> {
        let mut vanished = BTreeSet::new();
        'listing: loop {
            for id in self.ids()?.into_iter().filter(|id| *id > segment.id) {
                let header = match self.open(id)? {
                    Named::Segment { header, .. } => header,
                    Named::Gone if vanished.insert(id) => continue 'listing,
                    Named::Useless | Named::Gone => continue,
                };
                let successor = id.base();
                let predecessor = header.map(|header| header.predecessor);
                if let Some(linked) = predecessor.filter(|one| one.salt == segment.salt) {
                    return Ok(Bound::End(End { at: linked.end, successor }));
                }
                // Segments are trimmed in order: if one between the two was, so was this one.
                if self.is_still(segment)? {
                    // Behind the end of the one that is gone there was never anything.
                    let at = predecessor.map(|one| one.end).filter(|end| *end > segment.id.base());
                    return Ok(Bound::End(End { at: at.unwrap_or(successor), successor }));
                }
                return Ok(Bound::Gone);
            }
            return Ok(Bound::Open);
        }
    }

    /// Whether the segment's name still leads to this life of its file.
    pub(super) fn is_still(&self, segment: &Segment) -> Result<bool, Error> {
        match self.open(segment.id)? {
            Named::Segment { salt, .. } => Ok(salt == segment.salt),
            Named::Useless | Named::Gone => Ok(false),
        }
    }

    fn ids(&self) -> Result<Vec<SegmentId>, Error> {
        match self.fs.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => {
                let entries = listed.during("list", &self.dir)?;
                let files = entries.iter().filter(|entry| !entry.is_dir);
                Ok(files.filter_map(|entry| SegmentId::parse(&entry.name)).collect())
            }
        }
    }

    fn open(&self, id: SegmentId) -> Result<Named, Error> {
        let path = self.dir.join(id.file_name());
        let file = match self.fs.open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Named::Gone),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Ok(Named::Useless);
            }
            Err(error) => return Err(error).during("open", &path),
        };
        match read_header(&*file).during("read", &path)? {
            Decoded::Header(header) => {
                let here = self.stream.as_ref().is_none_or(|stream| header.belongs_to(stream, id));
                if !here {
                    return Ok(Named::Useless);
                }
                Ok(Named::Segment { file, salt: header.salt, header: Some(header) })
            }
            Decoded::Unknown { .. } => Ok(Named::Useless),
            Decoded::Bad => {
                let salt = find_salt(&*file, id.base()).during("read", &path)?;
                Ok(salt.map_or(Named::Useless, |salt| Named::Segment { file, salt, header: None }))
            }
        }
    }
}
