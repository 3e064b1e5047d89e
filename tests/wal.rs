//! The commands that look into the log, as a person runs them: the real binary on logs that are
//! written, that are not, and that are damaged. Whoever looks changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

#[path = "agent/client.rs"]
mod client;
#[path = "wal/damaged.rs"]
mod damaged;
#[path = "wal/follow.rs"]
mod follow;
#[path = "wal/ground.rs"]
mod ground;
#[path = "wal/mended.rs"]
mod mended;
#[path = "agent/process.rs"]
mod process;
#[path = "wal/stopped.rs"]
mod stopped;
#[path = "wal/watched.rs"]
mod watched;
