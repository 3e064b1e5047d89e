//! Trimmed segments that wait to be written again.
//!
//! A sync of blocks that were written before costs about two thirds of a sync of new ones, because
//! the file system has nothing of its own to write. So full segments go here instead of being
//! unlinked, and a log that fills one segment after the other takes its next one from here.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Context, Error};
use crate::fs::Fs;
use crate::recovery::make_dir;

/// The pool of a data directory, shared by all of its logs. Bounded in bytes, and in age where
/// [`Pool::expire`] is called when it is due.
///
/// What a file held in its earlier life stays in it, and is told apart by the salt.
#[derive(Debug)]
pub struct Pool {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    bytes_max: u64,
    age_max_ms: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    files: VecDeque<Pooled>,
    /// Of the files, and of those that are on their way in.
    bytes: u64,
    /// Makes the next name.
    serial: u64,
}

/// A file of the pool.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    given_ms: u64,
}

/// A file that was moved into the pool's directory and cannot be taken yet: the directory that it
/// came from is not synced.
#[derive(Debug)]
#[must_use = "it takes room in the pool and can never be taken"]
pub(crate) struct Offered(Pooled);

impl Pool {
    /// A pool of at most `bytes_max` bytes, each file for at most `age_max`, in a directory of its
    /// own on the file system of the streams. The directory is made where it is missing; a file in its place is moved out of the
    /// way. Files of an earlier run are removed: a crash may have left one under two names. One
    /// that cannot be removed is never taken, and takes room until the next start.
    ///
    /// # Errors
    /// Where a system call on the directory fails. A log works without a pool.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        bytes_max: u64,
        age_max: Duration,
    ) -> Result<Self, Error> {
        make_dir(&*fs, &dir)?;
        for entry in fs.list(&dir).during("list", &dir)? {
            if !entry.is_dir {
                let _gone = fs.remove(&dir.join(entry.name)).is_ok();
            }
        }
        fs.sync_dir(&dir).during("sync", &dir)?;
        let age_max_ms = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { fs, dir, bytes_max, age_max_ms, state: Mutex::default() })
    }

    /// What the pool holds.
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// In how long [`Pool::expire`] is due; never where the pool is empty.
    pub fn expires_in(&self, now_ms: u64) -> Option<Duration> {
        let state = self.state();
        let age_ms = now_ms.abs_diff(state.files.front()?.given_ms);
        Some(Duration::from_millis(self.age_max_ms.saturating_sub(age_ms)))
    }

    /// Removes the files that have been here too long; returns their bytes. A file from as far in
    /// the future was given by a clock that was wrong, and counts as well.
    ///
    /// # Errors
    /// Where a file cannot be removed: it stays in the pool, and the call can be repeated.
    pub fn expire(&self, now_ms: u64) -> Result<u64, Error> {
        self.remove(|file| now_ms.abs_diff(file.given_ms) >= self.age_max_ms)
    }

    /// Removes everything, for when space is short; returns the bytes.
    ///
    /// # Errors
    /// As [`Pool::expire`].
    pub fn clear(&self) -> Result<u64, Error> {
        self.remove(|_| true)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves a file into the pool if there is room for it.
    pub(crate) fn offer(
        &self,
        path: &Path,
        bytes: u64,
        now_ms: u64,
    ) -> Result<Option<Offered>, Error> {
        let name = {
            let mut state = self.state();
            if state.bytes.saturating_add(bytes) > self.bytes_max {
                return Ok(None);
            }
            state.bytes += bytes;
            state.serial += 1;
            format!("{:020}", state.serial)
        };
        let offered = Pooled { path: self.dir.join(name), bytes, given_ms: now_ms };
        if let Err(error) = self.fs.rename(path, &offered.path).during("rename", path) {
            self.state().bytes -= bytes;
            return Err(error);
        }
        Ok(Some(Offered(offered)))
    }

    /// Lets files be taken, now that the directory they came from is synced.
    pub(crate) fn settle(&self, offered: Vec<Offered>) {
        self.state().files.extend(offered.into_iter().map(|Offered(file)| file));
    }

    /// Removes files that must not be taken, because that directory could not be synced.
    pub(crate) fn withdraw(&self, offered: Vec<Offered>) {
        for Offered(file) in offered {
            // What cannot be removed now is removed by the next start.
            let _gone = self.fs.remove(&file.path).is_ok();
            self.state().bytes -= file.bytes;
        }
    }

    /// Takes the file that was given last.
    pub(crate) fn take(&self) -> Option<Pooled> {
        let mut state = self.state();
        let file = state.files.pop_back()?;
        state.bytes -= file.bytes;
        Some(file)
    }

    fn remove(&self, which: impl Fn(&Pooled) -> bool) -> Result<u64, Error> {
        let mut removed = 0;
        loop {
            let file = {
                let mut state = self.state();
                if !state.files.front().is_some_and(&which) {
                    return Ok(removed);
                }
                let file = state.files.pop_front();
                state.bytes -= file.as_ref().map_or(0, |file| file.bytes);
                file
            };
            let Some(file) = file else { return Ok(removed) };
            match self.fs.remove(&file.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = file.path.clone();
                    let mut state = self.state();
                    state.bytes += file.bytes;
                    state.files.push_front(file);
                    return Err(error).during("remove", &path);
                }
                Ok(()) | Err(_) => removed += file.bytes,
            }
        }
    }

    /// The state stays right even where a thread panicked: each change is complete.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    const AGE: Duration = Duration::from_secs(3);

    #[test]
    fn files_come_in_while_there_is_room_and_leave_by_age() {
        let root = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let pool = Pool::open(Arc::clone(&fs), root.path().join("pool"), 25, AGE).unwrap();
        let offer = |name: &str, now_ms| {
            let path = root.path().join(name);
            fs.create(&path).unwrap();
            let offered = pool.offer(&path, 10, now_ms).unwrap();
            let taken = offered.is_some();
            pool.settle(offered.into_iter().collect());
            taken
        };
        assert!(offer("a", 1) && offer("b", 2));
        assert!(!offer("c", 3), "a third would be more than the pool may hold");
        assert_eq!(pool.bytes(), 20);
        assert_eq!(pool.expires_in(2900), Some(Duration::from_millis(101)));
        assert_eq!(pool.expire(3000).unwrap(), 0);
        assert_eq!(pool.expire(3001).unwrap(), 10);
        assert_eq!(pool.expires_in(9000), Some(Duration::ZERO));
        assert_eq!(pool.take().unwrap().given_ms, 2);
        assert!(pool.take().is_none());
        assert_eq!((pool.bytes(), pool.expires_in(0)), (0, None));
        assert!(offer("d", 9000));
        assert_eq!(pool.expire(6001).unwrap(), 0);
        assert_eq!(pool.expire(6000).unwrap(), 10, "given by a clock that was wrong");
    }

    #[test]
    fn a_file_that_cannot_be_removed_stays_in_the_pool_and_one_that_is_gone_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let pool = Pool::open(Arc::clone(&fs), root.path().join("pool"), 25, AGE).unwrap();
        let path = root.path().join("a");
        fs.create(&path).unwrap();
        pool.settle(pool.offer(&path, 10, 1).unwrap().into_iter().collect());
        let pooled = root.path().join(format!("pool/{:020}", 1));
        fs.rename(&pooled, &root.path().join("elsewhere")).unwrap();
        // A directory is nothing that can be removed like a file.
        fs.create_dir(&pooled).unwrap();
        pool.clear().unwrap_err();
        assert_eq!(pool.bytes(), 10);
        fs.rename(&pooled, &root.path().join("moved")).unwrap();
        assert_eq!(pool.clear().unwrap(), 10);
        assert_eq!((pool.bytes(), pool.expires_in(0)), (0, None));
    }

    #[test]
    fn whatever_lies_in_its_place_does_not_stop_the_pool() {
        let root = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let dir = root.path().join("pool");
        fs.create(&dir).unwrap();
        let _pool = Pool::open(Arc::clone(&fs), dir.clone(), 25, AGE).unwrap();
        assert_eq!(fs.list(&dir).unwrap(), []);
        let names: Vec<_> =
            fs.list(root.path()).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["pool", "~pool"]);
    }

    #[test]
    fn opening_removes_what_an_earlier_run_left() {
        let root = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let dir = root.path().join("pool");
        fs.create_dir(&dir).unwrap();
        fs.create(&dir.join("left")).unwrap();
        let pool = Pool::open(Arc::clone(&fs), dir.clone(), 25, AGE).unwrap();
        assert!(pool.take().is_none());
        assert_eq!(fs.list(&dir).unwrap(), []);
    }

    #[test]
    fn a_file_that_cannot_be_moved_takes_no_room() {
        let root = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let pool = Pool::open(fs, root.path().join("pool"), 100, AGE).unwrap();
        for _ in 0..3 {
            assert!(pool.offer(&root.path().join("missing"), 60, 1).is_err());
            assert_eq!(pool.bytes(), 0);
        }
    }
}
