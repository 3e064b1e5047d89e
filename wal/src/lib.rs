//! The write-ahead log of Standpipe, one per stream: segmented, synchronous, checked.
//!
//! In the order in which the data meets it: [`events`] is what a client handed over, [`frame`] is
//! how it lies on disk, [`segment`] is the file around it, [`log`] is the one writer,
//! [`recovery`] decides what is believed after a crash, [`tail`] reads up to the durable offset,
//! [`retention`] gives space back, [`inspect`] looks without being able to write, [`repair`] takes
//! damage out of a log that nobody writes.
//!
//! The bytes are specified in `FORMAT.md`. This crate knows no runtime, no logging and no clock:
//! it returns reports, and the caller passes the time.
#![deny(missing_docs)]

pub mod error;
pub mod events;
pub mod frame;
pub mod fs;
pub mod inspect;
pub mod limits;
pub mod lock;
pub mod log;
pub mod offset;
pub mod recovery;
pub mod repair;
pub mod retention;
pub mod segment;
pub mod stream_name;
pub mod tail;

pub use error::Error;
pub use events::{Events, Flags};
pub use log::{Log, LogId, Options};
pub use offset::Offset;
pub use recovery::Recovery;
pub use retention::Pool;
pub use stream_name::StreamName;
pub use tail::{Step, Tail};
