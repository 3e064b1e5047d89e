//! What the log says of a stream's delivery.

use std::sync::LazyLock;

use tracing::Dispatch;

use super::*;
use crate::limits::OTHER_TROUBLE_LOG_INTERVAL;
use crate::telemetry::tests::Written;

/// Subscribers to everything that nobody writes to. While there are less than two, whoever comes to a
/// line first decides for all threads whether it is of interest, and most have no subscriber.
static INTERESTED: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));

/// The lines that are logged meanwhile.
fn logged(act: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&INTERESTED);
    let written = Written::default();
    let copy = written.clone();
    let lines = tracing_subscriber::fmt().with_writer(move || copy.clone());
    let subscriber = lines.without_time().with_target(false).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, act);
    written.text().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn trouble_is_said_once_and_other_trouble_from_time_to_time() {
    let world = World::new(0, 1, false);
    let mut condition = world.uploader.condition;
    let start = world.now;
    let mut enter =
        |after: Duration, state: &str| logged(|| condition.troubled(state, "why", start + after));
    let seconds = Duration::from_secs;
    let first = enter(seconds(1), "unreachable");
    let expected = "WARN delivery is in trouble, events are kept stream=s sink=\"sink\" \
                    state=\"unreachable\" error=\"why\"";
    assert_eq!(first, [expected]);
    assert!(enter(seconds(2), "unreachable").is_empty(), "nothing new");
    let other = enter(seconds(3), "denied");
    let expected = "WARN delivery is in other trouble, events are kept stream=s sink=\"sink\" \
                    state=\"denied\" error=\"why\" before=\"unreachable\" lasted=";
    assert!(other.len() == 1 && other[0].starts_with(expected), "{other:?}");
    assert!(enter(seconds(4), "unreachable").is_empty(), "not for each change");
    assert!(enter(OTHER_TROUBLE_LOG_INTERVAL + seconds(2), "denied").is_empty());
    let later = OTHER_TROUBLE_LOG_INTERVAL + seconds(3);
    assert_eq!(enter(later, "unreachable").len(), 1, "a whole interval after the last one");
    assert!(enter(later, "denied").is_empty());
    let now = start + later;
    // Trouble that was over is trouble anew.
    logged(|| condition.well(now));
    assert_eq!(logged(|| condition.troubled("denied", "why", now)).len(), 1);
    assert_eq!(logged(|| condition.troubled("missing", "why", now)).len(), 1);
}

#[test]
fn the_line_of_a_recovery_counts_the_calls_that_failed_wholly_or_in_part() {
    let mut world = World::new(200, 1, false);
    world.play(1, delivered);
    world.play(2, |_| failed(Trouble::Unreachable));
    let again = |spans: &[Span]| {
        let fate = |at| if at == 0 { retry() } else { Fate::Delivered };
        Ok((0..spans.len()).map(fate).collect())
    };
    world.play(1, again);
    let lines = logged(|| world.play(100, delivered));
    assert!(lines.len() == 1 && lines[0].starts_with("INFO delivery works again"), "{lines:?}");
    assert!(lines[0].ends_with("attempts=3"), "{lines:?}");
}
