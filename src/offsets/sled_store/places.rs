//! Where the store lies, and how one takes the place of another.
//!
//! | name | what it is |
//! |---|---|
//! | `offsets` | the store |
//! | `offsets.new` | one that is being built; complete once `offsets` is gone |
//! | `offsets.old` | one that was replaced and is being removed |
//! | `offsets.broken-N` | one that could not be read, kept for inspection |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::sync_dir;
use super::{Failure, Old, classify_io};
use crate::limits::OFFSETS_BROKEN_KEPT_MAX;

const BROKEN_PREFIX: &str = "offsets.broken-";
const OPERATION: &str = "arrange the directory of offsets";

/// Where a data directory has its store.
pub(in crate::offsets) fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("offsets")
}

#[derive(Debug)]
pub(super) struct Places {
    data_dir: PathBuf,
    current: PathBuf,
    new: PathBuf,
    old: PathBuf,
}

impl Places {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            current: store_dir(data_dir),
            new: data_dir.join("offsets.new"),
            old: data_dir.join("offsets.old"),
        }
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(super) fn current(&self) -> &Path {
        &self.current
    }

    /// Ends a replacement that was interrupted: forward where the new store was complete, else
    /// back.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        if !exists(&self.current)? {
            for candidate in [&self.new, &self.old] {
                if exists(candidate)? {
                    arrange(fs::rename(candidate, &self.current))?;
                    sync_dir(&self.data_dir)?;
                    break;
                }
            }
        }
        arrange(remove(&self.new))?;
        arrange(remove(&self.old))
    }

    /// An empty place for a new store.
    pub(super) fn fresh(&self) -> Result<&Path, Failure> {
        arrange(remove(&self.new))?;
        Ok(&self.new)
    }

    /// Puts the new store, which is complete and durable, in the place of the old one. Returns
    /// where the old one was kept.
    pub(super) fn swap(&self, old: Old) -> Result<Option<PathBuf>, Failure> {
        let mut kept = None;
        if exists(&self.current)? {
            let aside = match old {
                Old::Keep => self.next_broken()?,
                Old::Remove => {
                    arrange(remove(&self.old))?;
                    self.old.clone()
                }
            };
            arrange(fs::rename(&self.current, &aside))?;
            kept = (old == Old::Keep).then_some(aside);
        }
        arrange(fs::rename(&self.new, &self.current))?;
        sync_dir(&self.data_dir)?;
        arrange(remove(&self.old))?;
        self.limit_broken()?;
        Ok(kept)
    }

    fn next_broken(&self) -> Result<PathBuf, Failure> {
        let next = self.broken()?.last().map_or(1, |&(number, _)| number.saturating_add(1));
        Ok(self.data_dir.join(format!("{BROKEN_PREFIX}{next}")))
    }

    fn limit_broken(&self) -> Result<(), Failure> {
        let broken = self.broken()?;
        let surplus = broken.len().saturating_sub(OFFSETS_BROKEN_KEPT_MAX);
        for (_, path) in broken.iter().take(surplus) {
            arrange(remove(path))?;
        }
        Ok(())
    }

    /// The broken stores that are kept, oldest first.
    fn broken(&self) -> Result<Vec<(u32, PathBuf)>, Failure> {
        let mut broken = Vec::new();
        for entry in arrange(fs::read_dir(&self.data_dir))? {
            let entry = arrange(entry)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(BROKEN_PREFIX));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                broken.push((number, entry.path()));
            }
        }
        broken.sort();
        Ok(broken)
    }
}

/// Errors of moving stores about say nothing about their content, so all of them may pass.
fn arrange<T>(outcome: io::Result<T>) -> Result<T, Failure> {
    outcome.map_err(|source| Failure::Transient { operation: OPERATION, source })
}

fn exists(path: &Path) -> Result<bool, Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(classify_io(OPERATION, error)),
    }
}

/// Removes what is there, file or directory.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
