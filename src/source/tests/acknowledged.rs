//! The acknowledged mode: what an answer means, and clients that behave badly.

use tokio::io::AsyncWriteExt as _;

use super::Setup;
use crate::intake::Refusal;
use crate::intake::double;
use crate::limits::ANSWER_STALL_MAX;

fn unavailable() -> Refusal {
    Refusal::Unavailable { reason: "the disk is gone".into() }
}

#[tokio::test]
async fn a_line_is_acknowledged_once_it_is_durable() {
    let (door, mut owner) = Setup::unix("").start();
    let mut client = door.acknowledged().await;
    client.write(b"orders 1\n").await;
    let first = owner.next().await;
    client.write(b"orders 2\norders 3\n").await;
    let second = owner.next().await;
    // The later run is durable first. Nothing may be said about it before the earlier one is.
    second.store(1);
    client.write(b"orders 4\n").await;
    let third = owner.next().await;
    first.store(0);
    assert_eq!(client.line().await.unwrap(), "ACK 3");
    third.store(3);
    assert_eq!(client.line().await.unwrap(), "ACK 4");
    assert_eq!(client.finish().await, "");
    door.stop().await;
}

#[tokio::test]
async fn refused_lines_are_named_before_an_ack_covers_them() {
    let (door, owner) = Setup::unix("max_event_bytes = 10").start();
    owner.store_all();
    let mut client = door.acknowledged().await;
    client.write(b"orders 1\nb@d 2\norders 3\n\norders 12345678901\norders \norders half").await;
    let answers = client.finish().await;
    let answers: Vec<&str> = answers.lines().collect();
    let mut naks: Vec<(u64, &str)> = Vec::new();
    for nak in answers.iter().filter_map(|answer| answer.strip_prefix("NAK ")) {
        let mut words = nak.split(' ');
        naks.push((words.next().unwrap().parse().unwrap(), words.next().unwrap()));
    }
    naks.sort_unstable();
    let expected =
        [(2, "bad_stream"), (4, "malformed"), (5, "too_large"), (6, "empty"), (7, "unfinished")];
    assert_eq!(naks, expected);
    assert_eq!(answers.last(), Some(&"ACK 7"));
    door.stop().await;
}

#[tokio::test]
async fn a_run_that_the_log_refuses_is_refused_line_by_line() {
    let (door, mut owner) = Setup::unix("").start();
    let mut client = door.acknowledged().await;
    client.write(b"a 1\nb 2\na 3\n").await;
    let (a, b) = (owner.next().await, owner.next().await);
    assert_eq!((a.stream.as_str(), b.stream.as_str()), ("a", "b"));
    b.store(0);
    a.refuse(unavailable());
    let mut answers = Vec::new();
    while answers.last().map(String::as_str) != Some("ACK 3") {
        answers.push(client.line().await.unwrap());
    }
    answers.retain(|answer| answer.starts_with("NAK"));
    let reason = "unavailable the log cannot be written: the disk is gone";
    assert_eq!(answers, [format!("NAK 1 {reason}"), format!("NAK 3 {reason}")]);
    door.stop().await;
}

#[tokio::test]
async fn hellos_that_cannot_be_served_are_answered_and_closed() {
    let (door, owner) = Setup::unix("").start();
    for (hello, answer) in [
        ("STANDPIPE/2 ack=delivered\n", "ERR unsupported ack=delivered"),
        ("STANDPIPE/2 frame=length\n", "ERR unsupported frame=length"),
        ("STANDPIPE/2 compress=gzip\n", "ERR unsupported compress"),
        ("STANDPIPE/9\n", "ERR unsupported version"),
        ("STANDPIPE/2 what\n", "ERR bad_hello"),
    ] {
        let mut client = door.connect().await;
        client.write(hello.as_bytes()).await;
        client.write(b"orders 1\n").await;
        let line = client.line().await.unwrap();
        assert!(line.starts_with(answer), "{line}");
        assert_eq!(client.line().await, None);
    }
    assert!(owner.journal.streams().is_empty(), "a line behind a refused hello was taken");
    assert_eq!(door.refused("unsupported"), 4);
    assert_eq!(door.refused("bad_hello"), 1);
    door.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_answers_is_not_read_and_then_disconnected() {
    let (door, owner) = Setup::unix("").start();
    owner.store_all();
    let mut client = door.acknowledged().await;
    // Lines that are refused for changing reasons: the most answers for the least input.
    let begun = tokio::time::Instant::now();
    let bad_lines = b"\n x\n".repeat(1000);
    let mut written = 0;
    let error = loop {
        match client.socket.write_all(&bad_lines).await {
            Ok(()) => written += bad_lines.len(),
            Err(error) => break error,
        }
    };
    assert!(begun.elapsed() >= ANSWER_STALL_MAX, "{error}");
    assert!(written < 2 << 20, "{written} bytes were read while no answer was");
    door.stop().await;
}

#[tokio::test]
async fn the_answers_that_are_due_are_sent_when_the_agent_stops() {
    let (door, mut owner) = Setup::unix("").start();
    let mut client = door.acknowledged().await;
    client.write(b"orders 1\norders 2\n").await;
    let run = owner.next().await;
    door.stopper.stop();
    run.store(0);
    assert_eq!(client.line().await.unwrap(), "ACK 2");
    assert_eq!(client.line().await, None);
    door.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_room_for_ever() {
    let intake = double::Options { memory: 100, ..double::Options::default() };
    let (door, mut owner) = Setup { intake, ..Setup::default() }.start();
    let mut client = door.acknowledged().await;
    client.write(&[b"orders ".to_vec(), vec![b'x'; 90], b"\n".to_vec()].concat()).await;
    let held = owner.next().await;
    client.write(b"orders more than there is room for\n").await;
    // Read, and waiting for room: nothing else could happen until the stop is due.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    door.stopper.stop();
    tokio::time::sleep(2 * crate::limits::STOP_GRACE).await;
    held.store(0);
    assert_eq!(client.line().await.unwrap(), "NAK 2 stopping the agent is stopping");
    assert_eq!(client.line().await.unwrap(), "ACK 2");
    assert_eq!(client.line().await, None);
    door.stop().await;
}

#[tokio::test]
async fn what_a_client_sent_is_stored_although_it_left_without_its_answers() {
    let (door, mut owner) = Setup::unix("").start();
    let mut client = door.acknowledged().await;
    client.write(b"orders 1\norders 2\n").await;
    drop(client);
    let run = owner.next().await;
    assert_eq!(run.payloads(), [b"1", b"2"]);
    run.store(0);
    let mut other = door.acknowledged().await;
    other.write(b"orders 3\n").await;
    owner.next().await.store(2);
    assert_eq!(other.line().await.unwrap(), "ACK 1");
    door.stop().await;
}
