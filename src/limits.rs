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
