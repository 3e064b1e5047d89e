//! What is in a log's directories besides segments.

use std::io;
use std::path::Path;

use crate::error::{Context, Error};
use crate::fs::{Access, Fs};
use crate::recovery::survey::{QUARANTINE, Survey};
use crate::segment::scan::{Item, Scan};
use crate::segment::{Decoded, read_header};

/// Something that is no segment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name, below the stream's directory.
    pub name: String,
    /// Its size; absent for what is no regular file.
    pub bytes: Option<u64>,
    /// What it is.
    pub kind: OtherKind,
}

/// What something besides the segments is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherKind {
    /// A segment in the making. Where no agent runs, its writer died, and the next start removes
    /// it: all that it holds is elsewhere, or was never acknowledged.
    Draft,
    /// Set aside because the log could not use it, and kept for whoever wants to look at it.
    Quarantined,
    /// It means nothing to the log, which leaves it alone.
    Stray,
}

/// The pool of trimmed segments that wait to be written again. Nobody needs what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolReport {
    /// How many there are.
    pub files: u64,
    /// What they take.
    pub bytes: u64,
    /// Frames of their last life whose checksums are right.
    pub frames: u64,
}

/// Describes what a survey found besides segments, and what is in the quarantine.
pub(super) fn others(fs: &dyn Fs, dir: &Path, survey: &Survey) -> Result<Vec<Other>, Error> {
    let drafts = survey.drafts.iter().filter_map(|path| path.file_name());
    let drafts = drafts.map(|name| (name.to_string_lossy().into_owned(), OtherKind::Draft));
    let strays = survey.strays.iter().map(|name| (name.clone(), OtherKind::Stray));
    let mut found: Vec<(String, OtherKind)> = drafts.chain(strays).collect();
    let quarantine = dir.join(QUARANTINE);
    match fs.list(&quarantine) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {}
        // A file of this name is a stray.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory) => {}
        listed => {
            let kept = listed.during("list", &quarantine)?.into_iter();
            found.extend(
                kept.map(|entry| (format!("{QUARANTINE}/{}", entry.name), OtherKind::Quarantined)),
            );
        }
    }
    Ok(found
        .into_iter()
        .map(|(name, kind)| Other { bytes: size(fs, &dir.join(&name)), name, kind })
        .collect())
}

/// A file's size, if it is one and can be opened. What is no part of the log must not keep the log
/// from being looked at.
fn size(fs: &dyn Fs, path: &Path) -> Option<u64> {
    fs.open(path, Access::Read).and_then(|file| file.size()).ok()
}

/// What is in the pool at `dir`. With `read`, its files are read and their frames checked; without,
/// they are only counted. One that is taken meanwhile is left out.
///
/// # Errors
/// Where the directory cannot be listed, or a file cannot be read.
pub fn pool(
    fs: &dyn Fs,
    dir: &Path,
    read: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<PoolReport, Error> {
    let mut report = PoolReport::default();
    let entries = match fs.list(dir) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(report);
        }
        listed => listed.during("list", dir)?,
    };
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let path = dir.join(&entry.name);
        let Ok(file) = fs.open(&path, Access::Read) else { continue };
        let bytes = file.size().during("look at", &path)?;
        report.files += 1;
        report.bytes += bytes;
        if read && let Decoded::Header(header) = read_header(&*file).during("read", &path)? {
            let mut scan = Scan::new(&*file, header.salt, header.base);
            loop {
                match scan.next().during("read", &path)? {
                    Item::Frame(_) => report.frames += 1,
                    Item::Hole(_) => {}
                    Item::End(_) => break,
                }
            }
        }
        progress(bytes);
    }
    Ok(report)
}
