//! An intake whose log is in memory, so that a test decides when and how runs are answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standpipe_wal::{Events, Flags, Offset, StreamName, events};
use tokio::sync::mpsc;

use super::{Answer, Intake, Refusal};
use crate::config::{Aggregate, StreamConfig, defaults};
use crate::journal::{Append, Journal, Message, Room};
use crate::tasks;

/// What the double is made with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) memory: usize,
    pub(crate) streams_max: usize,
    pub(crate) configured: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory: 64 << 20, streams_max: 100, configured: Vec::new() }
    }
}

/// The owner's end: takes the runs.
#[derive(Debug)]
pub(crate) struct Owner {
    messages: mpsc::Receiver<Message>,
    pub(crate) journal: Arc<Journal>,
}

/// A run that was submitted. Its room is taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stream: StreamName,
    events: Events,
    answer: Option<Answer>,
    _room: Room,
}

/// Payloads by stream, in the order in which they were stored.
pub(crate) type Stored = Arc<Mutex<BTreeMap<String, Vec<Vec<u8>>>>>;

/// An intake and its owner.
pub(crate) fn pair(options: &Options) -> (Intake, Owner) {
    let (sender, messages) = mpsc::channel(1000);
    let journal = Journal::with_owner(sender, options.memory, options.streams_max);
    let journal = Arc::new(journal);
    let streams = options.configured.iter().map(|name| (name.parse().unwrap(), settings()));
    let intake = Intake::new(journal.clone(), settings(), streams.collect(), options.memory);
    (intake, Owner { messages, journal })
}

fn settings() -> StreamConfig {
    StreamConfig {
        sink: "none".into(),
        aggregate: Aggregate::Lines,
        linger: Duration::ZERO,
        in_flight_max: 1,
        ..defaults::stream()
    }
}

impl Owner {
    /// Waits for the next run.
    pub(crate) async fn next(&mut self) -> Run {
        loop {
            match self.messages.recv().await.unwrap() {
                Message::Append(Append { stream, events, answer, room }) => {
                    let stream = stream.name().clone();
                    return Run { stream, events, answer, _room: room };
                }
                Message::Open(_) | Message::Committed { .. } => {}
                Message::WhenOpened(done)
                | Message::Probe(done)
                | Message::Flush(done)
                | Message::Close(done) => {
                    done.send(()).unwrap();
                }
            }
        }
    }

    /// Whether a run is waiting now.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Stores everything from now on.
    pub(crate) fn store_all(mut self) -> Stored {
        let stored = Stored::default();
        let to = stored.clone();
        tasks::spawn(async move {
            while !self.messages.is_closed() || !self.messages.is_empty() {
                let run = self.next().await;
                let payloads = run.payloads();
                to.lock().unwrap().entry(run.stream.to_string()).or_default().extend(payloads);
                run.store(0);
            }
        });
        stored
    }
}

impl Run {
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        events::iter(self.events.body()).map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn flags(&self) -> Flags {
        self.events.flags()
    }

    /// Says that the run is durable from this offset on.
    pub(crate) fn store(self, first: u64) {
        let first = Offset::new(first);
        let stored = first..first.after(self.events.count().into());
        if let Some(answer) = self.answer {
            // Whoever asked may be gone.
            let _told = answer.send(Ok(stored)).is_ok();
        }
    }

    pub(crate) fn refuse(self, refusal: Refusal) {
        if let Some(answer) = self.answer {
            let _told = answer.send(Err(refusal)).is_ok();
        }
    }
}
