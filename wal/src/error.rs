//! What can go wrong with the log, said with the operation and the path.

use std::io;
use std::path::{Path, PathBuf};

/// An operation of the log that failed.
///
/// Bad bytes are never an error: they are found by recovery and reported as facts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused an operation on a file or a directory.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io {
        /// What was tried, as a verb: `create`, `write`, `sync`, …
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said. Part of the sentence, so that no reader of a log or an answer has
        /// to ask for it.
        cause: io::Error,
    },
    /// Another process, or another part of this one, holds the data directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
}

impl Error {
    /// An error of the system with what was tried and on which path.
    pub fn io(operation: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), cause }
    }

    /// Whether the disk or the quota is full, so that room must be made before trying again.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Io { cause, .. } => {
                matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Locked { .. } => false,
        }
    }

    /// Whether the file or directory was not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            Self::Locked { .. } => false,
        }
    }
}

/// Says what an I/O error happened to, at the one place that knows.
pub(crate) trait Context<T> {
    /// Adds the operation (a verb) and the path.
    fn during(self, operation: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|cause| Error::io(operation, path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_out_of_space() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let failed: io::Result<()> = Err(errno.into());
            assert!(failed.during("write", Path::new("x")).unwrap_err().is_out_of_space());
        }
        let failed: io::Result<()> = Err(rustix::io::Errno::IO.into());
        assert!(!failed.during("write", Path::new("x")).unwrap_err().is_out_of_space());
        assert!(!Error::Locked { path: "x".into() }.is_out_of_space());
    }

    #[test]
    fn an_error_says_what_the_system_said() {
        let failed: io::Result<()> = Err(rustix::io::Errno::ROFS.into());
        let said = failed.during("create", Path::new("/x")).unwrap_err().to_string();
        assert!(said.starts_with("cannot create /x: Read-only file system"), "{said}");
    }
}
