//! What holds where nothing is configured. Every default stands here and nowhere else; the shipped
//! `packaging/standpipe.toml` shows the same values, and a test compares them.

use std::path::PathBuf;
use std::time::Duration;

use standpipe_wal::limits::SEGMENT_BYTES_DEFAULT;

use super::{
    Aggregate, Compression, Identity, IdentityForm, IntakeConfig, Rates, StreamConfig,
    UploadConfig, WalConfig, WhenFull,
};
use crate::limits;

/// Doors and destinations, laid under the file. A file that has a `[[source]]` replaces all of
/// these; the sink `firehose` exists unless the file changes it.
pub const DOORS: &str = r#"
[[source]]
kind = "unix"
path = "/run/standpipe/standpipe.sock"
mode = "0660"

[[source]]
kind = "tcp"
listen = "127.0.0.1:15555"

[sink.firehose]
kind = "firehose"
"#;

/// The admin socket's name in the data directory.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// US dollars for a GiB: direct PUT in us-east-1, the first 500 TB of a month, as of November 2026.
/// From secondary sources, the service's price page could not be read: compare it with a bill.
pub(super) const PRICE_PER_GB: f64 = 0.029;

/// Life cycle, and whatever is not as it should be.
pub(super) const LOG_LEVEL: &str = "info";

const GIB: u64 = 1 << 30;

pub(super) fn data_dir() -> PathBuf {
    "/var/lib/standpipe".into()
}

/// The log on a file system of this size: never more than half of it, and a reserve that the
/// offset store and a new segment still fit into when the log is full.
pub(super) fn wal(disk_bytes: u64) -> WalConfig {
    let bytes_max = (20 * GIB).min(disk_bytes / 2);
    WalConfig {
        sync_interval: Duration::ZERO,
        segment_bytes: SEGMENT_BYTES_DEFAULT,
        bytes_max,
        free_bytes_min: GIB.min(disk_bytes / 20),
        owners: limits::OWNERS_DEFAULT,
        pool_bytes_max: (4 * SEGMENT_BYTES_DEFAULT).min(bytes_max / 8),
    }
}

pub(super) fn intake() -> IntakeConfig {
    IntakeConfig { memory_max: 32 << 20, streams_max: 1000, connections_max: 10_000 }
}

pub(super) fn upload() -> UploadConfig {
    UploadConfig {
        memory_max: 48 << 20,
        ask_within: Duration::from_mins(20),
        drain_timeout: Duration::from_secs(5),
        backoff_max: Duration::from_mins(1),
        in_flight_max: 128,
        dead_letter_bytes_max: 64 << 20,
        dead_letters_per_minute: 60,
    }
}

/// A stream of which nothing is configured.
pub fn stream() -> StreamConfig {
    StreamConfig {
        sink: "firehose".to_owned(),
        delivery_stream: None,
        aggregate: Aggregate::Auto,
        events_per_record_max: None,
        delimiter: b"\n".to_vec(),
        compression: Compression::None,
        identity: Identity::None,
        identity_as: IdentityForm::Members,
        linger: Duration::from_secs(5),
        in_flight_max: 4,
        ordered: false,
        quota: Rates::default(),
        when_full: WhenFull::Block,
        bytes_max: None,
        retain_delivered: Duration::ZERO,
        paused: false,
    }
}
