//! Looking at committed offsets without changing them.
//!
//! Opening sled writes, and a second opener of a running agent's store is refused. So a command
//! that looks copies the files into a private temporary directory and opens the copy.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::sled_store::{files_below, read_dir, store_dir};
use super::store::{Entries, Failure};
use super::{Decoded, Key, Progress};

/// A copy that was made while the agent wrote may be torn; then another one is made.
const COPIES_MAX: usize = 3;

const COPY: &str = "copy the store of offsets";

/// The committed offsets in a data directory, whether an agent runs or not. Empty where none were
/// ever stored; entries that this version cannot read are left out.
///
/// # Errors
/// Where the files cannot be read, or are broken: an agent would begin a new store.
pub fn peek(data_dir: &Path) -> Result<BTreeMap<Key, Progress>, Failure> {
    let mut entries = read_copy(data_dir);
    for _again in 1..COPIES_MAX {
        if !matches!(entries, Err(Failure::Broken { .. })) {
            break;
        }
        entries = read_copy(data_dir);
    }
    let mut values = BTreeMap::new();
    for (key, value) in entries?.0 {
        if let (Some(key), Decoded::Progress(progress)) =
            (Key::decode(&key), Progress::decode(&value))
        {
            values.insert(key, progress);
        }
    }
    Ok(values)
}

fn read_copy(data_dir: &Path) -> Result<Entries, Failure> {
    let failed = |source| Failure::Transient { operation: COPY, source };
    let copy = tempfile::Builder::new().prefix("standpipe-").tempdir().map_err(failed)?;
    if !copy_files(&store_dir(data_dir), copy.path()).map_err(failed)? {
        return Ok(Entries::default());
    }
    read_dir(copy.path())
}

/// Copies a store; `false` where there is none. A file that goes away meanwhile was replaced: the
/// store then lacks it, which opening it will find.
fn copy_files(from: &Path, to: &Path) -> io::Result<bool> {
    let paths = match files_below(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        paths => paths?,
    };
    std::fs::create_dir(to.join("blobs"))?;
    for path in paths {
        let Ok(name) = path.strip_prefix(from) else { continue };
        match std::fs::copy(&path, to.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => {
                copied?;
            }
        }
    }
    Ok(true)
}
