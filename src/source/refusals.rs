//! Counts what a source refused, and says so now and then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::socket::Peer;
use crate::intake::{Door, Refusal};
use crate::limits::REFUSAL_LOG_INTERVAL;
use crate::status::AgentStatus;

/// One source's refusals. The counters have each event; the log has at most a line per
/// [`REFUSAL_LOG_INTERVAL`], with the counts since the line before.
#[derive(Debug)]
pub(crate) struct Refusals {
    source: String,
    unsaid: Mutex<Unsaid>,
}

#[derive(Debug, Default)]
struct Unsaid {
    last: Option<Instant>,
    events: BTreeMap<&'static str, u64>,
}

impl Refusals {
    pub(crate) fn new(source: String) -> Self {
        Self { source, unsaid: Mutex::default() }
    }

    /// Counts events that were refused: for their stream where it is known, else for the agent.
    pub(crate) fn count(
        &self,
        status: &AgentStatus,
        door: Option<&Door>,
        refusal: &Refusal,
        events: u64,
        peer: Peer,
    ) {
        match door {
            Some(door) => door.count_refused(refusal, events),
            None => status.refused.add(refusal.code(), events),
        }
        self.note(refusal.code(), events, peer, &refusal);
    }

    /// Says that something was refused, unless the last time is too near.
    pub(crate) fn note(
        &self,
        code: &'static str,
        events: u64,
        peer: Peer,
        reason: &dyn std::fmt::Display,
    ) {
        let mut unsaid = self.unsaid.lock().unwrap_or_else(PoisonError::into_inner);
        *unsaid.events.entry(code).or_default() += events;
        if unsaid.last.is_some_and(|last| last.elapsed() < REFUSAL_LOG_INTERVAL) {
            return;
        }
        unsaid.last = Some(Instant::now());
        let counts = std::mem::take(&mut unsaid.events);
        drop(unsaid);
        tracing::warn!(source = %self.source, %peer, code, %reason, ?counts, "refused");
    }
}
