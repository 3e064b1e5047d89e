//! What delivery costs: Firehose bills each record rounded up to 5 KiB, so it is not the payload
//! that counts but how full the records are.

use serde::Serialize;

use super::{Snapshot, StreamSnapshot};

/// Bytes that a price is for. Firehose's "GB" are these.
#[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
const GIB: f64 = (1_u64 << 30) as f64;

/// What was delivered since the agent started, and what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// What the events hold.
    pub payload_bytes: u64,
    /// What is billed for them.
    pub billed_bytes: u64,
    /// What would have been billed with one event per record.
    pub billed_alone_bytes: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Billed bytes for each byte of payload; absent while nothing was delivered.
    pub ratio: Option<f64>,
    /// US dollars, at the configured price.
    pub dollars: f64,
    /// US dollars for the same events with one event per record.
    pub dollars_alone: f64,
}

impl Cost {
    /// Of one stream, where a GiB costs so much.
    pub fn of_stream(stream: &StreamSnapshot, price_per_gb: f64) -> Self {
        let StreamSnapshot { delivered_bytes, billed_bytes, billed_alone_bytes, calls, .. } =
            stream;
        Self::new([*delivered_bytes, *billed_bytes, *billed_alone_bytes, *calls], price_per_gb)
    }

    /// Of all streams.
    pub fn total(snapshot: &Snapshot) -> Self {
        let sum = |of: fn(&StreamSnapshot) -> u64| snapshot.streams.iter().map(of).sum();
        let payload_bytes = sum(|stream| stream.delivered_bytes);
        let billed_bytes = sum(|stream| stream.billed_bytes);
        let billed_alone_bytes = sum(|stream| stream.billed_alone_bytes);
        let calls = sum(|stream| stream.calls);
        Self::new([payload_bytes, billed_bytes, billed_alone_bytes, calls], snapshot.price_per_gb)
    }

    #[expect(clippy::cast_precision_loss, reason = "a bill needs no exact bytes")]
    fn new(counts: [u64; 4], price_per_gb: f64) -> Self {
        let [payload_bytes, billed_bytes, billed_alone_bytes, calls] = counts;
        Self {
            payload_bytes,
            billed_bytes,
            billed_alone_bytes,
            calls,
            ratio: (payload_bytes > 0).then(|| billed_bytes as f64 / payload_bytes as f64),
            dollars: billed_bytes as f64 / GIB * price_per_gb,
            dollars_alone: billed_alone_bytes as f64 / GIB * price_per_gb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_small_events_costs_what_the_price_list_says() {
        // 1,000 events a second of 300 B for 30.44 days, each billed as 5 KiB: about 363 dollars.
        let events = 2_630_016_000_u64;
        let cost = Cost::new([events * 300, events * 301, events * 5120, 1], 0.029);
        assert!((cost.dollars_alone - 363.7).abs() < 0.1, "{cost:?}");
        assert!((cost.dollars - 21.4).abs() < 0.1, "{cost:?}");
        assert!((cost.ratio.unwrap() - 1.003).abs() < 0.001, "{cost:?}");
        assert_eq!(Cost::new([0; 4], 0.029).ratio, None);
    }
}
