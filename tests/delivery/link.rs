//! A link of 1 Mbit/s, and others: every call shares it with the others, and what is given up on half
//! way has to be carried once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standpipe::config::Aggregate;
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::stream::{Writer, settings};

/// What the link carries of one call before it carries some of the next.
const PIECE_BYTES: u64 = 10_000;

/// Takes everything, as fast as the link carries it.
#[derive(Debug)]
struct Link {
    bytes_per_second: AtomicU64,
    /// Whose piece is carried: first come, first served, so calls take turns.
    line: Mutex<()>,
    carried: AtomicU64,
}

impl Sink for Link {
    fn kind(&self) -> &'static str {
        "link"
    }

    fn limits(&self) -> Limits {
        Limits { records_max: 500, record_bytes_max: 1_024_000, call_bytes_max: 4_000_000 }
    }

    /// As base64.
    fn encoded_bytes(&self, data_bytes: usize, _records: usize) -> usize {
        data_bytes / 3 * 4
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move {
            let body = self.encoded_bytes(call.records.data.len(), call.records.len()) as u64;
            let mut left = body;
            while left > 0 {
                let piece = left.min(PIECE_BYTES);
                let turn = self.line.lock().await;
                sleep(self.time_for(piece)).await;
                drop(turn);
                self.carried.fetch_add(piece, Ordering::SeqCst);
                left -= piece;
            }
            Ok(vec![Fate::Delivered; call.records.len()])
        })
    }
}

impl Link {
    fn new(kbit_per_second: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes_per_second: AtomicU64::new(kbit_per_second * 125),
            line: Mutex::default(),
            carried: AtomicU64::new(0),
        })
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let bytes_per_second = self.bytes_per_second.load(Ordering::SeqCst);
        Duration::from_nanos(bytes * 1_000_000_000 / bytes_per_second)
    }
}

/// Delivers so many events of 1,000 B, and returns how often the link has carried what was needed once,
/// and how long it took against a link that is never idle.
async fn deliver(link: Arc<Link>, events: u64) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    writer.append((0..events).map(|at| format!("{at:0999}")));
    let needed = link.encoded_bytes(usize::try_from(events).unwrap() * 1000, 0) as u64;
    let began = Instant::now();
    let delivery = writer.deliver(link.clone(), settings(Aggregate::Lines));
    // On a clock that jumps, some days are soon over.
    while delivery.status.committed.value() < events {
        assert!(began.elapsed() < Duration::from_hours(72), "{:?}", delivery.status);
        sleep(Duration::from_secs(1)).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let carried = link.carried.load(Ordering::SeqCst) as f64 / needed as f64;
    let took = began.elapsed().as_secs_f64() / link.time_for(needed).as_secs_f64();
    (carried, took)
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_carries_little_twice_and_is_never_idle() {
    for (kbit_per_second, carried_max) in
        [(10_000, 1.0), (2_000, 1.0), (1_000, 1.0), (300, 1.2), (100, 1.2)]
    {
        let (carried, took) = deliver(Link::new(kbit_per_second), 30_000).await;
        println!("{kbit_per_second} kbit/s: carried {carried:.3} times, took {took:.3} times");
        assert!(carried <= carried_max * 1.01, "carried {carried} times");
        assert!(took <= carried_max * 1.1, "took {took} times as long as it has to");
    }
}

/// Four calls are under way when it becomes slow.
#[tokio::test(start_paused = true)]
async fn a_link_that_becomes_slow_loses_what_is_under_way_and_no_more() {
    let link = Link::new(100_000);
    let slower = Arc::clone(&link);
    let change = standpipe::tasks::spawn(async move {
        sleep(Duration::from_millis(1_500)).await;
        slower.bytes_per_second.store(125_000, Ordering::SeqCst);
    });
    let (carried, _) = deliver(link, 60_000).await;
    change.await.unwrap();
    // Four calls of 4 MB are a quarter of it.
    assert!(carried < 1.3, "carried {carried} times");
}
