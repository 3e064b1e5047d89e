//! Our own client against our own door, through lost connections and a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Setup;
use crate::client::lines::{Block, Packer};
use crate::client::{self, Error, Options, Tally};
use crate::tasks;

fn options(address: &str) -> Options {
    Options {
        address: address.parse().unwrap(),
        window_bytes: 1 << 20,
        patience: Duration::from_mins(1),
    }
}

fn block(text: &str) -> Block {
    Packer::new(&"orders".parse().unwrap()).pack(text.as_bytes())
}

#[tokio::test]
async fn everything_is_acknowledged_in_the_end_through_a_restart_of_the_agent() {
    let (door, mut owner) = Setup::unix("").start();
    let options = options(&door.address);
    let (input, blocks) = mpsc::channel(10);
    let hundred = |first: u32| (0..100).map(move |n| (first * 100 + n).to_string() + "\n");
    let sending = tasks::spawn(async move { client::send(&options, blocks, |_: &Tally| {}).await });
    // A part of it is acknowledged, a part is stored without an answer, the rest is not read.
    input.send(block(&hundred(0).collect::<String>())).await.unwrap();
    let run = owner.next().await;
    let mut stored = run.payloads();
    run.store(0);
    for first in 1..10 {
        input.send(block(&hundred(first).collect::<String>())).await.unwrap();
    }
    stored.extend(owner.next().await.payloads());
    drop(owner);
    let dir = door.stop().await;
    drop(input);

    let (door, owner) = Setup::unix("").start_in(dir);
    let second_life = owner.store_all();
    let tally = sending.await.unwrap().unwrap();
    assert_eq!((tally.lines, tally.acknowledged, tally.refused_lines()), (1000, 1000, 0));
    assert!(tally.reconnects >= 1);
    stored.extend(second_life.lock().unwrap().get("orders").cloned().unwrap_or_default());
    let distinct: BTreeSet<Vec<u8>> = stored.into_iter().collect();
    let expected: BTreeSet<Vec<u8>> = (0..1000).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(distinct, expected);
    door.stop().await;
}

#[tokio::test]
async fn refused_lines_are_reported_with_the_agents_reason() {
    let (door, owner) = Setup::unix("max_event_bytes = 3").start();
    owner.store_all();
    let (input, blocks) = mpsc::channel(1);
    input.send(block("one\nfour\ntwo\nthree\n")).await.unwrap();
    drop(input);
    let mut last = Tally::default();
    let progress = |tally: &Tally| last.clone_from(tally);
    let tally = client::send(&options(&door.address), blocks, progress).await.unwrap();
    assert_eq!((tally.acknowledged, tally.refused["too_large"]), (2, 2));
    assert_eq!(tally.reasons["too_large"], "the event is larger than 3 bytes");
    assert_eq!(last, tally, "the last progress is the outcome");
    door.stop().await;
}

#[tokio::test(start_paused = true)]
async fn patience_ends_where_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix://{}", dir.path().join("none.sock").display());
    let (input, blocks) = mpsc::channel(1);
    input.send(block("one\n")).await.unwrap();
    let error = client::send(&options(&address), blocks, |_: &Tally| {}).await.unwrap_err();
    assert!(matches!(&error, Error::GaveUp { seconds: 60, .. }), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[tokio::test]
async fn another_service_on_the_port_is_not_tried_again() {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let (_input, blocks) = mpsc::channel(1);
    let other = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        std::future::pending::<()>().await;
    };
    let options = options(&address);
    let error = tokio::select! {
        sent = client::send(&options, blocks, |_: &Tally| {}) => sent.unwrap_err(),
        () = other => unreachable!(),
    };
    assert!(matches!(&error, Error::NotServed { .. }), "{error}");
    assert!(error.to_string().contains("220 mail"), "{error}");
}
