//! Calls and events that are refused for good.

use std::time::Duration;

use standpipe::config::Aggregate;

use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Writer, firehose, lines, numbered, settings};

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_holds_up_the_commit_and_nothing_else() {
    for aggregate in [Aggregate::Lines, Aggregate::None] {
        let dir = tempfile::tempdir().unwrap();
        let bad = Reply::RefuseIf(b"00000777");
        let fake = FakeFirehose::start_then([], bad, Duration::ZERO).await;
        let mut writer = Writer::open(dir.path());
        let events = numbered(3000);
        writer.append(&events);
        let delivery = writer.deliver(firehose(&fake.url).await, settings(aggregate));
        delivery.commits.committed(777).await;
        let mut every = tokio::time::interval(Duration::from_millis(5));
        while delivery.status.delivered_events.value() < 2999 {
            every.tick().await;
        }
        assert_eq!(delivery.status.upload.state().state, "refused");
        assert_eq!(delivery.status.committed.value(), 777);
        assert_eq!(lines(&fake.concatenated()).len(), 2999);
        assert!(!lines(&fake.concatenated()).contains_key(&events[777]));
        // Every event was delivered once: splitting repeats nothing that was confirmed.
        assert!(lines(&fake.concatenated()).values().all(|times| *times == 1));
        let progress = delivery.stop().await.last();
        assert_eq!(progress.committed, 777);
        assert_eq!(progress.delivered, [(778, 3000)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_everything_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Reply::Error(400, "InvalidArgumentException");
    let fake = FakeFirehose::start_then([], refused, Duration::ZERO).await;
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(20_000));
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    fake.arrived(50).await;
    delivery.state("refused").await;
    assert!(fake.accepted().is_empty());
    fake.answer(Reply::Accept);
    delivery.commits.committed(20_000).await;
    delivery.state("ok").await;
    assert_eq!(lines(&fake.concatenated()).len(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_become_as_small_as_what_stands_before_the_service_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let small = Reply::TooLargeBeyond(300_000);
    let fake = FakeFirehose::start_then([], small, Duration::ZERO).await;
    let mut writer = Writer::open(dir.path());
    let events: Vec<String> = (0..60_000).map(|at| format!("{at:099}")).collect();
    writer.append(&events);
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::Lines));
    delivery.commits.committed(60_000).await;
    let delivered = lines(&fake.concatenated());
    assert_eq!(delivered.len(), 60_000);
    assert!(delivered.values().all(|times| *times == 1));
    let refused = fake.requests().iter().filter(|request| request.bytes > 300_000).count();
    // Two calls for the backlog, then each halving of them; the size is remembered afterwards.
    assert!(refused < 20, "{refused} calls were too large");
}
