//! What is in the way for long: events stay, somebody asks now and then, delivery goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use standpipe::config::Aggregate;
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink, Trouble};
use tokio::time::Instant;

use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Writer, firehose, numbered, settings};

#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_resolve_and_tls_that_does_not_speak_are_unreachable() {
    let plain = FakeFirehose::start([]).await;
    for url in ["http://no-such-host.invalid".to_owned(), plain.url.replace("http:", "https:")] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path());
        writer.append(numbered(2));
        let delivery = writer.deliver(firehose(&url).await, settings(Aggregate::None));
        delivery.state("unreachable").await;
        let status = delivery.status.clone();
        println!("{url}: {}", status.upload.state().reason);
        assert_eq!(status.possible_duplicates.value(), 0, "nothing was sent");
        assert_eq!(delivery.stop().await.last().committed, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start_then([], Reply::Accept, Duration::from_secs(2)).await;
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(10));
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    delivery.commits.committed(10).await;
    assert_eq!((fake.requests().len(), delivery.status.possible_duplicates.value()), (1, 0));
}

/// Answers 500 until it is mended.
#[derive(Debug, Default)]
struct Unwell {
    mended: AtomicBool,
    calls: AtomicU64,
}

impl Sink for Unwell {
    fn kind(&self) -> &'static str {
        "unwell"
    }

    fn limits(&self) -> Limits {
        Limits { records_max: 500, record_bytes_max: 1_024_000, call_bytes_max: 4_000_000 }
    }

    fn encoded_bytes(&self, data_bytes: usize, _records: usize) -> usize {
        data_bytes
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.mended.load(Ordering::SeqCst) {
                return Ok(vec![Fate::Delivered; call.records.len()]);
            }
            Err(Failure { trouble: Trouble::Faulty, ambiguous: true, message: "500".into() })
        })
    }
}

/// On a clock that jumps. The longest pause of these tests is 200 ms, so an hour has many tries; what
/// must hold is that there is one at a time, and that the end is noticed within the longest pause.
#[tokio::test(start_paused = true)]
async fn an_hour_of_faults_ends_within_the_longest_pause() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Unwell::default());
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(3000));
    let delivery = writer.deliver(sink.clone(), settings(Aggregate::None));
    tokio::time::sleep(Duration::from_hours(1)).await;
    let calls = sink.calls.load(Ordering::SeqCst);
    println!("{calls} calls in an hour");
    assert!(calls < 3600 * 1000 / 20, "more than one at a time");
    let state = delivery.status.upload.state();
    assert_eq!((state.state.as_str(), delivery.status.committed.value()), ("faulty", 0));
    sink.mended.store(true, Ordering::SeqCst);
    let mended = Instant::now();
    delivery.commits.committed(3000).await;
    println!("everything was delivered {:?} after the end of the outage", mended.elapsed());
    // The longest pause, the call under way, a probe, and the rest.
    assert!(mended.elapsed() < Duration::from_secs(1), "{:?}", mended.elapsed());
    assert_eq!(delivery.status.upload.state().state, "ok");
}
