//! How far a stream is durable: what its owner publishes and its reader waits on.

use standpipe_wal::Offset;

/// How far a stream is durable. Published after every sync; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The first offset that is not durable.
    pub offset: Offset,
    /// Payload bytes that became durable since the agent started.
    pub payload_bytes: u64,
    /// When the newest durable event was taken in, in milliseconds of Unix time.
    pub newest_ms: u64,
    /// Events below are to be delivered without waiting for company.
    pub hurry_to: Offset,
}
