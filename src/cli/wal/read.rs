//! Reads events out of a log as the agent would, however it changes meanwhile, and says what is
//! missing.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use standpipe_wal::fs::real::RealFs;
use standpipe_wal::tail::Cause;
use standpipe_wal::{Offset, Step, StreamName, Tail, events, inspect};

use super::look::{Agent, Place};
use super::seen::{Seen, no_such_stream};
use crate::admin::StreamSnapshot;

/// Takes what is read.
pub(super) trait Taker {
    /// An event. The time is when it was taken in, in milliseconds since 1970.
    fn event(&mut self, offset: u64, time_ms: u64, payload: &[u8]) -> io::Result<()>;
    /// Offsets whose events cannot be read.
    fn missing(&mut self, range: Range<u64>, why: Why) -> io::Result<()>;
}

/// Why events cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// They were durable, and are damaged or gone.
    Lost,
    /// Nothing proves that there ever were events.
    Unproven,
    /// They were delivered, and their segment was removed.
    Trimmed,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unproven => "unproven",
            Self::Trimmed => "trimmed",
        }
    }

    pub(super) fn explained(self) -> &'static str {
        match self {
            Self::Lost => "lost to damage",
            Self::Unproven => "not proven to have been events; left out by recovery",
            Self::Trimmed => "trimmed, after they were delivered",
        }
    }
}

/// What of a log can be read at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first offset in the log.
    pub(super) oldest: Offset,
    /// The first offset that is not to be read: not durable yet.
    pub(super) until: Offset,
    /// What is missing from here on was never proven to be durable.
    pub(super) proven: Offset,
    /// The agent at that moment.
    pub(super) agent: Agent,
}

/// Finds out how far a stream can be read: from a running agent, which alone knows what is durable,
/// or else from the log.
pub(super) fn extent(place: &Place, stream: &StreamName) -> anyhow::Result<Extent> {
    let seen = Seen::at(place)?;
    if let Some(snapshot) = &seen.snapshot {
        let Some(stat) = snapshot.streams.iter().find(|stat| stat.stream == stream.as_str()) else {
            let known = snapshot.streams.iter().map(|stat| stat.stream.as_str());
            anyhow::bail!("{}", no_such_stream(stream.as_str(), known));
        };
        if let Some(extent) = told(stat) {
            return Ok(extent);
        }
    }
    place.streams(std::slice::from_ref(stream))?;
    let report = inspect::stream(&RealFs, &place.streams_dir(), stream)?;
    let proven = report.proven.min(report.next);
    // Of this log the agent says nothing: for it the start is not over.
    let (agent, until) = match seen.agent {
        // The next start makes all of it durable before it does anything else.
        Agent::Stopped => (Agent::Stopped, report.next),
        Agent::Starting | Agent::Running => (Agent::Starting, proven),
    };
    Ok(Extent { oldest: report.oldest, until, proven, agent })
}

/// What a running agent says of a log, where it has read it.
fn told(stat: &StreamSnapshot) -> Option<Extent> {
    let (oldest, durable) = (Offset::new(stat.oldest), Offset::new(stat.durable));
    let extent = Extent { oldest, until: durable, proven: durable, agent: Agent::Running };
    stat.is_read().then_some(extent)
}

/// A reader of one stream.
#[derive(Debug)]
pub(super) struct Reader {
    tail: Tail,
}

impl Reader {
    /// Begins at `from`. Opens nothing yet.
    pub(super) fn new(place: &Place, stream: &StreamName, from: Offset) -> Self {
        let dir = place.streams_dir().join(stream.as_str());
        Self { tail: Tail::open(Arc::new(RealFs), dir, from) }
    }

    /// The offset of the next event.
    pub(super) fn offset(&self) -> Offset {
        self.tail.offset()
    }

    /// Hands over at most `left` events before the end of the extent, and takes them off `left`.
    ///
    /// # Errors
    /// Where the log cannot be read, or `taker` refuses.
    pub(super) fn read(
        &mut self,
        extent: &Extent,
        left: &mut u64,
        taker: &mut dyn Taker,
    ) -> anyhow::Result<()> {
        while *left > 0 {
            match self.tail.next(extent.until)? {
                Step::Frame(frame) => {
                    let (base, time_ms) = (frame.base.get(), frame.time_ms);
                    for (offset, payload) in (base..).zip(events::iter(frame.body)) {
                        if *left == 0 {
                            break;
                        }
                        *left -= 1;
                        taker.event(offset, time_ms, payload)?;
                    }
                }
                Step::Missing { range, cause } => {
                    for (range, why) in explain(range, cause, extent.proven) {
                        taker.missing(range, why)?;
                    }
                }
                Step::UpToDate => break,
            }
        }
        Ok(())
    }
}

/// What the reader of a log takes for lost is unproven where the log of a stopped agent does not
/// say that it was durable.
fn explain(
    range: Range<Offset>,
    cause: Cause,
    proven: Offset,
) -> impl Iterator<Item = (Range<u64>, Why)> {
    let (start, end) = (range.start.get(), range.end.get());
    let (why, beyond) = match cause {
        Cause::Lost => (Why::Lost, proven.get().clamp(start, end)),
        Cause::Unproven => (Why::Unproven, end),
        Cause::Trimmed => (Why::Trimmed, end),
    };
    let parts = [(start..beyond, why), (beyond..end, Why::Unproven)];
    parts.into_iter().filter(|(range, _)| !range.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::admin::snapshot::of_stream;
    use crate::status::StreamStatus;

    /// It would be taken for an empty one, and whoever follows it would begin anew.
    #[test]
    fn a_running_agent_says_nothing_of_a_log_that_it_has_not_read_yet() {
        let status = StreamStatus::default();
        let stat = || of_stream(&"orders".parse().unwrap(), &status, SystemTime::now());
        assert_eq!(told(&stat()), None);
        status.durable.set(300);
        status.oldest.set(100);
        status.segments.set(2);
        let extent = told(&stat()).unwrap();
        assert_eq!((extent.oldest.get(), extent.until.get()), (100, 300));
        assert_eq!(extent.agent, Agent::Running);
    }

    #[test]
    fn only_what_was_proven_durable_can_be_lost() {
        let explain = |cause, proven| {
            let range = Offset::new(10)..Offset::new(20);
            explain(range, cause, Offset::new(proven)).collect::<Vec<_>>()
        };
        assert_eq!(explain(Cause::Lost, 20), [(10..20, Why::Lost)]);
        assert_eq!(explain(Cause::Lost, 15), [(10..15, Why::Lost), (15..20, Why::Unproven)]);
        assert_eq!(explain(Cause::Lost, 5), [(10..20, Why::Unproven)]);
        assert_eq!(explain(Cause::Trimmed, 5), [(10..20, Why::Trimmed)]);
        assert_eq!(explain(Cause::Unproven, 30), [(10..20, Why::Unproven)]);
    }
}
