//! A destination in every mood that the network and a service have, and its book of what it took.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use standpipe::sink::{BoxFuture, Call, Failure, Fate, Limits, Sink, SinkConfig, Trouble};
use standpipe_wal::fs::sim::SimFs;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::payload::{self, Id};
use crate::trace::Trace;

/// How the destination behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Takes everything.
    Fair,
    /// Some records of each call are not taken now.
    Partial,
    /// Every call fails in this way.
    Storm(Trouble),
    /// Never answers; takes what it gets, or not.
    Silent,
    /// Every few calls something else.
    Moody,
}

const TROUBLES: [Trouble; 8] = [
    Trouble::Throttled,
    Trouble::Missing,
    Trouble::Denied,
    Trouble::Unreachable,
    Trouble::TimedOut,
    Trouble::Faulty,
    Trouble::TooLarge,
    Trouble::Refused,
];

impl Weather {
    pub(crate) fn any(chance: &mut Chance) -> Self {
        match chance.between(0, 6) {
            0 => Self::Fair,
            1 => Self::Partial,
            2 | 3 => Self::Storm(chance.pick(&TROUBLES)),
            4 => Self::Silent,
            _ => Self::Moody,
        }
    }
}

/// The destination's own state; it outlives the agent.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) weather: Weather,
    /// Whether some events are refused, one by one, for as long as this holds.
    pub(crate) poison: bool,
    chance: Chance,
    calls: u64,
}

impl Destination {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { weather: Weather::Fair, poison: false, chance, calls: 0 }
    }
}

/// One agent's way to it.
#[derive(Clone, Debug)]
pub(crate) struct MoodySink {
    pub(crate) destination: Arc<Mutex<Destination>>,
    pub(crate) fs: SimFs,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answer,
    Partial,
    Fail {
        trouble: Trouble,
        ambiguous: bool,
    },
    Silence,
    /// One result too many or too few.
    WrongCount,
    Panic,
}

/// What panics of the simulation itself say.
pub(crate) const PLANNED_PANIC: &str = "a planned panic of the destination";

const LIMITS: Limits =
    Limits { records_max: 40, record_bytes_max: 20_000, call_bytes_max: 120_000 };

impl Sink for MoodySink {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn encoded_bytes(&self, data_bytes: usize, _records: usize) -> usize {
        data_bytes
    }

    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async move {
            self.power().await;
            let (number, mood, latency) = self.arrive(&call);
            sleep(latency).await;
            self.power().await;
            if mood == Mood::Silence {
                self.take_some(&call, true);
                return std::future::pending().await;
            }
            self.answer(number, mood, &call)
        })
    }
}

impl MoodySink {
    /// Where the power is off, nothing ever comes back.
    async fn power(&self) {
        if self.fs.is_off() {
            std::future::pending::<()>().await;
        }
    }

    fn arrive(&self, call: &Call) -> (u64, Mood, Duration) {
        let ids: Vec<Id> = self.records(call).into_iter().flatten().collect();
        self.ledger.books().arrived(&call.destination, &ids);
        let mut destination = self.destination.lock().unwrap();
        destination.calls += 1;
        let number = destination.calls;
        let mood = mood(&mut destination);
        let latency = Duration::from_millis(destination.chance.between(1, 300));
        let records = call.records.len();
        let (first, last) = (ids.first().copied(), ids.last().copied());
        self.trace.line(&format!(
            "call {number} {} {records} records {} events {first:?}..={last:?} {mood:?}",
            call.destination,
            ids.len()
        ));
        (number, mood, latency)
    }

    /// The events of each record.
    fn records(&self, call: &Call) -> Vec<Vec<Id>> {
        let events = |record: &[u8]| {
            payload::decode_all(record).unwrap_or_else(|problem| {
                self.ledger.books().violated("integrity", &problem);
                Vec::new()
            })
        };
        call.records.iter().map(events).collect()
    }

    fn answer(&self, number: u64, mood: Mood, call: &Call) -> Result<Vec<Fate>, Failure> {
        self.trace.line(&format!("answer {number} {mood:?}"));
        match mood {
            Mood::Answer | Mood::Silence => Ok(self.fates(call, false)),
            Mood::Partial => Ok(self.fates(call, true)),
            Mood::Fail { trouble, ambiguous } => {
                self.take_some(call, ambiguous);
                if matches!(trouble, Trouble::Refused | Trouble::TooLarge)
                    && let [alone] = self.records(call).concat().as_slice()
                {
                    let mut books = self.ledger.books();
                    books.stream(&call.destination).refused_alone.insert(*alone);
                }
                Err(Failure { trouble, ambiguous, message: format!("{trouble:?} by design") })
            }
            Mood::WrongCount => {
                self.take_some(call, true);
                let more = self.destination.lock().unwrap().chance.one_in(2);
                let records = call.records.len();
                let count = if more { records + 1 } else { records.saturating_sub(1) };
                Ok(vec![Fate::Delivered; count])
            }
            Mood::Panic => {
                self.take_some(call, true);
                panic!("{PLANNED_PANIC}")
            }
        }
    }

    /// Takes some records or none, and does not say which.
    fn take_some(&self, call: &Call, ambiguous: bool) {
        let all = self.destination.lock().unwrap().chance.between(0, 2);
        for events in self.records(call) {
            let taken = ambiguous
                && (all == 0 || all == 1 && self.destination.lock().unwrap().chance.one_in(2));
            let mut books = self.ledger.books();
            for id in events {
                if taken {
                    books.taken(&call.destination, id);
                }
                books.answered(&call.destination, id, false, ambiguous);
            }
        }
    }

    /// One fate per record.
    fn fates(&self, call: &Call, partial: bool) -> Vec<Fate> {
        let fate = |events: Vec<Id>| {
            let mut destination = self.destination.lock().unwrap();
            let mut books = self.ledger.books();
            let stream = &*call.destination;
            let ordered = books.stream(stream).ordered;
            if destination.poison && !ordered && events.iter().copied().any(is_poison) {
                if let [alone] = events.as_slice() {
                    books.stream(stream).refused_alone.insert(*alone);
                }
                for id in events {
                    books.answered(stream, id, false, false);
                }
                return refused();
            }
            if partial && destination.chance.one_in(3) {
                let faulty = destination.chance.one_in(3);
                let taken = faulty && destination.chance.one_in(2);
                for id in events {
                    if taken {
                        books.taken(stream, id);
                    }
                    books.answered(stream, id, false, faulty);
                }
                return retry(if faulty { Trouble::Faulty } else { Trouble::Throttled });
            }
            for id in events {
                books.taken(stream, id);
                books.answered(stream, id, true, false);
            }
            Fate::Delivered
        };
        self.records(call).into_iter().map(fate).collect()
    }
}

fn is_poison(id: Id) -> bool {
    id.serial % 89 == 7
}

fn retry(trouble: Trouble) -> Fate {
    Fate::Retry { trouble, code: "ByDesign".into(), message: String::new() }
}

fn refused() -> Fate {
    Fate::Refused { code: "ByDesign".into(), message: String::new() }
}

fn mood(destination: &mut Destination) -> Mood {
    let Destination { weather, chance, .. } = destination;
    match *weather {
        Weather::Fair => Mood::Answer,
        Weather::Partial => Mood::Partial,
        Weather::Silent => Mood::Silence,
        Weather::Storm(trouble) => fail(trouble, chance),
        Weather::Moody => match chance.between(0, 11) {
            0 | 1 => fail(chance.pick(&TROUBLES), chance),
            2 => Mood::Silence,
            3 => Mood::WrongCount,
            4 if chance.one_in(3) => Mood::Panic,
            5..8 => Mood::Partial,
            _ => Mood::Answer,
        },
    }
}

fn fail(trouble: Trouble, chance: &mut Chance) -> Mood {
    let ambiguous = match trouble {
        // A connection that breaks before the body was sent, or after.
        Trouble::Unreachable | Trouble::Faulty => chance.one_in(2),
        Trouble::TimedOut => true,
        Trouble::Throttled
        | Trouble::Missing
        | Trouble::Denied
        | Trouble::TooLarge
        | Trouble::Refused => false,
    };
    Mood::Fail { trouble, ambiguous }
}

impl SinkConfig for MoodySink {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn build(&self) -> BoxFuture<'_, anyhow::Result<Arc<dyn Sink>>> {
        let sink: Arc<dyn Sink> = Arc::new(self.clone());
        Box::pin(async move { Ok(sink) })
    }
}
