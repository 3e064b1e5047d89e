//! Reads the files that were delivered and compares them with the ledger, event by event.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;

use super::feed::{Ledger, NUMBER_DIGITS, payload};

/// What was found of one stream.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Events that were acknowledged and are there.
    pub(super) present: u64,
    /// Events that were acknowledged and are not there.
    pub(super) missing: Vec<usize>,
    /// Lines beyond the first with the same event.
    pub(super) repeated: u64,
    /// Files that end in the middle of an event: the write that the kill cut off. It was never
    /// confirmed, so the event comes again, whole, in another file.
    pub(super) cut: u64,
    /// Lines that nobody sent.
    pub(super) foreign: u64,
}

/// Reads everything below a stream's directory.
pub(super) fn check(dir: &Path, ledger: &Ledger) -> anyhow::Result<Found> {
    let mut seen = vec![0_u32; ledger.events()];
    let mut found = Found::default();
    read_dir(dir, &mut |line| match Line::of(line) {
        Line::Event(event) => match seen.get_mut(event) {
            Some(times) => *times += 1,
            None => found.foreign += 1,
        },
        Line::Cut => found.cut += 1,
        Line::Foreign => found.foreign += 1,
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

/// What a line of a delivered file is.
enum Line {
    /// An event that arrived as it was sent, to the last byte.
    Event(usize),
    /// The beginning of an event, at the end of a file.
    Cut,
    Foreign,
}

impl Line {
    /// `line` ends with its line feed, unless the file ends before it.
    fn of(line: &[u8]) -> Self {
        let (text, whole) = match line.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (line, false),
        };
        let number = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        match number.map(|event| (event, payload(event))) {
            Some((event, payload)) if whole && payload.as_bytes() == text => Self::Event(event),
            Some((_, payload)) if !whole && payload.as_bytes().starts_with(text) => Self::Cut,
            // Not even its number is whole.
            Some(_) if !whole && is_cut_number(text) => Self::Cut,
            Some(_) | None => Self::Foreign,
        }
    }
}

fn is_cut_number(text: &[u8]) -> bool {
    text.len() < NUMBER_DIGITS && text.iter().all(u8::is_ascii_digit)
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
        each(&line);
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
        assert_eq!(found.cut, 0);
        assert_eq!(check(&dir.path().join("none"), &ledger).unwrap().missing, [0, 1, 2]);
    }

    #[test]
    fn only_the_end_of_a_file_can_be_cut() {
        let whole = payload(7);
        for cut in 1..=whole.len() {
            let (beginning, _) = whole.split_at(cut);
            assert!(matches!(Line::of(beginning.as_bytes()), Line::Cut), "{beginning}");
            let ended = format!("{beginning}\n");
            assert_eq!(matches!(Line::of(ended.as_bytes()), Line::Event(7)), cut == whole.len());
        }
        for foreign in ["x", "\n", "7 cats", "000000007 cats"] {
            assert!(matches!(Line::of(foreign.as_bytes()), Line::Foreign), "{foreign:?}");
        }
    }
}
