//! The real program under `strace`: was every acknowledgement sent only after its events, their
//! file and its name were on disk? SIGKILL proves nothing about that, since the page cache survives
//! it. See `tests/trace/check.rs` for what is checked.
//!
//! Needs strace, so it is no part of `cargo test`: `cargo test --test syscalls` runs it, `.ci/run`
//! does, and without strace it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it looked at"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

#[path = "trace/check.rs"]
mod check;
#[path = "agent/client.rs"]
mod client;
#[path = "trace/http.rs"]
mod http;
#[path = "trace/parse.rs"]
mod parse;
#[path = "agent/process.rs"]
mod process;

use check::{Report, check};
use client::{Answer, Answers, Writer, connect};
use process::Process;

/// The calls that matter. Reads of sockets say what a connection sent. Some architectures lack
/// those with a question mark.
const CALLS: &str = "trace=?open,openat,?creat,read,readv,recvfrom,recvmsg,write,writev,sendto,\
    sendmsg,pwrite64,pwritev,pwritev2,fsync,fdatasync,?mkdir,mkdirat,?rename,?renameat,renameat2,\
    ?unlink,unlinkat";

/// Every seventh of each thread's syncs of files fails, from the fifth on: never two of those that
/// follow each other, so the agent survives each by beginning a new segment.
const FAILING_SYNCS: &str = "inject=fdatasync:error=EIO:when=5+7";

/// Larger than any read or write of the agent.
const STRING_BYTES: &str = "16777216";

/// Enough to fill the smallest segment and begin another.
const LARGE_EVENTS: usize = 900;
const LARGE_EVENT_BYTES: usize = 4000;

/// Makes every payload known in the trace.
static TOKEN: AtomicU32 = AtomicU32::new(0);

fn line(stream: &str, payload_bytes: usize) -> Vec<u8> {
    let token = TOKEN.fetch_add(1, Ordering::Relaxed);
    let mut line = format!("{stream} @{token:08}@").into_bytes();
    let target = line.len().max(payload_bytes);
    line.resize(target, b'x');
    line.push(b'\n');
    line
}

/// A connection that counts what was acknowledged to it.
struct Sender {
    writer: Writer,
    answers: Answers,
    sent: u64,
    refused: usize,
    acknowledged: u64,
}

impl Sender {
    fn new(address: &str) -> Self {
        let (writer, answers) = connect(address).unwrap();
        Self { writer, answers, sent: 0, refused: 0, acknowledged: 0 }
    }

    fn send(&mut self, lines: &[Vec<u8>]) {
        self.writer.write_all(&lines.concat()).unwrap();
        self.sent += u64::try_from(lines.len()).unwrap();
    }

    fn await_all(&mut self) {
        while self.acknowledged < self.sent {
            match self.answers.next().unwrap() {
                Answer::Ack(number) => self.acknowledged = number,
                Answer::Nak(..) => self.refused += 1,
            }
        }
    }

    /// How many lines were said to be durable.
    fn durable(&self) -> usize {
        usize::try_from(self.acknowledged).unwrap() - self.refused
    }
}

/// One event at a time, small bursts over several streams, refused lines in between.
fn chat(address: &str, client: usize) -> usize {
    let mut sender = Sender::new(address);
    for round in 0..20 {
        sender.send(&[line("shared", 100)]);
        sender.await_all();
        let own = format!("client-{client}-{}", round / 10);
        let burst: Vec<_> =
            (0..30).map(|n| line(if n % 3 == 0 { "shared" } else { &own }, 50 + n)).collect();
        sender.send(&burst);
        sender.send(&[b"no/stream @x\n".to_vec(), line("shared", 10)]);
        sender.await_all();
    }
    sender.durable()
}

/// Calls of the Firehose API, one after the other; returns how many records were confirmed.
fn put(address: &str) -> usize {
    const CALLS: usize = 10;
    const RECORDS: usize = 20;
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for call in 0..CALLS {
        let records: Vec<_> = (0..RECORDS)
            .map(|_| {
                let token = TOKEN.fetch_add(1, Ordering::Relaxed);
                let data = base64_simd::STANDARD.encode_to_string(format!("@{token:08}@ record"));
                format!("{{\"Data\":\"{data}\"}}")
            })
            .collect();
        let name = if call % 2 == 0 { "shared" } else { "records" };
        let body =
            format!("{{\"DeliveryStreamName\":\"{name}\",\"Records\":[{}]}}", records.join(","));
        let length = body.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Firehose_20150804.PutRecordBatch\r\n\
             Content-Type: application/x-amz-json-1.1\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        answers.read_exact(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("\"FailedPutCount\":0"), "{answer}");
    }
    CALLS * RECORDS
}

/// Fills segments until one of them has been delivered, committed and given to the pool.
fn fill(address: &str, pool: &Path) -> usize {
    let mut sender = Sender::new(address);
    for _ in 0..LARGE_EVENTS / 100 {
        let burst: Vec<_> = (0..100).map(|_| line("large", LARGE_EVENT_BYTES)).collect();
        sender.send(&burst);
        sender.await_all();
    }
    // Each event of this waits for a sync, so there is time enough and no clock.
    for _ in 0..100_000 {
        if fs::read_dir(pool).unwrap().next().is_some() {
            return sender.durable();
        }
        sender.send(&[line("large", 10)]);
        sender.await_all();
    }
    panic!("no segment was given back");
}

fn configuration(dir: &Path) -> PathBuf {
    let shown = dir.display();
    let text = format!(
        "data_dir = \"{shown}/data\"\n\
         [[source]]\nkind = \"unix\"\npath = \"{shown}/standpipe.sock\"\n\
         [[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n\
         [[source]]\nkind = \"firehose\"\nlisten = \"127.0.0.1:0\"\n\
         [sink.file]\nkind = \"file\"\npath = \"{shown}/delivered\"\n\
         [wal]\nsegment_bytes = \"2MiB\"\n\
         [stream.default]\nsink = \"file\"\naggregate = \"lines\"\nlinger = \"10ms\"\n"
    );
    let path = dir.join("standpipe.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Runs the agent under strace, lets `talk` talk to it, stops it, and checks what it did. `talk`
/// returns how many lines were acknowledged.
fn traced(dir: &Path, options: &[&str], talk: impl FnOnce(&[String]) -> usize) -> Report {
    if let Err(error) = Command::new("strace").arg("--version").output() {
        panic!("this test needs strace 5.3 or later, from the package strace: {error}");
    }
    let trace = dir.join("trace");
    let config = configuration(dir);
    let trace_path = trace.to_str().unwrap();
    let strace = ["strace", "-f", "--seccomp-bpf", "-y", "-a", "1", "-e", CALLS];
    let under = [&strace[..], options, &["-s", STRING_BYTES, "-o", trace_path]].concat();
    let mut process = Process::start(&under, &config);
    let addresses = process.addresses(3).expect("the agent listens");
    let acknowledged = talk(&addresses);

    // The trace's first line is the program's first thread.
    let text = String::from_utf8_lossy(&fs::read(&trace).unwrap()).into_owned();
    let agent = text.split_whitespace().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(agent).unwrap(), Signal::TERM).unwrap();
    let status = process.child.wait().unwrap();
    assert!(status.success(), "{status}");

    let text = fs::read_to_string(&trace).unwrap();
    let calls = parse::parse(&text);
    let report = match check(&calls, &dir.join("data")) {
        Ok(report) => report,
        Err(wrong) => {
            let thread = thread::current();
            let name = format!("standpipe-{}.trace", thread.name().unwrap_or("syscalls"));
            let kept = std::env::temp_dir().join(name);
            fs::copy(&trace, &kept).unwrap();
            let first: Vec<_> = wrong.iter().take(20).collect();
            panic!("{} faults, trace in {}: {first:#?}", wrong.len(), kept.display());
        }
    };
    println!("{} calls, {acknowledged} lines acknowledged to clients: {report:?}", calls.len());
    assert_eq!(report.lines, acknowledged, "lines that were not looked at");
    report
}

#[test]
fn nothing_is_acknowledged_or_removed_before_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let pool = dir.path().join("data/pool");
    let report = traced(dir.path(), &[], |addresses| {
        thread::scope(|scope| {
            let clients = [0, 1, 2].map(|client| {
                let address = &addresses[client % 2];
                scope.spawn(move || chat(address, client))
            });
            let api = scope.spawn(|| put(&addresses[2]));
            let others = fill(&addresses[0], &pool) + api.join().unwrap();
            clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>() + others
        })
    });
    assert!(report.acknowledgements > 60 && report.segments > 8, "{report:?}");
    assert!(report.removals > 0, "{report:?}");
}

#[test]
fn nor_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&[], &configuration(dir.path()));
    let addresses = process.addresses(3).expect("the agent listens");
    chat(&addresses[0], 0);
    let mut sender = Sender::new(&addresses[1]);
    sender.send(&(0..200).map(|_| line("shared", 2000)).collect::<Vec<_>>());
    drop(process);

    let report =
        traced(dir.path(), &[], |addresses| chat(&addresses[0], 0) + chat(&addresses[1], 1));
    assert!(report.acknowledgements > 40, "{report:?}");
}

#[test]
fn nor_when_syncs_fail() {
    let dir = tempfile::tempdir().unwrap();
    let report = traced(dir.path(), &["-e", FAILING_SYNCS], |addresses| {
        chat(&addresses[0], 0) + chat(&addresses[1], 1)
    });
    assert!(report.failed_syncs > 3 && report.acknowledgements > 40, "{report:?}");
}
