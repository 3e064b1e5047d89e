//! A day on which nothing gets through, whatever the reason.

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// The ceiling of a [`World`]'s pauses.
const CEILING: Duration = Duration::from_secs(30);

#[test]
fn a_day_of_failures_costs_a_call_per_pause_and_ends_within_the_ceiling() {
    for trouble in [
        Trouble::Faulty,
        Trouble::Throttled,
        Trouble::Missing,
        Trouble::Denied,
        Trouble::Unreachable,
        Trouble::TimedOut,
        Trouble::Refused,
    ] {
        let mut world = World::new(4000, 4, false).at_full_speed();
        let began = world.now;
        let mut changes = 0;
        let mut state = String::new();
        let (mut waited_max, mut at_once_max) = (Duration::ZERO, 0);
        while world.now - began < DAY {
            let until = world.start();
            at_once_max = at_once_max.max(if world.sent > 100 { world.calls.len() } else { 0 });
            if let Some((&id, _)) = world.calls.first_key_value() {
                world.answer(id, failed(trouble));
            } else {
                let until = until.expect("it asks again by itself");
                waited_max = waited_max.max(until - world.now);
                world.now = world.now.max(until);
            }
            let now = world.status.upload.state().state;
            changes += u32::from(now != state);
            state = now;
        }
        println!("{trouble:?}: {} calls in a day, {changes} changes of state", world.sent);
        // Pauses are random below the ceiling: half of it on average.
        let most = 2 * DAY.as_secs() / CEILING.as_secs();
        assert!(world.sent < most + most / 4 + 200, "{trouble:?}: {} calls", world.sent);
        assert!(waited_max <= CEILING, "{trouble:?}: a pause of {waited_max:?}");
        assert!(at_once_max <= 1, "{trouble:?}: {at_once_max} calls at once");
        assert!(changes <= 2, "{trouble:?}: {changes} changes");
        let mended = world.now;
        world.play(10_000, delivered);
        assert_eq!(world.uploader.window().committed(), Offset::new(4000), "{trouble:?}");
        assert!(world.now - mended <= CEILING, "{trouble:?}: {:?}", world.now - mended);
        world.uploader.next(world.now, false);
        assert_eq!(world.status.upload.state().state, "ok", "{trouble:?}");
    }
}
