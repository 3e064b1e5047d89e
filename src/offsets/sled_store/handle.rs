//! An open sled, and every call that is made into it.
//!
//! A panic inside sled is a broken store and not the end of this thread. After one the handle is
//! leaked and not dropped: `drop` may wait for what will never come.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::limits::OFFSETS_CACHE_BYTES;
use crate::offsets::store::{Entries, Failure};

/// sled's pool threads hold its lock for a moment after `drop` has returned.
const LOCK_POLLS_MAX: u32 = 500;
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Handle(Option<sled::Db>);

impl Handle {
    /// Opens the store that lies in a directory, or begins one. Writes to the directory.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        await_unlocked(&dir.join("db"));
        guarded("open the store of offsets", || {
            sled::Config::new()
                .path(dir)
                .cache_capacity(OFFSETS_CACHE_BYTES)
                .flush_every_ms(None)
                .open()
        })
        .map(|db| Self(Some(db)))
    }

    /// Everything in it.
    pub(super) fn read(&mut self) -> Result<Entries, Failure> {
        self.call("read the store of offsets", |db| {
            let mut entries = Entries::default();
            for entry in db.iter() {
                let (key, value) = entry?;
                entries.0.insert(key.to_vec(), value.to_vec());
            }
            Ok(entries)
        })
    }

    /// Puts entries in, all or none. Still in memory.
    pub(super) fn put(&mut self, entries: &Entries) -> Result<(), Failure> {
        self.call("write the store of offsets", |db| {
            let mut batch = sled::Batch::default();
            for (key, value) in &entries.0 {
                batch.insert(key.as_slice(), value.as_slice());
            }
            db.apply_batch(batch)
        })
    }

    /// Hands everything to the operating system. Not durable yet.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.call("flush the store of offsets", |db| db.flush().map(drop))
    }

    fn call<T>(
        &mut self,
        operation: &'static str,
        call: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, Failure> {
        let Some(db) = &self.0 else {
            return Err(Failure::Broken { operation, reason: "sled broke before".into() });
        };
        let outcome = guarded(operation, || call(db));
        if matches!(outcome, Err(Failure::Broken { .. })) {
            std::mem::forget(self.0.take());
        }
        outcome
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            // What fails here was flushed before, or was never said to be durable.
            let _closed = guarded("close the store of offsets", || {
                drop(db);
                Ok(())
            })
            .is_ok();
        }
    }
}

/// Waits a moment for an earlier handle of this process to let go of the file. Where it does not,
/// opening will say so.
fn await_unlocked(db: &Path) {
    let Ok(file) = File::open(db) else { return };
    for _poll in 0..LOCK_POLLS_MAX {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::park_timeout(LOCK_POLL_INTERVAL),
            Ok(()) | Err(_) => return,
        }
    }
}

fn guarded<T>(
    operation: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(operation, error)),
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(Failure::Broken { operation, reason: format!("sled panicked: {said}") })
        }
    }
}

fn classify(operation: &'static str, error: sled::Error) -> Failure {
    match error {
        sled::Error::Io(source) => classify_io(operation, source),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => {
            Failure::Broken { operation, reason: error.to_string() }
        }
    }
}

/// What speaks of the content, or of a medium that cannot be read, is broken; all else may pass.
pub(super) fn classify_io(operation: &'static str, source: io::Error) -> Failure {
    let speaks_of_content = matches!(
        source.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
    ) || source.raw_os_error() == Some(Errno::IO.raw_os_error());
    if speaks_of_content {
        Failure::Broken { operation, reason: source.to_string() }
    } else {
        Failure::Transient { operation, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_sled_is_a_broken_store_which_is_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut handle = Handle::open(dir.path()).unwrap();
        let panics = handle.call("flush the store of offsets", |_| -> sled::Result<()> {
            panic!("assertion failed: on purpose")
        });
        let said = panics.unwrap_err().to_string();
        assert!(said.ends_with("sled panicked: assertion failed: on purpose"), "{said}");
        let again = handle.flush().unwrap_err();
        assert!(matches!(again, Failure::Broken { .. }), "{again:?}");
    }

    #[test]
    fn only_what_speaks_of_the_content_condemns_a_store() {
        let condemns = |errno: Errno| {
            let failure = classify_io("flush", errno.into());
            matches!(failure, Failure::Broken { .. })
        };
        for passes in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::FBIG,
            Errno::MFILE,
            Errno::NFILE,
            Errno::ACCESS,
            Errno::ROFS,
            Errno::WOULDBLOCK,
            Errno::INTR,
            Errno::NOMEM,
        ] {
            assert!(!condemns(passes), "{passes:?}");
        }
        for stays in [Errno::IO, Errno::NOENT, Errno::EXIST, Errno::ISDIR, Errno::NOTDIR] {
            assert!(condemns(stays), "{stays:?}");
        }
    }
}
