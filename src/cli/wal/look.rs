//! Finds out how streams stand: from the agent if it answers, else from its files. Nothing below
//! the data directory is written, created or touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use serde::Serialize;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::inspect::{self, SegmentState};
use standpipe_wal::{Offset, StreamName};

use super::seen::Seen;
use super::stat::{Since, Stat};
use crate::admin::snapshot::age_seconds;
use crate::admin::{Snapshot, StreamSnapshot};
use crate::agent::streams_dir;
use crate::cli::records::Records;
use crate::cli::run::local;
use crate::config::Config;
use crate::config::defaults::ADMIN_SOCKET;
use crate::offsets::peek::peek;

/// Where an agent's files and its socket are.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Place {
    /// The data directory.
    pub(in crate::cli) data_dir: PathBuf,
    /// The admin socket.
    pub(in crate::cli) admin: PathBuf,
}

impl Place {
    pub(in crate::cli) fn of_config(config: &Config) -> Self {
        Self { data_dir: config.data_dir.clone(), admin: config.admin.unix.clone() }
    }

    pub(in crate::cli) fn of_data_dir(dir: &Path) -> anyhow::Result<Self> {
        let data_dir = std::path::absolute(dir)?;
        Ok(Self { admin: data_dir.join(ADMIN_SOCKET), data_dir })
    }

    /// Of the agent that `run --local DIR` starts.
    pub(in crate::cli) fn of_local(dir: &Path) -> anyhow::Result<Self> {
        Self::of_data_dir(&local::agent_dir(dir))
    }
}

/// How the agent was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Agent {
    /// It answered.
    Running,
    /// It holds the lock of the data directory and does not answer.
    Starting,
    /// Nobody holds the lock.
    Stopped,
}

/// What was seen.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Sight {
    pub(in crate::cli) agent: Agent,
    /// The agent's process, where it is known.
    pub(in crate::cli) pid: Option<u32>,
    /// What could not be seen, for people.
    pub(in crate::cli) notes: Vec<String>,
    pub(in crate::cli) streams: Vec<Stat>,
    /// What the agent answered, if it runs.
    pub(in crate::cli) snapshot: Option<Box<Snapshot>>,
}

/// Asks the agent, or else reads its files.
pub(in crate::cli) fn look(place: &Place) -> anyhow::Result<Sight> {
    let Seen { agent, pid, snapshot, mut notes } = Seen::at(place)?;
    let streams = match &snapshot {
        Some(snapshot) => ask(&place.data_dir, snapshot, &mut notes),
        None => read(&place.data_dir, agent, &mut notes)?,
    };
    Ok(Sight { agent, pid, notes, streams, snapshot })
}

/// What a running agent says. Of logs that it has not read, or could not, it knows the state alone:
/// the rest is looked up.
fn ask(data_dir: &Path, snapshot: &Snapshot, notes: &mut Vec<String>) -> Vec<Stat> {
    let dir = streams_dir(data_dir);
    let mut stored = None;
    let mut of = |told: &StreamSnapshot| {
        let stat = of_snapshot(told);
        // Before its first event a stream may have no directory.
        if told.is_read() || !dir.join(&told.stream).is_dir() {
            return stat;
        }
        let Ok(stream) = told.stream.parse() else { return stat };
        let stored = stored.get_or_insert_with(|| committed(data_dir, notes));
        match of_files(&dir, &stream, stored.get(&stream).copied(), Agent::Running) {
            Ok(found) => {
                let Stat { state, reason, since, records, .. } = stat;
                Stat { state, reason, since, records, ..found }
            }
            Err(error) => {
                notes.push(format!("the log of stream {stream} cannot be looked at: {error:#}"));
                stat
            }
        }
    };
    snapshot.streams.iter().map(&mut of).collect()
}

fn of_snapshot(snapshot: &StreamSnapshot) -> Stat {
    let state = snapshot.state();
    Stat {
        stream: snapshot.stream.clone(),
        next: snapshot.next,
        durable: snapshot.durable,
        committed: snapshot.committed,
        backlog_events: snapshot.backlog_events,
        backlog_bytes: snapshot.backlog_bytes,
        oldest_age_seconds: snapshot.oldest_age_seconds,
        segments: snapshot.segments,
        disk_bytes: snapshot.disk_bytes,
        state: state.state.clone(),
        reason: state.reason.clone(),
        since: Some(Since(state.since)),
        records: Some(Records::of(snapshot)),
    }
}

fn read(data_dir: &Path, agent: Agent, notes: &mut Vec<String>) -> anyhow::Result<Vec<Stat>> {
    let dir = streams_dir(data_dir);
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let committed = committed(data_dir, notes);
    let streams = inspect::streams(&RealFs, &dir)?;
    let stats = streams.iter().map(|stream| {
        of_files(&dir, stream, committed.get(stream).copied(), agent)
            .with_context(|| format!("look at the log of stream {stream}"))
    });
    stats.collect()
}

/// The committed offset of each stream: the one of its slowest sink, as for trimming.
pub(super) fn committed(data_dir: &Path, notes: &mut Vec<String>) -> BTreeMap<StreamName, u64> {
    let mut committed = BTreeMap::new();
    match peek(data_dir) {
        Ok(progress) => {
            for (key, progress) in progress {
                let least = committed.entry(key.stream).or_insert(progress.committed);
                *least = progress.committed.min(*least);
            }
        }
        // An agent would begin again at the oldest event, so that is what is shown.
        Err(error) => notes.push(format!("the committed offsets cannot be read: {error}")),
    }
    committed
}

fn of_files(
    dir: &Path,
    stream: &StreamName,
    committed: Option<u64>,
    agent: Agent,
) -> anyhow::Result<Stat> {
    let report = inspect::stream(&RealFs, dir, stream)?;
    let committed = committed.map_or(report.oldest, Offset::new);
    let backlog = inspect::backlog(&RealFs, dir, stream, committed)?;
    let next = report.next.max(committed);
    let durable = match agent {
        // Some of what can be read may be written but not synced yet.
        Agent::Running | Agent::Starting => report.proven.max(committed),
        // The next start syncs everything that can be read before it does anything else.
        Agent::Stopped => next,
    };
    let damaged = report.segments.iter().find_map(|segment| match segment.state {
        SegmentState::HeaderDamaged => Some(format!("{}: its header is damaged", segment.name)),
        SegmentState::Unreadable => Some(format!("{}: nothing in it can be read", segment.name)),
        SegmentState::Foreign => Some(format!("{}: it belongs elsewhere", segment.name)),
        SegmentState::Active | SegmentState::Sealed | SegmentState::Closed => None,
    });
    let state = match agent {
        _ if damaged.is_some() => "damaged",
        Agent::Running | Agent::Starting => "opening",
        Agent::Stopped => "stopped",
    };
    let now = SystemTime::now();
    Ok(Stat {
        stream: stream.to_string(),
        next: next.get(),
        durable: durable.get(),
        committed: committed.get(),
        backlog_events: next.since(committed),
        backlog_bytes: backlog.bytes,
        oldest_age_seconds: backlog.oldest_time_ms.map(|time_ms| age_seconds(time_ms, now)),
        segments: report.segments.len() as u64,
        disk_bytes: report.disk_bytes,
        state: state.to_owned(),
        reason: damaged.unwrap_or_default(),
        since: None,
        records: None,
    })
}
