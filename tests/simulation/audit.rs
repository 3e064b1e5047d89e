//! Looks at each commit before the store does: it may pass only what is accounted for. What lies at
//! an offset is read from the log itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use standpipe::offsets::store::Entries;
use standpipe::offsets::{Decoded, Key, Progress};
use standpipe_wal::fs::sim::SimFs;
use standpipe_wal::{Offset, Step, Tail, events};

use crate::ledger::Ledger;
use crate::payload::{self, Id};
use crate::{STREAMS_DIR, trace::Trace};

/// The entries of a store by stream.
pub(crate) fn decode(entries: &Entries) -> BTreeMap<String, Progress> {
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let key = Key::decode(key).unwrap();
        let Decoded::Progress(progress) = Progress::decode(value) else {
            panic!("{key} has no progress")
        };
        (key.stream.as_str().to_owned(), progress)
    };
    entries.0.iter().map(entry).collect()
}

/// Checks the progress that is about to be stored.
pub(crate) fn commit(fs: &SimFs, entries: &Entries, ledger: &Ledger, trace: &Trace) {
    for (name, progress) in decode(entries) {
        let beyond: Vec<_> = progress.delivered.iter().map(|(s, e)| format!("{s}..{e}")).collect();
        trace.line(&format!("store {name} {} {}", progress.committed, beyond.join(" ")));
        let ranges = [(0, progress.committed)].into_iter().chain(progress.delivered.clone());
        for (start, end) in ranges {
            let new = ledger.books().unaccounted(&name, start..end);
            let (Some(&first), Some(&last)) = (new.first(), new.last()) else { continue };
            let found = read(fs, &name, first, last + 1);
            let mut books = ledger.books();
            for offset in new {
                let passed = progress.unconfirmed.iter();
                let reason = passed
                    .filter(|passed| (passed.start..passed.end).contains(&offset))
                    .map(|passed| passed.reason)
                    .next_back();
                books.passed(&name, offset, found.get(&offset).copied(), reason);
            }
        }
    }
}

/// The events of a stream between two offsets, as they lie on the disk. The disk itself notices
/// nothing.
pub(crate) fn read(fs: &SimFs, name: &str, from: u64, until: u64) -> BTreeMap<u64, Id> {
    let copy = fs.fork();
    copy.clear_faults();
    let dir = format!("{STREAMS_DIR}/{name}");
    let mut tail = Tail::open(Arc::new(copy), dir.into(), Offset::new(from));
    let mut found = BTreeMap::new();
    while let Ok(step) = tail.next(Offset::new(until)) {
        match step {
            Step::UpToDate => break,
            Step::Missing { .. } => {}
            Step::Frame(frame) => {
                for (offset, body) in (frame.base.get()..).zip(events::iter(frame.body)) {
                    match payload::decode_all(body).as_deref() {
                        Ok([id]) => found.insert(offset, *id),
                        other => panic!("{name}: at {offset} lies {other:?}"),
                    };
                }
            }
        }
    }
    found
}
