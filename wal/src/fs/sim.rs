//! A disk in memory that forgets what was not synced, for tests.
//!
//! It holds every promise of a real disk and no more. Bytes are durable after
//! [`File::sync_data`], names after [`Fs::sync_dir`]; until then a power cut may keep or lose each
//! 512-byte sector and each name on its own. Every operation is counted, and any of them can be
//! made to fail. All that happens is decided by a seed.
//!
//! ```
//! # use std::{io::IoSlice, path::Path};
//! # use standpipe_wal::fs::{Fs, sim::{Loss, SimFs}};
//! let disk = SimFs::new(7);
//! let file = disk.create(Path::new("/a")).unwrap();
//! file.write_at(&[IoSlice::new(b"bytes")], 0).unwrap();
//! file.sync_data().unwrap();
//! // The bytes are durable, the name is not.
//! let after = disk.crash(Loss::EverythingUnsynced, 1);
//! assert!(after.list(Path::new("/")).unwrap().is_empty());
//! ```

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Access, Entry, File, Fs};
use disk::Disk;
pub use fault::{Fault, Kind, Operation};
use fault::{Faults, Verdict, refuse};
pub use moment::Moment;
use names::Id;
use random::Random;

mod content;
mod disk;
mod fault;
mod fingerprint;
mod moment;
mod names;
mod random;

/// What is lost when everything stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process dies, the machine goes on: nothing is lost yet, but what was not synced still
    /// can be, by a power cut later on.
    Process,
    /// The power goes: all that was not synced is lost.
    EverythingUnsynced,
    /// The power goes, but everything had reached the disk by chance.
    Nothing,
    /// Unsynced names are there, unsynced bytes are not: empty files.
    UnsyncedBytes,
    /// Unsynced bytes are there, unsynced names are not.
    UnsyncedNames,
    /// Each unsynced sector, size and name is kept or lost on its own, as the seed says.
    Torn,
}

impl Loss {
    /// Every way to stop. Only [`Loss::Torn`] depends on the seed.
    pub const ALL: [Self; 6] = [
        Self::Process,
        Self::EverythingUnsynced,
        Self::Nothing,
        Self::UnsyncedBytes,
        Self::UnsyncedNames,
        Self::Torn,
    ];
}

/// The simulated disk. Clones are handles to the same one; [`SimFs::fork`] copies it.
#[derive(Clone, Debug)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
struct State {
    disk: Disk,
    faults: Faults,
    random: Random,
    moments: Option<Vec<Moment>>,
}

impl SimFs {
    /// An empty disk. The seed decides the details of faults: how short is short, and what a
    /// failed sync loses.
    pub fn new(seed: u64) -> Self {
        Self::with(Disk::new(), seed)
    }

    fn with(disk: Disk, seed: u64) -> Self {
        let (faults, random) = (Faults::default(), Random::new(seed));
        let state = State { disk, faults, random, moments: None };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A copy that goes its own way from here, with its counts and planned faults. Files that are
    /// open stay open on the original.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// The disk as the next start finds it, working again: no planned faults, nothing counted.
    /// The original is not changed, so one crash can be seen with many losses and seeds.
    #[must_use]
    pub fn crash(&self, loss: Loss, seed: u64) -> Self {
        let mut disk = self.state().disk.clone();
        let mut random = Random::new(seed);
        match loss {
            Loss::Process => disk.drop_unnamed(),
            Loss::EverythingUnsynced => disk.forget(&mut |_| 0, &mut |_| 0),
            Loss::Nothing => disk.forget(&mut |most| most, &mut |most| most),
            Loss::UnsyncedBytes => disk.forget(&mut |most| most, &mut |_| 0),
            Loss::UnsyncedNames => disk.forget(&mut |_| 0, &mut |most| most),
            Loss::Torn => {
                let mut names = Random::new(random.u64());
                disk.forget(&mut |most| names.up_to(most), &mut |most| random.up_to(most));
            }
        }
        Self::with(disk, seed)
    }

    /// Makes the operation number `from` (counted from zero) fail, or the first one after it that
    /// the fault can strike, and the following ones, `times` in all. Adds to what was planned
    /// before, which goes first.
    pub fn inject(&self, fault: Fault, from: u64, times: u64) {
        self.state().faults.plan(from, times, fault, None);
    }

    /// As [`SimFs::inject`], but the fault strikes one kind of operation alone.
    pub fn inject_on(&self, only: Kind, fault: Fault, from: u64, times: u64) {
        self.state().faults.plan(from, times, fault, Some(only));
    }

    /// Gives up the planned faults; the damage that they did stays.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Whether [`Fault::Crash`] has struck.
    pub fn is_off(&self) -> bool {
        self.state().faults.is_off()
    }

    /// How many operations were begun.
    pub fn operations(&self) -> u64 {
        self.state().faults.count()
    }

    /// How many of them a fault has struck.
    pub fn strikes(&self) -> u64 {
        self.state().faults.strikes()
    }

    /// Keeps a list of all operations from here on.
    pub fn record_trace(&self) {
        self.state().faults.record_trace();
    }

    /// The operations since [`SimFs::record_trace`].
    pub fn trace(&self) -> Vec<Operation> {
        self.state().faults.trace()
    }

    /// The size of the disk: writing and allocating beyond it is `ENOSPC`.
    pub fn limit(&self, bytes: Option<u64>) {
        self.state().disk.limit(bytes);
    }

    /// The space that the files take, in whole blocks.
    pub fn used_bytes(&self) -> u64 {
        self.state().disk.used_bytes()
    }

    /// The bytes of a file as a program sees them. Not counted as an operation.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.disk.look(state.disk.open(path)?)?;
        let mut bytes = vec![0; usize::try_from(file.size()).unwrap_or(usize::MAX)];
        file.read(&mut bytes, 0);
        Ok(bytes)
    }

    /// Puts a file there, durable with its name, whatever was there before: foreign files, damage.
    /// Not counted as an operation.
    pub fn plant(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let id = match state.disk.open(path) {
            Ok(id) => id,
            Err(_) => state.disk.create(path)?,
        };
        let file = state.disk.file(id)?;
        file.truncate(0);
        file.write(0, bytes);
        file.sync();
        state.disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, kind: Kind, path: &Path) -> (MutexGuard<'_, State>, Verdict) {
        let mut state = self.state();
        state.note_moment(kind, path);
        let verdict = state.faults.begin(kind, path);
        (state, verdict)
    }

    /// Counts an operation that either happens or fails without a trace.
    fn attempt(&self, kind: Kind, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let (state, verdict) = self.begin(kind, path);
        refuse(verdict)?;
        Ok(state)
    }

    fn handle(&self, id: Id, path: &Path, access: Access) -> Arc<dyn File> {
        Arc::new(SimFile { fs: self.clone(), id, path: path.to_owned(), access })
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let id = self.attempt(Kind::Create, path)?.disk.create(path)?;
        Ok(self.handle(id, path, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let id = self.attempt(Kind::Open, path)?.disk.open(path)?;
        Ok(self.handle(id, path, access))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.attempt(Kind::Rename, from)?.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.attempt(Kind::Remove, path)?.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.attempt(Kind::List, dir)?.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.attempt(Kind::CreateDir, dir)?.disk.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.attempt(Kind::SyncDir, dir)?.disk.sync_dir(dir)
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    id: Id,
    path: PathBuf,
    access: Access,
}

impl SimFile {
    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(Errno::BADF.into()),
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let (mut state, verdict) = self.fs.begin(Kind::Read, &self.path);
        refuse(verdict)?;
        let read = state.disk.look(self.id)?.read(buffer, position);
        match verdict {
            Verdict::Short => Ok(part(read, &mut state.random).max(read.min(1))),
            Verdict::Go | Verdict::Fail(_) => Ok(read),
        }
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.writable()?;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let (mut state, verdict) = self.fs.begin(Kind::Write, &self.path);
        match verdict {
            Verdict::Go => state.disk.write(self.id, position, &bytes),
            Verdict::Short => {
                let length = part(bytes.len(), &mut state.random).max(1);
                state.disk.write(self.id, position, bytes.get(..length).unwrap_or_default())
            }
            Verdict::Fail(errno) => {
                if errno == Errno::IO && !state.faults.is_off() {
                    let length = part(bytes.len(), &mut state.random);
                    state.disk.write(self.id, position, bytes.get(..length).unwrap_or_default())?;
                }
                Err(errno.into())
            }
        }
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.writable()?;
        let end = position.checked_add(length).ok_or(io::Error::from(Errno::FBIG))?;
        self.fs.attempt(Kind::Allocate, &self.path)?.disk.allocate(self.id, end)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.writable()?;
        self.fs.attempt(Kind::Truncate, &self.path)?.disk.file(self.id)?.truncate(length);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.fs.attempt(Kind::Size, &self.path)?.disk.look(self.id)?.size())
    }

    fn data_end(&self, position: u64) -> io::Result<u64> {
        let mut state = self.fs.attempt(Kind::Size, &self.path)?;
        let file = state.disk.file(self.id)?;
        let length = usize::try_from(file.size().saturating_sub(position)).unwrap_or(0);
        let mut bytes = vec![0; length];
        file.read(&mut bytes, position);
        let data = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        Ok(position + data)
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        let mut state = self.fs.attempt(Kind::Size, &self.path)?;
        let file = state.disk.file(self.id)?;
        let length = usize::try_from(file.size().saturating_sub(position)).unwrap_or(0);
        let mut bytes = vec![0; length];
        file.read(&mut bytes, position);
        let data = bytes.iter().position(|byte| *byte != 0);
        Ok(data.map(|zeros| position + zeros as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut guard, verdict) = self.fs.begin(Kind::SyncData, &self.path);
        let State { disk, faults, random, .. } = &mut *guard;
        let file = disk.file(self.id)?;
        match verdict {
            Verdict::Go | Verdict::Short => {
                file.sync();
                Ok(())
            }
            Verdict::Fail(errno) => {
                // A wait that a signal ended has not lost anything.
                if !faults.is_off() && errno != Errno::INTR {
                    let evicts = random.coin();
                    file.fail_sync(&mut |most| random.up_to(most), evicts);
                }
                Err(errno.into())
            }
        }
    }
}

/// Some of `length` bytes, but not all.
fn part(length: usize, random: &mut Random) -> usize {
    let most = u64::try_from(length.saturating_sub(1)).unwrap_or(u64::MAX);
    usize::try_from(random.up_to(most)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
