//! Committed offsets: what was confirmed, per stream and sink, kept in sled and nowhere else.
//!
//! [`codec`] is what a value looks like, [`store`] the seam behind which sled sits, [`keeper`] decides
//! what to do when that fails, [`worker`] runs it for all streams, [`peek`] looks without
//! changing anything, [`sim`] is a store that forgets what was not synced.
//!
//! The store is a cache of progress, never the truth about data: without it, delivery begins again
//! at the oldest event that the log retains, which makes duplicates and loses nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use standpipe_wal::StreamName;

pub mod codec;
mod keeper;
pub mod peek;
#[doc(hidden)]
pub mod sim;
pub mod sled_store;
pub mod store;
mod worker;

pub use codec::Decoded;
pub use worker::{Offsets, OnDurable, Unsaved};

/// Whose progress: a stream towards a sink.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The stream.
    pub stream: StreamName,
    /// The sink's name in the configuration.
    pub sink: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} towards {}", self.stream, self.sink)
    }
}

/// How far a stream's delivery to a sink has come. Offsets are half-open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The log that the offsets belong to.
    pub log_id: [u8; 16],
    /// The first offset that is not committed.
    pub committed: u64,
    /// Ranges `[start, end)` beyond `committed` that are confirmed already, ascending, disjoint.
    pub delivered: Vec<(u64, u64)>,
    /// Ranges beyond `committed` that will never be confirmed, ascending, disjoint from those that
    /// are: what is stored as a dead letter is not sent again after a restart.
    pub passed: Vec<Unconfirmed>,
    /// Events passed without a confirmation, by reason. Enters the store together with the commit
    /// that passed them, so that the counts survive restarts. At most
    /// [`UNCONFIRMED_RANGES_MAX`](crate::limits::UNCONFIRMED_RANGES_MAX) ranges, the latest.
    pub unconfirmed: Vec<Unconfirmed>,
    /// How many events earlier ranges held, by reason; each reason once, ascending.
    pub folded: Vec<(Reason, u64)>,
}

impl Progress {
    /// Where the last event ends that is confirmed or was passed.
    pub fn end(&self) -> u64 {
        let delivered = self.delivered.last().map_or(self.committed, |&(_, end)| end);
        let passed = self.passed.last().map_or(self.committed, |passed| passed.end);
        delivered.max(passed).max(self.committed)
    }
}

/// A range that was passed without a confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The first offset.
    pub start: u64,
    /// The first offset not included.
    pub end: u64,
    /// Why.
    pub reason: Reason,
}

/// Why a range was passed without a confirmation. Stored by position: new reasons go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Proven to have been durable, and not readable any more.
    Lost,
    /// Nothing: no version has ever written it, and its place has to be kept.
    Reserved,
    /// Stored in a synced dead letter.
    DeadLetter,
    /// No longer in the log when the reader came to it.
    Trimmed,
    /// Never proven to have been durable: recovery left these offsets out.
    Unproven,
}

impl Reason {
    /// The stable word for people and programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Reserved => "reserved",
            Self::DeadLetter => "dead_letter",
            Self::Trimmed => "trimmed",
            Self::Unproven => "unproven",
        }
    }
}
