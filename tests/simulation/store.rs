//! The offset store of the simulation: on a disk that loses its power together with the log's, and
//! under the eyes of the auditor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use standpipe::offsets::sim::SimStore;
use standpipe::offsets::store::{Entries, Failure, OffsetStore, Old};
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::{Fault, SimFs};

use crate::audit;
use crate::ledger::Ledger;
use crate::run::Run;
use crate::trace::Trace;

#[derive(Debug)]
pub(crate) struct AuditedStore {
    inner: Box<SimStore>,
    /// Whether the agent is to end before the next sync.
    cut: Arc<AtomicBool>,
    fs: SimFs,
    ledger: Ledger,
    trace: Trace,
}

impl AuditedStore {
    pub(crate) fn new(run: &Run) -> Self {
        let Run { fs, ledger, trace, .. } = run;
        let (fs, ledger, trace) = (fs.clone(), ledger.clone(), trace.clone());
        Self { inner: run.store.store(), cut: Arc::clone(&run.cut_before_sync), fs, ledger, trace }
    }

    fn power(&self) -> Result<(), Failure> {
        if self.fs.is_off() {
            let source = io::Error::other("the power is off");
            return Err(Failure::Transient { operation: "simulated", source });
        }
        Ok(())
    }

    fn note<T>(&self, what: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &outcome {
            self.trace.line(&format!("store cannot {what}: {failure}"));
        }
        outcome
    }
}

impl OffsetStore for AuditedStore {
    fn open(&mut self) -> Result<Entries, Failure> {
        self.power()?;
        let outcome = self.inner.open();
        self.note("open", outcome)
    }

    fn apply(&mut self, entries: &Entries) -> Result<(), Failure> {
        self.power()?;
        audit::commit(&self.fs, entries, &self.ledger, &self.trace);
        let outcome = self.inner.apply(entries);
        self.note("apply", outcome)
    }

    fn sync(&mut self) -> Result<(), Failure> {
        if self.cut.swap(false, Ordering::Relaxed) {
            self.trace.line("the agent ends between a write of the store and its sync");
            self.fs.inject(Fault::Crash, self.fs.operations(), 1);
            // The operation that does not happen any more.
            assert!(self.fs.list(Path::new("/")).is_err());
        }
        self.power()?;
        let outcome = self.inner.sync();
        self.note("sync", outcome)
    }

    fn replace(&mut self, entries: &Entries, old: Old) -> Result<Option<PathBuf>, Failure> {
        self.power()?;
        self.trace.line("store is replaced");
        audit::commit(&self.fs, entries, &self.ledger, &self.trace);
        let outcome = self.inner.replace(entries, old);
        self.note("replace", outcome)
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    fn close(&mut self) {
        self.inner.close();
    }
}
