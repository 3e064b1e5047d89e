//! A connected socket of either family, with the few calls that a connection makes.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};

/// A connected socket. Calls take `&self`, so that reading and answering share it without a lock.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Who is at the other end, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix(Option<Process>),
}

/// A process on this host, as the kernel knew it when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) id: Option<i32>,
}

impl Peer {
    /// Of a connection that was accepted.
    pub(crate) fn of_unix(socket: &UnixStream) -> Self {
        Self::Unix(socket.peer_cred().ok().map(|peer| Process {
            user: peer.uid(),
            group: peer.gid(),
            id: peer.pid(),
        }))
    }

    /// User and group, where it is a process on this host.
    pub(crate) fn account(&self) -> Option<(u32, u32)> {
        match self {
            Self::Unix(Some(process)) => Some((process.user, process.group)),
            Self::Unix(None) | Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(None) => f.write_str("unix"),
            Self::Unix(Some(Process { user, group, id })) => {
                write!(f, "unix uid={user} gid={group}")?;
                id.map_or(Ok(()), |id| write!(f, " pid={id}"))
            }
        }
    }
}

impl Socket {
    /// Waits until there is something to read, or the end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    /// Reads what is there; `WouldBlock` where there is nothing.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(buffer),
            Self::Unix(socket) => socket.try_read(buffer),
        }
    }

    /// Writes all of it. `TimedOut` where the other side takes nothing for `stall_max`.
    pub(crate) async fn write_all(&self, mut bytes: &[u8], stall_max: Duration) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::timeout(stall_max, self.writable()).await??;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).shutdown(Shutdown::Write),
            Self::Unix(socket) => SockRef::from(socket).shutdown(Shutdown::Write),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Unix(socket) => socket.try_write(bytes),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.writable().await,
            Self::Unix(socket) => socket.writable().await,
        }
    }
}
