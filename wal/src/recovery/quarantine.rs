//! Keeps what the log cannot use, so that nobody's data is destroyed by a mistake in this code.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::fs::{Access, File, Fs};
use crate::log::{Workshop, write_all};
use crate::recovery::survey::QUARANTINE;
use crate::segment::read_full;

/// What is copied at a time.
const COPY_BYTES: usize = 256 * 1024;

/// The directory `quarantine` of a stream. It is never cleaned up by the log.
#[derive(Debug)]
pub(crate) struct Quarantine {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Quarantine {
    /// The quarantine of a stream, made where it is missing.
    pub(crate) fn of(workshop: &Workshop) -> Result<Self, Error> {
        let quarantine = Self { fs: Arc::clone(&workshop.fs), dir: workshop.dir.join(QUARANTINE) };
        let fs = &quarantine.fs;
        make_dir(&**fs, &quarantine.dir)?;
        fs.sync_dir(&workshop.dir).during("sync", &workshop.dir)?;
        Ok(quarantine)
    }

    /// Moves a file into the quarantine. The caller syncs the directory that it came from.
    pub(crate) fn take_in(&self, path: &Path) -> Result<PathBuf, Error> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let kept = free_name(&*self.fs, &self.dir, &name.unwrap_or_default())?;
        self.fs.rename(path, &kept).during("set aside", path)?;
        self.fs.sync_dir(&self.dir).during("sync", &self.dir)?;
        Ok(kept)
    }

    /// Copies a range of a file into the quarantine, named by its position. The same bytes are kept
    /// once, however often recovery is interrupted: a copy gets its name when it is synced.
    pub(crate) fn copy_in(
        &self,
        file: &dyn File,
        path: &Path,
        range: &Range<u64>,
    ) -> Result<PathBuf, Error> {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = format!("{}.{}", stem.unwrap_or_default(), range.start);
        for copy in 0..=u32::MAX {
            let kept = self.dir.join(numbered(&name, copy));
            match self.fs.open(&kept, Access::Read) {
                Ok(there) if is_copy(&*there, file, range).during("read", &kept)? => {
                    self.fs.sync_dir(&self.dir).during("sync", &self.dir)?;
                    return Ok(kept);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.copy_as(&kept, file, range)?;
                    return Ok(kept);
                }
                Err(error) => return Err(error).during("open", &kept),
            }
        }
        Ok(self.dir.join(name))
    }

    fn copy_as(&self, kept: &Path, file: &dyn File, range: &Range<u64>) -> Result<(), Error> {
        let unfinished = kept.with_added_extension("part");
        match self.fs.remove(&unfinished) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.during("remove", &unfinished)?,
        }
        let there = self.fs.create(&unfinished).during("create", &unfinished)?;
        copy(file, range, &*there).during("write", &unfinished)?;
        there.sync_data().during("sync", &unfinished)?;
        self.fs.rename(&unfinished, kept).during("rename", &unfinished)?;
        self.fs.sync_dir(&self.dir).during("sync", &self.dir)
    }
}

/// Makes a directory where there is none. A file in its place is moved out of the way.
pub(crate) fn make_dir(fs: &dyn Fs, dir: &Path) -> Result<Option<PathBuf>, Error> {
    match fs.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.during("create", dir).map(|()| None),
    }
    match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
        listed => return listed.during("list", dir).map(|_| None),
    }
    let parent = dir.parent().unwrap_or(dir);
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    // No stream has a name like this.
    let moved = free_name(fs, parent, &format!("~{}", name.unwrap_or_default()))?;
    fs.rename(dir, &moved).during("set aside", dir)?;
    fs.create_dir(dir).during("create", dir)?;
    Ok(Some(moved))
}

fn free_name(fs: &dyn Fs, dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let taken = fs.list(dir).during("list", dir)?;
    let free = (0..=u32::MAX)
        .map(|copy| numbered(name, copy))
        .find(|name| !taken.iter().any(|entry| entry.name == *name));
    Ok(dir.join(free.unwrap_or_default()))
}

fn is_copy(there: &dyn File, file: &dyn File, range: &Range<u64>) -> io::Result<bool> {
    if there.size()? != range.end - range.start {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    for position in range.clone().step_by(COPY_BYTES) {
        let bytes = piece(range, position);
        let (Some(one), Some(other)) = (one.get_mut(..bytes), other.get_mut(..bytes)) else {
            return Ok(false);
        };
        let read = read_full(file, one, position)?;
        if read_full(there, other, position - range.start)? != read || one != other {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The name of the first, second, … thing that would have this name.
fn numbered(name: &str, copy: u32) -> String {
    if copy == 0 { name.to_owned() } else { format!("{name}.{copy}") }
}

fn piece(range: &Range<u64>, position: u64) -> usize {
    usize::try_from(range.end - position).map_or(COPY_BYTES, |left| left.min(COPY_BYTES))
}

fn copy(file: &dyn File, range: &Range<u64>, to: &dyn File) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    for position in range.clone().step_by(COPY_BYTES) {
        let Some(room) = buffer.get_mut(..piece(range, position)) else { break };
        let read = read_full(file, room, position)?;
        let read = room.get(..read).unwrap_or_default();
        write_all(to, &mut [IoSlice::new(read)], position - range.start)?;
    }
    Ok(())
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use super::*;
    use crate::fs::sim::{Fault, Kind, SimFs};

    const DIR: &str = "/quarantine";

    struct Ground {
        disk: SimFs,
        quarantine: Quarantine,
        file: Arc<dyn File>,
        bytes: Vec<u8>,
    }

    /// A file of several pieces.
    fn ground() -> Ground {
        let disk = SimFs::new(1);
        let bytes: Vec<u8> = (0..600_000_u32).map(|i| (i % 251) as u8).collect();
        disk.plant(Path::new("/a.seg"), &bytes).unwrap();
        disk.create_dir(Path::new(DIR)).unwrap();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let file = fs.open(Path::new("/a.seg"), Access::Read).unwrap();
        Ground { quarantine: Quarantine { fs, dir: DIR.into() }, disk, file, bytes }
    }

    impl Ground {
        fn copy(&self) -> Result<PathBuf, Error> {
            self.quarantine.copy_in(&*self.file, Path::new("/a.seg"), &(1_000..590_000))
        }

        fn names(&self) -> Vec<String> {
            let entries = self.disk.list(Path::new(DIR)).unwrap();
            entries.into_iter().map(|entry| entry.name).collect()
        }
    }

    #[test]
    fn the_same_bytes_are_kept_once_and_others_beside_them() {
        let ground = ground();
        let kept = ground.copy().unwrap();
        assert_eq!(kept, Path::new("/quarantine/a.1000"));
        assert_eq!(ground.disk.read(&kept).unwrap(), ground.bytes[1_000..590_000]);
        assert_eq!(ground.copy().unwrap(), kept);
        assert_eq!(ground.names(), ["a.1000"]);
        // As long, but with another end; then of another length.
        let mut other = ground.bytes[1_000..590_000].to_vec();
        other[588_000] ^= 1;
        ground.disk.plant(&kept, &other).unwrap();
        assert_eq!(ground.copy().unwrap(), Path::new("/quarantine/a.1000.1"));
        ground.disk.plant(&kept, b"short").unwrap();
        assert_eq!(ground.copy().unwrap(), Path::new("/quarantine/a.1000.1"));
        assert_eq!(ground.names(), ["a.1000", "a.1000.1"]);
    }

    #[test]
    fn half_a_copy_is_replaced_and_what_cannot_be_looked_at_is_not() {
        let ground = ground();
        ground.disk.plant(Path::new("/quarantine/a.1000.part"), b"half").unwrap();
        for (kind, said) in [(Kind::Open, "cannot open"), (Kind::Remove, "cannot remove")] {
            ground.disk.inject_on(kind, Fault::Io, 0, 1);
            let error = ground.copy().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let kept = ground.copy().unwrap();
        assert_eq!(ground.disk.read(&kept).unwrap(), ground.bytes[1_000..590_000]);
        assert_eq!(ground.names(), ["a.1000"]);
    }

    #[test]
    fn a_directory_that_cannot_be_looked_at_stays_where_it_is() {
        let ground = ground();
        ground.disk.inject_on(Kind::CreateDir, Fault::Io, 0, 1);
        let error = make_dir(&ground.disk, Path::new("/new")).unwrap_err().to_string();
        assert!(error.contains("cannot create /new"), "{error}");
        ground.disk.inject_on(Kind::List, Fault::Io, 0, 1);
        let error = make_dir(&ground.disk, Path::new(DIR)).unwrap_err().to_string();
        assert!(error.contains("cannot list /quarantine"), "{error}");
        assert_eq!(make_dir(&ground.disk, Path::new(DIR)).unwrap(), None);
        assert_eq!(ground.disk.list(Path::new("/")).unwrap().len(), 2);
        let moved = make_dir(&ground.disk, Path::new("/a.seg")).unwrap();
        assert_eq!(moved, Some("/~a.seg".into()));
    }
}
