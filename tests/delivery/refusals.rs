//! Calls and events that are refused for good.

use std::sync::Arc;
use std::time::Duration;

use standpipe::config::Aggregate;
use standpipe::dead_letters::letter::Details;
use standpipe::dead_letters::{DeadLetters, Letter};
use standpipe::offsets::{Reason, Unconfirmed};
use standpipe::status::StreamStatus;

use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Delivery, STUCK, Writer, firehose, lines, numbered, settings};

/// The dead letters of the stream.
fn letters(writer: &Writer) -> Vec<Letter> {
    let mut letters = Vec::new();
    let take = |letter| {
        letters.push(letter);
        Ok::<_, std::io::Error>(())
    };
    let strange = writer.letters.read(&"orders".parse().unwrap(), u64::MAX, take).unwrap();
    assert_eq!(strange, 0);
    letters
}

/// Writes an event whenever the last one was delivered, until this holds, and tells how many: it is the
/// success of others that shows what an event itself is the reason for.
async fn write_until(
    writer: &mut Writer,
    delivery: &Delivery,
    holds: impl Fn(&StreamStatus) -> bool,
) -> usize {
    let mut written = 0;
    let mut delivered = delivery.status.delivered_events.value();
    let mut every = tokio::time::interval(Duration::from_millis(5));
    let wrote_enough = async {
        while !holds(&delivery.status) {
            if delivery.status.delivered_events.value() > delivered || written == 0 {
                delivered = delivery.status.delivered_events.value();
                writer.append([format!("another {written}")]);
                written += 1;
            }
            every.tick().await;
        }
    };
    let enough = tokio::time::timeout(STUCK, wrote_enough).await;
    assert!(enough.is_ok(), "never, but {:?}", delivery.status.upload.state());
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_becomes_a_dead_letter_and_holds_up_nothing() {
    for aggregate in [Aggregate::Lines, Aggregate::None] {
        let dir = tempfile::tempdir().unwrap();
        let bad = Reply::RefuseIf(b"00000777");
        let fake = FakeFirehose::start_then([], bad, Duration::ZERO).await;
        let mut writer = Writer::open(dir.path());
        let events = numbered(3000);
        writer.append(&events);
        let delivery = writer.deliver(firehose(&fake.url).await, settings(aggregate));
        let mut every = tokio::time::interval(Duration::from_millis(5));
        while delivery.status.delivered_events.value() < 2999 {
            every.tick().await;
        }
        let buried =
            |status: &StreamStatus| status.unconfirmed.snapshot().get("dead_letter") == Some(&1);
        let others = write_until(&mut writer, &delivery, buried).await;
        let end = 3000 + others as u64;
        delivery.commits.committed(end).await;
        delivery.state("ok").await;
        let delivered = lines(&fake.concatenated());
        assert_eq!(delivered.len(), 2999 + others);
        assert!(!delivered.contains_key(&events[777]));
        // Every event was delivered once: splitting repeats nothing that was confirmed.
        assert!(delivered.values().all(|times| *times == 1));
        let letters = letters(&writer);
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert_eq!(letter.offset.get(), 777);
        assert_eq!(letter.payload, events[777].as_bytes());
        let Details { log_id, destination, code, reason, .. } = &letter.details;
        assert_eq!((log_id.len(), destination.as_str()), (32, "orders"));
        assert_eq!(code, "InvalidArgumentException");
        assert_eq!(reason, "InvalidArgumentException: a record is not liked");
        let progress = delivery.stop().await.last();
        let buried = Unconfirmed { start: 777, end: 778, reason: Reason::DeadLetter };
        assert_eq!((progress.committed, progress.unconfirmed), (end, vec![buried]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_which_there_is_no_room_among_the_dead_letters_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bad = Reply::RefuseIf(b"00000003");
    let fake = FakeFirehose::start_then([], bad, Duration::ZERO).await;
    let mut writer = Writer::open(dir.path());
    let fs = Arc::new(standpipe_wal::fs::real::RealFs);
    writer.letters = Arc::new(DeadLetters::new(fs, dir.path(), 10, 60));
    writer.append(numbered(10));
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    let full = |status: &StreamStatus| {
        let upload = status.upload.state();
        upload.state == "refused" && upload.reason.contains("dead letters of this stream take")
    };
    write_until(&mut writer, &delivery, full).await;
    assert!(letters(&writer).is_empty());
    let progress = delivery.stop().await.last();
    assert_eq!(progress.committed, 3);
    assert!(progress.unconfirmed.is_empty() && progress.passed.is_empty());
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
    assert!(letters(&writer).is_empty(), "nothing shows that an event is at fault");
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
