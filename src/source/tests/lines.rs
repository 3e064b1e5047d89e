//! Fire and forget: what is stored, what is refused and counted, and what bad clients may not do.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Door, Setup};
use crate::intake::double::{self, Stored};
use crate::limits::{LINE_EVENT_BYTES_MAX, LONG_LINES_PER_STREAM_MAX, SHORT_LINE_BYTES_MAX};

fn stream(stored: &Stored, name: &str) -> Vec<Vec<u8>> {
    stored.lock().unwrap().get(name).cloned().unwrap_or_default()
}

/// One connection that says this and ends.
async fn say(door: &Door, bytes: &[u8]) {
    let mut client = door.connect().await;
    client.write(bytes).await;
    assert_eq!(client.finish().await, "");
}

#[tokio::test]
async fn events_arrive_byte_for_byte_and_in_order() {
    let (door, owner) = Setup::unix("").start();
    let stored = owner.store_all();
    let lines: Vec<String> = (0..10_000).map(|n| format!("s{} \0{n} \u{ff}\r", n % 3)).collect();
    say(&door, (lines.join("\n") + "\n").as_bytes()).await;
    door.stop().await;
    for which in 0..3 {
        let name = format!("s{which}");
        let expected: Vec<Vec<u8>> = lines
            .iter()
            .filter_map(|line| Some(line.strip_prefix(&format!("{name} "))?.as_bytes().to_vec()))
            .collect();
        assert_eq!(stream(&stored, &name), expected);
    }
}

#[tokio::test]
async fn tcp_speaks_the_same_lines() {
    let setup =
        Setup { kind: "tcp", options: "terminator = \"\\u0000\"".into(), ..Setup::default() };
    let (door, owner) = setup.start();
    let stored = owner.store_all();
    let address = door.address.strip_prefix("tcp://").unwrap().to_owned();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"orders two\nlines\0orders more\0").await.unwrap();
    drop(client);
    // The stop reads what the kernel still has.
    while door.status.accepted_connections.value() == 0 {
        tokio::task::yield_now().await;
    }
    door.stop().await;
    assert_eq!(stream(&stored, "orders"), [&b"two\nlines"[..], b"more"]);
}

#[tokio::test]
async fn bad_lines_are_counted_and_the_connection_goes_on() {
    let (door, owner) = Setup::unix("max_event_bytes = 100").start();
    let journal = owner.journal.clone();
    let stored = owner.store_all();
    let mut bytes = b"orders first\n\nnospace\nb@d name\norders \norders ".to_vec();
    bytes.extend([b'x'; 5000]);
    bytes.extend(b"\n\x16\x03\x01\xff\xfe\norders last\norders half");
    say(&door, &bytes).await;
    assert_eq!(stream(&stored, "orders"), [&b"first"[..], b"last"]);
    assert_eq!(door.refused("malformed"), 3);
    assert_eq!(door.refused("bad_stream"), 1);
    let orders = journal.find(&"orders".parse().unwrap()).unwrap();
    let refused = orders.status().refused.snapshot();
    let refused: Vec<_> = refused.into_iter().collect();
    assert_eq!(refused, [("empty", 1), ("too_large", 1), ("unfinished", 1)]);
    assert_eq!(journal.streams().len(), 1, "no other stream came into being");
    door.stop().await;
}

#[tokio::test]
async fn an_http_request_is_told_what_this_port_is() {
    let (door, owner) = Setup::unix("").start();
    let mut client = door.connect().await;
    client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.line().await.unwrap(), "HTTP/1.1 400 Bad Request\r");
    assert!(client.finish().await.contains("This port takes lines, not HTTP"));
    assert!(owner.journal.streams().is_empty());
    assert_eq!(door.refused("http"), 1);
    // The word alone is a stream like any other.
    say(&door, b"GET me\n").await;
    door.stop().await;
    assert_eq!(owner.journal.streams().len(), 1);
}

#[tokio::test]
async fn unknown_streams_need_a_door_that_opens_them() {
    let setup = Setup {
        options: "unknown_streams = 'configured'".into(),
        intake: double::Options { configured: vec!["orders"], ..double::Options::default() },
        ..Setup::default()
    };
    let (door, owner) = setup.start();
    let journal = owner.journal.clone();
    let stored = owner.store_all();
    say(&door, b"orders 1\nother 2\nother 3\norders 4\n").await;
    assert_eq!(stream(&stored, "orders"), [b"1", b"4"]);
    assert_eq!(door.refused("unknown_stream"), 2);
    assert_eq!(journal.streams().len(), 1);
    door.stop().await;
}

#[tokio::test]
async fn a_user_writes_the_streams_that_the_rules_allow_it() {
    let user = rustix::process::geteuid().as_raw();
    let (own, other) = (format!("user = {user}"), format!("user = {}", user + 1));
    let options = format!(
        "allow = [{{ {own}, streams = ['orders', 'app-*'] }}, {{ {other}, streams = ['*'] }}]"
    );
    let (door, owner) = Setup::unix(&options).start();
    let stored = owner.store_all();
    say(&door, b"orders 1\napp-x 2\napp 3\nclicks 4\nclicks 5\norders 6\n").await;
    assert_eq!(stream(&stored, "orders"), [b"1", b"6"]);
    assert_eq!(stream(&stored, "app-x"), [b"2"]);
    assert_eq!(door.refused("forbidden"), 3);
    let mut client = door.acknowledged().await;
    client.write(b"clicks 1\norders 2\n").await;
    assert!(client.line().await.unwrap().starts_with("NAK 1 forbidden "));
    assert_eq!(client.line().await.unwrap(), "ACK 2");
    drop(client);
    door.stop().await;
}

#[tokio::test]
async fn the_number_of_streams_is_bounded() {
    let intake = double::Options { streams_max: 2, ..double::Options::default() };
    let (door, owner) = Setup { intake, ..Setup::default() }.start();
    let journal = owner.journal.clone();
    owner.store_all();
    let many: Vec<u8> = (0..1000).flat_map(|n| format!("s{n} x\n").into_bytes()).collect();
    say(&door, &many).await;
    assert_eq!(journal.streams().len(), 2);
    assert_eq!(door.refused("too_many_streams"), 998);
    door.stop().await;
}

#[tokio::test]
async fn the_largest_event_is_taken_and_one_byte_more_is_not() {
    let (door, owner) = Setup::unix("").start();
    let stored = owner.store_all();
    let mut bytes = Vec::new();
    for size in [LINE_EVENT_BYTES_MAX, LINE_EVENT_BYTES_MAX + 1, SHORT_LINE_BYTES_MAX + 1] {
        bytes.extend_from_slice(b"orders ");
        bytes.extend(vec![b'x'; size]);
        bytes.push(b'\n');
    }
    say(&door, &bytes).await;
    let sizes: Vec<usize> = stream(&stored, "orders").iter().map(Vec::len).collect();
    assert_eq!(sizes, [LINE_EVENT_BYTES_MAX, SHORT_LINE_BYTES_MAX + 1]);
    door.stop().await;
}

#[tokio::test]
async fn a_full_log_makes_the_socket_wait_and_nothing_is_lost() {
    let intake = double::Options { memory: 1 << 20, ..double::Options::default() };
    let (door, mut owner) = Setup { intake, ..Setup::default() }.start();
    let mut client = door.connect().await;
    let line = [b"orders ".to_vec(), vec![b'x'; 999], b"\n".to_vec()].concat();
    // Far more than the log's room and the kernel's buffers together.
    let lines = 20_000;
    let writing = crate::tasks::spawn(async move {
        for _line in 0..lines {
            client.write(&line).await;
        }
        client.finish().await
    });
    // Hold the log's room until the other connection was served.
    let held = [owner.next().await, owner.next().await];
    assert!(!writing.is_finished());
    let mut events: usize = held.iter().map(|run| run.payloads().len()).sum();
    drop(held);
    while events < lines {
        let run = owner.next().await;
        events += run.payloads().len();
        run.store(0);
    }
    assert_eq!(writing.await.unwrap(), "");
    assert_eq!(events, lines);
    door.stop().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_line_without_progress_ends_the_connection() {
    let (door, owner) = Setup::unix("").start();
    let mut client = door.connect().await;
    client.write(b"orders half").await;
    let begun = tokio::time::Instant::now();
    assert_eq!(client.line().await, None);
    assert!(begun.elapsed() >= crate::limits::HALF_LINE_IDLE_MAX);
    assert_eq!(door.refused("unfinished"), 1);
    assert!(owner.is_empty(), "half a line was stored");
    door.stop().await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_between_two_lines_stay() {
    let (door, mut owner) = Setup::unix("").start();
    let mut client = door.connect().await;
    client.write(b"orders 1\n").await;
    assert_eq!(owner.next().await.payloads(), [b"1"]);
    tokio::time::sleep(10 * crate::limits::HALF_LINE_IDLE_MAX).await;
    client.write(b"orders 2\n").await;
    assert_eq!(owner.next().await.payloads(), [b"2"]);
    door.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let (door, mut owner) = Setup { connections_max: 1, ..Setup::default() }.start();
    let mut first = door.connect().await;
    first.write(b"orders first\n").await;
    let mut second = door.connect().await;
    second.write(b"orders second\n").await;
    assert_eq!(owner.next().await.payloads(), [b"first"]);
    first.write(b"orders again\n").await;
    assert_eq!(owner.next().await.payloads(), [b"again"], "the second had to wait");
    assert_eq!(door.status.connections.value(), 1);
    first.finish().await;
    assert_eq!(owner.next().await.payloads(), [b"second"]);
    door.stop().await;
}

#[tokio::test]
async fn long_lines_of_a_stuck_stream_leave_the_others_theirs() {
    // No room for anything that is large, so long lines wait with their permits.
    let (door, mut owner) = Setup::unix("").start();
    let long = vec![b'x'; 4 * SHORT_LINE_BYTES_MAX];
    let mut stuck = Vec::new();
    for _client in 0..2 * LONG_LINES_PER_STREAM_MAX {
        let mut client = door.connect().await;
        client.write(b"stuck ").await;
        client.write(&long).await;
        stuck.push(client);
    }
    let mut other = door.connect().await;
    other.write(b"other ").await;
    other.write(&long).await;
    other.write(b"\n").await;
    let run = owner.next().await;
    assert_eq!((run.stream.as_str(), run.payloads()[0].len()), ("other", long.len()));
    drop(stuck);
    door.stop().await;
}

#[tokio::test]
async fn a_stop_stores_what_was_sent_before_it() {
    let (door, owner) = Setup::unix("").start();
    let mut client = door.connect().await;
    client.write(b"orders 1\norders 2\n").await;
    let stored = owner.store_all();
    // Accepted, and perhaps not read yet.
    while door.status.connections.value() == 0 {
        tokio::task::yield_now().await;
    }
    door.stop().await;
    assert_eq!(stream(&stored, "orders"), [b"1", b"2"]);
}
