//! The one place to wait between a socket and the log.
//!
//! A source reserves room before it hands events over; after that nothing can fail or block. A
//! slow disk becomes a slow socket here and nowhere else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use standpipe_wal::{Events, Offset, StreamName};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::{StreamConfig, WhenFull};
use crate::journal::quota::Landing;
use crate::journal::{Append, Journal, Message, Room, Stream, TooManyStreams};

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod tests;

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
    /// The source's rules do not allow this stream to whoever is at the other end.
    #[error("this user may not write to the stream")]
    Forbidden,
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
    /// The connection ended in the middle of the line.
    #[error("the connection ended before the line did")]
    Unfinished,
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
            Self::Forbidden => "forbidden",
            Self::TooManyStreams { .. } => "too_many_streams",
            Self::Malformed => "malformed",
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::Unfinished => "unfinished",
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

/// The way into the log, for sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Arc<Journal>,
    settings: RwLock<StreamTable>,
    memory: Arc<Semaphore>,
    memory_max: usize,
}

/// What holds for streams that are opened.
#[derive(Debug)]
struct StreamTable {
    default: StreamConfig,
    named: BTreeMap<StreamName, StreamConfig>,
}

/// One stream's entrance; cheap to clone and to keep per connection.
#[derive(Clone, Debug)]
pub struct Door(Arc<Stream>);

/// Room that was reserved. Submitting cannot wait and cannot fail.
#[must_use = "room that is not used stays taken"]
#[derive(Debug)]
pub struct Permit {
    stream: Arc<Stream>,
    slot: OwnedPermit<Message>,
    room: Room,
}

impl Intake {
    /// The way into `journal`, with `memory_max` bytes for what is accepted and not yet durable.
    pub fn new(
        journal: Arc<Journal>,
        stream_default: StreamConfig,
        streams: BTreeMap<StreamName, StreamConfig>,
        memory_max: usize,
    ) -> Self {
        let memory = Arc::new(Semaphore::new(memory_max));
        let table = StreamTable { default: stream_default, named: streams };
        let settings = RwLock::new(table);
        Self(Arc::new(Inner { journal, settings, memory, memory_max }))
    }

    /// What holds for streams that are opened from now on. Each stream that was opened with what
    /// held before is in the journal when this returns.
    pub fn set_streams(
        &self,
        stream_default: StreamConfig,
        streams: BTreeMap<StreamName, StreamConfig>,
    ) {
        let table = StreamTable { default: stream_default, named: streams };
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// The stream of this name, opened if it is new and `unknown` allows it. Returns at once; the
    /// stream's directory is made and scanned by its owner.
    pub fn door(&self, name: &StreamName, unknown: UnknownStreams) -> Result<Door, Refusal> {
        let inner = &*self.0;
        // Held until the stream is in the journal: whoever changes the settings finds it there.
        let table = inner.settings.read().unwrap_or_else(PoisonError::into_inner);
        let settings = match (table.named.get(name), unknown) {
            (Some(settings), _) => settings,
            (None, UnknownStreams::Open) => &table.default,
            (None, UnknownStreams::Configured) => return Err(Refusal::UnknownStream),
        };
        match inner.journal.find_or_add(name, settings) {
            Ok(stream) => Ok(Door(stream)),
            Err(TooManyStreams { max }) => Err(Refusal::TooManyStreams { max }),
        }
    }

    /// Waits for room for `bytes` of encoded events of one stream (disk quota first, then memory).
    /// With the policy `reject`, or where the stream cannot be written and the client can be told
    /// (`answered`), a refusal comes at once. Cancel safe. Never hold one permit while waiting for
    /// another.
    pub async fn reserve(
        &self,
        door: &Door,
        bytes: usize,
        answered: bool,
    ) -> Result<Permit, Refusal> {
        let stream = &door.0;
        self.wait_until_writable(stream, answered).await?;
        self.wait_for_disk(stream, bytes as u64).await?;
        let room = self.take_share(stream, bytes).await?;
        let Ok(slot) = stream.owner.clone().reserve_owned().await else {
            return Err(Refusal::Stopping);
        };
        Ok(Permit { stream: stream.clone(), slot, room })
    }

    /// Waits for memory. No stream takes more than it leaves to the others: events of clients that
    /// cannot be told are kept while their log cannot be written, and two such streams with half of
    /// the memory each would stop all. Each further one takes half of what is left at most. A stream
    /// that holds nothing may take what it asks for.
    async fn take_share(&self, stream: &Stream, bytes: usize) -> Result<Room, Refusal> {
        let Inner { memory, memory_max, journal, .. } = &*self.0;
        let Ok(_turn) = stream.turn.acquire().await else { return Err(Refusal::Stopping) };
        if !self.is_fair(stream, bytes) {
            // Made before the next look: what lands in between is seen.
            let mut relief = journal.quota().relief();
            while !self.is_fair(stream, bytes) {
                relief.changed().await;
            }
        }
        // Made first, so that it is dropped last wherever this ends.
        let landing = Landing::new(journal.quota());
        let total = take(memory, bytes, *memory_max).await?;
        let own = take(&stream.room, bytes, stream.room_bytes).await?;
        Ok(Room { _total: total, _stream: own, _landing: landing })
    }

    /// Whether a stream with `bytes` more holds no more than it leaves.
    fn is_fair(&self, stream: &Stream, bytes: usize) -> bool {
        let own_left = stream.room.available_permits();
        let held = stream.room_bytes - own_left;
        held == 0 || (bytes <= own_left && held + 2 * bytes <= self.0.memory.available_permits())
    }

    async fn wait_until_writable(&self, stream: &Stream, answered: bool) -> Result<(), Refusal> {
        let reason = stream.closed.borrow().clone();
        let Some(reason) = reason else { return Ok(()) };
        if answered || stream.settings().when_full == WhenFull::Reject {
            return Err(Refusal::Unavailable { reason: reason.to_string() });
        }
        match stream.closed.subscribe().wait_for(Option::is_none).await {
            Ok(_) => Ok(()),
            Err(_gone) => Err(Refusal::Stopping),
        }
    }

    async fn wait_for_disk(&self, stream: &Stream, bytes: u64) -> Result<(), Refusal> {
        let Some(what) = self.full(stream, bytes) else {
            self.0.journal.settle(stream);
            return Ok(());
        };
        let reason = format!("{what} is reached");
        stream.full.met(bytes);
        if stream.status.log.enter("full", &reason).is_some() {
            tracing::warn!(stream = %stream.name, limit = what, "the log is full");
        }
        if stream.settings().when_full == WhenFull::Reject {
            return Err(Refusal::Full { what });
        }
        let waiting = stream.full.wait();
        let mut relief = self.0.journal.quota().relief();
        while self.full(stream, bytes).is_some() {
            relief.changed().await;
        }
        drop(waiting);
        self.0.journal.settle(stream);
        Ok(())
    }

    /// Which limit stands against `bytes` more.
    fn full(&self, stream: &Stream, bytes: u64) -> Option<&'static str> {
        let inner = &*self.0;
        let in_flight = (inner.memory_max - inner.memory.available_permits()) as u64;
        inner.journal.full(stream, in_flight, bytes)
    }
}

/// Takes `bytes` of `from`, or all of it where more is asked than there is.
async fn take(
    from: &Arc<Semaphore>,
    bytes: usize,
    all: usize,
) -> Result<OwnedSemaphorePermit, Refusal> {
    let bytes = u32::try_from(bytes.min(all)).unwrap_or(u32::MAX);
    match from.clone().acquire_many_owned(bytes).await {
        Ok(permit) => Ok(permit),
        Err(_closed) => Err(Refusal::Stopping),
    }
}

impl Door {
    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        &self.0.name
    }

    /// Counts events of this stream that were refused.
    pub fn count_refused(&self, refusal: &Refusal, events: u64) {
        self.0.status.refused.add(refusal.code(), events);
    }
}

impl Permit {
    /// Hands the events over. The answer comes once they are durable, or were refused after all.
    pub fn submit(self, events: Events, answer: Option<Answer>) {
        let Self { stream, slot, room } = self;
        slot.send(Message::Append(Append { stream, events, answer, room }));
    }
}
