//! What is in a stream's directory, by names and headers. Reads, and never changes anything.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error};
use crate::fs::{Access, Fs};
use crate::log::DRAFT_SUFFIX;
use crate::segment::{Decoded, Header, SegmentId, read_header};
use crate::stream_name::StreamName;

/// The directory below a stream's that keeps what was set aside.
pub(crate) const QUARANTINE: &str = "quarantine";

/// What is in a stream's directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Files that are named like segments, by offset.
    pub(crate) segments: Vec<Surveyed>,
    /// What is named rightly and is no segment of this stream.
    pub(crate) foreign: Vec<Foreign>,
    /// Segments that were not complete when their writer died.
    pub(crate) drafts: Vec<PathBuf>,
    /// Everything else.
    pub(crate) strays: Vec<String>,
}

/// A file named like a segment of this stream, which may be one.
#[derive(Clone, Debug)]
pub(crate) struct Surveyed {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Absent where it is damaged.
    pub(crate) header: Option<Header>,
}

/// Something named like a segment that belongs to another place.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Lists a stream's directory and reads the headers. No file stays open: there may be hundreds. One
/// that vanishes meanwhile is left out: the log may be alive.
pub(crate) fn survey(fs: &dyn Fs, dir: &Path, stream: &StreamName) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    for entry in fs.list(dir).during("list", dir)? {
        let path = dir.join(&entry.name);
        if let Some(id) = SegmentId::parse(&entry.name) {
            survey.segment(fs, stream, id, path, entry.is_dir)?;
        } else if let Some(id) = draft_id(&entry.name) {
            if entry.is_dir {
                survey.foreign.push(Foreign { id, path, bytes: 0 });
            } else {
                survey.drafts.push(path);
            }
        } else if entry.name != QUARANTINE || !entry.is_dir {
            survey.strays.push(entry.name);
        }
    }
    Ok(survey)
}

fn draft_id(name: &str) -> Option<SegmentId> {
    SegmentId::parse(name.strip_suffix(DRAFT_SUFFIX)?)
}

impl Survey {
    fn segment(
        &mut self,
        fs: &dyn Fs,
        stream: &StreamName,
        id: SegmentId,
        path: PathBuf,
        is_dir: bool,
    ) -> Result<(), Error> {
        if is_dir {
            self.foreign.push(Foreign { id, path, bytes: 0 });
            return Ok(());
        }
        let file = match fs.open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A pipe or a socket.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.foreign.push(Foreign { id, path, bytes: 0 });
                return Ok(());
            }
            Err(error) => return Err(error).during("open", &path),
        };
        let bytes = file.size().during("look at", &path)?;
        let header = match read_header(&*file).during("read", &path)? {
            Decoded::Header(header) if header.belongs_to(stream, id) => Some(header),
            Decoded::Header(_) | Decoded::Unknown { .. } => {
                self.foreign.push(Foreign { id, path, bytes });
                return Ok(());
            }
            Decoded::Bad => None,
        };
        self.segments.push(Surveyed { id, path, bytes, header });
        Ok(())
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use super::*;
    use crate::fs::sim::{Fault, Kind, SimFs};

    #[test]
    fn a_file_that_cannot_be_opened_is_neither_gone_nor_a_stranger() {
        let disk = SimFs::new(1);
        let dir = Path::new("/orders");
        disk.create_dir(dir).unwrap();
        disk.plant(&dir.join("00000000000000000000.seg"), b"damaged").unwrap();
        let stream = "orders".parse().unwrap();
        for fault in [Fault::Io, Fault::TooManyFiles] {
            disk.inject_on(Kind::Open, fault, 0, 1);
            let error = survey(&disk, dir, &stream).unwrap_err().to_string();
            assert!(error.contains("cannot open"), "{error}");
        }
        assert_eq!(survey(&disk, dir, &stream).unwrap().segments.len(), 1);
    }
}
