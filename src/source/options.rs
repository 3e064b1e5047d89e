//! Values that several sources have among their options.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use serde::de::{Deserialize, Deserializer, Error};

use crate::config::value::Size;
use crate::limits::LINE_EVENT_BYTES_MAX;

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineOptions {
    pub(crate) terminator: u8,
    pub(crate) event_bytes_max: usize,
}

/// `terminator = "\n"`: one control character. Nothing else can end a line, because a stream name
/// or the space behind it could hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminator(pub(crate) u8);

impl Default for Terminator {
    fn default() -> Self {
        Self(b'\n')
    }
}

impl<'de> Deserialize<'de> for Terminator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_bytes() {
            [byte] if byte.is_ascii_control() => Ok(Self(*byte)),
            _ => Err(D::Error::custom(format!(
                r#"a terminator is one control character such as "\n" or "\u0000", not {text:?}"#
            ))),
        }
    }
}

/// `max_event_bytes = "64KiB"`: the largest payload of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventBytesMax(pub(crate) usize);

impl Default for EventBytesMax {
    fn default() -> Self {
        Self(LINE_EVENT_BYTES_MAX)
    }
}

impl<'de> Deserialize<'de> for EventBytesMax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Size::deserialize(deserializer)?.in_memory();
        if (1..=LINE_EVENT_BYTES_MAX).contains(&bytes) {
            return Ok(Self(bytes));
        }
        Err(D::Error::custom(format!(
            "an event that is sent as a line has 1 to {LINE_EVENT_BYTES_MAX} bytes"
        )))
    }
}

/// `listen = "127.0.0.1:15555"`: an address or a host name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen(String);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            return Ok(Self(text));
        }
        Err(D::Error::custom(format!(
            "listen is an address and a port such as \"127.0.0.1:15555\", not {text:?}"
        )))
    }
}

impl Listen {
    /// The addresses that the name has now.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.to_socket_addrs()?.collect())
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// `mode = "0660"`: the permissions of a socket file, in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

impl Default for Mode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(D::Error::custom(format!(
                "a mode is three octal digits such as \"0660\", not {text:?}"
            ))),
        }
    }
}
