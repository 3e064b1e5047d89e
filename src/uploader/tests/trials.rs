//! Events that were set aside: which of them is tried, when, and what that proves.

use super::*;
use crate::limits::{REFUSALS_BEFORE_DEAD_LETTER, REFUSED_RETRY_INTERVAL, TRIALS_IN_VAIN_MAX};

/// So many events, each of which was refused alone by a destination that takes nothing.
fn set_aside(events: u64) -> World {
    let mut world = World::new(events, 4, false);
    while !world.uploader.is_idle() || world.cursor < events {
        world.play(1, |_| failed(Trouble::Refused));
    }
    assert!(world.calls.is_empty());
    world
}

/// The event of the next call, which is refused, and when that was.
fn next_trial(world: &mut World) -> (u64, Instant) {
    let mut tried = None;
    world.play(1, |spans| {
        assert_eq!(spans.len(), 1);
        tried = spans.first().map(|span| span.start.get());
        failed(Trouble::Refused)
    });
    (tried.expect("a call"), world.now)
}

#[test]
fn one_event_after_the_other_is_tried_for_a_while_as_long_as_nothing_is_taken() {
    let mut world = set_aside(3);
    let mut tried = Vec::new();
    for _ in 0..TRIALS_IN_VAIN_MAX * 7 {
        tried.push(next_trial(&mut world).0);
    }
    let rounds: Vec<_> = tried.chunk_by(|one, next| one == next).collect();
    assert!(rounds.iter().all(|round| round.len() == TRIALS_IN_VAIN_MAX as usize), "{tried:?}");
    // Whichever of them begins, all of them have their turn, again and again in the same order.
    let order: Vec<u64> = rounds.iter().map(|round| round[0]).collect();
    assert_eq!(order[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{order:?}");
    assert_eq!(order[..4], order[3..]);
}

#[test]
fn an_event_is_tried_again_after_half_to_a_whole_interval() {
    let mut world = set_aside(1);
    let mut before = world.now;
    let mut pauses = Vec::new();
    for _ in 0..50 {
        let (_, at) = next_trial(&mut world);
        pauses.push(at - before);
        before = at;
    }
    let half = REFUSED_RETRY_INTERVAL / 2;
    assert!(pauses.iter().all(|pause| (half..=half * 2).contains(pause)), "{pauses:?}");
    for quarter in [half / 4, half / 4 * 3] {
        let early = pauses.iter().filter(|pause| **pause < half + quarter).count();
        assert!((5..45).contains(&early), "not spread: {pauses:?}");
    }
}

/// Calls that are taken after a refusal prove something once, however many they are.
#[test]
fn an_event_has_to_be_refused_anew_for_each_proof() {
    let mut world = set_aside(1).at_full_speed();
    for round in 0..REFUSALS_BEFORE_DEAD_LETTER {
        // It was refused, and other calls are begun while it waits.
        world.events += 160;
        assert_ne!(world.start(), Some(world.now));
        let others: Vec<u64> = world.calls.keys().copied().collect();
        assert_eq!(others.len(), 4, "round {round}");
        for id in others {
            let answer = delivered(&world.calls[&id]);
            world.answer(id, answer);
        }
        world.start();
        let is_last = round + 1 == REFUSALS_BEFORE_DEAD_LETTER;
        assert_eq!(world.buried.contains(&0), is_last, "round {round}");
        // At once, now that others are taken.
        assert_eq!(world.calls.len(), usize::from(!is_last));
        if let Some((&id, spans)) = world.calls.first_key_value() {
            assert_eq!(spans[0].start, Offset::ZERO);
            world.answer(id, failed(Trouble::Refused));
        }
    }
}

/// The log was read for it, and its call had no room after all.
#[test]
fn an_event_that_was_not_sent_again_was_not_refused_again() {
    let mut world = set_aside(1).at_full_speed();
    world.now = world.start().expect("a time");
    let Next::Again(id, batch) = world.uploader.next(world.now, false) else { panic!("a trial") };
    let mut read = Read { rest: batch.ranges, ..Read::default() };
    assert!(!world.uploader.built(id, &mut read, world.now));
    // Calls that are under way meanwhile say nothing about it.
    world.events += 160;
    world.start();
    for id in world.calls.keys().copied().collect::<Vec<_>>() {
        let answer = delivered(&world.calls[&id]);
        world.answer(id, answer);
    }
    let mut refusals = 0;
    for _ in 0..REFUSALS_BEFORE_DEAD_LETTER * 4 {
        world.events += 1;
        world.play(2, |spans| {
            let bad = spans[0].start == Offset::ZERO;
            refusals += u32::from(bad);
            if bad { failed(Trouble::Refused) } else { delivered(spans) }
        });
    }
    assert_eq!(world.buried, BTreeSet::from([0]));
    assert_eq!(refusals, REFUSALS_BEFORE_DEAD_LETTER, "what was known about it is forgotten");
}
