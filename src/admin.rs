//! How a running agent is asked: HTTP on a unix socket that only its own user may open.
//!
//! `GET /api/status` answers with a [`Snapshot`]. [`client`] is the other end, for the commands.

use std::fmt::Debug;
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use standpipe_wal::StreamName;

use crate::journal::Journal;
use crate::limits::RATE_INTERVAL;
use crate::status::{AgentStatus, Disk, StreamStatus};
use crate::systemd::activation::Inherited;
use crate::tasks::Stop;

pub mod client;
pub mod cost;
pub mod dead_letters;
pub mod rates;
pub mod snapshot;

use rates::Rates;
pub use snapshot::{Snapshot, StreamSnapshot};

/// Where the status is served.
pub const STATUS_PATH: &str = "/api/status";

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Who knows the streams: the journal.
pub trait Streams: Debug + Send + Sync {
    /// Every stream and its numbers, sorted by name.
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)>;

    /// What they take on disk.
    fn disk(&self) -> Disk;
}

/// Nobody's streams.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct NoStreams;

#[cfg(test)]
impl Streams for NoStreams {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        Vec::new()
    }

    fn disk(&self) -> Disk {
        Disk::default()
    }
}

impl Streams for Journal {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        let streams = Self::streams(self);
        streams.iter().map(|stream| (stream.name().clone(), stream.status().clone())).collect()
    }

    fn disk(&self) -> Disk {
        Self::disk(self)
    }
}

/// Everything that the agent knows about itself.
#[derive(Clone, Debug)]
pub struct Registry {
    streams: Arc<dyn Streams>,
    agent: Arc<AgentStatus>,
    rates: Arc<Rates>,
    price_per_gb: f64,
    started: SystemTime,
}

impl Registry {
    /// Of an agent that starts now.
    pub fn new(streams: Arc<dyn Streams>, agent: Arc<AgentStatus>, price_per_gb: f64) -> Self {
        let rates = Arc::default();
        Self { streams, agent, rates, price_per_gb, started: SystemTime::now() }
    }

    /// Looks at the counters at regular intervals, for ever, so that there are rates.
    pub async fn watch_rates(self) {
        let mut interval = tokio::time::interval(RATE_INTERVAL);
        loop {
            let now = interval.tick().await;
            self.rates.look(&self.streams.streams(), now);
        }
    }

    /// The numbers of this moment. Numbers that are written one after the other may be read in
    /// between; none of them is older than the call.
    pub fn snapshot(&self) -> Snapshot {
        let seen = snapshot::Seen {
            streams: &self.streams.streams(),
            agent: &self.agent,
            rates: &self.rates,
            disk: self.streams.disk(),
            price_per_gb: self.price_per_gb,
            started: self.started,
        };
        snapshot::take(seen, SystemTime::now())
    }
}

/// A socket that is bound and has not been served yet. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: net::UnixListener,
    /// Absent where the service manager owns the file.
    path: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        // It may be gone already; the next start copes with one that is left over.
        let _gone = std::fs::remove_file(path).is_err();
    }
}

/// Binds the admin socket, mode 0600. A socket that a dead agent has left is replaced. One that the
/// service manager has opened is taken as it is.
pub fn bind(path: &Path, inherited: &mut Inherited) -> anyhow::Result<Listener> {
    if let Some(socket) = inherited.take_unix(path) {
        return Ok(Listener { socket, path: None });
    }
    let socket = open(path).with_context(|| format!("open the admin socket {}", path.display()))?;
    Ok(Listener { socket, path: Some(path.to_owned()) })
}

fn open(path: &Path) -> anyhow::Result<net::UnixListener> {
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        std::fs::create_dir_all(parent)?;
    }
    remove_stale(path)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so there is no moment in which others could.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(net::UnixListener::from(OwnedFd::from(socket)))
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    anyhow::ensure!(metadata.file_type().is_socket(), "something that is no socket has this name");
    match net::UnixStream::connect(path) {
        Ok(_) => anyhow::bail!("another process listens there; give this agent its own admin.unix"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).context("remove a stale socket")
        }
        Err(error) => Err(error).context("look whether a process listens there"),
    }
}

/// Answers until it is time to stop. Connections that are still open then end with the runtime:
/// they hold nothing that would have to be saved.
/// `more` are routes beside the status.
pub async fn serve(listener: Listener, registry: Registry, more: Router, mut stop: Stop) {
    let routes = Router::new().route(STATUS_PATH, get(status)).with_state(registry).merge(more);
    let socket = listener.socket.try_clone().and_then(tokio::net::UnixListener::from_std);
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "admin socket cannot be served");
            return;
        }
    };
    tokio::select! {
        () = stop.stopped() => {}
        ended = axum::serve(socket, routes) => {
            if let Err(error) = ended {
                tracing::error!(%error, "admin socket ended");
            }
        }
    }
}

async fn status(State(registry): State<Registry>) -> Json<Snapshot> {
    Json(registry.snapshot())
}

#[cfg(test)]
mod tests;
