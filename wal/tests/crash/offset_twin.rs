//! The committed offsets of the streams, kept on the simulated disk as sled's are on a real one:
//! what was not synced may be forgotten.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use standpipe_wal::Offset;
use standpipe_wal::fs::sim::SimFs;
use standpipe_wal::fs::{Access, File, Fs};

use crate::host::STREAMS;
use crate::script::Random;

/// Written in turn, so that a failed write or sync never touches the newest durable value. Each
/// value fits into one sector, so it is there or not.
const FILES: [&str; 2] = ["/data/offsets-0", "/data/offsets-1"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Value {
    version: u64,
    committed: [u64; STREAMS],
}

impl Value {
    /// With a check, since a failed write may leave a part in its place.
    fn encode(self) -> Vec<u8> {
        let check = std::iter::once(self.check());
        let numbers = check.chain([self.version]).chain(self.committed);
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let numbers: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|number| u64::from_le_bytes(number.try_into().unwrap()))
            .collect();
        let [check, version, committed @ ..] = numbers.as_slice() else { return None };
        let value = Self { version: *version, committed: committed.try_into().ok()? };
        (value.check() == *check).then_some(value)
    }

    fn check(self) -> u64 {
        let numbers = std::iter::once(self.version).chain(self.committed);
        numbers.fold(1, |check, number| Random(check ^ number).u64())
    }
}

#[derive(Debug)]
pub(crate) struct OffsetTwin {
    files: Vec<Arc<dyn File>>,
    newest: Value,
}

impl OffsetTwin {
    /// Makes the files, durable and empty.
    pub(crate) fn create(disk: &SimFs) {
        for file in FILES {
            disk.plant(Path::new(file), &[]).unwrap();
        }
    }

    /// Reads what the disk remembers and makes it durable: after a killed process the newest value
    /// may be in the page cache alone, and nothing may be built on it before it is synced.
    pub(crate) fn open(disk: &SimFs) -> io::Result<Self> {
        let open = |file: &&str| disk.open(Path::new(*file), Access::ReadWrite);
        let files = FILES.iter().map(open).collect::<io::Result<_>>()?;
        let mut twin = Self { files, newest: newest_on(disk) };
        twin.commit(twin.committed())?;
        Ok(twin)
    }

    /// What is durably committed.
    pub(crate) fn committed(&self) -> [Offset; STREAMS] {
        self.newest.committed.map(Offset::new)
    }

    /// What a start on this disk would take for committed.
    pub(crate) fn on(disk: &SimFs) -> [Offset; STREAMS] {
        newest_on(disk).committed.map(Offset::new)
    }

    /// Writes and syncs the committed offsets. Where it fails, they may or may not be durable.
    pub(crate) fn commit(&mut self, committed: [Offset; STREAMS]) -> io::Result<()> {
        let version = self.newest.version + 1;
        let value = Value { version, committed: committed.map(Offset::get) };
        let file = &self.files[version as usize % self.files.len()];
        let bytes = value.encode();
        if file.write_at(&[IoSlice::new(&bytes)], 0)? != bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        file.sync_data()?;
        self.newest = value;
        Ok(())
    }
}

fn newest_on(disk: &SimFs) -> Value {
    let values =
        FILES.iter().filter_map(|file| Value::decode(&disk.read(Path::new(file)).unwrap()));
    values.max().unwrap_or_default()
}
