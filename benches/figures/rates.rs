//! F7, the table: what is billed for streams of few events. The router and the packer run on a clock
//! that jumps, so that minutes of events take seconds.

use std::sync::Arc;
use std::time::Duration;

use standpipe::config::{Aggregate, Compression, StreamConfig};
use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink};
use tokio::time::Instant;

use crate::ingest::EVENT_BYTES;
use crate::packing::write_event;
use crate::stream::{Writer, settings};

/// How long each stream is fed.
const FED: Duration = Duration::from_mins(2);

const LINGER: Duration = Duration::from_secs(5);

/// Events come in this many steps a second, or one by one where they are fewer.
const STEPS_PER_SECOND: u64 = 10;

const FORMS: [(&str, Aggregate, Compression); 3] = [
    ("lines", Aggregate::Lines, Compression::None),
    ("lines, gzip", Aggregate::Lines, Compression::Gzip),
    ("none", Aggregate::None, Compression::None),
];

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
        data_bytes * 4 / 3
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move { Ok(vec![Fate::Delivered; call.records.len()]) })
    }
}

pub(crate) fn print() {
    println!(
        "\nF7: one stream, events of {EVENT_BYTES} B, linger {LINGER:?}, {FED:?} on a simulated clock"
    );
    println!(
        "{:<14} {:>9} {:>17} {:>15} {:>17}",
        "records", "events/s", "billed / payload", "events/record", "calls/million ev."
    );
    for (form, aggregate, compression) in FORMS {
        for rate in [1, 10, 100, 1000] {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            let settings = StreamConfig { linger: LINGER, compression, ..settings(aggregate) };
            let [billed, per_record, calls] = runtime.block_on(deliver(settings, rate));
            println!("{form:<14} {rate:>9} {billed:>17.3} {per_record:>15.1} {calls:>17.0}");
        }
    }
}

/// Feeds a stream at a rate. Returns billed bytes per byte of payload, events per record, and calls
/// per million events.
async fn deliver(settings: StreamConfig, rate: u64) -> [f64; 3] {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    let delivery = writer.deliver(Arc::new(Everything), settings);
    let steps_per_second = rate.min(STEPS_PER_SECOND);
    let begin = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    let mut events = 0;
    for step in 1..=FED.as_secs() * steps_per_second {
        tokio::time::sleep_until(begin + Duration::from_millis(step * 1000 / steps_per_second))
            .await;
        let until = step * rate / steps_per_second;
        writer.append((events..until).map(|number| {
            let mut event = Vec::with_capacity(EVENT_BYTES);
            write_event(&mut event, number, &mut random);
            event
        }));
        events = until;
    }
    let status = delivery.status.clone();
    delivery.stop().await;
    assert_eq!(status.delivered_events.value(), events);
    let billed = status.billed_bytes.value() as f64 / status.delivered_bytes.value() as f64;
    let per_record = events as f64 / status.records_sent.value() as f64;
    [billed, per_record, status.calls.value() as f64 / events as f64 * 1e6]
}
