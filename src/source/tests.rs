//! Sources on real sockets, with a log that the test answers for.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{Context, KINDS};
use crate::intake::double::{self, Owner};
use crate::status::AgentStatus;
use crate::systemd::activation::Inherited;
use crate::tasks::{self, Stopper, stop_pair};

mod acknowledged;
mod client;
mod firehose;
mod lines;

/// A running source. The socket's directory goes with it.
struct Door {
    address: String,
    status: Arc<AgentStatus>,
    stopper: Stopper,
    running: JoinHandle<()>,
    dir: TempDir,
}

/// How to start a source.
struct Setup {
    kind: &'static str,
    options: String,
    connections_max: usize,
    intake: double::Options,
}

impl Default for Setup {
    fn default() -> Self {
        let intake = double::Options::default();
        Self { kind: "unix", options: String::new(), connections_max: 100, intake }
    }
}

impl Setup {
    fn unix(options: &str) -> Self {
        Self { options: options.to_owned(), ..Self::default() }
    }

    fn start(self) -> (Door, Owner) {
        let dir = tempfile::tempdir().unwrap();
        self.start_in(dir)
    }

    fn start_in(self, dir: TempDir) -> (Door, Owner) {
        let mut options: toml::Table = self.options.parse().unwrap();
        if self.kind == "unix" {
            let path = dir.path().join("in.sock").to_str().unwrap().to_owned();
            options.insert("path".to_owned(), path.into());
        } else {
            options.entry("listen").or_insert_with(|| "127.0.0.1:0".into());
        }
        let kind = KINDS.iter().find(|kind| kind.name == self.kind).unwrap();
        let bound = (kind.parse)(options).unwrap().bind(&mut Inherited::default()).unwrap();
        let (intake, owner) = double::pair(&self.intake);
        let (stopper, stop) = stop_pair();
        let status = Arc::<AgentStatus>::default();
        let context = Context::new(intake, stop, status.clone(), self.connections_max);
        let address = bound.address();
        let running = tasks::spawn(bound.run(context));
        (Door { address, status, stopper, running, dir }, owner)
    }
}

impl Door {
    async fn connect(&self) -> Client {
        let path = self.address.strip_prefix("unix://").unwrap();
        let socket = BufReader::new(UnixStream::connect(path).await.unwrap());
        Client { socket }
    }

    /// Connects and says hello.
    async fn acknowledged(&self) -> Client {
        let mut client = self.connect().await;
        client.write(b"STANDPIPE/2\n").await;
        assert!(client.line().await.unwrap().starts_with("OK version=2 ack=durable"));
        client
    }

    async fn stop(self) -> TempDir {
        self.stopper.stop();
        self.running.await.unwrap();
        self.dir
    }

    fn refused(&self, code: &str) -> u64 {
        self.status.refused.snapshot().get(code).copied().unwrap_or_default()
    }
}

/// A connection as a program on the host has it.
struct Client {
    socket: BufReader<UnixStream>,
}

impl Client {
    async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// The next line, or `None` at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.socket.read_line(&mut line).await {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Says that nothing more comes, and reads to the end.
    async fn finish(mut self) -> String {
        self.socket.get_mut().shutdown().await.unwrap();
        let mut rest = String::new();
        self.socket.read_to_string(&mut rest).await.unwrap();
        rest
    }
}
