//! Listening sockets that the service manager opened and keeps open while the agent is restarted:
//! clients wait in them for the next agent and are not refused.
//!
//! A source says what it listens on, and takes the socket that is bound to that instead of binding
//! one: the configuration alone says which doors there are, whoever opened them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

/// Sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
}

impl Inherited {
    /// Takes over what the service manager gave to this process. To be called once, before there
    /// are threads: it takes the variables that say so out of the environment.
    ///
    /// # Errors
    /// Where a socket is neither of TCP nor of the unix family, or not a listening one.
    pub fn from_environment() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..given.len() {
            if let Ok(Some(socket)) = given.take_tcp_listener(index) {
                socket.set_nonblocking(true)?;
                inherited.tcp.push(socket);
            } else if let Some(socket) = given.take_unix_listener(index)? {
                socket.set_nonblocking(true)?;
                inherited.unix.push(socket);
            }
        }
        Ok(inherited)
    }

    /// The socket that is bound to one of these addresses.
    pub fn take_tcp(&mut self, addresses: &[SocketAddr]) -> Option<TcpListener> {
        let bound = |socket: &TcpListener| {
            socket.local_addr().is_ok_and(|address| addresses.contains(&address))
        };
        let index = self.tcp.iter().position(bound)?;
        Some(self.tcp.swap_remove(index))
    }

    /// The socket that is bound to this path.
    pub fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let bound = |socket: &UnixListener| {
            socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let index = self.unix.iter().position(bound)?;
        Some(self.unix.swap_remove(index))
    }

    /// What is left: sockets that clients can connect to and that no source of the configuration
    /// serves.
    pub fn addresses(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|socket| socket.local_addr().ok());
        let unix = self.unix.iter().filter_map(|socket| socket.local_addr().ok());
        let tcp = tcp.map(|address| format!("tcp://{address}"));
        let unix = unix.filter_map(|address| {
            address.as_pathname().map(|path| format!("unix://{}", path.display()))
        });
        tcp.chain(unix).collect()
    }
}

#[cfg(test)]
impl Inherited {
    /// As if the service manager had given these.
    pub(crate) fn of(tcp: Vec<TcpListener>, unix: Vec<UnixListener>) -> Self {
        Self { tcp, unix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_what_it_is_bound_to_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let mut inherited = Inherited::of(vec![tcp], vec![unix]);
        assert_eq!(
            inherited.addresses(),
            [format!("tcp://{address}"), format!("unix://{}", path.display())]
        );
        let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1));
        assert!(inherited.take_tcp(&[other]).is_none());
        assert!(inherited.take_tcp(&[other, address]).is_some());
        assert!(inherited.take_tcp(&[address]).is_none());
        assert!(inherited.take_unix(&dir.path().join("other.sock")).is_none());
        assert!(inherited.take_unix(&path).is_some());
        assert!(inherited.addresses().is_empty());
    }
}
