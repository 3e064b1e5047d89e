//! The disk: `std::fs`, and the calls that it lacks from `rustix`.
#![expect(clippy::disallowed_methods, reason = "the one place where the seam meets the system")]

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZero;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, OFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use super::{Access, Entry, File, Fs};

/// Permissions of new files: events may be confidential, so others cannot read them.
const FILE_MODE: u32 = 0o640;

/// Permissions of new directories.
const DIR_MODE: u32 = 0o750;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(RealFile { file }))
    }

    /// Refuses (`InvalidInput`) what is not a regular file: a data directory may hold anything, and
    /// opening a pipe would otherwise wait for ever for somebody at its other end.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Arc::new(RealFile { file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        repeat_interrupted(|| list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(DIR_MODE).create(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(fs::File::open(dir)?)?)
    }
}

fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        entries.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            is_dir: entry.file_type()?.is_dir(),
        });
    }
    entries.sort();
    Ok(entries)
}

/// Repeats a call that leaves everything as it was when a signal interrupts it.
fn repeat_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// An open file of the machine.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        repeat_interrupted(|| self.file.read_at(buffer, position))
    }

    /// The system takes at most 1,024 slices in one call (`IOV_MAX`); `rustix` hands over no more,
    /// so a longer list is one of the reasons for a short write.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pwritev(&self.file, slices, position))?)
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::empty();
        Ok(retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, position, length))?)
    }

    /// Repeated by the standard library where it is interrupted.
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Moves the handle's own position, which nothing here uses.
    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(position)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(_does_not_know) => Ok(Some(position)),
        }
    }

    /// Moves the handle's own position as well.
    fn data_end(&self, position: u64) -> io::Result<u64> {
        match rustix::fs::seek(&self.file, SeekFrom::Hole(position)) {
            Ok(found) => Ok(found),
            Err(_behind_the_end_or_does_not_know) => self.size(),
        }
    }

    fn will_read(&self, position: u64, length: u64) {
        let length = NonZero::new(length);
        let _unsupported = rustix::fs::fadvise(&self.file, position, length, Advice::WillNeed);
    }

    /// Never repeated here, whatever the error: after a failed sync the system may have marked the
    /// lost pages as clean, and a second call would say that all is well.
    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices<'a>(parts: &[&'a [u8]]) -> Vec<IoSlice<'a>> {
        parts.iter().map(|part| IoSlice::new(part)).collect()
    }

    #[test]
    fn what_is_written_in_slices_is_read_back_at_its_position() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = RealFs.create(&path).unwrap();
        assert_eq!(file.write_at(&slices(&[b"ab", b"", b"cde"]), 3).unwrap(), 5);
        file.sync_data().unwrap();
        assert_eq!(file.size().unwrap(), 8);
        let mut buffer = [9; 16];
        let reader = RealFs.open(&path, Access::Read).unwrap();
        assert_eq!(reader.read_at(&mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..8], b"\0\0\0abcde");
        assert_eq!(reader.read_at(&mut buffer, 8).unwrap(), 0);
        assert!(reader.write_at(&slices(&[b"x"]), 0).is_err());
    }

    #[test]
    fn more_slices_than_the_system_takes_are_a_short_write() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create(&dir.path().join("file")).unwrap();
        let written = file.write_at(&slices(&vec![b"x".as_slice(); 3000]), 0).unwrap();
        assert!(written > 0 && written < 3000, "{written}");
    }

    #[test]
    fn allocate_grows_the_file_with_zeros_where_the_file_system_can() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create(&dir.path().join("file")).unwrap();
        match file.allocate(0, 10_000) {
            Ok(()) => assert_eq!(file.size().unwrap(), 10_000),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
        file.truncate(5).unwrap();
        assert_eq!(file.size().unwrap(), 5);
    }

    #[test]
    fn reserved_space_that_was_never_written_is_not_data() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create(&dir.path().join("file")).unwrap();
        file.write_at(&slices(&[b"data"]), 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.next_data(0).unwrap(), Some(0));
        assert_eq!(file.next_data(2).unwrap(), Some(2));
        assert_eq!(file.next_data(4).unwrap(), None, "the end of the file");
        // What is a hole depends on the file system, but never where data is.
        file.truncate(1 << 20).unwrap();
        assert!(file.next_data(1 << 16).unwrap().is_none_or(|position| position >= 1 << 16));
        file.write_at(&slices(&[b"more"]), 1 << 19).unwrap();
        let found = file.next_data(1 << 16).unwrap().unwrap();
        assert!((1 << 16..=1 << 19).contains(&found), "{found}");
        assert!((4..=1 << 20).contains(&file.data_end(0).unwrap()));
        assert_eq!(file.data_end(1 << 20).unwrap(), 1 << 20, "the end of the file");
    }

    #[test]
    fn a_call_that_a_signal_interrupts_is_repeated_and_no_other() {
        let mut calls = 0;
        let answer = repeat_interrupted(|| {
            calls += 1;
            if calls < 3 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(calls) }
        });
        assert_eq!(answer.unwrap(), 3);
        let mut calls = 0;
        let answer: io::Result<()> = repeat_interrupted(|| {
            calls += 1;
            Err(io::ErrorKind::NotFound.into())
        });
        assert_eq!((answer.unwrap_err().kind(), calls), (io::ErrorKind::NotFound, 1));
    }

    #[test]
    fn names_are_listed_sorted_and_change_by_create_rename_and_remove() {
        let dir = tempfile::tempdir().unwrap();
        RealFs.create(&dir.path().join("b")).unwrap();
        RealFs.create(&dir.path().join("a")).unwrap();
        RealFs.create_dir(&dir.path().join("d")).unwrap();
        let again = RealFs.create(&dir.path().join("a")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let again = RealFs.create_dir(&dir.path().join("d")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        RealFs.rename(&dir.path().join("b"), &dir.path().join("c")).unwrap();
        RealFs.remove(&dir.path().join("a")).unwrap();
        RealFs.sync_dir(dir.path()).unwrap();
        let names: Vec<_> = RealFs.list(dir.path()).unwrap();
        let expected = [("c", false), ("d", true)];
        assert_eq!(names, expected.map(|(name, is_dir)| Entry { name: name.into(), is_dir }));
    }

    #[test]
    fn a_pipe_or_a_directory_in_the_place_of_a_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [pipe.as_path(), dir.path()] {
            let error = RealFs.open(path, Access::Read).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
