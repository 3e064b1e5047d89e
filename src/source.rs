//! Sources: the doors through which events come in. One file per kind.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::intake::Intake;
use crate::limits::WIDE_READS_MAX;
use crate::status::AgentStatus;
use crate::systemd::activation::Inherited;
use crate::tasks::Stop;

pub(crate) mod access;
mod answers;
mod connection;
pub mod firehose;
pub mod hello;
pub mod line;
mod listener;
pub mod long_lines;
pub mod numbers;
mod options;
mod reader;
mod refusals;
pub mod runs;
mod service;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod unix;

use long_lines::LongLines;

/// What a source is given when it starts.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where events go.
    pub intake: Intake,
    /// When to stop reading: submit what was read, send the answers that are due, close.
    pub stop: Stop,
    /// Numbers about connections and refused lines.
    pub status: Arc<AgentStatus>,
    /// Connections of all sources together; a permit is taken before `accept`.
    pub connections: Arc<Semaphore>,
    /// Permits for lines beyond [`crate::limits::SHORT_LINE_BYTES_MAX`].
    pub long_lines: Arc<LongLines>,
    /// Permits for reads beyond [`crate::limits::SHORT_LINE_BYTES_MAX`]. Nobody waits for one.
    pub wide_reads: Arc<Semaphore>,
}

impl Context {
    /// For the sources of one agent, which have `connections_max` connections in all.
    pub fn new(
        intake: Intake,
        stop: Stop,
        status: Arc<AgentStatus>,
        connections_max: usize,
    ) -> Self {
        Self {
            intake,
            stop,
            status,
            connections: Arc::new(Semaphore::new(connections_max)),
            long_lines: Arc::default(),
            wide_reads: Arc::new(Semaphore::new(WIDE_READS_MAX)),
        }
    }
}

/// A configured door, not yet open.
pub trait Source: Debug + Send + Sync {
    /// The kind's name in the configuration.
    fn kind(&self) -> &'static str;

    /// Binds the socket. Called for all sources before any of them runs, so that a bad address is
    /// an error of the start and not a log line later.
    /// A socket that the service manager has opened for it already is taken from `inherited`.
    fn bind(&self, inherited: &mut Inherited) -> io::Result<Box<dyn Bound>>;
}

/// A source whose socket is bound.
pub trait Bound: Debug + Send {
    /// Where it listens, for people and for tests that bound port 0: `tcp://127.0.0.1:15555`.
    fn address(&self) -> String;

    /// Serves until told to stop; returns when every connection has ended.
    fn run(self: Box<Self>, context: Context) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A kind of source, as the configuration names it.
#[derive(Debug)]
pub struct Kind {
    /// The value of `kind =`.
    pub name: &'static str,
    /// Reads the options of one `[[source]]` table (without `kind`).
    pub parse: fn(toml::Table) -> Result<Arc<dyn Source>, toml::de::Error>,
}

/// Every kind of source.
pub const KINDS: &[Kind] = &[unix::KIND, tcp::KIND, firehose::KIND];
