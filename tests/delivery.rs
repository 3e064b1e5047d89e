//! Delivery as a whole: a real log on a real disk, the router, the uploader, the sinks, and for
//! Firehose the real AWS SDK against a fake of the service on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test: what it does not find is its failure"
)]

#[path = "support/fake_firehose.rs"]
mod fake_firehose;
#[path = "support/stream.rs"]
mod stream;

#[path = "delivery/auto.rs"]
mod auto;
#[path = "delivery/clock.rs"]
mod clock;
#[path = "delivery/doctor.rs"]
mod doctor;
#[path = "delivery/failures.rs"]
mod failures;
#[path = "delivery/file.rs"]
mod file;
#[path = "delivery/form.rs"]
mod form;
#[path = "delivery/isolation.rs"]
mod isolation;
#[path = "delivery/limits.rs"]
mod limits;
#[path = "delivery/link.rs"]
mod link;
#[path = "delivery/many.rs"]
mod many;
#[path = "delivery/memory.rs"]
mod memory;
#[path = "delivery/patience.rs"]
mod patience;
#[path = "delivery/rates.rs"]
mod rates;
#[path = "delivery/refusals.rs"]
mod refusals;
#[path = "delivery/request.rs"]
mod request;
#[path = "delivery/restart.rs"]
mod restart;
