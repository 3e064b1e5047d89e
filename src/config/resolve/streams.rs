//! `[stream.default]` and the streams that inherit from it.

use std::collections::BTreeMap;

use standpipe_wal::StreamName;
use standpipe_wal::limits::SEGMENT_BYTES_MIN;

use super::super::problem::KeyPath;
use super::super::raw::RawStream;
use super::super::{Aggregate, Rates, StreamConfig, defaults};
use super::Resolver;
use crate::limits;

/// The stream table that all others inherit from.
const DEFAULT: &str = "default";

impl Resolver<'_> {
    /// What holds for every stream, and the streams that differ.
    pub(super) fn streams(&mut self) -> (StreamConfig, BTreeMap<StreamName, StreamConfig>) {
        let tables = self.raw.stream.clone();
        let all = KeyPath::of(["stream"]);
        let raw_default = tables.get(DEFAULT).cloned().unwrap_or_default();
        let default = self.stream(&all.key(DEFAULT), raw_default, &defaults::stream());
        if default.delivery_stream.is_some() {
            let message = "all streams would share one delivery stream; name it at each stream";
            self.document.report(&all.key(DEFAULT).key("delivery_stream"), message);
        }
        let mut streams = BTreeMap::new();
        for (name, raw) in tables.into_iter().filter(|(name, _)| name != DEFAULT) {
            let path = all.key(&name);
            let stream = self.stream(&path, raw, &default);
            match name.parse::<StreamName>() {
                Ok(name) => {
                    streams.insert(name, stream);
                }
                Err(error) => self.document.report(&path, &error.to_string()),
            }
        }
        (default, streams)
    }

    fn stream(&mut self, path: &KeyPath, raw: RawStream, base: &StreamConfig) -> StreamConfig {
        let inherited = base.clone();
        let stream = StreamConfig {
            sink: raw.sink.unwrap_or(inherited.sink),
            delivery_stream: raw.delivery_stream.or(inherited.delivery_stream),
            aggregate: raw.aggregate.unwrap_or(inherited.aggregate),
            events_per_record_max: raw.events_per_record_max.or(inherited.events_per_record_max),
            delimiter: raw.delimiter.map_or(inherited.delimiter, String::into_bytes),
            compression: raw.compression.unwrap_or(inherited.compression),
            identity: raw.identity.unwrap_or(inherited.identity),
            identity_as: raw.identity_as.unwrap_or(inherited.identity_as),
            linger: raw.linger.map_or(inherited.linger, |period| period.0),
            in_flight_max: raw.in_flight_max.unwrap_or(inherited.in_flight_max),
            ordered: raw.ordered.unwrap_or(inherited.ordered),
            quota: Rates {
                bytes_per_second: raw
                    .quota_bytes_per_second
                    .map(|size| size.0)
                    .or(inherited.quota.bytes_per_second),
                records_per_second: raw
                    .quota_records_per_second
                    .or(inherited.quota.records_per_second),
                calls_per_second: raw.quota_calls_per_second.or(inherited.quota.calls_per_second),
            },
            when_full: raw.when_full.unwrap_or(inherited.when_full),
            bytes_max: raw.bytes_max.map(|size| size.0).or(inherited.bytes_max),
            retain_delivered: raw.retain_delivered.map_or(inherited.retain_delivered, |p| p.0),
            paused: raw.paused.unwrap_or(inherited.paused),
        };
        self.check_names(path, &stream, base);
        self.check_numbers(path, &stream, base);
        stream
    }

    /// Checks what differs from `base`: the rest was checked there, and is reported once.
    fn check_names(&mut self, path: &KeyPath, stream: &StreamConfig, base: &StreamConfig) {
        if stream.sink != base.sink && !self.raw.sink.contains_key(&stream.sink) {
            let known: Vec<_> = self.raw.sink.keys().map(|name| format!("`{name}`")).collect();
            let known = known.join(", ");
            let message = format!("there is no sink `{}`, it is one of {known}", stream.sink);
            self.document.report(&path.key("sink"), &message);
        }
        if let Some(name) = &stream.delivery_stream
            && let Err(error) = name.parse::<StreamName>()
        {
            self.document.report(&path.key("delivery_stream"), &error.to_string());
        }
        let joins = |stream: &StreamConfig| {
            stream.aggregate == Aggregate::Lines && stream.delimiter.is_empty()
        };
        if joins(stream) && !joins(base) {
            let message = "must not be empty with aggregate = \"lines\": events would run together";
            self.document.report(&path.key("delimiter"), message);
        }
    }

    fn check_numbers(&mut self, path: &KeyPath, stream: &StreamConfig, base: &StreamConfig) {
        let delimiter_bytes = stream.delimiter.len();
        if delimiter_bytes != base.delimiter.len() {
            self.within(&path.key("delimiter"), delimiter_bytes, 0, limits::DELIMITER_BYTES_MAX);
        }
        if let (true, Some(max)) = (
            stream.events_per_record_max != base.events_per_record_max,
            stream.events_per_record_max,
        ) {
            let key = path.key("events_per_record_max");
            self.within(&key, max, 1, limits::FIREHOSE_RECORD_BYTES_MAX);
        }
        if stream.in_flight_max != base.in_flight_max {
            let key = path.key("in_flight_max");
            self.within(&key, stream.in_flight_max, 1, limits::IN_FLIGHT_MAX);
        }
        if stream.quota != base.quota {
            self.check_quota(path, stream.quota);
        }
        if stream.linger != base.linger {
            self.at_most(&path.key("linger"), stream.linger, limits::LINGER_MAX);
        }
        if let (true, Some(bytes_max)) = (stream.bytes_max != base.bytes_max, stream.bytes_max) {
            self.at_least(&path.key("bytes_max"), bytes_max, SEGMENT_BYTES_MIN);
        }
    }
    fn check_quota(&mut self, path: &KeyPath, quota: Rates) {
        let Rates { bytes_per_second, records_per_second, calls_per_second } = quota;
        for (key, rate, min) in [
            ("quota_bytes_per_second", bytes_per_second, limits::QUOTA_BYTES_MIN),
            ("quota_records_per_second", records_per_second, 1),
            ("quota_calls_per_second", calls_per_second, 1),
        ] {
            let Some(rate) = rate else { continue };
            if !(min..=limits::QUOTA_MAX).contains(&rate) {
                let message = format!("{rate} must be from {min} to {}", limits::QUOTA_MAX);
                self.document.report(&path.key(key), &message);
            }
        }
    }
}
