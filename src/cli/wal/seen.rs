//! How an agent was found, and which streams have a log.

use std::path::PathBuf;

use anyhow::Context as _;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::{StreamName, inspect, lock};

use super::look::{Agent, Place};
use crate::admin::{Snapshot, client};
use crate::agent::streams_dir;

impl Place {
    /// The directory of all streams' logs.
    pub(super) fn streams_dir(&self) -> PathBuf {
        streams_dir(&self.data_dir)
    }

    /// The streams that have a log, or those of them that are named.
    ///
    /// # Errors
    /// Where one that is named has none.
    pub(super) fn streams(&self, named: &[StreamName]) -> anyhow::Result<Vec<StreamName>> {
        let known = inspect::streams(&RealFs, &self.streams_dir())?;
        if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
            anyhow::bail!(
                "{}",
                no_such_stream(unknown.as_str(), known.iter().map(StreamName::as_str))
            );
        }
        Ok(if named.is_empty() { known } else { named.to_vec() })
    }
}

/// Says that there is no such stream, and which there are.
pub(super) fn no_such_stream<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        format!("there is no stream {name:?}; there are none yet")
    } else {
        format!("there is no stream {name:?}; there are {}", known.join(", "))
    }
}

/// The agent as it was found.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) agent: Agent,
    /// Its process, where it is known.
    pub(super) pid: Option<u32>,
    /// What it answered.
    pub(super) snapshot: Option<Box<Snapshot>>,
    /// Why it did not, where it should have.
    pub(super) notes: Vec<String>,
}

impl Seen {
    /// Asks the agent; where nobody answers, looks at its lock without taking it.
    pub(super) fn at(place: &Place) -> anyhow::Result<Self> {
        let dir = &place.data_dir;
        anyhow::ensure!(
            dir.is_dir(),
            "there is no data directory {}: no agent has run with it, or it is another one",
            dir.display()
        );
        let mut notes = Vec::new();
        match client::ask(&place.admin) {
            Ok(Some(snapshot)) => {
                let (agent, pid) = (Agent::Running, Some(snapshot.pid));
                return Ok(Self { agent, pid, snapshot: Some(Box::new(snapshot)), notes });
            }
            Ok(None) => {}
            Err(error) => notes.push(format!("{error:#}")),
        }
        let holder =
            lock::holder(dir).with_context(|| format!("look at the lock of {}", dir.display()))?;
        let agent = if holder.is_some() { Agent::Starting } else { Agent::Stopped };
        Ok(Self { agent, pid: holder.and_then(|holder| holder.pid), snapshot: None, notes })
    }

    /// The first lines of what is shown to people: which agent was seen, and what was not.
    pub(super) fn heading(&self, place: &Place) -> String {
        heading(self.agent, self.pid, &self.notes, place)
    }
}

/// See [`Seen::heading`].
pub(super) fn heading(agent: Agent, pid: Option<u32>, notes: &[String], place: &Place) -> String {
    let dir = place.data_dir.display();
    let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    let heading = match agent {
        Agent::Running => format!("agent running{process}, data in {dir}\n"),
        Agent::Starting => format!(
            "agent starting or stopping{process}: it does not answer yet; read from the log in {dir}\n"
        ),
        Agent::Stopped => format!("agent stopped; read from the log in {dir}\n"),
    };
    notes.iter().fold(heading, |heading, note| heading + "note: " + note + "\n")
}
