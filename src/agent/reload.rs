//! What of a changed configuration can be taken over while the agent runs: streams and sinks, the
//! limits of the disk, what is logged, what delivery costs. It is all or nothing: the rest takes a
//! restart.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::config::Resolved;
use crate::config::raw::Raw;

/// Keys that differ, as the file has them: `stream.orders.linger`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// All of them.
    pub(super) changed: Vec<String>,
    /// Those that take a restart.
    pub(super) refused: Vec<String>,
    /// The sinks that are new or have other options.
    pub(super) sinks: BTreeSet<String>,
}

/// Compares what holds with what is asked for.
pub(super) fn plan(before: &Raw, after: &Resolved) -> Plan {
    let mut changed = Vec::new();
    differences("", &table(before), &table(&after.effective), &mut changed);
    let refused = changed.iter().filter(|key| !is_live(key)).cloned().collect();
    let is_changed = |name: &&String| changed.iter().any(|key| is_in_sink(key, name));
    let sinks = after.config.sinks.keys().filter(is_changed).cloned().collect();
    Plan { changed, refused, sinks }
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

fn is_live(key: &str) -> bool {
    let live = ["wal.bytes_max", "wal.free_bytes_min", "cost.price_per_gb", "log.level"];
    live.contains(&key) || key.starts_with("stream.") || key.starts_with("sink.")
}

fn is_in_sink(key: &str, name: &str) -> bool {
    let rest = key.strip_prefix("sink.").and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    fn resolved(text: &str) -> Resolved {
        let sink = "[sink.firehose]\nkind = \"firehose\"\n";
        from_text("test", &format!("data_dir = \"/tmp\"\n{text}\n{sink}")).unwrap()
    }

    /// What a reload makes of two configurations.
    fn reload(before: &str, after: &str) -> Plan {
        plan(&resolved(before).effective, &resolved(after))
    }

    #[test]
    fn limits_streams_and_sinks_can_be_changed() {
        assert_eq!(reload("", ""), Plan::default());
        let limits = reload("", "[wal]\nbytes_max = \"3GiB\"\nfree_bytes_min = \"1MiB\"");
        assert_eq!(limits.changed, ["wal.bytes_max", "wal.free_bytes_min"]);
        assert!(limits.refused.is_empty());
        let shown = reload("", "[cost]\nprice_per_gb = 1.5\n[log]\nlevel = \"debug\"");
        assert_eq!(shown.changed, ["cost.price_per_gb", "log.level"]);
        assert!(shown.refused.is_empty());
        let added = reload("", "[stream.new]\nlinger = \"9s\"");
        assert!(added.changed.contains(&"stream.new.linger".to_owned()), "{added:?}");
        assert!(added.refused.is_empty() && added.sinks.is_empty(), "{added:?}");
        let removed = reload("[stream.old]\nlinger = \"9s\"", "");
        assert!(!removed.changed.is_empty() && removed.refused.is_empty());
        let default = reload("", "[stream.default]\nlinger = \"9s\"");
        assert_eq!(default.changed, ["stream.default.linger"]);
        assert!(default.refused.is_empty());
    }

    #[test]
    fn sinks_that_are_new_or_differ_are_built_and_no_others() {
        let [a, b, moved] = [("a", "/tmp/a"), ("ab", "/tmp/b"), ("ab", "/tmp/c")]
            .map(|(name, path)| format!("[sink.{name}]\nkind = \"file\"\npath = \"{path}\"\n"));
        let built = |before: &str, after: &str| {
            let plan = reload(before, after);
            assert!(plan.refused.is_empty(), "{plan:?}");
            plan.sinks.into_iter().collect::<Vec<_>>()
        };
        let both = format!("{a}{b}");
        assert_eq!(built(&a, &both), ["ab"]);
        assert_eq!(built(&both, &format!("{a}{moved}")), ["ab"]);
        assert!(built(&both, &a).is_empty());
    }

    #[test]
    fn what_takes_a_restart_is_named_key_by_key() {
        let rest =
            reload("", "[wal]\nowners = 3\nbytes_max = \"3GiB\"\n[upload]\nbackoff_max = \"2m\"");
        assert_eq!(rest.refused, ["upload.backoff_max", "wal.owners"]);
        let source = reload("", "[[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"");
        assert_eq!(source.refused, ["source"]);
        let format = reload("", "[log]\nlevel = \"debug\"\nformat = \"json\"");
        assert_eq!(format.refused, ["log.format"]);
    }
}
