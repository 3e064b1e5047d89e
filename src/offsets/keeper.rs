//! What to do when the store fails: pure decisions over [`OffsetStore`], one round at a time.
//!
//! Every value is held in memory, so that a store that broke is begun anew without losing
//! progress. Only what was broken before the agent started is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::store::{Entries, Failure, OffsetStore, Old};
use super::{Decoded, Key, Progress};
use crate::limits::OFFSETS_BYTES_MAX;

/// What a round found besides what it was asked, for the log and the status.
#[derive(Debug)]
pub(super) enum Finding {
    /// The store could not be used any more, and a new one was begun.
    Restarted {
        /// Why.
        reason: String,
        /// Where the old one is.
        kept: Option<PathBuf>,
        /// Whether the progress of earlier runs went with it.
        progress_lost: bool,
    },
    /// An entry that this version cannot read. Delivery of that stream begins at its oldest event.
    Unreadable {
        /// Its key, as far as it is text.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Owns the store and everything that is in it.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Box<dyn OffsetStore>,
    standing: Standing,
    /// Whether the store was ever read: only then does memory hold all of it.
    was_read: bool,
    /// The newest value of every key.
    values: BTreeMap<Key, Progress>,
    /// The keys whose newest value is not durable.
    dirty: BTreeSet<Key>,
    findings: Vec<Finding>,
}

#[derive(Debug)]
enum Standing {
    Closed,
    Open,
    /// It may not be used again; the reason is absent where it has merely grown.
    Condemned {
        reason: Option<String>,
        old: Old,
    },
}

impl Keeper {
    pub(super) fn new(store: Box<dyn OffsetStore>) -> Self {
        Self {
            store,
            standing: Standing::Closed,
            was_read: false,
            values: BTreeMap::new(),
            dirty: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// Whether a round is due although nothing new was committed.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.dirty.is_empty() || !matches!(self.standing, Standing::Open)
    }

    /// Every value, by key.
    pub(super) fn values(&self) -> &BTreeMap<Key, Progress> {
        &self.values
    }

    /// What was found since the last call.
    pub(super) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Takes new values in and makes everything durable. Returns the keys that became durable with
    /// this round. On a failure the values stay, and the next round tries again.
    pub(super) fn round(
        &mut self,
        changes: BTreeMap<Key, Progress>,
    ) -> Result<BTreeSet<Key>, Failure> {
        for (key, progress) in changes {
            self.dirty.insert(key.clone());
            self.values.insert(key, progress);
        }
        // A broken store is replaced at once; if its replacement fails too, later.
        let outcome = match self.attempt() {
            Err(Failure::Broken { .. }) => self.attempt(),
            outcome => outcome,
        };
        if outcome.is_ok() && self.store.disk_bytes() > OFFSETS_BYTES_MAX {
            self.standing = Standing::Condemned { reason: None, old: Old::Remove };
        }
        outcome
    }

    /// Gives the store up, for good or until the next round.
    pub(super) fn close(&mut self) {
        self.store.close();
        self.standing = Standing::Closed;
    }

    fn attempt(&mut self) -> Result<BTreeSet<Key>, Failure> {
        let outcome = self.make_durable();
        if let Err(failure) = &outcome {
            self.react(failure);
        }
        outcome.map(|()| std::mem::take(&mut self.dirty))
    }

    fn make_durable(&mut self) -> Result<(), Failure> {
        match &self.standing {
            Standing::Open => {}
            Standing::Closed => {
                let entries = self.store.open()?;
                self.standing = Standing::Open;
                self.adopt(entries);
                if self.dirty.is_empty() {
                    // What was read may be in the page cache alone.
                    return self.store.sync();
                }
            }
            Standing::Condemned { reason, old } => {
                let (reason, old) = (reason.clone(), *old);
                let kept = self.store.replace(&self.encode(self.values.keys()), old)?;
                self.standing = Standing::Open;
                if let Some(reason) = reason {
                    let progress_lost = !self.was_read;
                    self.findings.push(Finding::Restarted { reason, kept, progress_lost });
                }
                self.was_read = true;
                return Ok(());
            }
        }
        if self.dirty.is_empty() {
            return Ok(());
        }
        self.store.apply(&self.encode(&self.dirty))?;
        self.store.sync()
    }

    fn react(&mut self, failure: &Failure) {
        // A replacement that failed is still due, for the reason it had.
        if matches!(self.standing, Standing::Condemned { .. }) {
            return;
        }
        self.standing = match failure {
            Failure::Transient { .. } => {
                self.store.close();
                Standing::Closed
            }
            Failure::Unsynced { source, .. } => Standing::Condemned {
                reason: Some(format!("{failure}: {source}")),
                old: Old::Remove,
            },
            Failure::Broken { .. } => {
                Standing::Condemned { reason: Some(failure.to_string()), old: Old::Keep }
            }
        };
    }

    /// Takes over what an opened store holds. Values that were committed meanwhile are newer, and
    /// all that memory holds must be in the store.
    fn adopt(&mut self, entries: Entries) {
        let first = !self.was_read;
        self.was_read = true;
        self.dirty = self.values.keys().cloned().collect();
        if !first {
            return;
        }
        for (key, value) in entries.0 {
            let unreadable = |reason: String| Finding::Unreadable {
                key: String::from_utf8_lossy(&key).replace('\0', "/"),
                reason,
            };
            let finding = match (Key::decode(&key), Progress::decode(&value)) {
                (Some(key), Decoded::Progress(progress)) => {
                    self.values.entry(key).or_insert(progress);
                    continue;
                }
                (None, _) => unreadable("its key names no stream".into()),
                (Some(_), Decoded::Malformed) => unreadable("its value is damaged".into()),
                (Some(_), Decoded::UnknownVersion(version)) => {
                    unreadable(format!("its version {version} is not known"))
                }
            };
            self.findings.push(finding);
        }
    }

    fn encode<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> Entries {
        let mut entries = Entries::default();
        for key in keys {
            if let Some(progress) = self.values.get(key) {
                entries.0.insert(key.encode(), progress.encode());
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::sim::Operation::{Apply, Open, Replace, Sync};
    use crate::offsets::sim::{Fault, SimDisk};

    fn key(stream: &str) -> Key {
        Key { stream: stream.parse().unwrap(), sink: "firehose".into() }
    }

    fn at(committed: u64) -> Progress {
        Progress { committed, ..Progress::default() }
    }

    /// What a fresh keeper finds on the disk.
    fn reread(disk: &SimDisk) -> BTreeMap<Key, Progress> {
        let mut keeper = Keeper::new(disk.store());
        keeper.round(BTreeMap::new()).unwrap();
        keeper.values().clone()
    }

    /// Ten rounds of commits, with one fault planted. After each round the power is cut in
    /// thought: what was called durable must be on the disk by then.
    fn run(faulty_operation: usize, fault: Fault) -> (SimDisk, usize) {
        let disk = SimDisk::default();
        disk.fail(faulty_operation, fault);
        let mut keeper = Keeper::new(disk.store());
        let mut failures = 0;
        for round in 1..=10 {
            let stream = if round % 2 == 0 { "even" } else { "odd" };
            let Ok(durable) = keeper.round([(key(stream), at(round))].into()) else {
                failures += 1;
                assert!(keeper.is_unfinished());
                continue;
            };
            assert!(durable.contains(&key(stream)));
            assert!(!keeper.is_unfinished());
            for key in durable {
                let value = disk.durable().0.get(&key.encode()).cloned();
                assert_eq!(value, Some(keeper.values()[&key].encode()), "{key}");
            }
        }
        if keeper.is_unfinished() {
            keeper.round(BTreeMap::new()).unwrap();
        }
        (disk, failures)
    }

    #[test]
    fn every_fault_at_every_operation_is_survived() {
        let (clean, _) = run(usize::MAX, Fault::Corruption);
        for operation in 0..clean.operations().len() {
            for fault in [Fault::OutOfSpace, Fault::SyncFails, Fault::Corruption] {
                let (disk, failures) = run(operation, fault);
                assert!(failures <= 1, "{fault:?} at {operation}: {failures} rounds failed");
                disk.cut_power(0);
                let expected = BTreeMap::from([(key("even"), at(10)), (key("odd"), at(9))]);
                assert_eq!(reread(&disk), expected, "{fault:?} at operation {operation}");
            }
        }
    }

    #[test]
    fn a_failed_sync_is_never_tried_again_on_the_same_store() {
        let disk = SimDisk::default();
        disk.fail(2, Fault::SyncFails);
        let mut keeper = Keeper::new(disk.store());
        keeper.round([(key("a"), at(1))].into()).unwrap_err();
        keeper.round(BTreeMap::new()).unwrap();
        assert_eq!(disk.operations(), [Open, Apply, Sync, Replace]);
        disk.cut_power(0);
        assert_eq!(reread(&disk), BTreeMap::from([(key("a"), at(1))]));
    }

    #[test]
    fn a_sync_that_fails_at_the_start_loses_no_progress() {
        let disk = SimDisk::default();
        Keeper::new(disk.store()).round([(key("a"), at(1))].into()).unwrap();
        let operations = disk.operations().len();
        disk.fail(operations + 1, Fault::SyncFails);
        let mut keeper = Keeper::new(disk.store());
        keeper.round(BTreeMap::new()).unwrap_err();
        keeper.round(BTreeMap::new()).unwrap();
        assert_eq!(disk.operations()[operations..], [Open, Sync, Replace]);
        disk.cut_power(0);
        assert_eq!(reread(&disk), BTreeMap::from([(key("a"), at(1))]));
    }

    #[test]
    fn what_was_read_is_synced_before_it_is_relied_on() {
        let disk = SimDisk::default();
        let mut store = disk.store();
        store.open().unwrap();
        store.apply(&Entries([(key("a").encode(), at(7).encode())].into())).unwrap();
        // That process died here; the next one reads what it had not synced.
        let mut keeper = Keeper::new(disk.store());
        keeper.round(BTreeMap::new()).unwrap();
        disk.cut_power(0);
        assert_eq!(&reread(&disk), keeper.values());
    }

    #[test]
    fn a_full_disk_is_waited_for_and_nothing_is_renamed() {
        let disk = SimDisk::default();
        for operation in 1..5 {
            disk.fail(operation, Fault::OutOfSpace);
        }
        let mut keeper = Keeper::new(disk.store());
        let mut changes = BTreeMap::from([(key("a"), at(7))]);
        let failures = std::iter::from_fn(|| keeper.round(std::mem::take(&mut changes)).err())
            .inspect(|failure| assert!(matches!(failure, Failure::Transient { .. })))
            .count();
        assert!(failures > 0);
        assert!(!disk.operations().contains(&Replace));
        assert_eq!(reread(&disk), BTreeMap::from([(key("a"), at(7))]));
        assert!(keeper.take_findings().is_empty());
    }

    #[test]
    fn a_store_that_breaks_is_begun_anew_from_memory_and_this_is_said() {
        let disk = SimDisk::default();
        let mut keeper = Keeper::new(disk.store());
        keeper.round([(key("a"), at(1)), (key("b"), at(2))].into()).unwrap();
        disk.fail(disk.operations().len(), Fault::Corruption);
        keeper.round([(key("a"), at(3))].into()).unwrap();
        let expected = BTreeMap::from([(key("a"), at(3)), (key("b"), at(2))]);
        assert_eq!(reread(&disk), expected);
        let findings = keeper.take_findings();
        assert!(
            matches!(
                findings.as_slice(),
                [Finding::Restarted { progress_lost: false, kept: Some(_), .. }]
            ),
            "{findings:?}"
        );
    }

    #[test]
    fn a_store_that_cannot_be_read_at_start_loses_progress_and_this_is_said() {
        let disk = SimDisk::default();
        Keeper::new(disk.store()).round([(key("a"), at(1))].into()).unwrap();
        disk.fail(disk.operations().len(), Fault::Corruption);
        let mut keeper = Keeper::new(disk.store());
        keeper.round(BTreeMap::new()).unwrap();
        assert!(keeper.values().is_empty());
        let findings = keeper.take_findings();
        assert!(
            matches!(findings.as_slice(), [Finding::Restarted { progress_lost: true, .. }]),
            "{findings:?}"
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_costs_no_other() {
        let disk = SimDisk::default();
        Keeper::new(disk.store()).round([(key("a"), at(1))].into()).unwrap();
        let mut store = disk.store();
        store.open().unwrap();
        let strange = [(b"no key".to_vec(), vec![1]), (key("b").encode(), vec![9])];
        store.apply(&Entries(strange.into())).unwrap();
        let mut keeper = Keeper::new(disk.store());
        keeper.round(BTreeMap::new()).unwrap();
        assert_eq!(keeper.values(), &BTreeMap::from([(key("a"), at(1))]));
        assert_eq!(keeper.take_findings().len(), 2);
    }

    #[test]
    fn commits_made_before_a_late_first_reading_win() {
        let disk = SimDisk::default();
        let stored = [(key("a"), at(1)), (key("b"), at(2))];
        Keeper::new(disk.store()).round(stored.into()).unwrap();
        disk.fail(disk.operations().len(), Fault::OutOfSpace);
        let mut keeper = Keeper::new(disk.store());
        keeper.round([(key("a"), at(5))].into()).unwrap_err();
        keeper.round(BTreeMap::new()).unwrap();
        let expected = BTreeMap::from([(key("a"), at(5)), (key("b"), at(2))]);
        assert_eq!(keeper.values(), &expected);
        assert_eq!(reread(&disk), expected);
    }
}
