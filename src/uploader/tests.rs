use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use standpipe_wal::Offset;

use super::attempt::Answer;
use super::*;
use crate::limits::{REFUSALS_BEFORE_SLOW, billed_bytes};
use crate::router::aggregate::Packed;
use crate::sink::{Failure, Fate};

mod answers;
mod lines;
mod patience;
mod patterns;
mod poison;
mod trials;
mod turns;

/// Records of one event each, of this size.
const RECORD_BYTES: usize = 10_000;
const CALL_BYTES: usize = 400_000;

/// A log of one-event records, an uploader, and a destination that the test plays.
struct World {
    uploader: Uploader,
    status: Arc<StreamStatus>,
    now: Instant,
    events: u64,
    cursor: u64,
    /// Calls in flight: what each holds.
    calls: BTreeMap<u64, Vec<Span>>,
    /// How often each event was confirmed.
    confirmed: BTreeMap<u64, u32>,
    /// The events that became dead letters.
    buried: BTreeSet<u64>,
    /// Whether there is no more room for them, and how often that was said.
    full: Option<u32>,
    sent: u64,
}

impl World {
    fn new(events: u64, in_flight_max: usize, ordered: bool) -> Self {
        let status = Arc::new(StreamStatus::default());
        let condition =
            Condition::new("s".parse().unwrap(), "sink".to_owned(), Arc::clone(&status));
        let uploader = Uploader::new(
            Overlap::new(in_flight_max, ordered),
            CALL_BYTES,
            Window::new(Offset::ZERO),
            Backoff::new(Duration::from_secs(30), 1),
            60,
            condition,
            Arc::clone(&status),
        );
        Self {
            uploader,
            status,
            now: Instant::now(),
            events,
            cursor: 0,
            calls: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            buried: BTreeSet::new(),
            full: None,
            sent: 0,
        }
    }

    /// As after several calls that were taken.
    fn at_full_speed(mut self) -> Self {
        (0..10).for_each(|_| self.uploader.overlap.taken());
        self
    }

    /// Starts what can be started now. Returns when it would have to wait, and until when.
    fn start(&mut self) -> Option<Instant> {
        loop {
            let fresh = self.cursor < self.events;
            let could = self.uploader.could_take_fresh();
            match self.uploader.next(self.now, fresh) {
                Next::Fresh(id) => {
                    assert!(could);
                    let room = (self.uploader.call_bytes_max() / RECORD_BYTES).max(1) as u64;
                    let end = (self.cursor + room).min(self.events);
                    let ranges = [range(self.cursor, end)];
                    self.cursor = end;
                    self.send(id, &ranges);
                }
                Next::Again(id, batch) => self.send(id, &batch.ranges),
                Next::Bury(id, batch, reason) => {
                    assert!(!reason.is_empty());
                    assert_eq!(batch.events(), 1);
                    let outcome = if let Some(times) = &mut self.full {
                        *times += 1;
                        Err("the disk is full".to_owned())
                    } else {
                        self.buried.insert(batch.start().get());
                        Ok(RECORD_BYTES as u64)
                    };
                    self.uploader.buried(id, outcome, self.now);
                    self.check();
                }
                Next::Wait(until) => {
                    assert!(!fresh || !could || self.uploader.is_out());
                    return until;
                }
            }
        }
    }

    /// Packs as much as a call may hold; the rest goes back.
    fn send(&mut self, id: u64, ranges: &[Range<Offset>]) {
        let room = (self.uploader.call_bytes_max() / RECORD_BYTES).max(1);
        let all = ranges.iter().flat_map(|range| range.start.get()..range.end.get());
        let spans: Vec<Span> = all.clone().take(room).map(span).collect();
        for span in &spans {
            let times = self.confirmed.get(&span.start.get()).copied().unwrap_or(0);
            assert_eq!(times, 0, "a confirmed record was sent again");
        }
        let rest = all.skip(room).map(|at| range(at, at + 1)).collect();
        let packed = Packed { spans: spans.clone(), ..Packed::default() };
        let mut read = Read { packed, rest, first_ms: Some(1), ..Read::default() };
        self.sent += 1;
        assert!(self.uploader.built(id, &mut read, self.now));
        self.calls.insert(id, spans);
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        let spans = self.calls.remove(&id).unwrap();
        if let Ok(fates) = &answer
            && fates.len() == spans.len()
        {
            for (span, fate) in spans.iter().zip(fates) {
                if *fate == Fate::Delivered {
                    *self.confirmed.entry(span.start.get()).or_default() += 1;
                }
            }
        }
        self.uploader.answered(id, answer, self.now);
        self.check();
    }

    /// The committed offset never passes an event that was not confirmed.
    fn check(&self) {
        let committed = self.uploader.window().committed().get();
        let settled = |at: &u64| self.confirmed.contains_key(at) || self.buried.contains(at);
        let first_open = (0..self.events).find(|at| !settled(at));
        assert_eq!(committed, first_open.unwrap_or(self.events));
        assert_eq!(self.status.committed.value(), committed);
        assert_eq!(self.status.delivered_events.value(), self.confirmed.len() as u64);
        assert_eq!(self.uploader.in_flight(), self.calls.len());
        // What was taken from the log, and is neither confirmed nor a dead letter.
        let open = (0..self.cursor).filter(|at| !settled(at)).count() as u64;
        assert_eq!(self.uploader.unconfirmed_bytes(), open * RECORD_BYTES as u64);
        assert_eq!(self.uploader.oldest_ms(), (open > 0).then_some(1));
        if open == 0 || !self.calls.is_empty() {
            assert_eq!(self.uploader.is_idle(), open == 0 && self.calls.is_empty());
        }
    }

    /// Lets the destination answer every call at once until nothing is left to do, or so many calls
    /// were made.
    fn play(&mut self, calls_max: u64, mut destination: impl FnMut(&[Span]) -> Answer) {
        let end = self.sent + calls_max;
        while self.sent < end {
            let until = self.start();
            if let Some((&id, spans)) = self.calls.first_key_value() {
                let answer = destination(spans);
                self.answer(id, answer);
            } else if let Some(until) = until {
                self.now = self.now.max(until);
            } else {
                return;
            }
        }
    }
}

fn range(start: u64, end: u64) -> Range<Offset> {
    Offset::new(start)..Offset::new(end)
}

fn span(at: u64) -> Span {
    let Range { start, end } = range(at, at + 1);
    let (bytes, payload_bytes) = (RECORD_BYTES, RECORD_BYTES);
    Span { start, end, bytes, payload_bytes, billed_alone_bytes: billed_bytes(bytes) }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the answers that a call can have")]
fn delivered(spans: &[Span]) -> Answer {
    Ok(vec![Fate::Delivered; spans.len()])
}

fn failed(trouble: Trouble) -> Answer {
    Err(Failure { trouble, ambiguous: trouble == Trouble::TimedOut, message: "no".to_owned() })
}

fn retry() -> Fate {
    Fate::Retry { trouble: Trouble::Throttled, code: "SlowDown".to_owned(), message: String::new() }
}

#[test]
fn several_calls_are_in_flight_and_end_in_any_order() {
    let mut world = World::new(200, 4, false).at_full_speed();
    assert_eq!(world.start(), None);
    assert_eq!(world.calls.len(), 4);
    for id in [2, 0, 3, 1] {
        let answer = delivered(&world.calls[&id]);
        world.answer(id, answer);
    }
    world.play(100, delivered);
    assert_eq!(world.uploader.window().committed(), Offset::new(200));
}

#[test]
fn only_failed_records_are_sent_again() {
    let mut world = World::new(40, 4, false);
    world.start();
    let fates = (0..40).map(|at| if at % 3 == 0 { retry() } else { Fate::Delivered }).collect();
    world.answer(0, Ok(fates));
    assert_eq!(world.status.upload.state().state, "throttled");
    let mut again = Vec::new();
    world.play(1, |spans| {
        again.extend(spans.iter().map(|span| span.start.get()));
        delivered(spans)
    });
    assert_eq!(again, (0..40).filter(|at| at % 3 == 0).collect::<Vec<_>>());
    assert_eq!(world.uploader.window().committed(), Offset::new(40));
    assert_eq!(world.status.upload.state().state, "ok");
    assert_eq!(world.status.retried.snapshot()["throttled"], 14);
}

#[test]
fn during_an_outage_one_call_at_a_time_asks_and_pauses_grow() {
    let mut world = World::new(1000, 4, false).at_full_speed();
    world.start();
    for id in 0..4 {
        world.answer(id, failed(Trouble::Unreachable));
    }
    assert!(world.uploader.is_out());
    assert_eq!(world.uploader.failures, 1, "calls that failed together are one failure");
    for probes in 2..12 {
        let until = world.start().expect("a pause");
        assert!(world.calls.is_empty());
        world.now = until;
        world.start();
        assert_eq!(world.calls.len(), 1);
        let id = *world.calls.keys().next().unwrap();
        world.answer(id, failed(Trouble::Unreachable));
        assert_eq!(world.uploader.failures, probes);
    }
    assert_eq!(world.status.upload.state().state, "unreachable");
    world.play(1000, delivered);
    assert_eq!(world.status.upload.state().state, "ok");
    assert_eq!(world.uploader.window().committed(), Offset::new(1000));
}

#[test]
fn unknown_outcomes_are_counted_as_possible_duplicates() {
    let mut world = World::new(40, 1, false);
    world.start();
    world.answer(0, failed(Trouble::TimedOut));
    assert_eq!(world.status.possible_duplicates.value(), 40);
    assert_eq!(world.uploader.size.limit(), CALL_BYTES / 2, "a time-out halves the calls");
    assert_eq!(world.uploader.call_bytes_max(), CALL_BYTES_FLOOR, "and a probe is small");
    let mut calls = Vec::new();
    world.play(10, |spans| {
        calls.push(spans.len());
        delivered(spans)
    });
    assert_eq!(calls, [6, 20, 14], "a probe, a call of half the size, and what is left");
    assert_eq!(world.uploader.window().committed(), Offset::new(40));
}

#[test]
fn what_is_left_of_several_calls_goes_in_one() {
    let mut world = World::new(160, 4, false).at_full_speed();
    world.start();
    for id in 0..4 {
        let fates = (0..40).map(|at| if at % 10 == 0 { retry() } else { Fate::Delivered });
        world.answer(id, Ok(fates.collect()));
    }
    world.now += Duration::from_secs(1);
    world.start();
    let calls: Vec<usize> = world.calls.values().map(Vec::len).collect();
    assert_eq!(calls, [16]);
    world.play(1, delivered);
    assert_eq!(world.uploader.window().committed(), Offset::new(160));
}

/// The figure: with a tenth of the records refused for now, how many are sent for each accepted.
#[test]
fn partial_failure_costs_what_was_refused_and_no_more() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut world = World::new(10_000, 4, false);
    let mut records_sent = 0;
    world.play(100_000, |spans| {
        records_sent += u32::try_from(spans.len()).unwrap();
        let fate = |_: &Span| if random.f64() < 0.1 { retry() } else { Fate::Delivered };
        Ok(spans.iter().map(fate).collect())
    });
    assert_eq!(world.confirmed.len(), 10_000);
    let ratio = f64::from(records_sent) / 10_000.0;
    println!(
        "10 % of the records refused: {ratio:.3} records sent per record accepted, {} calls",
        world.sent
    );
    assert!(ratio <= 1.12, "{ratio}");
}

#[test]
fn a_size_refusal_makes_calls_smaller_without_a_pause() {
    let mut world = World::new(400, 4, false);
    let started = world.now;
    world.play(
        1000,
        |spans| {
            if spans.len() > 11 { failed(Trouble::TooLarge) } else { delivered(spans) }
        },
    );
    assert_eq!(world.uploader.window().committed(), Offset::new(400));
    assert_eq!(world.now, started, "nothing had to wait");
    assert_eq!(world.uploader.call_bytes_max(), CALL_BYTES / 4, "and it is remembered");
}

#[test]
fn a_destination_that_refuses_everything_is_not_asked_about_every_event() {
    let mut world = World::new(10_000, 4, false);
    let started = world.now;
    world.play(300, |_| failed(Trouble::Refused));
    assert!(world.confirmed.is_empty());
    assert!(world.buried.is_empty(), "nothing was taken that could show who is at fault");
    assert!(world.cursor < 4000, "the backlog stays in the log: {}", world.cursor);
    assert_eq!(world.status.upload.state().state, "refused");
    let calls_without_pause = u64::from(REFUSALS_BEFORE_SLOW);
    assert!(world.now - started > Duration::from_secs(300 - calls_without_pause), "asked slowly");
    world.play(10_000, delivered);
    assert_eq!(world.uploader.window().committed(), Offset::new(10_000));
}

#[test]
fn what_is_missing_is_passed_with_its_reason_and_what_was_delivered_before_stays() {
    let mut world = World::new(10, 4, false);
    let Next::Fresh(id) = world.uploader.next(world.now, true) else { panic!("events wait") };
    let mut read = Read {
        packed: Packed { spans: (4..10).map(span).collect(), ..Packed::default() },
        missing: vec![(range(0, 4), crate::offsets::Reason::Lost)],
        first_ms: Some(1),
        ..Read::default()
    };
    assert!(world.uploader.built(id, &mut read, world.now));
    assert_eq!(world.uploader.window().committed(), Offset::new(4));
    assert_eq!(world.status.unconfirmed.snapshot()["lost"], 4);
    world.uploader.answered(id, Ok(vec![Fate::Delivered; 6]), world.now);
    assert_eq!(world.uploader.window().committed(), Offset::new(10));
}

#[test]
fn trouble_with_the_log_is_a_state_and_ends() {
    let mut world = World::new(10, 4, false);
    let Next::Fresh(id) = world.uploader.next(world.now, true) else { panic!("events wait") };
    world.uploader.unreadable(id, "no such device", world.now);
    assert_eq!(world.status.upload.state().state, "failing");
    world.play(10, delivered);
    assert_eq!(world.uploader.window().committed(), Offset::new(10));
    assert_eq!(world.status.upload.state().state, "ok");
}
