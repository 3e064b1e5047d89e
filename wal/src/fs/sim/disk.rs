//! A simulated disk without faults: names lead to files, and both are more or less durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::io::Errno;

use super::content::{BLOCK_BYTES, Choose, FileState};
use super::fingerprint::Fingerprint;
use super::names::{Id, Names};
use crate::fs::Entry;

const ROOT: Id = 0;

/// Cheap to clone: what two disks have in common is shared until one of them changes it.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    files: BTreeMap<Id, Arc<FileState>>,
    names: Arc<Names>,
    next_id: Id,
    blocks_max: Option<u64>,
}

impl Disk {
    pub(super) fn new() -> Self {
        let mut names = Names::default();
        names.add_directory(ROOT);
        Self { files: BTreeMap::new(), names: Arc::new(names), next_id: ROOT + 1, blocks_max: None }
    }

    pub(super) fn limit(&mut self, bytes: Option<u64>) {
        self.blocks_max = bytes.map(|bytes| bytes / BLOCK_BYTES);
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_blocks() * BLOCK_BYTES
    }

    /// Removed files that are still open count as free.
    fn used_blocks(&self) -> u64 {
        let named = self.names.reachable(ROOT);
        self.files.iter().filter(|(id, _)| named.contains(id)).map(|(_, file)| file.blocks()).sum()
    }

    /// How far a file may grow before the disk is full.
    fn size_max(&self, file: Id) -> u64 {
        let Some(most) = self.blocks_max else { return u64::MAX };
        let own = self.files.get(&file).map_or(0, |file| file.blocks());
        most.saturating_sub(self.used_blocks()).saturating_add(own).saturating_mul(BLOCK_BYTES)
    }

    fn walk<'a>(&self, names: impl Iterator<Item = &'a str>) -> io::Result<Id> {
        names.into_iter().try_fold(ROOT, |directory, name| {
            if !self.names.is_directory(directory) {
                return Err(Errno::NOTDIR.into());
            }
            self.names.get(directory, name).ok_or_else(|| Errno::NOENT.into())
        })
    }

    /// The directory that a path ends in, and the name in it.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(Id, &'a str)> {
        let mut names = names_of(path)?;
        let Some(last) = names.pop() else { return Err(Errno::ISDIR.into()) };
        Ok((self.directory(names)?, last))
    }

    fn directory<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> io::Result<Id> {
        let id = self.walk(names.into_iter())?;
        if self.names.is_directory(id) { Ok(id) } else { Err(Errno::NOTDIR.into()) }
    }

    fn names_mut(&mut self) -> &mut Names {
        Arc::make_mut(&mut self.names)
    }

    fn add(&mut self, path: &Path) -> io::Result<Id> {
        let (directory, name) = self.parent(path)?;
        if self.names.get(directory, name).is_some() {
            return Err(Errno::EXIST.into());
        }
        let id = self.next_id;
        self.next_id += 1;
        self.names_mut().set(directory, name, Some(id));
        Ok(id)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Id> {
        let id = self.add(path)?;
        self.files.insert(id, Arc::default());
        Ok(id)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.add(path)?;
        self.names_mut().add_directory(id);
        Ok(())
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<Id> {
        let id = self.walk(names_of(path)?.into_iter())?;
        if self.files.contains_key(&id) { Ok(id) } else { Err(Errno::INVAL.into()) }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        let Some(id) = self.names.get(from.0, from.1) else { return Err(Errno::NOENT.into()) };
        match self.names.get(to.0, to.1) {
            Some(there) if there == id => Ok(()),
            Some(there) if self.names.is_directory(there) => Err(Errno::ISDIR.into()),
            _ => {
                self.names_mut().rename(id, from, to);
                Ok(())
            }
        }
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (directory, name) = self.parent(path)?;
        match self.names.get(directory, name) {
            None => Err(Errno::NOENT.into()),
            Some(id) if self.names.is_directory(id) => Err(Errno::ISDIR.into()),
            Some(_) => {
                self.names_mut().set(directory, name, None);
                Ok(())
            }
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let directory = self.directory(names_of(path)?)?;
        let entry = |(name, id): (&str, Id)| Entry {
            name: name.to_owned(),
            is_dir: self.names.is_directory(id),
        };
        Ok(self.names.list(directory).map(entry).collect())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.directory(names_of(path)?)?;
        self.names_mut().sync(directory);
        Ok(())
    }

    pub(super) fn look(&self, id: Id) -> io::Result<&FileState> {
        self.files.get(&id).map(|file| &**file).ok_or_else(|| Errno::BADF.into())
    }

    pub(super) fn file(&mut self, id: Id) -> io::Result<&mut FileState> {
        self.files.get_mut(&id).map(Arc::make_mut).ok_or_else(|| Errno::BADF.into())
    }

    /// Writes as much as there is space for; an error where there is none.
    pub(super) fn write(&mut self, id: Id, position: u64, bytes: &[u8]) -> io::Result<usize> {
        let room = self.size_max(id).saturating_sub(position);
        let length = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if length == 0 && !bytes.is_empty() {
            return Err(Errno::NOSPC.into());
        }
        self.file(id)?.write(position, bytes.get(..length).unwrap_or_default());
        Ok(length)
    }

    pub(super) fn allocate(&mut self, id: Id, end: u64) -> io::Result<()> {
        if end > self.size_max(id) && end > self.look(id)?.size() {
            return Err(Errno::NOSPC.into());
        }
        self.file(id)?.allocate(end);
        Ok(())
    }

    /// What a power cut does, first to the names, then to the bytes.
    pub(super) fn forget(&mut self, names: &mut Choose<'_>, bytes: &mut Choose<'_>) {
        if self.names.are_pending() {
            self.names_mut().forget(names);
        }
        self.drop_unnamed();
        for file in self.files.values_mut().filter(|file| !file.is_durable()) {
            Arc::make_mut(file).forget(bytes);
        }
    }

    /// A number for all that the disk holds: what a program sees, and what a power cut would leave.
    /// The same for disks that are alike, whatever became of them before.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::default();
        self.names.print(ROOT, &mut print, &mut |id, print| {
            if let Some(file) = self.files.get(&id) {
                file.print(print);
            }
        });
        print.finish()
    }

    /// Gives up what no name leads to. Only where nothing is open any more.
    pub(super) fn drop_unnamed(&mut self) {
        let named = self.names.reachable(ROOT);
        self.files.retain(|id, _| named.contains(id));
        if !self.names.are_all_in(&named) {
            self.names_mut().retain(&named);
        }
    }
}

/// Paths are taken from the root, whether they say so or not.
fn names_of(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::Error::from(Errno::ILSEQ))?);
            }
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL.into()),
        }
    }
    Ok(names)
}
