//! A configuration with every default filled in, in the form of the file: what `check` prints. It
//! reads back to the same configuration.

use super::raw::{Raw, RawAdmin, RawCost, RawIntake, RawLog, RawStream, RawUpload, RawWal};
use super::value::{Period, Size, Sync};
use super::{Config, StreamConfig};

/// `config` was made from `raw`.
pub(super) fn of(config: &Config, raw: &Raw) -> Raw {
    let mut stream: std::collections::BTreeMap<_, _> =
        config.streams.iter().map(|(name, config)| (name.to_string(), of_stream(config))).collect();
    stream.insert("default".to_owned(), of_stream(&config.stream_default));
    Raw {
        data_dir: Some(config.data_dir.clone()),
        source: raw.source.clone(),
        sink: raw.sink.clone(),
        wal: RawWal {
            sync: Some(Sync(config.wal.sync_interval)),
            segment_bytes: Some(Size(config.wal.segment_bytes)),
            bytes_max: Some(Size(config.wal.bytes_max)),
            free_bytes_min: Some(Size(config.wal.free_bytes_min)),
            pool_bytes_max: Some(Size(config.wal.pool_bytes_max)),
            owners: Some(config.wal.owners),
        },
        intake: RawIntake {
            memory_max: Some(Size(config.intake.memory_max as u64)),
            streams_max: Some(config.intake.streams_max),
            connections_max: Some(config.intake.connections_max),
        },
        upload: RawUpload {
            memory_max: Some(Size(config.upload.memory_max as u64)),
            ask_within: Some(Period(config.upload.ask_within)),
            drain_timeout: Some(Period(config.upload.drain_timeout)),
            backoff_max: Some(Period(config.upload.backoff_max)),
            in_flight_max: Some(config.upload.in_flight_max),
            dead_letter_bytes_max: Some(Size(config.upload.dead_letter_bytes_max)),
            dead_letters_per_minute: Some(config.upload.dead_letters_per_minute),
        },
        stream,
        admin: RawAdmin { unix: Some(config.admin.unix.clone()), listen: config.admin.listen },
        cost: RawCost { price_per_gb: Some(config.cost.price_per_gb) },
        log: RawLog { level: Some(config.log.level.clone()), format: Some(config.log.format) },
    }
}

fn of_stream(config: &StreamConfig) -> RawStream {
    RawStream {
        sink: Some(config.sink.clone()),
        delivery_stream: config.delivery_stream.clone(),
        aggregate: Some(config.aggregate),
        events_per_record_max: config.events_per_record_max,
        delimiter: Some(String::from_utf8_lossy(&config.delimiter).into_owned()),
        compression: Some(config.compression),
        identity: Some(config.identity),
        identity_as: Some(config.identity_as),
        linger: Some(Period(config.linger)),
        in_flight_max: Some(config.in_flight_max),
        ordered: Some(config.ordered),
        quota_bytes_per_second: config.quota.bytes_per_second.map(Size),
        quota_records_per_second: config.quota.records_per_second,
        quota_calls_per_second: config.quota.calls_per_second,
        when_full: Some(config.when_full),
        bytes_max: config.bytes_max.map(Size),
        retain_delivered: Some(Period(config.retain_delivered)),
        paused: Some(config.paused),
    }
}
