//! What of a changed configuration can be taken over while the agent runs: the limits of the disk,
//! what is logged, what delivery costs, and what holds for streams that are not open yet. It is all or
//! nothing: the rest takes a restart.

use standpipe_wal::StreamName;
use toml::{Table, Value};

use crate::config::raw::Raw;
use crate::config::{Config, Resolved};
use crate::journal::Journal;

/// Keys that differ, as the file has them: `stream.orders.linger`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// All of them.
    pub changed: Vec<String>,
    /// Those that take a restart.
    pub refused: Vec<String>,
}

/// Compares what holds with what is asked for.
pub(super) fn plan(before: &Raw, after: &Resolved, journal: &Journal) -> Reload {
    let mut changed = Vec::new();
    differences("", &table(before), &table(&after.effective), &mut changed);
    let held = held(&after.config, journal);
    let takes_restart = |key: &&String| !is_live(key, &held);
    let refused = changed.iter().filter(takes_restart).cloned().collect();
    Reload { changed, refused }
}

fn table(raw: &Raw) -> Table {
    match Value::try_from(raw) {
        Ok(Value::Table(table)) => table,
        // A configuration is a table, which `check` prints in the same way.
        Ok(_) | Err(_) => Table::new(),
    }
}

/// Adds the keys that differ. A list is one key: its parts have no names.
fn differences(path: &str, before: &Table, after: &Table, found: &mut Vec<String>) {
    let new = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(new) {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => {
                differences(&name, before, after, found);
            }
            (None, Some(Value::Table(after))) => {
                differences(&name, &Table::new(), after, found);
            }
            (Some(Value::Table(before)), None) => {
                differences(&name, before, &Table::new(), found);
            }
            (before, after) if before != after => found.push(name),
            _ => {}
        }
    }
}

/// The stream tables that an open stream would have to follow: its own, or `default`.
fn held(after: &Config, journal: &Journal) -> Vec<String> {
    let open = journal.streams();
    let other = open.iter().filter(|stream| stream.settings() != after.stream(stream.name()));
    let own = |name: &StreamName| [name.to_string(), "default".to_owned()];
    other.flat_map(|stream| own(stream.name())).collect()
}

fn is_live(key: &str, held: &[String]) -> bool {
    let in_table = |name: &String| {
        key.strip_prefix("stream.")
            .and_then(|rest| rest.strip_prefix(name.as_str()))
            .is_some_and(|rest| rest.starts_with('.'))
    };
    match key {
        "wal.bytes_max" | "wal.free_bytes_min" | "cost.price_per_gb" | "log.level" => true,
        _ => key.starts_with("stream.") && !held.iter().any(in_table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    fn resolved(text: &str) -> Resolved {
        let sink = "[sink.firehose]\nkind = \"firehose\"\n";
        from_text("test", &format!("data_dir = \"/tmp\"\n{text}\n{sink}")).unwrap()
    }

    /// What a reload makes of two configurations, with the stream `open` opened under the first.
    fn reload(before: &str, after: &str) -> Reload {
        let (before, after) = (resolved(before), resolved(after));
        let (owner, _messages) = tokio::sync::mpsc::channel(1);
        let journal = Journal::with_owner(owner, 1 << 20, 10);
        let open = "open".parse().unwrap();
        journal.find_or_add(&open, before.config.stream(&open)).unwrap();
        plan(&before.effective, &after, &journal)
    }

    #[test]
    fn limits_and_streams_that_are_not_open_can_be_changed() {
        assert_eq!(reload("", ""), Reload::default());
        let limits = reload("", "[wal]\nbytes_max = \"3GiB\"\nfree_bytes_min = \"1MiB\"");
        assert_eq!(limits.changed, ["wal.bytes_max", "wal.free_bytes_min"]);
        assert!(limits.refused.is_empty());
        let shown = reload("", "[cost]\nprice_per_gb = 1.5\n[log]\nlevel = \"debug\"");
        assert_eq!(shown.changed, ["cost.price_per_gb", "log.level"]);
        assert!(shown.refused.is_empty());
        let added = reload("", "[stream.new]\nlinger = \"9s\"");
        assert!(added.changed.contains(&"stream.new.linger".to_owned()), "{added:?}");
        assert!(added.refused.is_empty(), "{added:?}");
        let removed = reload("[stream.old]\nlinger = \"9s\"", "");
        assert!(!removed.changed.is_empty() && removed.refused.is_empty());
    }

    #[test]
    fn what_takes_a_restart_is_named_key_by_key() {
        let stream = reload("", "[stream.open]\nlinger = \"9s\"\n[stream.new]\nlinger = \"9s\"");
        assert!(stream.refused.contains(&"stream.open.linger".to_owned()), "{stream:?}");
        assert!(stream.refused.iter().all(|key| key.starts_with("stream.open.")), "{stream:?}");
        let default = reload("", "[stream.default]\nlinger = \"9s\"");
        assert_eq!(default.refused, ["stream.default.linger"]);
        let own = "[stream.open]\nlinger = \"5s\"";
        let kept = reload(own, &format!("[stream.default]\nlinger = \"9s\"\n{own}"));
        assert!(kept.refused.is_empty(), "the open stream is as before: {kept:?}");
        let rest =
            reload("", "[wal]\nowners = 3\nbytes_max = \"3GiB\"\n[upload]\nbackoff_max = \"2m\"");
        assert_eq!(rest.refused, ["upload.backoff_max", "wal.owners"]);
        let source = reload("", "[[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"");
        assert_eq!(source.refused, ["source"]);
        let format = reload("", "[log]\nlevel = \"debug\"\nformat = \"json\"");
        assert_eq!(format.refused, ["log.format"]);
    }
}
