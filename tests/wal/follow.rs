//! A log that is written while somebody looks at it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use crate::client::{Answer, connect};
use crate::ground::{Ground, payload};
use crate::process::Process;

/// An agent on this ground. What it is sent stays in its log, or goes to files at once.
fn agent(ground: &Ground, delivers: bool) -> (Process, String) {
    let dir = ground.dir.path().display();
    let sink = if delivers {
        format!(
            "[sink.out]\nkind = \"file\"\npath = \"{dir}/out\"\n[stream.default]\nsink = \"out\"\nlinger = \"0s\"\n"
        )
    } else {
        "[sink.firehose]\ncredentials = \"local\"\nendpoint_url = \"http://127.0.0.1:9\"\n"
            .to_owned()
    };
    let config = format!(
        "data_dir = \"{dir}/data\"\n[wal]\nsegment_bytes = \"2MiB\"\n[[source]]\nkind = \"unix\"\n\
         path = \"{dir}/socket\"\n{sink}"
    );
    let path: PathBuf = ground.dir.path().join("standpipe.toml");
    std::fs::write(&path, config).unwrap();
    let mut process = Process::start(&[], Path::new(&path));
    let address = process.addresses(1).expect("the agent ended").remove(0);
    (process, address)
}

/// Sends events and waits until all are durable.
fn send(address: &str, events: std::ops::Range<u64>) {
    let (mut writer, mut answers) = connect(address).unwrap();
    let count = events.end - events.start;
    let sender = std::thread::spawn(move || {
        for offset in events {
            writer.write_all(format!("orders {}\n", payload(offset)).as_bytes()).unwrap();
        }
        writer
    });
    while answers.next().unwrap() != Answer::Ack(count) {}
    sender.join().unwrap();
}

/// `wal cat --follow`, with what it prints.
struct Follower {
    child: Child,
    /// Absent when the pipe is closed.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Follower {
    fn start(ground: &Ground, args: &[&str]) -> Self {
        let args = [&["cat", "orders", "--follow"], args].concat();
        let mut child = ground.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = child.stdout.take().map(|pipe| BufReader::new(pipe).lines());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.as_mut().unwrap().next().unwrap().unwrap()
    }

    #[track_caller]
    fn expect(&mut self, events: std::ops::Range<u64>) {
        for offset in events {
            assert_eq!(self.line(), payload(offset));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ended = self.child.kill().is_ok();
        let _waited = self.child.wait().is_ok();
    }
}

#[test]
fn a_running_agent_is_looked_at_and_followed_through_a_kill() {
    let ground = Ground::new();
    let (process, address) = agent(&ground, false);
    send(&address, 0..100);
    let mut follower = Follower::start(&ground, &[]);
    follower.expect(0..100);
    send(&address, 100..200);
    follower.expect(100..200);
    let verified = ground.wal(&["verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let report = verified.json();
    assert_eq!(
        (&report["agent"], &report["streams"][0]["durable"]),
        (&"running".into(), &200.into())
    );
    assert_eq!(report["streams"][0]["events"], 200);
    let listing = ground.wal(&["ls", "--json"]).json();
    assert_eq!(listing["streams"][0]["segments"][0]["state"], "active");
    assert_eq!(ground.wal(&["cat", "orders", "--last", "2"]).text().lines().count(), 2);
    drop(process);
    let (_process, address) = agent(&ground, false);
    send(&address, 200..300);
    follower.expect(200..300);
    // Nothing is written any more, and still it is noticed that nobody reads.
    drop(follower.lines.take());
    assert_eq!(follower.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_never_prints_bytes_of_another_life_while_segments_are_recycled() {
    let ground = Ground::new();
    let (_process, address) = agent(&ground, true);
    send(&address, 0..10);
    let mut follower = Follower::start(&ground, &["--with-offsets"]);
    let events = 200_000;
    let sender = std::thread::spawn(move || send(&address, 10..events));
    let (mut printed, mut last) = (0, None);
    while last != Some(events - 1) {
        let line = follower.line();
        let (offset, rest) = line.split_once(' ').unwrap();
        let offset: u64 = offset.parse().unwrap();
        assert_eq!(rest.split_once(' ').unwrap().1, payload(offset), "at {offset}");
        assert!(last < Some(offset), "{offset} after {last:?}");
        last = Some(offset);
        printed += 1;
        if printed % 20_000 == 0 {
            let verified = ground.wal(&["verify", "--json"]);
            assert_eq!(verified.code, 0, "{verified:?}");
        }
    }
    sender.join().unwrap();
    assert!(printed > 0);
    let listing = ground.wal(&["ls", "--json"]).json();
    assert!(
        listing["streams"][0]["oldest"].as_u64().unwrap() > 0,
        "nothing was trimmed: {listing}"
    );
}
