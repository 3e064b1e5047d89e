//! Dead letters: events that a destination refuses for ever, kept where a person can look at them.
//!
//! Below `data_dir/dead-letter` each stream has a directory, and in it files `N.letters` which hold
//! letters one behind the other, as [`letter`] describes. A file is only ever appended to by the run
//! of the agent that began it; after a failed write or sync, and after every start, the next letter
//! begins another file. So nothing is written behind bytes of which nobody knows whether they are on
//! disk, and what a crash cut off stays a torn end that reading steps over: its event is still in
//! the log. A letter is buried once its bytes, its file's name and its directory's name are synced.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use standpipe_wal::StreamName;
use standpipe_wal::fs::{Access, File, Fs};

pub mod letter;

pub use letter::Letter;

/// The directory's name below the data directory.
pub const DIR: &str = "dead-letter";

/// What a file of letters is called behind its number.
const EXTENSION: &str = ".letters";

/// A file beyond this is followed by another one: a file is read into memory as a whole.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Why a letter could not be buried. Its event stays in the log.
#[derive(Debug, thiserror::Error)]
pub enum Unburied {
    /// There is no more room for letters of this stream.
    #[error(
        "the dead letters of this stream take {bytes} bytes and may take {bytes_max}: look at them \
         with `standpipe dead-letter list`, then replay or drop them"
    )]
    Full {
        /// What they take.
        bytes: u64,
        /// What they may take.
        bytes_max: u64,
    },
    /// The disk did not do it.
    #[error("the dead letter could not be written: {0}")]
    Io(#[from] io::Error),
}

/// The dead letters of all streams.
#[derive(Debug)]
pub struct DeadLetters {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// What the letters of one stream may take on disk.
    bytes_max: u64,
    per_minute: u32,
    open: Mutex<HashMap<StreamName, Open>>,
}

/// The file that a stream's next letter goes to.
#[derive(Debug)]
struct Open {
    file: Arc<dyn File>,
    number: u64,
    /// Where the next letter begins.
    end: u64,
    /// What all files of the stream take.
    total: u64,
}

impl DeadLetters {
    /// The letters below a data directory: at most `bytes_max` of each stream, and `per_minute` new
    /// ones.
    pub fn new(fs: Arc<dyn Fs>, data_dir: &Path, bytes_max: u64, per_minute: u32) -> Self {
        Self { fs, dir: data_dir.join(DIR), bytes_max, per_minute, open: Mutex::default() }
    }

    /// How many events of a stream may become letters in a minute.
    pub fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Stores a letter. It is on disk when this returns `Ok`. Blocks.
    ///
    /// # Errors
    /// Where there is no room, or the disk fails. Nothing is known to be stored then.
    pub fn bury(&self, stream: &StreamName, letter: &Letter, salt: u64) -> Result<(), Unburied> {
        let mut files = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: whatever fails, the next letter begins another file.
        let mut open = match files.remove(stream) {
            Some(open) if open.end < FILE_BYTES_MAX => open,
            Some(_) | None => self.begin(stream)?,
        };
        let bytes = letter.encode(salt);
        if open.total.saturating_add(bytes.len() as u64) > self.bytes_max {
            let (bytes, bytes_max) = (open.total, self.bytes_max);
            files.insert(stream.clone(), open);
            return Err(Unburied::Full { bytes, bytes_max });
        }
        write_all(&*open.file, &bytes, open.end)?;
        open.file.sync_data()?;
        open.end += bytes.len() as u64;
        open.total += bytes.len() as u64;
        files.insert(stream.clone(), open);
        Ok(())
    }

    /// Begins a stream's next file.
    fn begin(&self, stream: &StreamName) -> io::Result<Open> {
        let dir = self.dir.join(stream.as_str());
        for (new, parent) in [(&self.dir, self.dir.parent()), (&dir, Some(self.dir.as_path()))] {
            match self.fs.create_dir(new) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                // Also where it was there: whoever made it may have died before it was durable.
                Ok(()) | Err(_) => parent.map_or(Ok(()), |parent| self.fs.sync_dir(parent))?,
            }
        }
        let numbers = numbers(&*self.fs, &dir)?;
        let total = self.size(&dir)?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let file = self.fs.create(&path(&dir, number))?;
        self.fs.sync_dir(&dir)?;
        Ok(Open { file, number, end: 0, total })
    }

    /// The streams that have a directory here, sorted.
    ///
    /// # Errors
    /// Where the directory cannot be read. That it does not exist is no error.
    pub fn streams(&self) -> io::Result<Vec<StreamName>> {
        let entries = match self.fs.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let dirs = entries.iter().filter(|entry| entry.is_dir);
        Ok(dirs.filter_map(|entry| entry.name.parse().ok()).collect())
    }

    /// What the files of each stream take, where there are any. Blocks.
    ///
    /// # Errors
    /// Where a directory or a file cannot be read.
    pub fn sizes(&self) -> io::Result<BTreeMap<StreamName, u64>> {
        let mut sizes = BTreeMap::new();
        for stream in self.streams()? {
            let bytes = self.size(&self.dir.join(stream.as_str()))?;
            sizes.insert(stream, bytes);
        }
        Ok(sizes)
    }

    /// What the files in a stream's directory take.
    fn size(&self, dir: &Path) -> io::Result<u64> {
        let mut total = 0;
        for number in numbers(&*self.fs, dir)? {
            total += match self.fs.open(&path(dir, number), Access::Read) {
                // Dropped or replayed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                file => file?.size()?,
            };
        }
        Ok(total)
    }

    /// Hands every letter of a stream in the files up to this number to `take`, oldest first. Bytes
    /// that are no letter are stepped over. Returns how many bytes those were.
    ///
    /// # Errors
    /// Where a file cannot be read, or `take` fails.
    pub fn read<E: From<io::Error>>(
        &self,
        stream: &StreamName,
        up_to: u64,
        mut take: impl FnMut(Letter) -> Result<(), E>,
    ) -> Result<u64, E> {
        let dir = self.dir.join(stream.as_str());
        let mut strange = 0;
        for number in numbers(&*self.fs, &dir)?.into_iter().filter(|number| *number <= up_to) {
            let bytes = read_all(&*self.fs.open(&path(&dir, number), Access::Read)?)?;
            strange += letter::each(&bytes, &mut take)?;
        }
        Ok(strange)
    }

    /// The number of the last file there is. Later letters go to later files.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn close(&self, stream: &StreamName) -> io::Result<u64> {
        let mut files = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = files.remove(stream).map_or(0, |open| open.number);
        let numbers = numbers(&*self.fs, &self.dir.join(stream.as_str()))?;
        Ok(numbers.last().copied().unwrap_or_default().max(open))
    }

    /// Removes the files of a stream up to this number. Returns how many bytes they took.
    ///
    /// # Errors
    /// Where one cannot be removed; those before it are gone.
    pub fn remove(&self, stream: &StreamName, up_to: u64) -> io::Result<u64> {
        let mut files = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(stream);
        let dir = self.dir.join(stream.as_str());
        let mut bytes = 0;
        for number in numbers(&*self.fs, &dir)?.into_iter().filter(|number| *number <= up_to) {
            let path = path(&dir, number);
            bytes += self.fs.open(&path, Access::Read)?.size()?;
            self.fs.remove(&path)?;
        }
        if bytes > 0 {
            self.fs.sync_dir(&dir)?;
        }
        Ok(bytes)
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number}{EXTENSION}"))
}

/// The numbers of the files in a stream's directory, ascending. None where it does not exist.
fn numbers(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let stems = entries.iter().filter_map(|entry| entry.name.strip_suffix(EXTENSION));
    let mut numbers: Vec<u64> = stems.filter_map(|stem| stem.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn write_all(file: &dyn File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.write_at(&[IoSlice::new(bytes)], position)?;
        let Some(rest) = bytes.get(written..).filter(|_| written > 0) else {
            return Err(io::ErrorKind::WriteZero.into());
        };
        bytes = rest;
        position += written as u64;
    }
    Ok(())
}

fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
