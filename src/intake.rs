//! The one place to wait between a socket and the log.
//!
//! A source reserves room before it hands events over; after that nothing can fail or block. A
//! slow disk becomes a slow socket here and nowhere else.

use std::ops::Range;

use standpipe_wal::Offset;
use tokio::sync::oneshot;

/// Whether a source may bring a stream into being by naming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownStreams {
    /// Any valid name opens a stream, up to `intake.streams_max`.
    Open,
    /// Only streams that the configuration names.
    Configured,
}

/// Why events were not accepted. The code is what a client sees and what the counters are kept by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is no stream name.
    #[error("{0}")]
    BadStream(#[from] standpipe_wal::stream_name::InvalidStreamName),
    /// The source takes configured streams only.
    #[error("the stream is not configured and this source does not open new ones")]
    UnknownStream,
    /// Too many streams exist.
    #[error("there are already {max} streams (intake.streams_max)")]
    TooManyStreams {
        /// The configured limit.
        max: usize,
    },
    /// The line has no space behind the stream name.
    #[error("a line is STREAM, one space, PAYLOAD")]
    Malformed,
    /// The payload is empty.
    #[error("the payload is empty")]
    Empty,
    /// The event is over the size limit.
    #[error("the event is larger than {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// The log is full and the stream's policy is to refuse.
    #[error("the log is full ({what})")]
    Full {
        /// Which limit was reached.
        what: &'static str,
    },
    /// The log cannot be written at the moment. After a write was tried: the event may be stored.
    #[error("the log cannot be written: {reason}")]
    Unavailable {
        /// What the disk said.
        reason: String,
    },
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

impl Refusal {
    /// The stable word for programs: in `NAK`, in metrics, in `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadStream(_) => "bad_stream",
            Self::UnknownStream => "unknown_stream",
            Self::TooManyStreams { .. } => "too_many_streams",
            Self::Malformed => "malformed",
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::Full { .. } => "full",
            Self::Unavailable { .. } => "unavailable",
            Self::Stopping => "stopping",
        }
    }
}

/// What became of a run of events: their offsets once they are durable.
pub type Outcome = Result<Range<Offset>, Refusal>;

/// Where the answer goes; absent for fire and forget.
pub type Answer = oneshot::Sender<Outcome>;

/// The way into the log, for sources.
#[derive(Clone, Debug)]
pub struct Intake;

/// One stream's entrance; cheap to clone and to keep per connection.
#[derive(Clone, Debug)]
pub struct Door;

/// Room that was reserved. Submitting cannot wait and cannot fail.
#[must_use = "room that is not used stays taken"]
#[derive(Debug)]
pub struct Permit;

impl Intake {
    /// The stream of this name, opened if it is new and `unknown` allows it. Returns at once; the
    /// stream's directory is made and scanned by its owner.
    pub fn door(
        &self,
        _name: &standpipe_wal::StreamName,
        _unknown: UnknownStreams,
    ) -> Result<Door, Refusal> {
        unimplemented!()
    }

    /// Waits for room for `bytes` of encoded events of one stream (disk quota first, then memory).
    /// With the policy `reject`, or where the stream cannot be written and the client can be told
    /// (`answered`), a refusal comes at once. Cancel safe. Never hold one permit while waiting for
    /// another.
    pub async fn reserve(
        &self,
        _door: &Door,
        _bytes: usize,
        _answered: bool,
    ) -> Result<Permit, Refusal> {
        unimplemented!()
    }
}

impl Door {
    /// The stream's name.
    pub fn name(&self) -> &standpipe_wal::StreamName {
        unimplemented!()
    }

    /// Counts events of this stream that were refused.
    pub fn count_refused(&self, _refusal: &Refusal, _events: u64) {}
}

impl Permit {
    /// Hands the events over. The answer comes once they are durable, or were refused after all.
    pub fn submit(self, _events: standpipe_wal::Events, _answer: Option<Answer>) {
        unimplemented!()
    }
}
