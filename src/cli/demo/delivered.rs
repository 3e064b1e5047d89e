//! Reads the files that were delivered and compares them with the ledger, event by event.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;

use super::feed::{Ledger, payload};

/// What was found of one stream.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Events that were acknowledged and are there.
    pub(super) present: u64,
    /// Events that were acknowledged and are not there.
    pub(super) missing: Vec<usize>,
    /// Lines beyond the first with the same event.
    pub(super) repeated: u64,
    /// Lines that nobody sent.
    pub(super) foreign: u64,
}

/// Reads everything below a stream's directory.
pub(super) fn check(dir: &Path, ledger: &Ledger) -> anyhow::Result<Found> {
    let mut seen = vec![0_u32; ledger.events()];
    let mut found = Found::default();
    read_dir(dir, &mut |line| match event(line).and_then(|event| seen.get_mut(event)) {
        Some(times) => *times += 1,
        None => found.foreign += 1,
    })?;
    for (event, times) in seen.into_iter().enumerate() {
        found.repeated += u64::from(times.saturating_sub(1));
        match (ledger.is_acknowledged(event), times) {
            (true, 0) => found.missing.push(event),
            (true, _) => found.present += 1,
            (false, _) => {}
        }
    }
    Ok(found)
}

/// The number of an event that arrived as it was sent, to the last byte.
fn event(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let event = text.split(' ').next()?.parse().ok()?;
    (payload(event) == text).then_some(event)
}

fn read_dir(dir: &Path, each: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        // Nothing was delivered, and the comparison will say so.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("list {}", dir.display()))?,
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", dir.display()))?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            read_dir(&path, each)?;
        } else {
            read_file(&path, each).with_context(|| format!("read {}", path.display()))?;
        }
    }
    Ok(())
}

fn read_file(path: &Path, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        each(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_repeated_or_foreign_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("2026/11");
        std::fs::create_dir_all(&nested).unwrap();
        std::fs::write(dir.path().join("a"), format!("{}\n{}\n", payload(0), payload(2))).unwrap();
        let damaged = payload(1).replace("fox", "cat");
        std::fs::write(nested.join("b"), format!("{}\n{damaged}\n9999\n", payload(2))).unwrap();
        let mut ledger = Ledger::new("orders", 4);
        ledger.acknowledge_first(3);
        let found = check(dir.path(), &ledger).unwrap();
        assert_eq!((found.present, found.repeated, found.foreign), (2, 1, 2));
        assert_eq!(found.missing, [1]);
        assert_eq!(check(&dir.path().join("none"), &ledger).unwrap().missing, [0, 1, 2]);
    }
}
