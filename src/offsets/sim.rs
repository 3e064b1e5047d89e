//! A store that forgets what was not synced, for tests: deterministic, and made to fail at will.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::store::{Entries, Failure, OffsetStore, Old};

/// How an operation of the simulated store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space; nothing changes.
    OutOfSpace,
    /// A sync fails and what it was to write is dropped; any other operation fails without effect.
    SyncFails,
    /// The content cannot be read.
    Corruption,
}

/// An operation of the store, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`OffsetStore::open`]
    Open,
    /// [`OffsetStore::apply`]
    Apply,
    /// [`OffsetStore::sync`]
    Sync,
    /// [`OffsetStore::replace`]
    Replace,
}

/// The disk below a [`SimStore`]: it stays when the store is dropped, as a disk does.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    durable: Entries,
    /// Put in and not synced, oldest first.
    unsynced: Vec<Entries>,
    operations: Vec<Operation>,
    /// Faults by the number of the operation that they hit.
    faults: BTreeMap<usize, Fault>,
}

impl SimDisk {
    /// A store on this disk. One at a time.
    pub fn store(&self) -> Box<SimStore> {
        Box::new(SimStore { disk: self.clone(), open: false })
    }

    /// Cuts the power: of what was not synced only the first `kept` writes survive.
    pub fn cut_power(&self, kept: usize) {
        let mut state = self.lock();
        let unsynced = std::mem::take(&mut state.unsynced);
        for entries in unsynced.into_iter().take(kept) {
            state.durable.0.extend(entries.0);
        }
    }

    /// Lets the operation of this number (from 0, since the disk was made) fail.
    pub fn fail(&self, operation: usize, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Gives up the faults that were planned and did not strike.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Every operation so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().operations.clone()
    }

    /// What would be there after a power cut that loses everything that was not synced.
    pub fn durable(&self) -> Entries {
        self.lock().durable.clone()
    }

    /// What a process sees: what is durable, and over it what was put in and not synced.
    pub fn seen(&self) -> Entries {
        self.lock().seen()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seen(&self) -> Entries {
        let mut entries = self.durable.clone();
        for unsynced in &self.unsynced {
            entries.0.extend(unsynced.0.clone());
        }
        entries
    }

    /// Notes an operation, and fails it where a fault was planted.
    fn begin(&mut self, operation: Operation) -> Result<(), Failure> {
        let number = self.operations.len();
        self.operations.push(operation);
        match self.faults.remove(&number) {
            None => Ok(()),
            Some(Fault::OutOfSpace) => Err(Failure::Transient {
                operation: "simulated",
                source: io::ErrorKind::StorageFull.into(),
            }),
            Some(Fault::SyncFails) => {
                if operation == Operation::Sync {
                    self.unsynced.clear();
                }
                Err(Failure::Unsynced {
                    operation: "simulated",
                    source: io::Error::other("input/output error"),
                })
            }
            Some(Fault::Corruption) => Err(Failure::Broken {
                operation: "simulated",
                reason: "checksum does not match".into(),
            }),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct SimStore {
    disk: SimDisk,
    open: bool,
}

impl OffsetStore for SimStore {
    fn open(&mut self) -> Result<Entries, Failure> {
        let mut state = self.disk.lock();
        state.begin(Operation::Open)?;
        self.open = true;
        Ok(state.seen())
    }

    fn apply(&mut self, entries: &Entries) -> Result<(), Failure> {
        assert!(self.open, "a store was used before it was opened");
        let mut state = self.disk.lock();
        state.begin(Operation::Apply)?;
        state.unsynced.push(entries.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        assert!(self.open, "a store was used before it was opened");
        let mut state = self.disk.lock();
        state.begin(Operation::Sync)?;
        let unsynced = std::mem::take(&mut state.unsynced);
        for entries in unsynced {
            state.durable.0.extend(entries.0);
        }
        Ok(())
    }

    fn replace(&mut self, entries: &Entries, old: Old) -> Result<Option<PathBuf>, Failure> {
        let mut state = self.disk.lock();
        state.begin(Operation::Replace)?;
        state.unsynced.clear();
        state.durable = entries.clone();
        self.open = true;
        Ok((old == Old::Keep).then(|| "offsets.broken-1".into()))
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn close(&mut self) {
        self.open = false;
    }
}
