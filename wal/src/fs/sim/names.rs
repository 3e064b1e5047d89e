//! The names in simulated directories: what a program sees, what is durable, and what lies between.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Choose;
use super::fingerprint::Fingerprint;

/// A file or a directory (an inode).
pub(super) type Id = u64;

/// Pairs the two halves of a rename.
type RenameId = u64;

/// A name that was given or taken away since its directory was synced.
#[derive(Clone, Debug)]
struct Change {
    name: String,
    /// What the name leads to after the change.
    target: Option<Id>,
    /// The rename that this is one half of.
    rename: Option<RenameId>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Id>) {
        match self.target {
            Some(id) => names.insert(self.name.clone(), id),
            None => names.remove(&self.name),
        };
    }
}

#[derive(Clone, Debug, Default)]
struct Directory {
    current: BTreeMap<String, Id>,
    durable: BTreeMap<String, Id>,
    pending: Vec<Change>,
}

impl Directory {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    /// Makes the pending changes of one name durable, up to and including the half of a rename.
    fn settle_rename(&mut self, rename: RenameId) {
        let is_half = |change: &Change| change.rename == Some(rename) && change.target.is_some();
        let Some(last) = self.pending.iter().position(is_half) else { return };
        let Some(name) = self.pending.get(last).map(|change| change.name.clone()) else { return };
        let mut index = 0;
        self.pending.retain(|change| {
            let settled = index <= last && change.name == name;
            if settled {
                change.apply(&mut self.durable);
            }
            index += 1;
            !settled
        });
    }
}

/// All directories of a disk.
///
/// Each name becomes durable on its own. A rename never loses the file: its old name goes only
/// where the new one has come. But until both directories are synced, both may be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    directories: BTreeMap<Id, Directory>,
    renames: u64,
}

impl Names {
    pub(super) fn add_directory(&mut self, id: Id) {
        self.directories.insert(id, Directory::default());
    }

    pub(super) fn is_directory(&self, id: Id) -> bool {
        self.directories.contains_key(&id)
    }

    pub(super) fn get(&self, directory: Id, name: &str) -> Option<Id> {
        self.directories.get(&directory)?.current.get(name).copied()
    }

    pub(super) fn list(&self, directory: Id) -> impl Iterator<Item = (&str, Id)> {
        let directory = self.directories.get(&directory).into_iter();
        directory.flat_map(|found| found.current.iter().map(|(name, id)| (name.as_str(), *id)))
    }

    /// Gives a name, or takes it away.
    pub(super) fn set(&mut self, directory: Id, name: &str, target: Option<Id>) {
        self.change(directory, Change { name: name.to_owned(), target, rename: None });
    }

    pub(super) fn rename(&mut self, id: Id, from: (Id, &str), to: (Id, &str)) {
        self.renames += 1;
        let rename = Some(self.renames);
        self.change(to.0, Change { name: to.1.to_owned(), target: Some(id), rename });
        self.change(from.0, Change { name: from.1.to_owned(), target: None, rename });
    }

    fn change(&mut self, directory: Id, change: Change) {
        if let Some(found) = self.directories.get_mut(&directory) {
            found.change(change);
        }
    }

    /// Makes the names of one directory durable, and with a name that a rename took away from it
    /// the name that it gave elsewhere.
    pub(super) fn sync(&mut self, directory: Id) {
        let Some(found) = self.directories.get_mut(&directory) else { return };
        let settled = std::mem::take(&mut found.pending);
        found.durable.clone_from(&found.current);
        for change in settled {
            if let (None, Some(rename)) = (change.target, change.rename) {
                self.directories.values_mut().for_each(|other| other.settle_rename(rename));
            }
        }
    }

    /// What a power cut does: for each name on its own, `choose` says how many of the changes to
    /// it happened.
    pub(super) fn forget(&mut self, choose: &mut Choose<'_>) {
        let mut happened = BTreeMap::new();
        for (directory, found) in &self.directories {
            let mut changes: BTreeMap<&str, u64> = BTreeMap::new();
            for change in &found.pending {
                *changes.entry(&change.name).or_default() += 1;
            }
            for (name, count) in changes {
                happened.insert((*directory, name.to_owned()), choose(count));
            }
        }
        while self.withdraw_lost_renames(&mut happened) {}
        self.each_pending(|directory, rank, change| {
            if happened.get(&(directory, change.name.clone())).is_some_and(|count| rank < *count) {
                Some(change.clone())
            } else {
                None
            }
        })
        .into_iter()
        .for_each(|(directory, change)| {
            if let Some(found) = self.directories.get_mut(&directory) {
                change.apply(&mut found.durable);
            }
        });
        for found in self.directories.values_mut() {
            found.pending.clear();
            found.current.clone_from(&found.durable);
        }
    }

    /// Takes back the removal of old names whose new name did not come, together with all that
    /// happened later to the old name. Says whether there was one.
    fn withdraw_lost_renames(&self, happened: &mut BTreeMap<(Id, String), u64>) -> bool {
        let lasts = |directory: Id, rank: u64, change: &Change| {
            happened.get(&(directory, change.name.clone())).is_some_and(|count| rank < *count)
        };
        let lost: BTreeSet<RenameId> = self
            .each_pending(|directory, rank, change| match (change.target, change.rename) {
                (Some(_), Some(rename)) if !lasts(directory, rank, change) => Some(rename),
                _ => None,
            })
            .into_iter()
            .map(|(_, rename)| rename)
            .collect();
        let withdrawn = self.each_pending(|directory, rank, change| {
            let is_removal = change.target.is_none();
            let is_lost = change.rename.is_some_and(|rename| lost.contains(&rename));
            let is_wrong = is_removal && is_lost && lasts(directory, rank, change);
            is_wrong.then(|| (change.name.clone(), rank))
        });
        for (directory, (name, rank)) in &withdrawn {
            if let Some(count) = happened.get_mut(&(*directory, name.clone())) {
                *count = (*count).min(*rank);
            }
        }
        !withdrawn.is_empty()
    }

    /// Walks the pending changes with how many earlier ones there are to the same name.
    fn each_pending<T>(
        &self,
        mut visit: impl FnMut(Id, u64, &Change) -> Option<T>,
    ) -> Vec<(Id, T)> {
        let mut results = Vec::new();
        for (directory, found) in &self.directories {
            let mut ranks: BTreeMap<&str, u64> = BTreeMap::new();
            for change in &found.pending {
                let rank = ranks.entry(&change.name).or_default();
                if let Some(result) = visit(*directory, *rank, change) {
                    results.push((*directory, result));
                }
                *rank += 1;
            }
        }
        results
    }

    /// Everything that a name leads to, now or after some power cut, from `root` on.
    pub(super) fn reachable(&self, root: Id) -> BTreeSet<Id> {
        let mut found = BTreeSet::from([root]);
        let mut open = vec![root];
        while let Some(directory) = open.pop().and_then(|id| self.directories.get(&id)) {
            let named = directory.current.values().chain(directory.durable.values()).copied();
            let pending = directory.pending.iter().filter_map(|change| change.target);
            for id in named.chain(pending) {
                if found.insert(id) && self.is_directory(id) {
                    open.push(id);
                }
            }
        }
        found
    }

    /// Whether a power cut could change a name.
    pub(super) fn are_pending(&self) -> bool {
        self.directories.values().any(|directory| !directory.pending.is_empty())
    }

    /// Whether each directory is one of these.
    pub(super) fn are_all_in(&self, keep: &BTreeSet<Id>) -> bool {
        self.directories.keys().all(|id| keep.contains(id))
    }

    /// The tree of names below a directory, each with what it leads to: those that are seen, and
    /// where they are not durable also those that are.
    pub(super) fn print(
        &self,
        directory: Id,
        print: &mut Fingerprint,
        file: &mut dyn FnMut(Id, &mut Fingerprint),
    ) {
        let Some(found) = self.directories.get(&directory) else { return };
        let durable = Some(&found.durable).filter(|_| !found.pending.is_empty());
        for names in [Some(&found.current), durable].into_iter().flatten() {
            print.word(names.len() as u64);
            for (name, id) in names {
                print.bytes(name.as_bytes());
                print.word(u64::from(self.is_directory(*id)));
                self.print(*id, print, file);
                file(*id, print);
            }
        }
    }

    pub(super) fn retain(&mut self, keep: &BTreeSet<Id>) {
        self.directories.retain(|id, _| keep.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Id = 0;
    const OTHER: Id = 1;

    fn names() -> Names {
        let mut names = Names::default();
        names.add_directory(ROOT);
        names.add_directory(OTHER);
        names
    }

    fn after_power_loss(names: &Names, mut choose: impl FnMut(u64) -> u64) -> Names {
        let mut names = names.clone();
        names.forget(&mut choose);
        names
    }

    #[test]
    fn a_name_lasts_after_its_directory_was_synced() {
        let mut names = names();
        names.set(ROOT, "a", Some(5));
        assert_eq!(after_power_loss(&names, |_| 0).get(ROOT, "a"), None);
        names.sync(OTHER);
        assert_eq!(after_power_loss(&names, |_| 0).get(ROOT, "a"), None);
        names.sync(ROOT);
        assert_eq!(after_power_loss(&names, |_| 0).get(ROOT, "a"), Some(5));
        names.set(ROOT, "a", None);
        assert_eq!(after_power_loss(&names, |_| 0).get(ROOT, "a"), Some(5));
        assert_eq!(after_power_loss(&names, |most| most).get(ROOT, "a"), None);
    }

    #[test]
    fn names_are_lost_one_by_one_and_may_lead_to_an_old_file() {
        let mut names = names();
        names.set(ROOT, "a", Some(5));
        names.sync(ROOT);
        names.set(ROOT, "a", None);
        names.set(ROOT, "a", Some(6));
        names.set(ROOT, "b", Some(7));
        let mut calls = 0;
        let lost = after_power_loss(&names, |most| {
            calls += 1;
            if calls == 1 { 0 } else { most }
        });
        assert_eq!((lost.get(ROOT, "a"), lost.get(ROOT, "b")), (Some(5), Some(7)));
        assert_eq!(after_power_loss(&names, |_| 1).get(ROOT, "a"), None);
    }

    #[test]
    fn a_rename_never_loses_the_file_but_both_names_may_be_there() {
        let mut names = names();
        names.set(ROOT, "a", Some(5));
        names.sync(ROOT);
        names.rename(5, (ROOT, "a"), (OTHER, "b"));
        let mut seen = BTreeSet::new();
        for decisions in 0..4_u64 {
            let mut call = 0;
            let lost = after_power_loss(&names, |most| {
                call += 1;
                if decisions >> (call - 1) & 1 == 1 { most } else { 0 }
            });
            seen.insert((lost.get(ROOT, "a").is_some(), lost.get(OTHER, "b").is_some()));
        }
        assert_eq!(seen, BTreeSet::from([(true, false), (true, true), (false, true)]));
    }

    #[test]
    fn syncing_the_old_directory_brings_the_new_name_with_it() {
        let mut names = names();
        names.set(ROOT, "a", Some(5));
        names.sync(ROOT);
        names.rename(5, (ROOT, "a"), (OTHER, "b"));
        names.sync(ROOT);
        let lost = after_power_loss(&names, |_| 0);
        assert_eq!((lost.get(ROOT, "a"), lost.get(OTHER, "b")), (None, Some(5)));
    }

    #[test]
    fn syncing_the_new_directory_alone_may_leave_both_names() {
        let mut names = names();
        names.set(ROOT, "a", Some(5));
        names.sync(ROOT);
        names.rename(5, (ROOT, "a"), (OTHER, "b"));
        names.sync(OTHER);
        let lost = after_power_loss(&names, |_| 0);
        assert_eq!((lost.get(ROOT, "a"), lost.get(OTHER, "b")), (Some(5), Some(5)));
    }

    #[test]
    fn a_chain_of_renames_ends_at_one_of_its_links() {
        let mut names = names();
        names.set(ROOT, "a", Some(5));
        names.sync(ROOT);
        names.rename(5, (ROOT, "a"), (ROOT, "b"));
        names.rename(5, (ROOT, "b"), (OTHER, "c"));
        for decisions in 0..512_u64 {
            let mut decisions = decisions;
            let lost = after_power_loss(&names, |most| {
                let choice = decisions % (most + 1);
                decisions /= most + 1;
                choice
            });
            let found = [(ROOT, "a"), (ROOT, "b"), (OTHER, "c")];
            assert!(found.iter().any(|(directory, name)| lost.get(*directory, name).is_some()));
        }
    }
}
