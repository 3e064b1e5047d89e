//! Standpipe: events in over sockets, a write-ahead log, AWS Kinesis Firehose out.
//!
//! The modules in the order in which an event meets them: [`source`] reads sockets, [`intake`] is
//! the one place to wait, [`journal`] makes events durable, [`router`] tails the log into batches,
//! [`uploader`] retries what was refused, [`sink`] speaks to the destination, [`offsets`] remembers
//! what was confirmed. [`agent`] is the only module that knows every part, [`world`] the only one that
//! knows the machine's threads, calendar and randomness.

pub mod admin;
pub mod agent;
pub mod cli;
pub mod client;
pub mod config;
pub mod dead_letters;
pub mod finding;
pub mod intake;
pub mod journal;
pub mod limits;
pub mod offsets;
pub mod router;
pub mod sink;
pub mod source;
pub mod status;
pub mod systemd;
pub mod tasks;
pub mod telemetry;
pub mod uploader;
pub mod world;
