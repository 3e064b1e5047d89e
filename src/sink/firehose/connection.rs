//! The client that the calls of a sink share, and how long a call waits for what it is signed with.
//!
//! Region and credentials are looked up when the first call is made, and again until that succeeds:
//! a host whose metadata service starts late only delivers late. The SDK renews credentials that say
//! when they expire; it reads files and variables once. Where the service does not know the
//! credentials any more, or there are none, the client is made anew and finds what was put there
//! meanwhile.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_firehose::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_firehose::error::BoxError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::client;
use super::options::Options;
use crate::limits::{CLIENT_RENEWAL_INTERVAL, SIGNED_WITHIN};
use crate::sink::{Failure, Trouble};

/// The way to Firehose of one sink.
#[derive(Debug)]
pub(super) struct Connection {
    options: Options,
    client: Mutex<Option<Made>>,
}

/// A client, and when it was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) client: Client,
    at: Instant,
}

impl Connection {
    /// Connects with the first call.
    pub(super) fn new(options: Options) -> Self {
        Self { options, client: Mutex::new(None) }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// The client, made now if there is none. Fails where that takes longer than until `by`.
    pub(super) async fn client(&self, by: Instant) -> Result<Made, Failure> {
        let make = async {
            let mut held = self.client.lock().await;
            if let Some(made) = &*held {
                return Ok(made.clone());
            }
            let client = client::connect(&self.options).await?;
            Ok(held.insert(Made { client, at: Instant::now() }).clone())
        };
        timeout_at(by, make).await.unwrap_or_else(|_elapsed| Err(not_signed()))
    }

    /// Forgets a client whose credentials are of no use, unless it is young: then what it was made
    /// of has hardly changed, and many streams may say the same. What it knows about the service's
    /// clock is lost with it, so this is not for signatures that are refused.
    pub(super) async fn renew(&self, made: &Made) {
        let mut held = self.client.lock().await;
        if held.as_ref().is_some_and(|held| held.at == made.at)
            && made.at.elapsed() >= CLIENT_RENEWAL_INTERVAL
        {
            *held = None;
        }
    }
}

/// When a call that begins now has to be signed.
pub(super) fn signed_by() -> Instant {
    Instant::now() + SIGNED_WITHIN
}

/// Tells whether a call has been signed. Before that nothing of it has left this host, whatever
/// becomes of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Signed(Arc<AtomicBool>);

impl Signed {
    pub(super) fn yet(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits for the answer to a call that carries this; gives up on one that is not signed by then.
    /// Credentials that hang would else look like a service that does.
    pub(super) async fn answer<T>(
        &self,
        by: Instant,
        call: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut call = pin!(call);
        match timeout_at(by, &mut call).await {
            Ok(answer) => Ok(answer),
            Err(_elapsed) if !self.yet() => Err(not_signed()),
            Err(_elapsed) => Ok(call.await),
        }
    }
}

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "signed"
    }

    fn read_after_signing(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.store(true, Ordering::Release);
        Ok(())
    }
}

fn not_signed() -> Failure {
    Failure {
        trouble: Trouble::Denied,
        ambiguous: false,
        message: format!(
            "no region and credentials within {}: what gives them (metadata service, \
             credential_process, STS) does not answer",
            humantime::format_duration(SIGNED_WITHIN)
        ),
    }
}

#[cfg(test)]
mod tests;
