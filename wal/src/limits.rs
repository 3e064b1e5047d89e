//! Every number of the log, with a name. Sizes are in bytes.

/// The longest stream name.
pub const STREAM_NAME_BYTES_MAX: usize = 64;

/// The largest event: what one Firehose record may hold before base64
/// (`PutRecordBatch`, `Data`: at most 1,024,000 bytes).
pub const EVENT_BYTES_MAX: usize = 1_024_000;

/// What stands before each event in a frame's body: its length, a little-endian `u32`.
pub const EVENT_PREFIX_BYTES: usize = 4;

/// The fixed part of a frame.
pub const FRAME_HEADER_BYTES: usize = 48;

/// The largest frame, header included, unless a single event is larger: small enough that damage
/// costs little and that a reader holds it in memory.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// The largest body of a frame of more than one event.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;

/// The largest body that any frame can have: one event of the largest size.
pub const BODY_BYTES_CEILING: usize = EVENT_PREFIX_BYTES + EVENT_BYTES_MAX;

/// The largest event that may hold the salt of the segment that it lies in. Only an event that
/// holds a copy of the segment does, so none of more bytes than this looks like frames, and frames
/// that continue each other for longer are no copy. The writer looks for it, which costs a fraction
/// of copying such an event.
pub const SALTED_EVENT_BYTES_MAX: usize = 64 * 1024;

/// The largest offset that is believed. Half of what a `u64` can hold: sums of offsets and counts
/// cannot overflow, and no clock lives long enough to reach it.
pub const OFFSET_MAX: u64 = u64::MAX / 2;

/// A segment's header: a block of its own, so that no later write touches it.
pub const SEGMENT_HEADER_BYTES: usize = 4096;

/// How long a segment grows before the log rolls to the next one, unless configured.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// The smallest segment that can be configured: room for one largest event.
pub const SEGMENT_BYTES_MIN: u64 = 2 * 1024 * 1024;

/// What a segment reserves on disk at first; each further step is twice as large.
pub const ALLOCATE_BYTES_MIN: u64 = 64 * 1024;

/// The largest step in which a segment reserves room.
pub const ALLOCATE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a sealed segment may keep unused at its end; more is cut off.
pub const SEALED_TAIL_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// What a reader holds of a file: room for the largest frame.
pub const READ_BYTES_MAX: usize = 1024 * 1024;

/// What a reader reads at first; each further read is four times as large.
pub const READ_BYTES_MIN: usize = 64 * 1024;

/// Slices that one write takes (`IOV_MAX`).
pub const WRITE_SLICES_MAX: usize = 1024;

const _: () = assert!(FRAME_HEADER_BYTES + BODY_BYTES_CEILING <= READ_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < BODY_BYTES_CEILING);
const _: () = assert!(
    SEGMENT_BYTES_MIN >= (SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + BODY_BYTES_CEILING) as u64
);
