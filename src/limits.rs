//! Every number of the agent, with a name. Sizes are in bytes.

use std::time::Duration;

/// A line up to this size is read with what every connection has; a longer one first takes one of
/// [`LONG_LINES_MAX`] permits.
pub const SHORT_LINE_BYTES_MAX: usize = 16 * 1024;

/// How many connections may hold more than [`SHORT_LINE_BYTES_MAX`] of an unfinished line at once.
pub const LONG_LINES_MAX: usize = 16;

/// What one read takes from a socket at most.
pub const READ_BYTES: usize = 256 * 1024;

/// Half a line without progress for this long ends the connection.
pub const HALF_LINE_IDLE_MAX: Duration = Duration::from_secs(30);

/// A client that does not read its answers for this long is disconnected.
pub const ANSWER_STALL_MAX: Duration = Duration::from_secs(30);

/// How many groups of lines of one connection may wait for their answer before it is not read.
pub const UNANSWERED_MAX: usize = 256;

/// Threads that own streams: they wait on the disk, not on a core, and syncs of different files
/// overlap in the device.
pub const OWNERS_DEFAULT: usize = 16;

/// As many owners as can be configured: more threads than any disk runs syncs at once.
pub const OWNERS_MAX: usize = 256;

/// The longest `wal.sync` that can be configured: acknowledgements wait for it.
pub const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// The most that can be configured as memory, far above any use and below what a counter holds.
pub const MEMORY_MAX: usize = 64 << 30;

/// The least `intake.memory_max`: one whole `PutRecordBatch` is reserved at once.
pub const INTAKE_MEMORY_MIN: usize = 8 << 20;

/// The least `upload.memory_max`: one largest call, its body in base64, and the next being read.
pub const UPLOAD_MEMORY_MIN: usize = 16 << 20;

/// As many streams as can be configured: each has a directory and an open file.
pub const STREAMS_MAX: usize = 100_000;

/// As many connections as can be configured.
pub const CONNECTIONS_MAX: usize = 1_000_000;

/// As many calls in flight for one stream as can be configured.
pub const IN_FLIGHT_MAX: usize = 64;

/// The longest delimiter.
pub const DELIMITER_BYTES_MAX: usize = 64;

/// The longest `linger`: events stay in the log for it, and nothing is gained behind an hour.
pub const LINGER_MAX: Duration = Duration::from_hours(1);

/// The least `upload.backoff_max`.
pub const BACKOFF_MAX_MIN: Duration = Duration::from_millis(100);

/// Messages that may wait for one owner.
pub const OWNER_QUEUE_MAX: usize = 1024;

/// What an owner writes to one stream before it syncs and answers.
pub const ROUND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// `PutRecordBatch`: records in a call.
pub const FIREHOSE_RECORDS_MAX: usize = 500;

/// `PutRecordBatch`: data of one record, before base64.
pub const FIREHOSE_RECORD_BYTES_MAX: usize = 1_024_000;

/// `PutRecordBatch`: data of a call. The service's limit is 4 MiB; calls at the very edge have been
/// rejected in practice.
pub const FIREHOSE_CALL_BYTES_MAX: usize = 4_000_000;

/// Firehose bills each record in steps of this size.
pub const FIREHOSE_BILLING_STEP_BYTES: u64 = 5 * 1024;

const _: () = assert!(standpipe_wal::limits::EVENT_BYTES_MAX == FIREHOSE_RECORD_BYTES_MAX);
const _: () = assert!(FIREHOSE_RECORD_BYTES_MAX <= FIREHOSE_CALL_BYTES_MAX);
const _: () = assert!(FIREHOSE_CALL_BYTES_MAX * 2 <= INTAKE_MEMORY_MIN);
const _: () =
    assert!(FIREHOSE_CALL_BYTES_MAX / 3 * 4 + 2 * FIREHOSE_CALL_BYTES_MAX <= UPLOAD_MEMORY_MIN);
