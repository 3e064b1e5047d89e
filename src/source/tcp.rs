//! Source `tcp`: the line protocol on a TCP port.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::access::Access;
use super::listener::{self, Listener};
use super::options::{EventBytesMax, LineOptions, Listen, Terminator};
use super::service::Service;
use super::{Bound, Context, Kind, Source};
use crate::intake::UnknownStreams;
use crate::limits::ACCEPT_BACKLOG;
use crate::systemd::activation::Inherited;

pub(super) const KIND: Kind =
    Kind { name: "tcp", parse: |options| Ok(Arc::new(options.try_into::<Tcp>()?)) };

/// `[[source]]` with `kind = "tcp"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tcp {
    listen: Listen,
    #[serde(default)]
    terminator: Terminator,
    /// `open` on loopback addresses, `configured` on all others, unless given.
    #[serde(default)]
    unknown_streams: Option<UnknownStreams>,
    #[serde(default)]
    max_event_bytes: EventBytesMax,
}

impl Source for Tcp {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn bind(&self, inherited: &mut Inherited) -> io::Result<Box<dyn Bound>> {
        let (socket, address) = bind(&self.listen, inherited)?;
        let lines =
            LineOptions { terminator: self.terminator.0, event_bytes_max: self.max_event_bytes.0 };
        let unknown = self.unknown_streams.unwrap_or_else(|| default_for(address));
        Ok(Box::new(BoundTcp { socket, address, lines, unknown }))
    }
}

/// Anybody on the host may open a stream; the network may not.
pub(super) fn default_for(address: SocketAddr) -> UnknownStreams {
    if address.ip().to_canonical().is_loopback() {
        UnknownStreams::Open
    } else {
        UnknownStreams::Configured
    }
}

/// The line protocol has no password and no encryption.
fn warn_of_network(address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(%address, "listens on the network: whoever reaches this port may write events");
    }
}

/// Listens on the first of the name's addresses that can be had, or is handed the socket that
/// listens there already.
pub(super) fn bind(
    listen: &Listen,
    inherited: &mut Inherited,
) -> io::Result<(net::TcpListener, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{listen}: {error}"));
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses = listen.resolve().map_err(named)?;
    if let Some(socket) = inherited.take_tcp(&addresses) {
        let address = socket.local_addr().map_err(named)?;
        warn_of_network(address);
        return Ok((socket, address));
    }
    for address in addresses {
        match bind_one(address) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(named)?;
                warn_of_network(address);
                return Ok((socket, address));
            }
            Err(error) => last = error,
        }
    }
    Err(named(last))
}

fn bind_one(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last life to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket.into())
}

#[derive(Debug)]
struct BoundTcp {
    socket: net::TcpListener,
    address: SocketAddr,
    lines: LineOptions,
    unknown: UnknownStreams,
}

impl Bound for BoundTcp {
    fn address(&self) -> String {
        format!("tcp://{}", self.address)
    }

    fn run(self: Box<Self>, context: Context) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let name = self.address();
        Box::pin(async move {
            match tokio::net::TcpListener::from_std(self.socket) {
                Ok(listener) => {
                    let service =
                        Service::new(name, context, self.lines, self.unknown, Access::default());
                    listener::run(Listener::Tcp(listener), Arc::new(service)).await;
                }
                Err(error) => tracing::error!(source = %name, %error, "cannot listen"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Result<Tcp, String> {
        let table: toml::Table = toml::from_str(options).unwrap();
        table.try_into().map_err(|error| error.to_string())
    }

    #[test]
    fn options_have_defaults_and_mistakes_are_named() {
        let tcp = parse("listen = '127.0.0.1:0'").unwrap();
        assert_eq!((tcp.terminator.0, tcp.max_event_bytes.0), (b'\n', 1_023_999));
        let tcp =
            parse("listen = 'localhost:1'\nterminator = \"\\u0000\"\nmax_event_bytes = '1KiB'");
        let tcp = tcp.unwrap();
        assert_eq!((tcp.terminator.0, tcp.max_event_bytes.0), (0, 1024));
        for (options, word) in [
            ("listen = 'here'", "port"),
            ("listen = ':1'", "port"),
            ("listen = '127.0.0.1:70000'", "port"),
            ("listen = 'a:1'\nterminator = 'x'", "control character"),
            ("listen = 'a:1'\nterminator = \"\\r\\n\"", "control character"),
            ("listen = 'a:1'\nmax_event_bytes = 1_024_000", "1023999"),
            ("listen = 'a:1'\nmax_event_bytes = 0", "1023999"),
            ("listen = 'a:1'\nunknown_streams = 'all'", "configured"),
            ("listen = 'a:1'\nport = 1", "unknown field `port`"),
            ("", "missing field `listen`"),
        ] {
            let error = parse(options).unwrap_err();
            assert!(error.contains(word), "{options}: {error}");
        }
    }

    #[test]
    fn only_loopback_opens_streams_by_default() {
        for (address, unknown) in [
            ("127.0.0.1:1", UnknownStreams::Open),
            ("[::1]:1", UnknownStreams::Open),
            ("[::ffff:127.0.0.1]:1", UnknownStreams::Open),
            ("0.0.0.0:1", UnknownStreams::Configured),
            ("10.0.0.1:1", UnknownStreams::Configured),
        ] {
            assert_eq!(default_for(address.parse().unwrap()), unknown, "{address}");
        }
    }

    #[test]
    fn a_socket_that_listens_there_already_is_taken_over() {
        let held = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let tcp = parse(&format!("listen = '{address}'")).unwrap();
        // The service manager keeps its own descriptor of it.
        let mut inherited = Inherited::of(vec![held.try_clone().unwrap()], Vec::new());
        let bound = tcp.bind(&mut inherited).unwrap();
        assert_eq!(bound.address(), format!("tcp://{address}"));
        assert!(inherited.addresses().is_empty());
    }

    #[test]
    fn a_port_that_is_taken_is_named_in_the_error() {
        let listen = parse("listen = '127.0.0.1:0'").unwrap().listen;
        let (_taken, address) = bind(&listen, &mut Inherited::default()).unwrap();
        let tcp = parse(&format!("listen = '{address}'")).unwrap();
        let error = tcp.bind(&mut Inherited::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()));
    }
}
