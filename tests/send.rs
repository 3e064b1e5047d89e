//! The command `send` as a process, against an agent that the test plays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a surprise is its failure"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The agent's side of one connection, behind the hello.
struct Connection(BufReader<UnixStream>);

/// A socket for `send` to connect to.
struct Agent {
    listener: UnixListener,
    path: PathBuf,
    _dir: TempDir,
}

impl Agent {
    fn listen() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path, _dir: dir }
    }

    fn send(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_standpipe"))
            .arg("send")
            .args(arguments)
            .env("STANDPIPE_TO", format!("unix://{}", self.path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn accept(&self) -> Connection {
        let mut connection = Connection(BufReader::new(self.listener.accept().unwrap().0));
        assert_eq!(connection.line(), "STANDPIPE/2 ack=durable frame=line\n");
        connection.say("OK version=2 new_fact=1\n");
        connection
    }
}

impl Connection {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, answers: &str) {
        self.0.get_mut().write_all(answers.as_bytes()).unwrap();
    }
}

fn feed(child: &mut Child, input: &[u8]) {
    child.stdin.take().unwrap().write_all(input).unwrap();
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn all_acknowledged_is_exit_code_zero_and_a_summary() {
    let agent = Agent::listen();
    let mut child = agent.send(&["orders"]);
    feed(&mut child, b"one\n\n two \r\nlast");
    let mut connection = agent.accept();
    assert_eq!(connection.line(), "orders one\n");
    assert_eq!(connection.line(), "orders  two \r\n");
    assert_eq!(connection.line(), "orders last\n");
    connection.say("ACK 3\n");
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stdout.contains("3 lines"), "{stdout}");
    assert!(stdout.contains("3 acknowledged, 1 empty lines skipped"), "{stdout}");
    assert_eq!(stderr, "", "no progress where there is no terminal");
}

#[test]
fn refused_lines_are_exit_code_one_with_their_reasons() {
    let agent = Agent::listen();
    let mut child = agent.send(&["orders", "--json"]);
    feed(&mut child, b"one\ntwo\n");
    let mut connection = agent.accept();
    connection.line();
    connection.line();
    connection.say("NAK 1 full the log is full (wal.bytes_max)\nACK 2\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (stdout, stderr) = texts(&output);
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&summary["lines"], &summary["acknowledged"]), (&2.into(), &1.into()));
    assert_eq!(summary["refused"]["full"], 1);
    assert_eq!(summary["reasons"]["full"], "the log is full (wal.bytes_max)");
    assert_eq!(summary["error"], "1 lines were refused");
    assert!(stderr.contains("1 lines were refused"), "{stderr}");
}

#[test]
fn what_was_not_acknowledged_goes_to_the_next_connection() {
    let agent = Agent::listen();
    let mut child = agent.send(&["orders", "--json"]);
    feed(&mut child, b"one\ntwo\nthree\n");
    let mut connection = agent.accept();
    connection.line();
    connection.say("ACK 1\n");
    connection.line();
    connection.line();
    drop(connection);
    let mut connection = agent.accept();
    assert_eq!(connection.line(), "orders two\n");
    assert_eq!(connection.line(), "orders three\n");
    connection.say("ACK 2\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary: serde_json::Value = serde_json::from_str(&texts(&output).0).unwrap();
    assert_eq!((&summary["acknowledged"], &summary["resent"]), (&3.into(), &2.into()));
    assert_eq!(summary["reconnects"], 1);
}

#[test]
fn an_interrupt_ends_the_input_and_waits_for_the_answers() {
    let agent = Agent::listen();
    let mut child = agent.send(&["orders"]);
    // The input stays open: without the interrupt the command would wait for more of it.
    child.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
    let mut connection = agent.accept();
    assert_eq!(connection.line(), "orders one\n");
    let process = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(process, Signal::INT).unwrap();
    connection.say("ACK 1\n");
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout.contains("1 acknowledged"), "{stdout}");
    assert!(stderr.contains("interrupted before the end of the input"), "{stderr}");
}

#[test]
fn an_agent_that_does_not_serve_us_is_an_error_at_once() {
    let agent = Agent::listen();
    let mut child = agent.send(&["orders"]);
    feed(&mut child, b"one\n");
    let mut connection = Connection(BufReader::new(agent.listener.accept().unwrap().0));
    connection.line();
    connection.say("ERR unsupported not today\n");
    let output = child.wait_with_output().unwrap();
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("does not take acknowledged lines: unsupported not today"), "{stderr}");
}
