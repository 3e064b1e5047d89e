//! Every number of the agent, with a name. Sizes are in bytes.

use std::time::Duration;

mod policy;

pub use policy::*;

pub mod service;

/// A line up to this size is read with what every connection has; a longer one first takes one of
/// [`LONG_LINES_MAX`] permits.
pub const SHORT_LINE_BYTES_MAX: usize = 16 * 1024;

/// How many connections may hold more than [`SHORT_LINE_BYTES_MAX`] of an unfinished line at once.
pub const LONG_LINES_MAX: usize = 16;

/// How many of those lines may be of one stream: a stream that is stuck leaves permits to others.
pub const LONG_LINES_PER_STREAM_MAX: usize = 4;

/// What one read takes from a socket at most.
pub const READ_BYTES: usize = 256 * 1024;

/// Half a line without progress for this long ends the connection.
pub const HALF_LINE_IDLE_MAX: Duration = Duration::from_secs(30);

/// A client that does not read its answers for this long is disconnected.
pub const ANSWER_STALL_MAX: Duration = Duration::from_secs(30);

/// How many groups of lines of one connection may wait for their answer before it is not read.
pub const UNANSWERED_MAX: usize = 256;

/// The delimiter that ends every event of a line protocol in a record.
pub const LINE_DELIMITER_BYTES: usize = 1;

/// The largest event that a line can carry: with its delimiter it still fits one record.
pub const LINE_EVENT_BYTES_MAX: usize = FIREHOSE_RECORD_BYTES_MAX - LINE_DELIMITER_BYTES;

/// How many connections may take [`READ_BYTES`] from their socket at once; the others take
/// [`SHORT_LINE_BYTES_MAX`]. What was taken is held until the log has room for it.
pub const WIDE_READS_MAX: usize = 64;

/// The longest first line that is looked at for a hello or an HTTP request.
pub const HELLO_BYTES_MAX: usize = 1024;

/// Streams whose doors a connection remembers.
pub const DOORS_REMEMBERED_MAX: usize = 256;

/// Answers are written in pieces of about this size.
pub const ANSWER_PIECE_BYTES: usize = 16 * 1024;

/// After this many refused lines in one read, the next read waits until all answers are written.
pub const REFUSED_UNANSWERED_MAX: usize = 1024;

/// Connections that the kernel holds ready while none is accepted.
pub const ACCEPT_BACKLOG: i32 = 4096;

/// The first and the longest pause after a failed `accept`.
pub const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
/// See [`ACCEPT_PAUSE_MIN`].
pub const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A source logs refused events at most this often; the counters have each of them.
pub const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long a connection that is to stop waits for room in the log for what it has read.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// What a connection without answers still takes from its socket when it is to stop.
pub const STOP_READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a connection that was half-closed waits for the other side to close.
pub const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

/// `PutRecordBatch` at the door of our own: data of a call, the service's exact limit.
pub const FIREHOSE_DOOR_CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest body of a Firehose API request: the largest call in base64, and as much again for
/// what a client may write around it.
pub const FIREHOSE_DOOR_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bodies of Firehose API requests that are read or wait for the log, over all streams.
pub const FIREHOSE_DOOR_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What of it one stream may take: calls beyond it are answered "slow down" at once.
pub const FIREHOSE_DOOR_STREAM_BYTES_MAX: usize = FIREHOSE_DOOR_BYTES_MAX / 4;

/// How long the body of a Firehose API request may take to arrive.
pub const FIREHOSE_DOOR_BODY_WAIT_MAX: Duration = Duration::from_secs(30);

/// A body above this size is decoded on a thread that may block.
pub const FIREHOSE_DOOR_INLINE_BYTES_MAX: usize = 128 * 1024;

/// How long a client waits for a connection, and for the answer to its hello.
pub const CLIENT_CONNECT_MAX: Duration = Duration::from_secs(10);

/// The first and the longest pause of a client between two connections.
pub const CLIENT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// See [`CLIENT_PAUSE_MIN`].
pub const CLIENT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a client reads of its input at once.
pub const CLIENT_READ_BYTES: usize = 256 * 1024;

/// The longest answer that a client takes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(FIREHOSE_DOOR_CALL_BYTES_MAX / 3 * 4 < FIREHOSE_DOOR_BODY_BYTES_MAX);
const _: () = assert!(FIREHOSE_DOOR_BODY_BYTES_MAX <= FIREHOSE_DOOR_STREAM_BYTES_MAX);
const _: () = assert!(SHORT_LINE_BYTES_MAX < READ_BYTES);
const _: () = assert!(HELLO_BYTES_MAX <= SHORT_LINE_BYTES_MAX);
const _: () = assert!(LONG_LINES_PER_STREAM_MAX < LONG_LINES_MAX);

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

/// The smallest size to which a stream's calls shrink after time-outs or size refusals. A single
/// event that is larger still goes, alone.
pub const CALL_BYTES_FLOOR: usize = 64 * 1024;

/// After this many successful calls under a limit that a size refusal has set, a call of twice the
/// size is tried again.
pub const CALLS_BEFORE_SIZE_PROBE: u32 = 256;

/// What an attempt may take apart from the transfer of its body.
pub const ATTEMPT_TIMEOUT_BASE: Duration = Duration::from_secs(10);

/// The slowest link that an attempt is given time for, in bytes per second.
pub const ATTEMPT_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;

/// How much longer than the uploader a sink's own client waits, so that the uploader's time-out is
/// the one that fires.
pub const CLIENT_TIMEOUT_EXTRA: Duration = Duration::from_secs(5);

/// Credentials are looked for no longer than this; where there were some before, those are used.
pub const CREDENTIALS_WITHIN: Duration = Duration::from_secs(7);

/// A call that is not signed within this time, for want of a region or credentials, is given up:
/// before its attempt is, since nothing of it was sent. Somewhat longer than
/// [`CREDENTIALS_WITHIN`], for the calls that wait for what another one looks for.
pub const SIGNED_WITHIN: Duration = Duration::from_secs(8);

const _: () = assert!(CREDENTIALS_WITHIN.as_secs() < SIGNED_WITHIN.as_secs());
const _: () = assert!(SIGNED_WITHIN.as_secs() < ATTEMPT_TIMEOUT_BASE.as_secs());

/// Where credentials are of no use, files and variables are read anew, at most this often.
pub const CLIENT_RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

/// Establishing a connection, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was not used for this long is closed rather than used again: what lies between
/// may have forgotten it.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(20);

/// The pause before the first repetition is random between zero and this; the bound doubles with
/// each further failure, up to `upload.backoff_max`.
pub const BACKOFF_BASE: Duration = Duration::from_millis(100);

/// The same where a person has to mend something: a missing stream, denied access, a refused call.
pub const BACKOFF_BASE_SLOW: Duration = Duration::from_secs(1);

/// Delivered ranges beyond the committed offset before a stream stops taking new events from the
/// log: what bounds the window in memory and its copy in the offset store.
pub const DELIVERED_RANGES_MAX: usize = 1024;

/// Ranges without a confirmation that a stream's progress names; earlier ones are counted by reason
/// alone, so that the value in the store of offsets has a bound.
pub const UNCONFIRMED_RANGES_MAX: usize = 256;

/// Calls without a single record to repeat before a stream that was throttled counts as `ok`.
pub const CLEAN_CALLS_BEFORE_OK: u32 = 8;

/// What one call takes from the upload memory beside its bytes: the table of its records.
pub const CALL_OVERHEAD_BYTES: usize = 32 * 1024;

/// What a destination has answered is good for so long, and half as long again at random: a host
/// asks rarely, a change of the destination is noticed within days.
pub const DESCRIPTION_FRESH_FOR: Duration = Duration::from_hours(48);

/// What nobody has asked about for so long is forgotten.
pub const DESCRIPTION_KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// The largest file of answers that is read: several times what the most streams make of it.
pub const DESCRIPTION_FILE_BYTES_MAX: usize = 64 << 20;

/// The first pause after a destination has not answered; doubles up to [`DESCRIPTION_RETRY_MAX`].
pub const DESCRIPTION_RETRY_MIN: Duration = Duration::from_mins(10);

/// See [`DESCRIPTION_RETRY_MIN`].
pub const DESCRIPTION_RETRY_MAX: Duration = Duration::from_hours(6);

/// The same where asking costs nothing.
pub const DESCRIPTION_FREE_RETRY_MIN: Duration = Duration::from_secs(1);

/// See [`DESCRIPTION_FREE_RETRY_MIN`].
pub const DESCRIPTION_FREE_RETRY_MAX: Duration = Duration::from_mins(1);

/// The longest `upload.ask_within`.
pub const ASK_WITHIN_MAX: Duration = Duration::from_hours(24);

/// How hard `compression = "gzip"` tries, from 1 to 9.
pub const GZIP_LEVEL: u32 = 3;

/// A compressor is made to write what it has taken before a record might be too large, but not for
/// less than this: each time costs some bytes and a little of the compression.
pub const GZIP_FLUSH_BYTES_MIN: usize = 8 * 1024;

/// What a compressor is given at once, if it is not one large event.
pub const GZIP_STAGE_BYTES: usize = 16 * 1024;

/// What a compressor takes while a call is built.
pub const GZIP_MEMORY_BYTES: usize = 512 * 1024;

/// How far records shrink is judged by calls of at least so many bytes.
pub const SHRINK_SAMPLE_BYTES_MIN: usize = 64 * 1024;

/// How often the numbers of a paused stream are brought up to date.
pub const PAUSED_STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// When the `file` sink begins another file, unless configured.
pub const FILE_SINK_BYTES_MAX_DEFAULT: u64 = 64 * 1024 * 1024;

/// Files that the `file` sink keeps open at once.
pub const FILE_SINK_OPEN_MAX: usize = 64;

const _: () = assert!(UPLOAD_MEMORY_MIN > FIREHOSE_RECORD_BYTES_MAX * 3 + CALL_OVERHEAD_BYTES);
const _: () = assert!(CALL_BYTES_FLOOR <= FIREHOSE_CALL_BYTES_MAX);
const _: () = assert!(1 << REFUSALS_BEFORE_SLOW as u64 > FIREHOSE_CALL_BYTES_MAX);
/// Commits of all streams are made durable together, at most this often.
pub const OFFSETS_SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Between two tries of a store of offsets that fails.
pub const OFFSETS_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a start waits for a store that fails for a reason that may pass. Delivery then begins
/// at the oldest event that the log retains.
pub const OFFSETS_START_PATIENCE: Duration = Duration::from_secs(2);

/// A call into the store that takes longer than this is reported.
pub const OFFSETS_CALL_MAX: Duration = Duration::from_secs(30);

/// What sled may keep in memory. The agent holds every value itself and reads sled only at start.
pub const OFFSETS_CACHE_BYTES: u64 = 1024 * 1024;

/// A store that has grown beyond this is written anew. In trials it stays below 3 MiB.
pub const OFFSETS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Broken stores that are kept for inspection; the oldest go first.
pub const OFFSETS_BROKEN_KEPT_MAX: usize = 4;

const _: () = assert!(standpipe_wal::limits::EVENT_BYTES_MAX == FIREHOSE_RECORD_BYTES_MAX);
const _: () = assert!(FIREHOSE_RECORD_BYTES_MAX <= FIREHOSE_CALL_BYTES_MAX);
const _: () = assert!(FIREHOSE_CALL_BYTES_MAX * 2 <= INTAKE_MEMORY_MIN);
const _: () =
    assert!(FIREHOSE_CALL_BYTES_MAX / 3 * 4 + 2 * FIREHOSE_CALL_BYTES_MAX <= UPLOAD_MEMORY_MIN);

/// The first pause before a log that could not be written is tried again; doubles up to
/// [`WRITE_RETRY_MAX`].
pub const WRITE_RETRY_MIN: Duration = Duration::from_millis(100);

/// The longest such pause.
pub const WRITE_RETRY_MAX: Duration = Duration::from_secs(5);

/// A stream that was fully delivered for this long gives back its last segment's space.
pub const IDLE_ROLL_AFTER: Duration = Duration::from_secs(60);

/// How long a delivered segment may wait in the pool to be written again. A stream that does not
/// fill one in this time has little to gain from it, and the space has other uses.
pub const POOL_AGE_MAX: Duration = Duration::from_mins(10);

/// How long a start delivers nothing while it opens the logs that are on disk. One that cannot be
/// read for so long does not hold up the others.
pub const START_SCAN_MAX: Duration = Duration::from_secs(5);

/// A round of one stream is written and synced within this, unless the disk is in trouble: what
/// takes longer is logged. Disks that are well need a hundredth of it.
pub const SYNC_EXPECTED_MAX: Duration = Duration::from_secs(1);

/// Slow syncs are logged at most this often, over all streams.
pub const SLOW_SYNC_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How often rates are measured, and over how many such intervals: two of the default `linger`.
pub const RATE_INTERVAL: Duration = Duration::from_secs(1);
/// See [`RATE_INTERVAL`].
pub const RATE_INTERVALS: usize = 10;

/// Streams that were opened and whose reader is not started yet.
pub const OPENED_QUEUE_MAX: usize = 64;

/// How often the size of the dead letters is looked at.
pub const DEAD_LETTERS_LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How often the free space of the file system is looked at.
pub const FREE_SPACE_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What Firehose bills for a record of this size.
pub const fn billed_bytes(record_bytes: usize) -> u64 {
    (record_bytes as u64).div_ceil(FIREHOSE_BILLING_STEP_BYTES) * FIREHOSE_BILLING_STEP_BYTES
}

/// How long a call whose body has this size may take: it grows with the body, so that a slow link
/// is not mistaken for a dead one.
pub fn attempt_timeout(body_bytes: usize) -> Duration {
    let transfer = body_bytes as u64 / ATTEMPT_BYTES_PER_SECOND_MIN;
    ATTEMPT_TIMEOUT_BASE + Duration::from_secs(transfer)
}
