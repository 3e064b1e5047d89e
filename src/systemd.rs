//! What the service manager is told: ready, how it fares, alive, stopping. Without systemd nothing
//! is said to anybody, and nothing is different.
//!
//! The protocol is a datagram of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names
//! (`sd_notify(3)`). It is written out here: it is smaller than what a library for it would bring.

use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::environment::{self, ServiceManager};

pub mod activation;

/// Tells the service manager, where there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// To the service manager that started this process, if one did.
    pub fn from_environment() -> Self {
        Self::to(&environment::service_manager())
    }

    /// To this service manager. One that cannot be reached is reported and not told anything.
    pub fn to(manager: &ServiceManager) -> Self {
        let Some(name) = &manager.notify_socket else { return Self::default() };
        match connect(name.as_bytes()) {
            Ok(socket) => Self { socket: Some(socket), watchdog: manager.watchdog },
            Err(error) => {
                tracing::warn!(%error, socket = ?name, "cannot tell the service manager anything");
                Self::default()
            }
        }
    }

    /// How long the service manager waits for a sign of life before it ends the process.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Events are taken in.
    pub fn ready(&self) {
        self.send("READY=1\n");
    }

    /// All is well, and this is how: one line for people.
    pub fn alive(&self, status: &str) {
        self.send(&format!("WATCHDOG=1\n{}", status_line(status)));
    }

    /// One line for people, and no sign of life.
    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// The configuration is read again; `ready` says that it is done.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec.saturating_mul(1_000_000) + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
    }

    /// The agent ends, and needs up to `within` for it.
    pub fn stopping(&self, within: Duration) {
        let microseconds = within.as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={microseconds}\nSTATUS=stopping\n"));
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

/// A status may not break into the next line, where it would be another message.
fn status_line(status: &str) -> String {
    let mut line = String::from("STATUS=");
    for part in status.split(char::is_control) {
        // Writing to a text cannot fail.
        let _written = line.write_str(part).is_ok();
    }
    line.push('\n');
    line
}

/// A name that begins with `@` is one in the abstract name space. Nothing waits for the other side:
/// a message that finds no room is not sent.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &std::ffi::OsStr, bound: &UnixDatagram) -> Vec<String> {
        let manager = ServiceManager {
            notify_socket: Some(name.to_owned()),
            watchdog: Some(Duration::from_secs(4)),
        };
        let notifier = Notifier::to(&manager);
        assert_eq!(notifier.watchdog(), manager.watchdog);
        notifier.ready();
        notifier.alive("2 streams\nREADY=0");
        notifier.stopping(Duration::from_millis(1500));
        let mut buffer = [0; 256];
        let mut messages = Vec::new();
        for _message in 0..3 {
            let bytes = bound.recv(&mut buffer).unwrap();
            messages.push(String::from_utf8(buffer[..bytes].to_vec()).unwrap());
        }
        messages
    }

    #[test]
    fn messages_are_those_of_the_protocol() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let bound = UnixDatagram::bind(&path).unwrap();
        let messages = told(path.as_os_str(), &bound);
        assert_eq!(
            messages,
            [
                "READY=1\n",
                "WATCHDOG=1\nSTATUS=2 streamsREADY=0\n",
                "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nSTATUS=stopping\n",
            ]
        );
    }

    #[test]
    fn an_abstract_name_is_one() {
        let name = format!("standpipe-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let bound = UnixDatagram::bind_addr(&address).unwrap();
        assert_eq!(told(format!("@{name}").as_ref(), &bound).len(), 3);
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        Notifier::to(&ServiceManager::default()).ready();
        let gone = ServiceManager {
            notify_socket: Some("/nonexistent/notify".into()),
            watchdog: Some(Duration::from_secs(1)),
        };
        assert_eq!(Notifier::to(&gone).watchdog(), None);
    }
}
