//! Accepts connections, at most as many as there may be, until told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use super::connection;
use super::service::Service;
use super::socket::{Peer, Socket};
use crate::limits::{ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN};
use crate::status::AgentStatus;
use crate::tasks;

/// A listening socket of either family.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // An answer is small and must not wait for the next one.
                socket.set_nodelay(true)?;
                Ok((Socket::Tcp(socket), Peer::Tcp(peer)))
            }
            Self::Unix(listener) => {
                let (socket, _unnamed) = listener.accept().await?;
                let peer = Peer::of_unix(&socket);
                Ok((Socket::Unix(socket), peer))
            }
        }
    }
}

/// Serves until the stop; returns when the last connection has ended.
pub(crate) async fn run(listener: Listener, service: Arc<Service>) {
    let mut stop = service.context.stop.clone();
    // Every connection holds a sender; nothing is ever sent.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let mut pauses = Pauses::default();
    loop {
        // The permit comes first: a connection that cannot be served stays in the kernel's queue.
        let permit = tokio::select! {
            permit = service.context.connections.clone().acquire_owned() => permit,
            () = stop.stopped() => break,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.stopped() => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                pauses.succeeded(&service.name);
                let (service, alive) = (service.clone(), alive.clone());
                tasks::spawn(async move {
                    let _open = Open::count(service.context.status.clone());
                    connection::serve(socket, peer, service).await;
                    drop((permit, alive));
                });
            }
            Err(error) => {
                drop(permit);
                let pause = pauses.failed(&service.name, &error);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.stopped() => break,
                }
            }
        }
    }
    drop((listener, alive));
    // Ends with `None` once no connection is left.
    let _none = all_gone.recv().await.is_none();
}

/// Counts a connection for as long as it is open, also when its task panics.
#[derive(Debug)]
pub(crate) struct Open(Arc<AgentStatus>);

impl Open {
    pub(crate) fn count(status: Arc<AgentStatus>) -> Self {
        status.connections.add(1);
        status.accepted_connections.add(1);
        Self(status)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.sub(1);
    }
}

/// How long to wait after a failed `accept`: descriptors or memory are short, and trying again at
/// once would only burn the processor. Logs when the trouble begins and when it is over.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    failures: u32,
}

impl Pauses {
    pub(crate) fn failed(&mut self, source: &str, error: &io::Error) -> Duration {
        if is_of_the_client(error) {
            return Duration::ZERO;
        }
        if self.failures == 0 {
            tracing::warn!(source, %error, "cannot accept connections");
        }
        let pause = ACCEPT_PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        pause.min(ACCEPT_PAUSE_MAX)
    }

    pub(crate) fn succeeded(&mut self, source: &str) {
        if self.failures > 0 {
            tracing::info!(source, failures = self.failures, "accepts connections again");
            self.failures = 0;
        }
    }
}

/// The client went away before it was accepted: not the listener's trouble.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput,
    };
    // `InvalidInput` is `set_nodelay` on a socket that is closed already.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_start_over() {
        let mut pauses = Pauses::default();
        let short = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let first = pauses.failed("test", &short);
        assert_eq!(first, ACCEPT_PAUSE_MIN);
        assert_eq!(pauses.failed("test", &short), 2 * ACCEPT_PAUSE_MIN);
        let longest = (0..100).map(|_| pauses.failed("test", &short)).max();
        assert_eq!(longest, Some(ACCEPT_PAUSE_MAX));
        pauses.succeeded("test");
        assert_eq!(pauses.failed("test", &short), first);
        let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(pauses.failed("test", &gone), Duration::ZERO);
    }
}
