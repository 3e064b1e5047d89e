//! Where an agent listens for lines.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `unix:///run/standpipe/standpipe.sock` or `tcp://127.0.0.1:15555`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

/// The text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is unix:///PATH or tcp://HOST:PORT, not {0:?}")]
pub struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let tcp = text.strip_prefix("tcp://").map(|host| host.trim_end_matches('/'));
        let port = tcp.and_then(|host| host.rsplit_once(':')).filter(|(host, _)| !host.is_empty());
        match (tcp, port.map(|(_, port)| port.parse::<u16>())) {
            (Some(host), Some(Ok(_))) => Ok(Self::Tcp(host.to_owned())),
            _ => Err(InvalidAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_and_others_are_refused() {
        for text in ["unix:///run/s.sock", "tcp://127.0.0.1:1", "tcp://[::1]:15555"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "unix://", "tcp://host", "tcp://:1", "tcp://h:99999", "http://h:1", "h:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
