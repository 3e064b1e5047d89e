//! Programs that hand events over, as the sources do it for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use standpipe::intake::{Door, Intake, Outcome, UnknownStreams};
use standpipe_wal::{Events, Flags};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::payload::{self, Id};
use crate::trace::Trace;

/// A program that lives as long as the simulation.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) stream: String,
    /// Whether it waits for acknowledgements.
    pub(crate) answered: bool,
    /// The longest pause between two runs of events, in milliseconds.
    pub(crate) pause_ms_max: u64,
    pub(crate) filler_bytes_max: u64,
    /// The number of its next event.
    pub(crate) serial: Arc<AtomicU32>,
}

/// Runs that may wait for their answer.
const WINDOW: usize = 6;

struct Unanswered {
    ids: Vec<Id>,
    outcome: oneshot::Receiver<Outcome>,
}

/// Sends until told that it is enough, then waits for the answers that are due.
pub(crate) async fn run(
    client: Client,
    intake: Intake,
    mut chance: Chance,
    enough: Arc<AtomicBool>,
    ledger: Ledger,
    trace: Trace,
) {
    let door = intake.door(&client.stream.parse().unwrap(), UnknownStreams::Open).unwrap();
    let mut window = VecDeque::new();
    while !enough.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(chance.between(0, client.pause_ms_max))).await;
        let (events, ids) = client.events(&mut chance);
        let submitted = submit(&client, &intake, &door, events, ids, &ledger, &trace).await;
        window.extend(submitted);
        while window.len() > WINDOW {
            settle(&client, window.pop_front(), &ledger, &trace).await;
        }
    }
    while !window.is_empty() {
        settle(&client, window.pop_front(), &ledger, &trace).await;
    }
}

impl Client {
    /// Some events, of one kind.
    fn events(&self, chance: &mut Chance) -> (Events, Vec<Id>) {
        let raw = chance.one_in(8);
        let count = chance.between(1, 8);
        let mut events = Events::with_capacity(4096, Flags { raw });
        let mut ids = Vec::new();
        for _ in 0..count {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let id = Id { client: self.number, serial };
            let bytes = chance.between(0, self.filler_bytes_max);
            events.push(&payload::encode(id, usize::try_from(bytes).unwrap()));
            ids.push(id);
        }
        (events, ids)
    }
}

async fn submit(
    client: &Client,
    intake: &Intake,
    door: &Door,
    events: Events,
    ids: Vec<Id>,
    ledger: &Ledger,
    trace: &Trace,
) -> Option<Unanswered> {
    let count = ids.len() as u64;
    let permit = match intake.reserve(door, events.body().len(), client.answered).await {
        Ok(permit) => permit,
        Err(refusal) => {
            door.count_refused(&refusal, count);
            trace.line(&format!("turned away {} {}", ids[0], refusal.code()));
            ledger.books().stream(&client.stream).this_life.turned_away += count;
            return None;
        }
    };
    ledger.books().stream(&client.stream).this_life.submitted += count;
    let (answer, outcome) = oneshot::channel();
    permit.submit(events, client.answered.then_some(answer));
    client.answered.then_some(Unanswered { ids, outcome })
}

/// Takes the answer to the oldest run.
async fn settle(client: &Client, oldest: Option<Unanswered>, ledger: &Ledger, trace: &Trace) {
    let Some(Unanswered { ids, outcome }) = oldest else { return };
    match outcome.await {
        Ok(Ok(range)) => {
            let range = range.start.get()..range.end.get();
            trace.line(&format!("ack {} {} {range:?}", client.stream, ids[0]));
            ledger.books().acknowledged(&client.stream, &range, &ids);
        }
        Ok(Err(refusal)) => trace.line(&format!("refused {} {}", ids[0], refusal.code())),
        Err(_gone) => trace.line(&format!("unanswered {}", ids[0])),
    }
}
