use super::*;

fn stat(stream: &str, state: &str, reason: &str) -> Stat {
    Stat {
        stream: stream.to_owned(),
        next: 1_234_567,
        durable: 1_234_567,
        committed: 1_000_000,
        backlog_events: 234_567,
        backlog_bytes: 3 << 20,
        oldest_age_seconds: Some(192.0),
        segments: 2,
        disk_bytes: 128 << 20,
        state: state.to_owned(),
        reason: reason.to_owned(),
        since: None,
        records: None,
    }
}

fn sight(streams: Vec<Stat>) -> Sight {
    Sight { agent: Agent::Running, pid: Some(7), notes: Vec::new(), streams, snapshot: None }
}

fn place() -> Place {
    Place { data_dir: "/data".into(), admin: "/data/admin.sock".into() }
}

#[test]
fn the_table_is_aligned_and_says_what_was_seen() {
    let quiet = Stat { oldest_age_seconds: None, ..stat("a", "ok", "") };
    let text = render(
        &sight(vec![quiet, stat("orders", "missing", "no such delivery stream")]),
        &place(),
        false,
        None,
    );
    let expected = "\
agent running (process 7), data in /data

STREAM       NEXT    DURABLE  COMMITTED  BACKLOG    BYTES  OLDEST  SEGMENTS       DISK  STATE    REASON
a       1,234,567  1,234,567  1,000,000  234,567  3.0 MiB       -         2  128.0 MiB  ok
orders  1,234,567  1,234,567  1,000,000  234,567  3.0 MiB  3m 12s         2  128.0 MiB  missing  no such delivery stream
";
    assert_eq!(text, expected);
}

#[test]
fn a_stopped_agent_and_what_could_not_be_seen_are_said() {
    let mut sight = sight(Vec::new());
    sight.agent = Agent::Stopped;
    sight.pid = None;
    sight.notes.push("the committed offsets cannot be read".to_owned());
    let text = render(&sight, &place(), false, None);
    assert!(text.starts_with("agent stopped; read from the log in /data\n"), "{text}");
    assert!(text.contains("note: the committed offsets cannot be read\n"), "{text}");
    assert!(text.ends_with("no streams yet\n"), "{text}");
}

#[test]
fn one_stream_can_be_asked_for() {
    let mut seen = sight(vec![stat("a", "ok", ""), stat("b", "ok", "")]);
    keep_one(&mut seen, "b").unwrap();
    assert_eq!(seen.streams.len(), 1);
    let error = keep_one(&mut seen, "c").unwrap_err().to_string();
    assert!(error.contains("\"c\"") && error.contains("there are b"), "{error}");
}
