//! Trouble of some streams does not slow the others, although all share connections and memory. On
//! a clock that jumps: what is measured is what the service's own answers take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use standpipe::config::{Aggregate, StreamConfig};
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink, Trouble};
use standpipe::uploader::memory::MemoryPool;
use standpipe::uploader::slots::Slots;
use tokio::time::Instant;

use crate::stream::{Delivery, Writer, numbered, settings};

/// The default of `upload.in_flight_max`.
const SLOTS: usize = 128;
const WELL: usize = 50;
const EVENTS: usize = 200;
const RECORDS_PER_CALL: usize = 10;
const LATENCY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
enum Manner {
    Accept,
    Hang,
    /// After so many calls that are taken.
    HangAfter(usize),
    Throttle,
    Refuse,
}

/// A destination that behaves in one way.
#[derive(Debug)]
struct Behaves {
    manner: Manner,
    calls: AtomicUsize,
}

impl Sink for Behaves {
    fn kind(&self) -> &'static str {
        "behaves"
    }

    fn limits(&self) -> Limits {
        let records_max = RECORDS_PER_CALL;
        Limits { records_max, record_bytes_max: 1_024_000, call_bytes_max: 4_000_000 }
    }

    fn encoded_bytes(&self, data_bytes: usize, _records: usize) -> usize {
        data_bytes
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move {
            let failed = |trouble| Failure { trouble, ambiguous: false, message: "no".into() };
            let taken_before = self.calls.fetch_add(1, Ordering::Relaxed);
            match self.manner {
                Manner::HangAfter(calls) if taken_before >= calls => std::future::pending().await,
                Manner::Hang => std::future::pending().await,
                Manner::Accept | Manner::HangAfter(_) | Manner::Throttle | Manner::Refuse => {
                    tokio::time::sleep(LATENCY).await;
                }
            }
            match self.manner {
                Manner::Throttle => Err(failed(Trouble::Throttled)),
                Manner::Refuse => Err(failed(Trouble::Refused)),
                Manner::Accept | Manner::Hang | Manner::HangAfter(_) => {
                    Ok(vec![Fate::Delivered; call.records.len()])
                }
            }
        })
    }
}

/// Delivers [`WELL`] streams beside others in trouble. Returns how long that took.
async fn deliver_beside(trouble: &[Manner], in_flight_max: usize) -> Duration {
    let (slots, memory) = (Slots::new(SLOTS), MemoryPool::new(48 << 20));
    let mut streams: Vec<(tempfile::TempDir, Writer, Delivery)> = Vec::new();
    let manners = trouble.iter().copied().chain([Manner::Accept; WELL]);
    for manner in manners {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path());
        writer.append(numbered(EVENTS));
        let sink = Arc::new(Behaves { manner, calls: AtomicUsize::new(0) }) as Arc<dyn Sink>;
        let settings = StreamConfig { in_flight_max, ..settings(Aggregate::None) };
        let delivery = writer.deliver_sharing(sink, settings, None, memory.clone(), slots.clone());
        streams.push((dir, writer, delivery));
    }
    let start = Instant::now();
    for (_, _, delivery) in streams.iter().skip(trouble.len()) {
        delivery.commits.committed(EVENTS as u64).await;
    }
    start.elapsed()
}

/// One call at a time: what a stream does that is not behind.
#[tokio::test(start_paused = true)]
async fn fifty_streams_in_trouble_do_not_slow_fifty_others() {
    let alone = deliver_beside(&[], 1).await;
    for manner in [Manner::Hang, Manner::Throttle, Manner::Refuse] {
        let beside = deliver_beside(&[manner; 50], 1).await;
        println!("beside 50 that {manner:?}: {beside:?}, alone {alone:?}");
        assert!(beside < alone.mul_f64(1.2), "{manner:?}: {beside:?}, alone {alone:?}");
    }
}

/// As fast as they can. Calls of the others that hang hold what they hold until they time out, which
/// takes over ten seconds, and nobody waits for that. A destination that never answered holds a
/// connection for each stream; one that did holds a fair share of them.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_calls_of_others_to_time_out() {
    let alone = deliver_beside(&[], 4).await;
    for (manner, slower_max) in [(Manner::Hang, 3.0), (Manner::HangAfter(8), 8.0)] {
        let beside = deliver_beside(&[manner; 50], 4).await;
        println!("at full speed, beside 50 that {manner:?}: {beside:?}, alone {alone:?}");
        assert!(beside < alone.mul_f64(slower_max), "{manner:?}: {beside:?}, alone {alone:?}");
    }
}
