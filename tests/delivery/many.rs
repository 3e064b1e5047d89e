//! A thousand streams towards one sink: as many calls at once as are configured, as much memory, and
//! each of them is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use standpipe::config::Aggregate;
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink};
use standpipe::uploader::memory::MemoryPool;
use standpipe::uploader::slots::Slots;

use crate::stream::{Writer, numbered, settings};

const STREAMS: usize = 1000;
const EVENTS: usize = 1000;
const CALLS_MAX: usize = 64;
const POOL: usize = 8 << 20;

/// Counts what is there at once.
#[derive(Debug, Default)]
struct Crowd {
    calls: AtomicUsize,
    calls_max: AtomicUsize,
    bytes: AtomicUsize,
    bytes_max: AtomicUsize,
    records: AtomicUsize,
}

impl Sink for Crowd {
    fn kind(&self) -> &'static str {
        "crowd"
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
            let bytes = data + self.encoded_bytes(data, call.records.len());
            let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let held = self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
            self.calls_max.fetch_max(calls, Ordering::SeqCst);
            self.bytes_max.fetch_max(held, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.calls.fetch_sub(1, Ordering::SeqCst);
            self.bytes.fetch_sub(bytes, Ordering::SeqCst);
            self.records.fetch_add(call.records.len(), Ordering::SeqCst);
            Ok(vec![Fate::Delivered; call.records.len()])
        })
    }
}

/// All of them read one log: what a stream costs on disk is not the matter here.
#[tokio::test(start_paused = true)]
async fn a_thousand_streams_share_what_is_configured_and_each_is_delivered() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(EVENTS));
    let (crowd, slots) = (Arc::new(Crowd::default()), Slots::new(CALLS_MAX));
    let pool = MemoryPool::new(POOL);
    let start = || {
        let (sink, settings) = (crowd.clone() as Arc<dyn Sink>, settings(Aggregate::None));
        writer.deliver_sharing(sink, settings, None, pool.clone(), slots.clone())
    };
    let deliveries: Vec<_> = std::iter::repeat_with(start).take(STREAMS).collect();
    for delivery in &deliveries {
        delivery.commits.committed(EVENTS as u64).await;
    }
    let [calls_max, bytes_max, records] =
        [&crowd.calls_max, &crowd.bytes_max, &crowd.records].map(|n| n.load(Ordering::SeqCst));
    println!("at most {calls_max} calls and {bytes_max} bytes at once, {records} records");
    assert!((CALLS_MAX / 2..=CALLS_MAX).contains(&calls_max), "{calls_max} calls at once");
    assert!(bytes_max <= POOL, "{bytes_max} bytes at once");
    assert_eq!(records, STREAMS * EVENTS, "each event once for each stream");
    for delivery in deliveries {
        delivery.stop().await;
    }
    assert_eq!(pool.free(), pool.capacity(), "bytes were not given back");
}
