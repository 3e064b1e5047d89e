//! A single bad event is found and set aside; a stream that refuses everything loses nothing.

use super::*;
use crate::limits::{REFUSALS_BEFORE_DEAD_LETTER, REFUSALS_BETWEEN_MAX, REFUSED_EVENTS_MAX};
use crate::offsets::{Reason, Unconfirmed};

/// Refuses every call that holds one of these.
fn refuse(bad: impl Fn(u64) -> bool) -> impl FnMut(&[Span]) -> Answer {
    move |spans| {
        let hit = spans.iter().any(|span| bad(span.start.get()));
        if hit { failed(Trouble::Refused) } else { delivered(spans) }
    }
}

/// Events come one at a time, for a while.
fn more(world: &mut World, events: u64, mut destination: impl FnMut(&[Span]) -> Answer) {
    for _ in 0..events {
        world.events += 1;
        world.play(4, &mut destination);
    }
}

#[test]
fn a_bad_event_is_found_and_becomes_a_dead_letter() {
    for ordered in [false, true] {
        let bad = BTreeSet::from([17, 90]);
        let mut world = World::new(400, 4, ordered);
        world.play(60, refuse(|at| bad.contains(&at)));
        assert_eq!(world.confirmed.len(), 398, "every other event is delivered");
        more(&mut world, 12, refuse(|at| bad.contains(&at)));
        assert_eq!(world.buried, bad, "ordered: {ordered}");
        assert_eq!(world.uploader.window().committed().get(), world.events);
        assert_eq!(world.status.unconfirmed.snapshot()["dead_letter"], 2);
        assert_eq!(world.status.upload.state().state, "ok");
        assert!(world.uploader.is_idle());
        assert_eq!(world.uploader.unconfirmed_bytes(), 0);
        let progress = world.uploader.progress([7; 16]);
        assert_eq!((progress.log_id, progress.committed), ([7; 16], world.events));
        let letter = |at| Unconfirmed { start: at, end: at + 1, reason: Reason::DeadLetter };
        assert_eq!(progress.unconfirmed, [17, 90].map(letter));
    }
}

#[test]
fn records_that_are_refused_one_by_one_become_dead_letters() {
    let mut world = World::new(100, 2, false);
    world.play(50, |spans| {
        let fate = |span: &Span| match span.start.get() {
            5 => Fate::Refused { code: "Bad".to_owned(), message: String::new() },
            _ => Fate::Delivered,
        };
        Ok(spans.iter().map(fate).collect())
    });
    // The only other call was begun before the refusal: nobody can tell yet.
    assert_eq!((world.confirmed.len(), world.buried.len()), (99, 0));
    assert_eq!(world.status.upload.state().state, "refused");
    assert!(world.calls.is_empty());
}

/// Without a success after its refusal an event is kept, however often it is refused.
#[test]
fn nobody_but_the_last_event_of_a_stream_is_no_evidence() {
    let mut world = World::new(1, 4, false);
    world.play(100, |_| failed(Trouble::Refused));
    assert!(world.buried.is_empty());
    // Others are taken before and after it.
    more(&mut world, u64::from(REFUSALS_BEFORE_DEAD_LETTER) + 1, refuse(|at| at == 0));
    assert_eq!(world.buried, BTreeSet::from([0]));
    assert_eq!(world.uploader.window().committed(), Offset::new(world.events));
}

/// A proxy that answers 400 to everything, for a while, again and again.
#[test]
fn what_refuses_everything_now_and_then_makes_no_dead_letters() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new(4000, 4, false);
        for _ in 0..30 {
            let calls = random.u64(u64::from(REFUSALS_BETWEEN_MAX) + 1..80);
            world.play(calls, |_| failed(Trouble::Refused));
            let calls = random.u64(1..20);
            world.play(calls, delivered);
        }
        world.play(100_000, delivered);
        assert_eq!(world.uploader.window().committed(), Offset::new(4000));
        assert!(world.buried.is_empty(), "seed {seed}: {:?}", world.buried);
    }
}

#[test]
fn more_than_so_many_in_a_minute_is_a_matter_of_the_stream() {
    let mut world = World::new(3000, 4, false);
    let started = world.now;
    let some = || refuse(|at| at % 7 == 1);
    while world.now - started < Duration::from_secs(30) && world.sent < 20_000 {
        world.play(100, some());
    }
    let minutes = |world: &World| (world.now - started).as_secs_f64() / 60.0;
    let allowed = |world: &World| 60.0 * (1.0 + minutes(world));
    assert!(world.buried.len() >= 60, "{} buried", world.buried.len());
    assert!(
        f64::from(u32::try_from(world.buried.len()).unwrap()) <= allowed(&world),
        "{} buried",
        world.buried.len()
    );
    assert!(world.cursor < 3000, "the stream stops taking events");
    assert!(world.uploader.waiting.len() <= REFUSED_EVENTS_MAX + 4 * 40, "and what was under way");
    let state = world.status.upload.state();
    assert_eq!(state.state, "refused");
    assert!(state.reason.contains("at most 60 dead letters a minute"), "{state:?}");
    // Whatever it was, it is mended: what was kept is delivered.
    let buried = world.buried.len();
    world.play(100_000, delivered);
    assert_eq!(world.uploader.window().committed(), Offset::new(3000));
    assert_eq!(world.buried.len(), buried);
    assert_eq!(world.status.upload.state().state, "ok");
}

#[test]
fn a_letter_that_cannot_be_stored_keeps_its_event() {
    let mut world = World::new(40, 1, false);
    world.full = Some(0);
    more(&mut world, 20, refuse(|at| at == 3));
    assert!(world.full.is_some_and(|times| times > 1), "it is tried again");
    let state = world.status.upload.state();
    assert_eq!((state.state.as_str(), state.reason.as_str()), ("refused", "the disk is full"));
    assert_eq!(world.uploader.window().committed(), Offset::new(3));
    world.full = None;
    more(&mut world, 20, refuse(|at| at == 3));
    assert_eq!(world.buried, BTreeSet::from([3]));
    assert_eq!(world.uploader.window().committed().get(), world.events);
}

/// Refuses so many calls in a row, whatever they hold, then takes one; never the first event, as bad
/// luck has it.
fn in_spells(refusals: u32) -> impl FnMut(&[Span]) -> Answer {
    let mut refused = 0;
    move |spans| {
        if refused >= refusals && spans.iter().all(|span| span.start.get() != 0) {
            refused = 0;
            return delivered(spans);
        }
        refused += 1;
        failed(Trouble::Refused)
    }
}

/// A success before and one behind prove nothing about an event that was refused together with many
/// others.
#[test]
fn many_refusals_between_two_successes_are_no_evidence_against_one_event() {
    let mut world = World::new(400, 4, false);
    world.play(4000, in_spells(REFUSALS_BETWEEN_MAX + 1));
    assert!(world.confirmed.len() > 100, "{} confirmed", world.confirmed.len());
    assert_eq!(world.buried, BTreeSet::new());
    // With few enough beside it, it is known to be at fault.
    more(&mut world, 100, in_spells(2));
    assert!(world.buried.contains(&0));
}
