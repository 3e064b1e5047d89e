//! What the configuration says, before it is known what that means: every key, all optional.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::value::{Period, Size, Sync};
use super::{Aggregate, Compression, Identity, IdentityForm, WhenFull};
use crate::telemetry::Format;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_dir: Option<PathBuf>,
    pub(super) source: Vec<toml::Table>,
    pub(super) sink: BTreeMap<String, toml::Table>,
    pub(super) wal: RawWal,
    pub(super) intake: RawIntake,
    pub(super) upload: RawUpload,
    pub(super) stream: BTreeMap<String, RawStream>,
    pub(super) admin: RawAdmin,
    pub(super) cost: RawCost,
    pub(super) log: RawLog,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWal {
    pub(super) sync: Option<Sync>,
    pub(super) segment_bytes: Option<Size>,
    pub(super) bytes_max: Option<Size>,
    pub(super) free_bytes_min: Option<Size>,
    pub(super) pool_bytes_max: Option<Size>,
    pub(super) owners: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the names are the keys of the file")]
pub(super) struct RawIntake {
    pub(super) memory_max: Option<Size>,
    pub(super) streams_max: Option<usize>,
    pub(super) connections_max: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpload {
    pub(super) memory_max: Option<Size>,
    pub(super) ask_within: Option<Period>,
    pub(super) drain_timeout: Option<Period>,
    pub(super) backoff_max: Option<Period>,
    pub(super) in_flight_max: Option<usize>,
    pub(super) dead_letter_bytes_max: Option<Size>,
    pub(super) dead_letters_per_minute: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStream {
    pub(super) sink: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivery_stream: Option<String>,
    pub(super) aggregate: Option<Aggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events_per_record_max: Option<usize>,
    pub(super) delimiter: Option<String>,
    pub(super) compression: Option<Compression>,
    pub(super) identity: Option<Identity>,
    pub(super) identity_as: Option<IdentityForm>,
    pub(super) linger: Option<Period>,
    pub(super) in_flight_max: Option<usize>,
    pub(super) ordered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quota_bytes_per_second: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quota_records_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quota_calls_per_second: Option<u64>,
    pub(super) when_full: Option<WhenFull>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_max: Option<Size>,
    pub(super) retain_delivered: Option<Period>,
    pub(super) paused: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unix: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCost {
    pub(super) price_per_gb: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) level: Option<String>,
    pub(super) format: Option<Format>,
}
