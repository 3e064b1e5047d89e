//! What one answer comes to, and how soon what it left is sent again.

use super::*;
use crate::limits::{BACKOFF_BASE, CLEAN_CALLS_BEFORE_OK, attempt_timeout};
use crate::uploader::pace::Load;

fn faulty() -> Fate {
    Fate::Retry { trouble: Trouble::Faulty, code: "Fault".to_owned(), message: String::new() }
}

/// So many records that are not taken now, and then others that are.
fn first_again(again: usize) -> impl Fn(&[Span]) -> Answer {
    move |spans| {
        let fate = |at| if at < again { retry() } else { Fate::Delivered };
        Ok((0..spans.len()).map(fate).collect())
    }
}

#[test]
fn an_answer_says_what_was_taken_and_whether_less_is_asked_for() {
    let cases: [(Answer, usize, bool); 5] = [
        (Ok(vec![Fate::Delivered; 40]), 40, false),
        (first_again(15)(&[span(0); 40]), 25, true),
        (Ok([vec![faulty(); 10], vec![Fate::Delivered; 30]].concat()), 30, false),
        (failed(Trouble::Throttled), 0, true),
        (failed(Trouble::Unreachable), 0, false),
    ];
    for (answer, records, throttled) in cases {
        let mut world = World::new(40, 1, false);
        world.start();
        let said = format!("{answer:?}");
        let taken = world.uploader.answered(0, answer, world.now);
        let load =
            if records > 0 { Load::call(records * RECORD_BYTES, records) } else { Load::default() };
        assert_eq!((taken.load, taken.throttled), (load, throttled), "{said}");
    }
}

#[test]
fn a_record_that_may_have_been_taken_all_the_same_is_a_possible_duplicate() {
    let mut world = World::new(40, 1, false);
    world.start();
    let fates = [vec![faulty(); 3], vec![retry(); 2], vec![Fate::Delivered; 35]].concat();
    world.answer(0, Ok(fates));
    assert_eq!(world.status.possible_duplicates.value(), 3);
    assert_eq!(world.status.retried.snapshot(), [("faulty", 3), ("throttled", 2)].into());
}

/// Lets time pass until a call is under way, if there will be one.
fn await_call(world: &mut World) -> bool {
    loop {
        let until = world.start();
        match until {
            _ if !world.calls.is_empty() => return true,
            Some(until) => world.now = world.now.max(until),
            None => return false,
        }
    }
}

/// Of a stream whose calls overlap something is always on its way.
#[test]
fn a_stream_is_throttled_until_several_calls_in_a_row_were_taken_whole() {
    let mut world = World::new(4000, 4, false).at_full_speed();
    let mut clean = 0;
    let mut answer_one = |again: usize| {
        world.now += Duration::from_secs(1);
        world.start();
        let (&id, spans) = world.calls.first_key_value().unwrap();
        let again = again.min(spans.len() - 1);
        clean = if again == 0 { clean + 1 } else { 0 };
        let answer = first_again(again)(spans);
        world.answer(id, answer);
        assert!(!world.calls.is_empty());
        (clean, world.status.upload.state().state)
    };
    for _ in 0..CLEAN_CALLS_BEFORE_OK * 4 {
        assert_eq!(answer_one(1).1, "throttled");
    }
    loop {
        let (clean, state) = answer_one(0);
        assert_eq!(state, if clean < CLEAN_CALLS_BEFORE_OK { "throttled" } else { "ok" });
        if clean >= CLEAN_CALLS_BEFORE_OK {
            return;
        }
    }
}

/// The longest pause before what is left of a call goes again, over many rounds of them.
fn longest_pause(again: impl Fn(usize) -> usize) -> Duration {
    let mut world = World::new(40, 1, false);
    let mut longest = Duration::ZERO;
    let mut answered = world.now;
    for _ in 0..40 {
        if !await_call(&mut world) {
            world.events += 40;
            answered = world.now;
            continue;
        }
        longest = longest.max(world.now - answered);
        let (&id, spans) = world.calls.first_key_value().unwrap();
        let answer = first_again(again(spans.len()))(spans);
        world.answer(id, answer);
        answered = world.now;
    }
    longest
}

#[test]
fn what_gets_on_little_waits_longer_each_time_and_what_gets_on_well_does_not() {
    let well = longest_pause(|records| records / 2);
    let little = longest_pause(|records| records - 1);
    assert!(well > BACKOFF_BASE / 4 && well <= BACKOFF_BASE, "{well:?}");
    assert!(little > BACKOFF_BASE * 8, "{little:?}");
}

#[test]
fn a_single_event_that_is_too_large_is_set_aside_and_not_sent_at_once_for_ever() {
    let mut world = World::new(1, 1, false);
    let Next::Fresh(id) = world.uploader.next(world.now, true) else { panic!("events wait") };
    let large = Span { bytes: CALL_BYTES_FLOOR * 4, ..span(0) };
    let packed = Packed { spans: vec![large], ..Packed::default() };
    assert!(world.uploader.built(id, &mut Read { packed, ..Read::default() }, world.now));
    world.uploader.answered(id, failed(Trouble::TooLarge), world.now);
    let Next::Wait(Some(until)) = world.uploader.next(world.now, false) else { panic!("at once") };
    assert!(until > world.now);
    assert_eq!(world.status.upload.state().state, "refused");
}

#[test]
fn a_stream_is_taken_for_refused_after_so_many_whole_calls_and_no_sooner() {
    let mut world = World::new(10_000, 1, false);
    world.play(u64::from(REFUSALS_BEFORE_SLOW) - 1, |_| failed(Trouble::Refused));
    assert!(!world.uploader.is_out());
    world.play(1, |_| failed(Trouble::Refused));
    assert!(world.uploader.is_out());
}

/// How many calls are under way after one that took so long.
fn calls_after(world: &mut World, took: Duration) -> usize {
    let (&id, spans) = world.calls.first_key_value().unwrap();
    let answer = delivered(spans);
    world.now += took;
    world.answer(id, answer);
    world.start();
    world.calls.len()
}

#[test]
fn only_calls_that_leave_half_of_their_time_make_room_for_more() {
    let half = attempt_timeout(CALL_BYTES) / 2;
    for (took, calls) in [(half, 2), (half + Duration::from_millis(1), 1)] {
        let mut world = World::new(4000, 4, false);
        world.start();
        assert_eq!(calls_after(&mut world, took), calls, "{took:?}");
    }
}

/// A third of what calls may hold now, and so a third of their time.
#[test]
fn a_probe_after_a_time_out_is_judged_as_if_it_had_been_a_full_call() {
    let most = attempt_timeout(CALL_BYTES / 2) / 2 / 3;
    for (took, calls) in [(most, 2), (most + Duration::from_millis(1), 1)] {
        let mut world = World::new(4000, 4, false);
        world.start();
        world.answer(0, failed(Trouble::TimedOut));
        world.now = world.start().unwrap();
        world.start();
        assert_eq!(world.calls.values().map(Vec::len).collect::<Vec<_>>(), [6]);
        assert_eq!(calls_after(&mut world, took), calls, "{took:?}");
        assert_eq!(world.uploader.size.limit(), CALL_BYTES / 2, "it shows nothing about more");
    }
}

#[test]
fn a_call_that_makes_calls_larger_does_not_make_them_more_as_well() {
    let mut world = World::new(4000, 4, false);
    world.start();
    world.answer(0, failed(Trouble::TimedOut));
    world.now = world.start().unwrap();
    world.start();
    // Slowly: neither the one nor the other.
    assert_eq!(calls_after(&mut world, Duration::from_secs(5)), 1);
    assert_eq!(world.calls.values().map(Vec::len).collect::<Vec<_>>(), [20]);
    assert_eq!(calls_after(&mut world, Duration::ZERO), 1);
    assert_eq!(world.uploader.size.limit(), CALL_BYTES);
}
