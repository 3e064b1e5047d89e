//! Ten thousand connections at once to the real program: each is answered, one that works beside
//! them notices nothing, one more than there may be waits for its turn, and what each costs in
//! memory is bounded.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it looked at"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[path = "agent/client.rs"]
mod client;
#[path = "agent/process.rs"]
mod process;

use client::{Answer, Answers, Writer, connect};
use process::Process;

/// What the agent takes by default, and what is opened here where the system allows it.
const CONNECTIONS: usize = 10_000;

/// Descriptors that the agent needs besides: files of the log and of the offset store, its own.
const OTHER_FILES: usize = 256;

/// Lines of the connection that works beside the others.
const LINES: u64 = 1_000;

/// What an idle connection may cost the agent beside the kernel's part. It holds no buffer.
const BYTES_PER_CONNECTION_MAX: usize = 16 * 1024;

/// Raises this process's limit of open files, which the agent inherits, and returns how many
/// connections that leaves room for.
fn connections_possible() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let files = maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    CONNECTIONS.min(files.saturating_sub(OTHER_FILES))
}

fn configuration(dir: &Path, connections_max: usize) -> std::path::PathBuf {
    let shown = dir.display();
    let text = format!(
        "data_dir = \"{shown}/data\"\n\
         [[source]]\nkind = \"unix\"\npath = \"{shown}/in.sock\"\n\
         [sink.file]\nkind = \"file\"\npath = \"{shown}/delivered\"\n\
         [intake]\nconnections_max = {connections_max}\n\
         [stream.default]\nsink = \"file\"\n"
    );
    let path = dir.join("standpipe.toml");
    fs::write(&path, text).unwrap();
    path
}

fn resident_bytes(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A connection of the crowd: one descriptor, and no buffer.
fn join(path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"STANDPIPE/2\n").unwrap();
    assert!(line(&mut stream).starts_with("OK "));
    stream
}

fn line(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

/// Sends lines one at a time, each after the answer to the one before it.
fn work(writer: &mut Writer, answers: &mut Answers, lines: std::ops::RangeInclusive<u64>) {
    for number in lines {
        writer.write_all(format!("work {number}\n").as_bytes()).unwrap();
        assert_eq!(answers.next().unwrap(), Answer::Ack(number));
    }
}

#[test]
fn ten_thousand_connections_are_served_and_one_more_waits_for_its_turn() {
    let possible = connections_possible();
    assert!(possible >= 500, "the limit of open files leaves room for {possible} connections only");
    let dir = tempfile::tempdir().unwrap();
    // One of them works while the others are there.
    let config = configuration(dir.path(), possible);
    let mut process = Process::start(&[], &config);
    let address = process.addresses(1).expect("the agent listens").remove(0);

    let (mut writer, mut answers) = connect(&address).unwrap();
    work(&mut writer, &mut answers, 1..=LINES);
    let before = resident_bytes(&process);

    let path = address.strip_prefix("unix://").unwrap();
    let mut crowd: Vec<_> = (1..possible).map(|_| join(path)).collect();
    for (number, stream) in crowd.iter_mut().enumerate() {
        stream.write_all(format!("crowd {number}\n").as_bytes()).unwrap();
    }
    work(&mut writer, &mut answers, LINES + 1..=2 * LINES);
    for stream in &mut crowd {
        assert_eq!(line(stream), "ACK 1\n");
    }
    let each = resident_bytes(&process).saturating_sub(before) / possible;
    println!("{possible} connections, {each} bytes of memory for each");
    assert!(each <= BYTES_PER_CONNECTION_MAX, "a connection costs {each} bytes");

    // One more than there may be is answered once another has ended, and not before: the hello of
    // `connect` waits for its answer, so only the end of the first can let it return.
    let first = crowd.swap_remove(0);
    let waiting = std::thread::spawn(move || connect(&address).map(|_| ()));
    work(&mut writer, &mut answers, 2 * LINES + 1..=3 * LINES);
    assert!(!waiting.is_finished(), "there were more connections than there may be");
    drop(first);
    waiting.join().unwrap().unwrap();
}
