//! Every pattern of failures, against what must hold whatever the pattern.

use proptest::prelude::*;

use super::*;

/// How the destination answers one call.
#[derive(Clone, Debug)]
enum Script {
    /// Fates by record, repeated as needed: 0 delivered, 1 again, 2 refused.
    Fates(Vec<u8>),
    Whole(u8),
    WrongCount(usize),
}

fn script() -> impl Strategy<Value = Script> {
    prop_oneof![
        4 => proptest::collection::vec(prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2)], 1..12)
            .prop_map(Script::Fates),
        2 => (0..8_u8).prop_map(Script::Whole),
        1 => (0..50_usize).prop_map(Script::WrongCount),
    ]
}

fn play_script(script: &Script, spans: &[Span]) -> Answer {
    let refused = || Fate::Refused { code: "Bad".to_owned(), message: String::new() };
    match script {
        Script::Fates(fates) => Ok(spans
            .iter()
            .zip(fates.iter().cycle())
            .map(|(_, fate)| match fate {
                0 => Fate::Delivered,
                1 => retry(),
                _ => refused(),
            })
            .collect()),
        Script::Whole(which) => failed(match which {
            0 => Trouble::Throttled,
            1 => Trouble::Missing,
            2 => Trouble::Denied,
            3 => Trouble::Unreachable,
            4 => Trouble::TimedOut,
            5 => Trouble::Faulty,
            6 => Trouble::TooLarge,
            _ => Trouble::Refused,
        }),
        Script::WrongCount(count) if *count != spans.len() => Ok(vec![Fate::Delivered; *count]),
        Script::WrongCount(_) => failed(Trouble::Faulty),
    }
}

/// The events of a call that are known to be refused by themselves.
fn refused_alone(answer: &Answer, spans: &[Span]) -> Vec<u64> {
    let at = |span: &Span| span.start.get();
    match answer {
        Ok(fates) if fates.len() == spans.len() => {
            let refused = |(_, fate): &(_, &Fate)| matches!(fate, Fate::Refused { .. });
            spans.iter().zip(fates).filter(refused).map(|(span, _)| at(span)).collect()
        }
        Err(failure) if matches!(failure.trouble, Trouble::Refused | Trouble::TooLarge) => {
            if let [span] = spans { vec![at(span)] } else { Vec::new() }
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

proptest! {
    /// Whatever a destination answers and in whatever order: no confirmed record is sent again, the
    /// commit passes no gap (both checked at every step), and once the destination is well again
    /// everything is delivered.
    #[test]
    fn every_pattern_of_failures_ends_with_everything_delivered_once(
        scripts in proptest::collection::vec((script(), any::<prop::sample::Index>()), 0..60),
        in_flight_max in 1..5_usize,
        ordered in any::<bool>(),
        events in 1..300_u64,
    ) {
        let mut world = World::new(events, in_flight_max, ordered);
        // What was refused by itself is out of the order.
        let mut refused = BTreeSet::new();
        for (script, which) in &scripts {
            let until = world.start();
            let slots = if ordered { 1 } else { in_flight_max };
            prop_assert!(world.calls.len() <= slots);
            if world.calls.is_empty() {
                match until {
                    Some(until) => world.now = world.now.max(until),
                    None => break,
                }
                continue;
            }
            let id = *which.get(&world.calls.keys().copied().collect::<Vec<_>>());
            if ordered {
                let first = world.calls[&id][0].start.get();
                let before = world.uploader.window().committed().get()..first;
                let settled = |at| world.confirmed.contains_key(&at) || refused.contains(&at);
                prop_assert!(before.clone().all(settled), "{first} overtook one of {before:?}");
            }
            let answer = play_script(script, &world.calls[&id]);
            refused.extend(refused_alone(&answer, &world.calls[&id]));
            world.answer(id, answer);
        }
        world.play(100_000, delivered);
        prop_assert_eq!(world.uploader.window().committed().get(), events);
        prop_assert_eq!(world.status.upload.state().state, "ok");
        prop_assert!(world.uploader.is_idle());
        prop_assert_eq!(world.uploader.unconfirmed_bytes(), 0);
    }
}
