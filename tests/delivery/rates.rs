//! What is billed for a stream of few events: the router and the packer on a clock that jumps.

use std::sync::Arc;
use std::time::Duration;

use standpipe::config::{Aggregate, Compression, StreamConfig};
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink};
use tokio::time::Instant;

use crate::stream::{Writer, settings};

/// Takes everything at once.
#[derive(Debug)]
struct Everything;

impl Sink for Everything {
    fn kind(&self) -> &'static str {
        "everything"
    }

    fn limits(&self) -> Limits {
        Limits { records_max: 500, record_bytes_max: 1_024_000, call_bytes_max: 4_000_000 }
    }

    fn encoded_bytes(&self, data_bytes: usize, _records: usize) -> usize {
        data_bytes * 2
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move { Ok(vec![Fate::Delivered; call.records.len()]) })
    }
}

const FED: Duration = Duration::from_mins(1);

/// Feeds a stream of 200 B events and returns its calls and its records, and billed bytes per 1000
/// bytes of payload.
async fn deliver(aggregate: Aggregate, per_second: u64) -> (u64, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    let settings = StreamConfig { linger: Duration::from_secs(5), ..settings(aggregate) };
    let delivery = writer.deliver(Arc::new(Everything), settings);
    let begin = Instant::now();
    for second in 1..=FED.as_secs() {
        tokio::time::sleep_until(begin + Duration::from_secs(second)).await;
        writer.append((0..per_second).map(|at| format!("{at:0200}")));
    }
    let status = delivery.status.clone();
    delivery.stop().await;
    let payload = status.delivered_bytes.value();
    assert_eq!(payload, FED.as_secs() * per_second * 200);
    let billed = status.billed_bytes.value() * 1000 / payload;
    (status.calls.value(), status.records_sent.value(), billed)
}

#[tokio::test(start_paused = true)]
async fn what_waits_together_for_the_linger_is_one_record() {
    // Each call takes what came in five seconds, and the last second's are drained.
    assert_eq!(deliver(Aggregate::Lines, 1).await, (10, 10, 4266));
    assert_eq!(deliver(Aggregate::Lines, 1000).await, (10, 20, 1006));
    assert_eq!(deliver(Aggregate::None, 1).await, (10, 60, 25600));
    // Half a thousand records are a full call, which waits for nothing.
    assert_eq!(deliver(Aggregate::None, 1000).await, (120, 60_000, 25600));
}

#[tokio::test(start_paused = true)]
async fn compressed_events_wait_until_they_fill_a_call_not_until_they_would_have() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    let settings = StreamConfig {
        compression: Compression::Gzip,
        linger: Duration::from_mins(60),
        ..settings(Aggregate::Lines)
    };
    let delivery = writer.deliver(Arc::new(Everything), settings);
    // What would be a full call each time, and is a hundredth of one.
    for _ in 0..6 {
        writer.append((0..20_000).map(|at| format!("{at:0200}")));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let status = delivery.status.clone();
    // The first one had nothing to be judged by.
    assert_eq!(status.calls.value(), 1);
    delivery.stop().await;
    assert_eq!((status.calls.value(), status.delivered_events.value()), (2, 120_000));
}
