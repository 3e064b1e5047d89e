//! Events for logs that are not open yet.

use standpipe_wal::fs::sim::{Kind, Operation};

use super::*;

/// One owner, which is to open these logs and comes no further than two of them: nobody takes what was
/// opened.
async fn opening(streams: &[&str]) -> Setup {
    let fs = SimFs::new(7);
    let (sender, opened) = mpsc::channel(1);
    let mut parts = parts(&fs, u64::MAX / 2, HashMap::new(), None, sender);
    parts.owners = 1;
    let settings = settings(WhenFull::Block);
    let setup = start_parts(&fs, settings.clone(), opened, parts);
    for stream in streams {
        let stream = setup.journal.find_or_add(&name(stream), &settings).unwrap();
        setup.journal.open(stream).await;
    }
    setup
}

/// At a start the logs on disk are opened one after the other. Whoever has an event for one of them
/// waits for that one.
#[tokio::test]
async fn an_event_waits_for_its_own_log_alone_while_others_are_opened() {
    let mut setup = opening(&["a", "b", "c", "d", "e", "f", "g"]).await;
    let door = setup.door("g");
    let outcome = setup.submit(&door, events(0, 1, 10)).await;
    let mut order = Vec::new();
    while order.len() < 7 {
        order.push(setup.opened.recv().await.unwrap().stream.name().to_string());
    }
    assert!(outcome.await.unwrap().is_ok());
    let place = order.iter().position(|stream| stream == "g").unwrap();
    assert!(place <= 3, "g came after {place} others: {order:?}");
    setup.journal.opened().await;
    let streams = setup.journal.streams();
    assert!(streams.iter().all(|stream| stream.status().log.state().state == "ok"));
    setup.journal.close().await;
}

/// An event is durable before the log of the next one is opened, however many are asked for at once.
#[tokio::test]
async fn an_event_does_not_wait_for_the_logs_of_the_events_behind_it() {
    let mut setup = opening(&["x", "y", "z"]).await;
    setup.fs.record_trace();
    let mut outcomes = Vec::new();
    for stream in ["a", "b", "c"] {
        let door = setup.door(stream);
        outcomes.push(setup.submit(&door, events(0, 1, 10)).await);
    }
    while setup.opened.recv().await.unwrap().stream.name() != &name("c") {}
    setup.opened.close();
    for outcome in outcomes {
        assert!(outcome.await.unwrap().is_ok());
    }
    setup.journal.close().await;
    let trace = setup.fs.trace();
    let first = |kind, dir: &str| {
        let is = |done: &Operation| done.kind == kind && done.path.starts_with(dir);
        trace.iter().position(is).unwrap()
    };
    for (one, next) in [("/streams/a", "/streams/b"), ("/streams/b", "/streams/c")] {
        assert!(first(Kind::SyncData, one) < first(Kind::CreateDir, next), "{one}: {trace:?}");
    }
}
