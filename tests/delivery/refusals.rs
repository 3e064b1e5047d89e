//! Calls and events that are refused for good.

use std::sync::Arc;
use std::time::Duration;

use standpipe::config::Aggregate;
use standpipe::dead_letters::letter::Details;
use standpipe::dead_letters::{DeadLetters, Letter};
use standpipe::offsets::{Reason, Unconfirmed};

use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Delivery, Writer, firehose, lines, numbered, settings};

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

/// Writes an event now and then until the stream is committed up to the end, or a bound is reached:
/// it is the success of others that shows what an event itself is the reason for.
async fn keep_writing(writer: &mut Writer, delivery: &Delivery, bound: usize) {
    for at in 0..bound {
        writer.append([format!("another {at}")]);
        let delivered = delivery.status.delivered_events.value();
        let mut every = tokio::time::interval(Duration::from_millis(5));
        while delivery.status.delivered_events.value() == delivered {
            every.tick().await;
        }
    }
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
        keep_writing(&mut writer, &delivery, 8).await;
        delivery.commits.committed(3008).await;
        delivery.state("ok").await;
        let delivered = lines(&fake.concatenated());
        assert_eq!(delivered.len(), 3007);
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
        assert_eq!(delivery.status.unconfirmed.snapshot()["dead_letter"], 1);
        let progress = delivery.stop().await.last();
        let buried = Unconfirmed { start: 777, end: 778, reason: Reason::DeadLetter };
        assert_eq!((progress.committed, progress.unconfirmed), (3008, vec![buried]));
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
    keep_writing(&mut writer, &delivery, 12).await;
    delivery.state("refused").await;
    let reason = delivery.status.upload.state().reason;
    assert!(reason.contains("dead letters of this stream take"), "{reason}");
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
