//! What an owner is told.

use std::sync::Arc;

use standpipe_wal::{Events, Offset};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Stream;
use super::quota::Landing;
use crate::intake::Answer;

/// Events on their way to the disk, with the room that they take until they are durable.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) stream: Arc<Stream>,
    pub(crate) events: Events,
    pub(crate) answer: Option<Answer>,
    pub(crate) room: Room,
}

/// Memory that is given back when it is dropped: of all streams, and of this one.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) _total: OwnedSemaphorePermit,
    pub(crate) _stream: OwnedSemaphorePermit,
    /// Fields are dropped in this order: it tells of what the others have given back.
    pub(crate) _landing: Landing,
}

#[derive(Debug)]
pub(crate) enum Message {
    /// Open the log, when nothing else is to be done: events of other streams do not wait for it.
    Open(Arc<Stream>),
    /// Answer when every log that was to be opened was, or could not be.
    WhenOpened(oneshot::Sender<()>),
    /// Make these events durable.
    Append(Append),
    /// Everything below is confirmed, durably so; ranges that could not be read are named, so that
    /// the files that hold them are kept.
    Committed { stream: u32, committed: Offset, damaged: Vec<(u64, u64)> },
    /// Answer at once: this owner still gets to its messages.
    Probe(oneshot::Sender<()>),
    /// Answer when all that came before is dealt with.
    Flush(oneshot::Sender<()>),
    /// Seal every log and end.
    Close(oneshot::Sender<()>),
}
