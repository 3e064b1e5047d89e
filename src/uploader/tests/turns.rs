//! What goes next, and what keeps the log waiting.

use super::*;
use crate::limits::{DELIVERED_RANGES_MAX, REFUSED_EVENTS_MAX};

const SECOND: Duration = Duration::from_secs(1);

/// So many records of a call are to come again, the others are taken.
fn come_again(world: &mut World, id: u64, again: usize) {
    let fate = |at| if at < again { retry() } else { Fate::Delivered };
    let fates = (0..world.calls[&id].len()).map(fate).collect();
    world.answer(id, Ok(fates));
}

/// Four calls under way.
fn four_calls() -> World {
    let mut world = World::new(160, 4, false).at_full_speed();
    world.start();
    assert_eq!(world.calls.len(), 4);
    world
}

/// The events of the call that goes next, which are sent again.
fn next_again(world: &mut World) -> Vec<Range<Offset>> {
    match world.uploader.next(world.now, false) {
        Next::Again(_, batch) => batch.ranges,
        next @ (Next::Fresh(_) | Next::Bury(..) | Next::Wait(_)) => panic!("{next:?}"),
    }
}

#[test]
fn what_is_due_goes_in_the_order_of_the_log_and_no_more_than_a_call_holds() {
    let mut world = four_calls();
    // The later ones are due sooner.
    for (id, again) in [(3, 2), (2, 15), (1, 15), (0, 20)] {
        come_again(&mut world, id, again);
        world.now += SECOND;
    }
    assert_eq!(next_again(&mut world)[0], range(0, 20));
    let rest = next_again(&mut world);
    assert_eq!(rest.len(), 1, "the first call had room for three of four: {rest:?}");
}

#[test]
fn what_is_not_due_yet_does_not_go_with_what_is() {
    let mut world = four_calls();
    come_again(&mut world, 0, 1);
    world.now += SECOND;
    come_again(&mut world, 1, 1);
    assert_eq!(next_again(&mut world), [range(0, 1)]);
}

#[test]
fn what_may_be_at_fault_goes_alone() {
    let mut world = four_calls();
    come_again(&mut world, 0, 1);
    world.answer(1, failed(Trouble::Refused));
    come_again(&mut world, 2, 1);
    world.now += SECOND;
    assert_eq!(next_again(&mut world), [range(0, 1), range(80, 81)]);
    assert_eq!(next_again(&mut world), [range(40, 60)]);
    // Also where it is the first that is due.
    let mut world = four_calls();
    world.answer(0, failed(Trouble::Refused));
    come_again(&mut world, 1, 1);
    world.now += SECOND;
    for expected in [range(0, 20), range(20, 40)] {
        assert_eq!(next_again(&mut world), [expected]);
    }
}

/// A call must not depend on what others hold, and none is asked about for ever.
#[test]
fn during_an_outage_what_waits_asks_in_turn_and_alone() {
    let mut world = four_calls();
    (0..4).for_each(|id| world.answer(id, failed(Trouble::Unreachable)));
    let mut asked = Vec::new();
    for _ in 0..8 {
        world.now = world.start().expect("a pause");
        world.start();
        let (&id, spans) = world.calls.first_key_value().expect("a probe");
        asked.push(spans[0].start.get());
        assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start), "{spans:?}");
        world.answer(id, failed(Trouble::Unreachable));
    }
    assert_eq!(asked[..4].iter().collect::<BTreeSet<_>>().len(), 4, "{asked:?}");
    // Also where a call would hold all of it.
    let mut world = World::new(121, 4, false).at_full_speed();
    world.start();
    (0..3).for_each(|id| come_again(&mut world, id, 1));
    world.answer(3, failed(Trouble::Unreachable));
    world.now += SECOND;
    assert_eq!(next_again(&mut world).len(), 1);
}

#[test]
fn what_is_to_come_again_counts_against_the_calls_from_the_log() {
    let mut world = World::new(4000, 4, false).at_full_speed();
    world.start();
    for id in 0..3 {
        come_again(&mut world, id, 1);
        assert!(!world.uploader.could_take_fresh(), "four are under way or come again");
    }
    let answer = delivered(&world.calls[&3]);
    world.answer(3, answer);
    assert!(world.uploader.could_take_fresh(), "only three are left");
}

#[test]
fn so_many_events_are_set_aside_and_then_the_log_waits() {
    let mut world = World::new(4000, 4, false).at_full_speed();
    world.start();
    come_again(&mut world, 0, 1);
    (1..4).for_each(|id| {
        let answer = delivered(&world.calls[&id]);
        world.answer(id, answer);
    });
    let mut set_aside = |at: usize| {
        let batch = Batch::of([&span(1000 + at as u64)], 1);
        world.uploader.set_aside(batch, None, world.now);
        world.uploader.could_take_fresh()
    };
    // What is to come again besides is no event at fault.
    assert!((1..REFUSED_EVENTS_MAX).all(&mut set_aside));
    assert!(!set_aside(REFUSED_EVENTS_MAX));
}

/// With gaps between what was delivered. Behind the last of it each call may make another one.
#[test]
fn the_log_waits_where_there_are_many_gaps_unless_what_comes_next_closes_one() {
    let most = DELIVERED_RANGES_MAX as u64;
    let with_ranges = |ranges: u64| {
        let mut world = World::new(4000, 4, false).at_full_speed();
        (0..ranges).for_each(|at| world.uploader.window.deliver(&range(at * 2 + 1, at * 2 + 2)));
        world
    };
    let take = |world: &mut World, at: u64| {
        let Next::Fresh(id) = world.uploader.next(world.now, true) else { panic!("events wait") };
        let packed = Packed { spans: vec![span(at)], ..Packed::default() };
        assert!(world.uploader.built(id, &mut Read { packed, ..Read::default() }, world.now));
        id
    };
    // After a restart: the first gap, and the last one.
    let mut world = with_ranges(most);
    take(&mut world, 0);
    take(&mut world, most * 2 - 2);
    assert!(world.uploader.could_take_fresh());
    take(&mut world, most * 2);
    assert!(!world.uploader.could_take_fresh());
    // The same, where the last range is one of this run.
    let mut world = with_ranges(most - 1);
    let id = take(&mut world, most * 2 - 1);
    assert!(world.uploader.could_take_fresh());
    world.uploader.answered(id, Ok(vec![Fate::Delivered]), world.now);
    assert_eq!(world.uploader.window().ranges(), DELIVERED_RANGES_MAX);
    assert!(!world.uploader.could_take_fresh());
}

/// Only a success can show that some events alone are at fault: what was not tried yet goes first.
/// In strict order, or where the reason is another one, that would help nobody.
#[test]
fn a_refused_stream_tries_what_it_has_not_tried_and_no_other_does() {
    for (trouble, ordered, tries_others) in [
        (Trouble::Refused, false, true),
        (Trouble::Refused, true, false),
        (Trouble::Denied, false, false),
    ] {
        for fresh in [true, false] {
            let mut world = World::new(4000, 4, ordered);
            world.play(40, |_| failed(trouble));
            world.now = world.start().expect("a pause");
            let next = world.uploader.next(world.now, fresh);
            let tries = matches!(next, Next::Fresh(_));
            assert_eq!(tries, tries_others && fresh, "{trouble:?}, ordered: {ordered}, {next:?}");
            assert!(tries || matches!(next, Next::Again(..)), "{next:?}");
        }
    }
}
