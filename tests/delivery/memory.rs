//! The bytes of all calls of all streams stay within the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use standpipe::config::Aggregate;
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink};
use standpipe::uploader::memory::MemoryPool;
use tokio::sync::Semaphore;

use crate::stream::{Writer, settings};

const POOL: usize = 16 * 1024 * 1024;
const STREAMS: usize = 6;

/// Holds every call until the test lets it go, and knows what all of them weigh.
#[derive(Debug)]
struct Scales {
    held: AtomicUsize,
    held_max: AtomicUsize,
    let_go: Semaphore,
}

impl Sink for Scales {
    fn kind(&self) -> &'static str {
        "scales"
    }

    fn limits(&self) -> Limits {
        Limits { records_max: 500, record_bytes_max: 1_024_000, call_bytes_max: 4_000_000 }
    }

    fn encoded_bytes(&self, data_bytes: usize, _records: usize) -> usize {
        data_bytes / 2
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move {
            let data = call.records.data.capacity();
            let weight = data + self.encoded_bytes(data, call.records.len());
            let held = self.held.fetch_add(weight, Ordering::SeqCst) + weight;
            self.held_max.fetch_max(held, Ordering::SeqCst);
            self.let_go.acquire().await.unwrap().forget();
            self.held.fetch_sub(weight, Ordering::SeqCst);
            Ok(vec![Fate::Delivered; call.records.len()])
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_all_streams_fit_into_the_pool() {
    let scales = Arc::new(Scales {
        held: AtomicUsize::new(0),
        held_max: AtomicUsize::new(0),
        let_go: Semaphore::new(0),
    });
    let pool = MemoryPool::new(POOL);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path());
        writer.append((0..10_000).map(|at| format!("{at:0999}")));
        let sink = Arc::clone(&scales) as Arc<dyn Sink>;
        let delivery = writer.deliver_from(sink, settings(Aggregate::Lines), None, pool.clone());
        streams.push((dir, writer, delivery));
    }
    // One call at a time may end: the pool is as full as it can be while they wait.
    for _ in 0..STREAMS * 3 {
        scales.let_go.add_permits(1);
        tokio::task::yield_now().await;
    }
    scales.let_go.add_permits(1000);
    for (_, _, delivery) in &streams {
        delivery.commits.committed(10_000).await;
    }
    let held_max = scales.held_max.load(Ordering::SeqCst);
    assert!(held_max <= POOL, "{held_max} bytes were held");
    assert!(held_max >= 4_000_000, "the pool was hardly used: {held_max}");
    for (_, _, delivery) in streams {
        delivery.stop().await;
    }
    assert_eq!(pool.free(), pool.capacity(), "bytes were not given back");
}
