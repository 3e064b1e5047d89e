//! What was looked at: different disks, and which decision of recovery met which kind of trouble.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Mutex;

use standpipe_wal::recovery::{Facts, Recovery};

/// The disks that were seen, by their fingerprints, over all threads.
#[derive(Debug)]
pub(crate) struct States {
    shards: Vec<Mutex<HashSet<u64>>>,
}

impl States {
    pub(crate) fn new() -> Self {
        Self { shards: (0..64).map(|_| Mutex::default()).collect() }
    }

    /// Whether it was not seen before.
    pub(crate) fn insert(&self, fingerprint: u64) -> bool {
        let shard = &self.shards[(fingerprint % self.shards.len() as u64) as usize];
        shard.lock().unwrap().insert(fingerprint)
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// How often each row of the table of recovery was reached, by kind of trouble.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    cells: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Coverage {
    pub(crate) fn note(&mut self, trouble: &'static str, recovery: &Recovery) {
        self.add(row(recovery.facts), trouble, 1);
        for (name, _) in FINDINGS.iter().filter(|(_, is_there)| is_there(recovery)) {
            self.add((*name).to_owned(), trouble, 1);
        }
    }

    fn add(&mut self, row: String, trouble: &'static str, count: u64) {
        *self.cells.entry(row).or_default().entry(trouble).or_default() += count;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (row, cells) in other.cells {
            for (trouble, count) in cells {
                self.add(row.clone(), trouble, count);
            }
        }
    }

    /// The rows that can be reached and were not.
    pub(crate) fn missing(&self) -> Vec<String> {
        let findings = FINDINGS.iter().map(|(name, _)| (*name).to_owned());
        let rows = reachable().map(row).chain(findings);
        rows.filter(|row| !self.cells.contains_key(row)).collect()
    }

    /// A table: a row for each decision, a column for each kind of trouble.
    pub(crate) fn print(&self) {
        let troubles: BTreeSet<&str> =
            self.cells.values().flat_map(BTreeMap::keys).copied().collect();
        let wide = self.cells.keys().map(String::len).max().unwrap_or(0);
        let mut heads = format!("{:wide$}", "what recovery met");
        for (number, trouble) in (1..).zip(&troubles) {
            println!("  [{number}] {trouble}");
            write!(heads, "{:>8}", format!("[{number}]")).unwrap();
        }
        println!("{heads}");
        for (row, cells) in &self.cells {
            let mut line = format!("{row:wide$}");
            for trouble in &troubles {
                let count = cells.get(trouble).map_or(".".to_owned(), u64::to_string);
                write!(line, "{count:>8}").unwrap();
            }
            println!("{line}");
        }
    }
}

/// What else recovery can find, whatever it decides.
#[expect(clippy::type_complexity, reason = "a table of names and conditions")]
const FINDINGS: [(&str, fn(&Recovery) -> bool); 5] = [
    ("found: events lost", |one| !one.lost.is_empty()),
    ("found: a damaged header", |one| !one.damaged_headers.is_empty()),
    ("found: files of others", |one| !one.set_aside.is_empty()),
    ("found: a new identity", |one| one.new_log_id),
    ("found: strays", |one| !one.strays.is_empty()),
];

/// The combinations of facts that there can be. What does not exist has no identity and holds
/// nothing; and where `next` is beyond the end, the committed offset that says so proves all events.
fn reachable() -> impl Iterator<Item = Facts> {
    let all = (0..32_u8).map(|bits| Facts {
        any: bits & 16 != 0,
        identified: bits & 8 != 0,
        unproven_events: bits & 4 != 0,
        unproven_bytes: bits & 2 != 0,
        gap: bits & 1 != 0,
    });
    all.filter(|facts| facts.any || !(facts.identified || facts.unproven_events))
        .filter(|facts| !(facts.gap && facts.unproven_events))
}

fn row(facts: Facts) -> String {
    let Facts { any, identified, unproven_events, unproven_bytes, gap } = facts;
    let log = match (any, identified) {
        (false, _) => "no segment",
        (true, false) => "no identity",
        (true, true) => "a log",
    };
    let also = [(unproven_events, "events"), (unproven_bytes, "bytes"), (gap, "gap")];
    let also: Vec<&str> = also.iter().filter(|(is_so, _)| *is_so).map(|(_, name)| *name).collect();
    format!("{log}: {}", if also.is_empty() { "nothing".to_owned() } else { also.join(", ") })
}

#[test]
fn sixteen_combinations_of_facts_can_be_reached() {
    let rows: BTreeSet<String> = reachable().map(row).collect();
    assert_eq!(rows.len(), 16, "{rows:?}");
}
