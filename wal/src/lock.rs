//! Who owns a data directory: a record lock on the file `lock` in it.
//!
//! The kernel releases the lock when its process ends, however it ends, so there is nothing stale
//! to clean up and the file is never removed. The lock can be looked at without taking it, so a
//! command that only looks cannot keep an agent from starting.
//!
//! POSIX record locks have two traps, and both are closed by a list of the locks that this process
//! holds. They do not exclude the process that holds them: a second [`DirLock::acquire`] would
//! succeed. And closing *any* descriptor of the file releases them: to look at a lock of our own by
//! opening the file would give it up.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType};

use crate::error::Error;

/// The name of the lock file in the data directory.
pub const FILE_NAME: &str = "lock";

/// A lock file, whatever path leads to it: device and inode.
type FileId = (u64, u64);

/// The lock files that this process holds. Every opening and closing of a lock file happens while
/// it is locked.
static HELD: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

/// The right to change a data directory. Given up when it is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the directory is locked only as long as this lives"]
pub struct DirLock {
    path: PathBuf,
    id: FileId,
    // An option only so that `drop` can close it at the right moment.
    descriptor: Option<OwnedFd>,
}

/// Who holds a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process, where it can be named: not if it runs in another PID namespace.
    pub pid: Option<u32>,
}

impl DirLock {
    /// Takes the lock of a data directory that exists; never waits.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process or another part of this one holds it;
    /// [`Error::Io`] where the file cannot be opened or locked.
    pub fn acquire(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE_NAME);
        let locked = || Error::Locked { path: data_dir.to_owned() };
        let failed = |errno: Errno| Error::io("lock", &path, errno.into());
        let mut held = held();
        if is_held(&held, &path).map_err(failed)? {
            return Err(locked());
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let descriptor = rustix::fs::open(&path, flags, mode).map_err(failed)?;
        match rustix::fs::fcntl_lock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN | Errno::ACCESS) => return Err(locked()),
            Err(errno) => return Err(failed(errno)),
        }
        let id = file_id(&rustix::fs::fstat(&descriptor).map_err(failed)?);
        held.insert(id);
        Ok(Self { path: data_dir.to_owned(), id, descriptor: Some(descriptor) })
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.path
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        let mut held = held();
        drop(self.descriptor.take());
        held.remove(&self.id);
    }
}

/// Who holds the lock of a data directory, if anybody does. Takes nothing and creates nothing.
pub fn holder(data_dir: &Path) -> io::Result<Option<Holder>> {
    let path = data_dir.join(FILE_NAME);
    let held = held();
    if is_held(&held, &path)? {
        return Ok(Some(Holder { pid: Some(std::process::id()) }));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let descriptor = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let found = rustix::process::fcntl_getlk(&descriptor, &Flock::from(FlockType::WriteLock))?;
    Ok(found.map(|lock| Holder {
        pid: lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()),
    }))
}

/// The list stays right even where a thread panicked while it held it: each change is one call.
fn held() -> MutexGuard<'static, BTreeSet<FileId>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this process holds the lock file at this path.
fn is_held(held: &BTreeSet<FileId>, path: &Path) -> Result<bool, Errno> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(held.contains(&file_id(&stat))),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn file_id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn one_process_cannot_take_a_directory_twice() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        assert!(matches!(DirLock::acquire(dir.path()), Err(Error::Locked { .. })));
        drop(first);
        let _second = DirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn looking_creates_nothing_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        assert!(!dir.path().join(FILE_NAME).exists());
        let lock = DirLock::acquire(dir.path()).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Some(Holder { pid: Some(std::process::id()) }));
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None);
    }

    #[test]
    fn one_process_takes_as_many_directories_as_it_likes() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        // As after an earlier run: the files are there.
        for dir in &dirs {
            drop(DirLock::acquire(dir.path()).unwrap());
        }
        let locks = dirs.each_ref().map(|dir| DirLock::acquire(dir.path()).unwrap());
        assert!(locks.iter().zip(&dirs).all(|(lock, dir)| lock.data_dir() == dir.path()));
    }

    #[test]
    fn programs_that_are_started_do_not_get_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(dir.path()).unwrap();
        let flags = rustix::io::fcntl_getfd(lock.descriptor.as_ref().unwrap()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn whoever_may_read_the_directory_can_see_who_holds_it() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let _lock = DirLock::acquire(dir.path()).unwrap();
        let mode = rustix::fs::stat(dir.path().join(FILE_NAME)).unwrap().st_mode & 0o777;
        let other = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640))
            .tempfile_in(dir.path())
            .unwrap();
        assert_eq!(mode, other.as_file().metadata().unwrap().mode() & 0o777);
    }

    #[test]
    fn a_symbolic_link_to_the_directory_is_the_same_directory() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        crate::fs::Fs::create_dir(&crate::fs::real::RealFs, &real).unwrap();
        let _lock = DirLock::acquire(&real).unwrap();
        assert!(matches!(DirLock::acquire(&link), Err(Error::Locked { .. })));
    }

    /// Plays the other process in the test below: holds the lock until its input ends.
    #[expect(clippy::print_stdout, reason = "its parent waits for this line")]
    fn hold_until_the_input_ends(dir: &Path) {
        let _lock = DirLock::acquire(dir).unwrap();
        println!("{LOCKED}");
        io::stdin().read_line(&mut String::new()).unwrap();
    }

    const CHILD: &str = "STANDPIPE_TEST_HOLD_LOCK";
    const LOCKED: &str = "the child holds the lock";

    #[test]
    fn another_process_is_excluded_and_named_until_it_ends() {
        if let Some(dir) = std::env::var_os(CHILD) {
            return hold_until_the_input_ends(Path::new(&dir));
        }
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("lock::tests::another_process_is_excluded_and_named_until_it_ends")
            .env(CHILD, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(output.any(|line| line.unwrap().contains(LOCKED)), "the child did not start");
        assert!(matches!(DirLock::acquire(dir.path()), Err(Error::Locked { .. })));
        assert_eq!(holder(dir.path()).unwrap(), Some(Holder { pid: Some(child.id()) }));
        // Killed, not asked: the kernel gives the lock back.
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        let _lock = DirLock::acquire(dir.path()).unwrap();
    }
}
