//! How far a drain has come. Pure: what it is told is what it knows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use standpipe_wal::StreamName;

use crate::admin::Snapshot;
use crate::cli::human;
use crate::status::{State, is_trouble};

/// A stream in trouble that has delivered nothing for so long gets nowhere.
const PATIENCE: Duration = Duration::from_secs(10);

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Everything is delivered.
    Done,
    /// It gets on, or may.
    Going,
    /// What is left gets nowhere.
    Stuck,
}

/// What was to be delivered, and what of it is left.
#[derive(Debug)]
pub(super) struct Progress {
    streams: BTreeMap<String, Stream>,
    total: u64,
}

#[derive(Debug)]
struct Stream {
    /// Everything below is to be delivered.
    target: u64,
    left: u64,
    /// When less was left than before.
    got_on_at: Duration,
    state: State,
}

/// For programs.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    drained: bool,
    seconds: f64,
    events: u64,
    left_events: u64,
    /// Streams that are not delivered.
    streams: Vec<Left<'a>>,
}

#[derive(Debug, Serialize)]
struct Left<'a> {
    stream: &'a str,
    #[serde(rename = "left_events")]
    events: u64,
    #[serde(flatten)]
    state: &'a State,
}

impl Progress {
    /// Everything that is durable now, of these streams or of all.
    pub(super) fn new(snapshot: &Snapshot, wanted: &[StreamName]) -> Self {
        let is_wanted =
            |stream: &str| wanted.is_empty() || wanted.iter().any(|name| name.as_str() == stream);
        let streams = snapshot.streams.iter().filter(|stream| is_wanted(&stream.stream));
        let streams: BTreeMap<_, _> = streams
            .map(|stream| {
                let begins = Stream {
                    target: stream.durable,
                    left: stream.backlog_events,
                    got_on_at: Duration::ZERO,
                    state: stream.state().clone(),
                };
                (stream.stream.clone(), begins)
            })
            .collect();
        let total = streams.values().map(|stream| stream.left).sum();
        Self { streams, total }
    }

    /// Events that were to be delivered.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Those of them that are left.
    pub(super) fn left(&self) -> u64 {
        self.streams.values().map(|stream| stream.left).sum()
    }

    /// Takes note of what was seen so long after the beginning.
    pub(super) fn look(&mut self, snapshot: &Snapshot, elapsed: Duration) -> Stand {
        for seen in &snapshot.streams {
            let Some(stream) = self.streams.get_mut(&seen.stream) else { continue };
            let left = stream.target.saturating_sub(seen.committed);
            if left < stream.left {
                stream.left = left;
                stream.got_on_at = elapsed;
            }
            seen.state().clone_into(&mut stream.state);
        }
        let mut unfinished = self.streams.values().filter(|stream| stream.left > 0).peekable();
        if unfinished.peek().is_none() {
            return Stand::Done;
        }
        let stuck = |stream: &Stream| {
            let waited = elapsed.saturating_sub(stream.got_on_at);
            stream.state.state == "paused"
                || (is_trouble(&stream.state.state) && waited >= PATIENCE)
        };
        if unfinished.all(stuck) { Stand::Stuck } else { Stand::Going }
    }

    /// How fast it goes and how long that will take.
    #[expect(clippy::cast_precision_loss, reason = "an estimate is no exact number")]
    pub(super) fn estimate(&self, elapsed: Duration) -> String {
        let left = self.left();
        let per_second = (self.total - left) as f64 / elapsed.as_secs_f64().max(0.001);
        let left_text = format!("{} events left", human::count(left));
        if per_second <= 0.0 {
            return format!("{left_text}, nothing was delivered yet");
        }
        let seconds = (left as f64 / per_second).ceil();
        format!("{left_text}, {}/s, about {} more", human::rate(per_second), human::age(seconds))
    }

    /// Which streams are not delivered, why, since when.
    pub(super) fn remains(&self) -> String {
        let unfinished = self.streams.iter().filter(|(_, stream)| stream.left > 0);
        let sentences = unfinished.map(|(name, stream)| {
            let State { state, reason, since } = &stream.state;
            let age = since.elapsed().unwrap_or_default().as_secs_f64().floor();
            let left = human::count(stream.left);
            if !is_trouble(state) && reason.is_empty() {
                return format!("{name} has {left} events left");
            }
            format!("{name} is {state} for {} with {left} events left ({reason})", human::age(age))
        });
        sentences.collect::<Vec<_>>().join("; ")
    }

    /// The outcome for programs.
    pub(super) fn report(&self, stand: Stand, elapsed: Duration) -> Report<'_> {
        let unfinished = self.streams.iter().filter(|(_, stream)| stream.left > 0);
        Report {
            drained: stand == Stand::Done,
            seconds: elapsed.as_secs_f64(),
            events: self.total,
            left_events: self.left(),
            streams: unfinished
                .map(|(name, stream)| Left {
                    stream: name,
                    events: stream.left,
                    state: &stream.state,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::{NoStreams, Registry, StreamSnapshot, snapshot};
    use crate::status::StreamStatus;

    fn stream(name: &str, durable: u64, committed: u64, state: &str) -> StreamSnapshot {
        let status = StreamStatus::default();
        status.durable.set(durable);
        status.committed.set(committed);
        status.upload.enter(state, "because");
        snapshot::of_stream(&name.parse().unwrap(), &status, std::time::SystemTime::now())
    }

    fn seen(streams: Vec<StreamSnapshot>) -> Snapshot {
        let none = Registry::new(Arc::new(NoStreams), Arc::default(), 0.0).snapshot();
        Snapshot { streams, ..none }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_comes_later_is_not_waited_for() {
        let first = seen(vec![stream("a", 10, 4, "ok"), stream("b", 7, 7, "ok")]);
        let mut progress = Progress::new(&first, &[]);
        assert_eq!((progress.total(), progress.left()), (6, 6));
        let later = |committed| seen(vec![stream("a", 90, committed, "ok")]);
        assert_eq!(progress.look(&later(7), seconds(1)), Stand::Going);
        assert_eq!(progress.estimate(seconds(1)), "3 events left, 3.0/s, about 1s more");
        assert_eq!(progress.look(&later(10), seconds(2)), Stand::Done);
        assert_eq!(progress.left(), 0);
    }

    #[test]
    fn a_stream_in_trouble_is_given_up_once_the_others_are_done() {
        let at = |a, b| seen(vec![stream("a", 9, a, "ok"), stream("b", 9, b, "missing")]);
        let mut progress = Progress::new(&at(0, 0), &[]);
        assert_eq!(progress.look(&at(0, 0), seconds(20)), Stand::Going, "a may get on");
        assert_eq!(progress.look(&at(9, 1), seconds(25)), Stand::Going, "b has got on");
        assert_eq!(progress.look(&at(9, 1), seconds(34)), Stand::Going);
        assert_eq!(progress.look(&at(9, 1), seconds(35)), Stand::Stuck);
        let remains = progress.remains();
        assert_eq!(remains, "b is missing for 0s with 8 events left (because)");
    }

    #[test]
    fn a_paused_stream_is_not_waited_for_and_one_that_is_not_wanted_neither() {
        let at = |a| seen(vec![stream("a", 9, a, "ok"), stream("b", 9, 0, "paused")]);
        let mut all = Progress::new(&at(0), &[]);
        assert_eq!(all.look(&at(9), seconds(0)), Stand::Stuck);
        let mut one = Progress::new(&at(0), &["a".parse().unwrap()]);
        assert_eq!(one.look(&at(9), seconds(0)), Stand::Done);
    }
}
