use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::StreamName;

use super::*;
use crate::admin::{Registry, Streams};
use crate::status::{AgentStatus, Disk, StreamStatus};

#[derive(Debug)]
struct One(Arc<StreamStatus>);

impl Streams for One {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        vec![("orders".parse().unwrap(), self.0.clone())]
    }

    fn disk(&self) -> Disk {
        Disk { full: Some("wal.bytes_max".into()), ..Disk::default() }
    }

    fn hurry(&self, _name: &StreamName) -> bool {
        true
    }
}

fn text() -> String {
    let status = StreamStatus::default();
    status.durable.set(10);
    status.committed.set(4);
    status.syncs.observe(Duration::from_millis(3));
    status.syncs.observe(Duration::from_secs(60));
    status.unconfirmed.add("lost", 2);
    status.upload.enter("missing", "no \"such\" stream");
    status.last_error.note("missing", "no \"such\" stream");
    let agent = Arc::<AgentStatus>::default();
    agent.refused.add("no_space", 5);
    render(&Registry::new(Arc::new(One(Arc::new(status))), agent, 0.0).snapshot())
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "there is no {line} in\n{text}");
}

#[test]
fn series_are_written_as_prometheus_reads_them() {
    let text = text();
    for line in [
        "# TYPE standpipe_backlog_events gauge",
        "standpipe_backlog_events{stream=\"orders\"} 6",
        "standpipe_lines_refused_total{reason=\"no_space\"} 5",
        "standpipe_stream_info{stream=\"orders\",side=\"upload\",state=\"missing\"} 1",
        "standpipe_stream_healthy{stream=\"orders\"} 0",
        "standpipe_last_error_info{stream=\"orders\",state=\"missing\"} 1",
        "standpipe_disk_full 1",
        "standpipe_ready 0",
        // Known from the start, so that the first increase is one.
        "standpipe_unconfirmed_events_total{stream=\"orders\",reason=\"dead_letter\"} 0",
        "standpipe_unconfirmed_events_total{stream=\"orders\",reason=\"lost\"} 2",
        "standpipe_sync_duration_seconds_bucket{le=\"0.0025\"} 0",
        "standpipe_sync_duration_seconds_bucket{le=\"0.005\"} 1",
        "standpipe_sync_duration_seconds_bucket{le=\"30\"} 1",
        "standpipe_sync_duration_seconds_bucket{le=\"+Inf\"} 2",
        "standpipe_sync_duration_seconds_sum 60.003",
        "standpipe_sync_duration_seconds_count 2",
    ] {
        has(&text, line);
    }
    // What has not happened has no time.
    assert!(!text.contains("\nstandpipe_last_success_timestamp_seconds"), "{text}");
    assert_eq!(Labels(&[("a", "x\"\\\n")]).to_string(), "{a=\"x\\\"\\\\\\n\"}");
}

#[test]
fn names_follow_the_conventions_and_are_there_once() {
    let mut seen = BTreeSet::new();
    for Metric { name, help, .. } in METRICS {
        assert!(seen.insert(name), "{name} is there twice");
        assert!(help.ends_with('.'), "{name}: {help}");
    }
    for metric in METRICS {
        let (name, kind) = (metric.name, metric.kind());
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(!name.contains("_ms") && !name.contains("milli"), "{name}: seconds and bytes");
    }
}

/// `docs/METRICS.md`, from the table.
fn documentation() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         What `/metrics` shows, on the admin socket always and on `admin.listen` where it is set. \
         This page is made from\nthe table in `src/admin/metrics/table.rs`; a test compares them. \
         Counters begin at zero when the agent starts.\nThe number of series is bounded: streams by \
         `intake.streams_max`, states and reasons are fixed words.\n\
         `packaging/prometheus/standpipe.rules.yml` has alerts for them.\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let (name, kind, help) = (metric.name, metric.kind(), metric.help);
        writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    text
}

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_documentation_is_the_table() {
    let (page, table) = (file("docs/METRICS.md"), documentation());
    assert!(page == table, "docs/METRICS.md should be:\n{table}");
}

#[test]
fn alerts_are_about_metrics_that_exist() {
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let rules = file("packaging/prometheus/standpipe.rules.yml");
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut found = 0;
    for word in words.filter(|word| word.starts_with("standpipe_") || word.starts_with("process_"))
    {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        let exists = known.contains(word) || base.is_some_and(|base| known.contains(base));
        assert!(exists, "an alert is about {word}, which does not exist");
        found += 1;
    }
    assert!(found > 10, "the alerts were not found");
}
