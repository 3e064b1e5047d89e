//! What is remembered, and what happens at the end.

use std::time::Duration;

use standpipe::config::{Aggregate, StreamConfig};
use standpipe::offsets::{Progress, Reason, Unconfirmed};
use standpipe::uploader::memory::MemoryPool;

use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Writer, firehose, lines, numbered, settings};

fn pool() -> MemoryPool {
    MemoryPool::new(48 * 1024 * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_beyond_the_commit_is_not_sent_again_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    // The first event of each call fails, for ever; the rest is confirmed.
    let script = [Reply::Partly(vec![false, true, true]), Reply::Partly(vec![false, true])];
    let unwell = Reply::Error(503, "ServiceUnavailableException");
    let fake = FakeFirehose::start_then(script, unwell, Duration::ZERO).await;
    let mut writer = Writer::open(dir.path());
    let events = numbered(900);
    writer.append(&events);
    let sink = firehose(&fake.url).await;
    let delivery = writer.deliver(sink.clone(), settings(Aggregate::None));
    // Both calls were answered, and the answers have come through.
    let mut every = tokio::time::interval(Duration::from_millis(5));
    while delivery.status.delivered_events.value() < 500
        || delivery.status.delivered_events.value() != fake.accepted().len() as u64
    {
        every.tick().await;
    }
    let progress = delivery.kill().await.last();
    assert!(progress.committed < 900 && !progress.delivered.is_empty(), "{progress:?}");
    fake.answer(Reply::Accept);
    let delivery = writer.deliver_from(sink, settings(Aggregate::None), Some(progress), pool());
    delivery.commits.committed(900).await;
    let delivered = lines(&fake.concatenated());
    assert!(delivered.keys().eq(&events));
    assert!(delivered.values().all(|times| *times == 1), "confirmed events were sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_drains_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    let patient = StreamConfig { linger: Duration::from_secs(3600), ..settings(Aggregate::Lines) };
    let delivery = writer.deliver(firehose(&fake.url).await, patient);
    writer.append(numbered(10));
    let commits = delivery.stop().await;
    assert_eq!(commits.last().committed, 10);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_another_log_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(10));
    let lost = Unconfirmed { start: 2, end: 5, reason: Reason::Lost };
    let foreign = Progress {
        log_id: [0xff; 16],
        committed: 7,
        delivered: vec![(8, 9)],
        unconfirmed: vec![lost.clone()],
        ..Progress::default()
    };
    let sink = firehose(&fake.url).await;
    let delivery = writer.deliver_from(sink, settings(Aggregate::None), Some(foreign), pool());
    delivery.commits.committed(10).await;
    assert_eq!(lines(&fake.concatenated()).len(), 10);
    assert_eq!(delivery.commits.last().unconfirmed, [lost], "what was counted stays counted");
    let log_ids: Vec<_> = delivery.commits.all.lock().unwrap().iter().map(|p| p.log_id).collect();
    assert!(!log_ids.contains(&[0xff; 16]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_stream_sends_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    let paused = StreamConfig { paused: true, ..settings(Aggregate::None) };
    let delivery = writer.deliver(firehose(&fake.url).await, paused);
    writer.append(numbered(10));
    delivery.state("paused").await;
    let status = delivery.status.clone();
    delivery.stop().await;
    assert!(fake.requests().is_empty());
    assert_eq!(status.calls.value(), 0);
    assert_eq!(writer.durable(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_relieved_waits_for_the_answers_and_nothing_is_sent_twice() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Duration::from_millis(300);
    let fake = FakeFirehose::start_then([], Reply::Accept, slow).await;
    let mut writer = Writer::open(dir.path());
    let events = numbered(1200);
    writer.append(&events);
    let sink = firehose(&fake.url).await;
    let first = writer.deliver(sink.clone(), settings(Aggregate::None));
    fake.arrived(1).await;
    let progress = first.relieve().await.last();
    assert!(progress.committed >= 500, "the call under way was answered: {progress:?}");
    let next = writer.deliver_from(sink, settings(Aggregate::None), Some(progress), pool());
    next.commits.committed(1200).await;
    let delivered = lines(&fake.concatenated());
    assert!(delivered.keys().eq(&events));
    assert!(delivered.values().all(|times| *times == 1), "confirmed events were sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_relieved_where_nothing_gets_through_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start_then(
        [],
        Reply::Error(400, "ResourceNotFoundException"),
        Duration::ZERO,
    )
    .await;
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(10));
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    delivery.state("missing").await;
    assert_eq!(delivery.relieve().await.last().committed, 0, "the next one sends them");
}
