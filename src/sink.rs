//! Sinks: where events go. One file per kind.
//!
//! A sink takes the records of one call and says what became of each. It sees bytes only: retries,
//! order, pace and commit live in the uploader, once for all sinks.

pub mod description;
pub mod file;
pub mod firehose;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use self::description::{Description, DestinationKind};
use crate::finding::Finding;
pub use crate::tasks::BoxFuture;

/// What one call may hold. Sizes are of data as it is handed over, before any encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records in a call.
    pub records_max: usize,
    /// Bytes of one record.
    pub record_bytes_max: usize,
    /// Bytes of all records of a call.
    pub call_bytes_max: usize,
}

/// The records of one call, one behind the other in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The bytes of all records.
    pub data: Vec<u8>,
    /// Where each record ends in `data`.
    pub ends: Vec<usize>,
}

impl Records {
    /// The records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let record = self.data.get(start..end).unwrap_or_default();
            start = end;
            record
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The name at the destination: the delivery stream.
    pub destination: Arc<str>,
    /// What to deliver.
    pub records: Records,
    /// When to give up on an answer.
    pub timeout: Duration,
}

/// What became of one record. There is one for each, in the order of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Confirmed by the destination.
    Delivered,
    /// Not taken now; the same record may be taken later.
    Retry {
        /// What kind of trouble it is.
        trouble: Trouble,
        /// The destination's word, such as `ServiceUnavailableException`.
        code: String,
        /// The destination's sentence.
        message: String,
    },
    /// Never to be taken as it is.
    Refused {
        /// The destination's word.
        code: String,
        /// The destination's sentence.
        message: String,
    },
}

/// Why a whole call has no fates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The destination asks for less: slow down.
    Throttled,
    /// The destination does not exist.
    Missing,
    /// Credentials are absent, expired or not sufficient.
    Denied,
    /// No connection, or a connection that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The destination has a fault of its own (5xx).
    Faulty,
    /// The call is larger than the destination takes.
    TooLarge,
    /// The destination refuses the call as it is.
    Refused,
}

impl Trouble {
    /// The stable word for people and programs: the stream's state and the reason of a repetition.
    pub fn word(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Unreachable | Self::TimedOut => "unreachable",
            Self::Faulty => "faulty",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
        }
    }
}

/// A call that failed as a whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of trouble it is.
    pub trouble: Trouble,
    /// Whether the records may have been taken all the same: a time-out, a connection that broke
    /// after the body was sent, an answer that does not fit the call.
    pub ambiguous: bool,
    /// A sentence for people, with the cause.
    pub message: String,
}

/// A destination.
pub trait Sink: Debug + Send + Sync {
    /// The kind's name in the configuration.
    fn kind(&self) -> &'static str;

    /// What one call may hold.
    fn limits(&self) -> Limits;

    /// The memory in bytes that delivering a call takes at most beside the call itself, such as an
    /// encoded body. It is reserved before the call is built.
    fn encoded_bytes(&self, data_bytes: usize, records: usize) -> usize;

    /// Delivers the records of one call. On success there is one fate per record, in order.
    fn deliver(&self, call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>>;

    /// Asks what a destination is and what it does to records. A sink that has no way to know says
    /// so, which is an answer as well.
    fn describe(&self, destination: Arc<str>) -> BoxFuture<'_, Result<Description, Failure>> {
        drop(destination);
        Box::pin(async { Ok(Description::of(DestinationKind::Unknown)) })
    }

    /// Looks, for `standpipe doctor`, at everything that lies on the way to a destination. Changes
    /// nothing.
    fn examine(&self, destination: Arc<str>) -> BoxFuture<'_, Vec<Finding>> {
        drop(destination);
        Box::pin(async { Vec::new() })
    }

    /// Where answers to [`Sink::describe`] are scarce, because all hosts of an account share a few
    /// of them per second: what tells this account's destinations from those of another, so that an
    /// answer can be kept. `None` where asking costs nothing.
    fn shared_account(&self) -> Option<String> {
        None
    }
}

/// A kind of sink, as the configuration names it.
#[derive(Debug)]
pub struct Kind {
    /// The value of `kind =`.
    pub name: &'static str,
    /// Reads the options of one `[sink.NAME]` table (without `kind`).
    pub parse: fn(toml::Table) -> Result<Arc<dyn SinkConfig>, toml::de::Error>,
}

/// A sink's options, not yet connected to anything.
pub trait SinkConfig: Debug + Send + Sync {
    /// The kind's name in the configuration.
    fn kind(&self) -> &'static str;

    /// Builds the sink: resolves credentials lazily, opens directories. Fails only for what no
    /// retry can mend.
    fn build(&self) -> BoxFuture<'_, anyhow::Result<Arc<dyn Sink>>>;

    /// The statements of an IAM policy that allow no more than delivering to these destinations, and
    /// asking about them where the agent does. Empty where AWS is not concerned.
    fn policy(&self, _destinations: &[&str], _asks: bool) -> Vec<serde_json::Value> {
        Vec::new()
    }
}

/// Every kind of sink.
pub const KINDS: &[Kind] = &[firehose::KIND, file::KIND];
