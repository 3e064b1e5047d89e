//! Asking destinations what they are: late, rarely, one at a time, and remembered.
//!
//! All hosts of an account share five questions per second, with whoever else uses the account, and a
//! fleet starts at once. So a host asks one question at a time, after a pause that is random over
//! minutes; what it learns is kept on disk for days; and who gets no answer waits longer each time.
//! Until there is an answer nothing is risked: one event is one record, which every destination takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use standpipe_wal::fs::Fs;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tracing::info;

use self::store::{Key, Store};
use crate::limits::{
    ATTEMPT_TIMEOUT_BASE, DESCRIPTION_FREE_RETRY_MAX, DESCRIPTION_FREE_RETRY_MIN,
    DESCRIPTION_FRESH_FOR, DESCRIPTION_RETRY_MAX, DESCRIPTION_RETRY_MIN,
};
use crate::sink::description::{Description, DestinationKind};
use crate::sink::{Failure, Sink, Trouble};
use crate::world::World;

mod store;
#[cfg(test)]
mod tests;

/// What is known about the destinations of all streams.
#[derive(Debug)]
pub struct Destinations {
    store: Store,
    /// A question comes at a random moment within so long after its turn.
    within: Duration,
    /// Held by whoever waits to ask, and asks.
    turn: Mutex<()>,
    world: World,
    /// Whether it was said that some destination may not be asked about.
    withheld: AtomicBool,
}

/// A destination to be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Who asks.
    pub(crate) sink: Arc<dyn Sink>,
    /// About whom.
    pub(crate) destination: Arc<str>,
}

impl Destinations {
    /// What the file remembers, if there is one; a damaged one is as good as none. A question comes
    /// at a random moment within `within`.
    pub fn new(file: Option<(Arc<dyn Fs>, PathBuf)>, within: Duration, world: World) -> Self {
        Self {
            store: Store::open(file, world.clone()),
            within,
            turn: Mutex::default(),
            world,
            withheld: AtomicBool::new(false),
        }
    }

    /// Tells what is known of a destination, now if it is remembered, and whenever it is asked
    /// anew; a failure only says why there is no news. Goes on until it is dropped.
    pub(crate) async fn follow(
        &self,
        question: &Question,
        mut tell: impl FnMut(Result<&Description, &Failure>),
    ) {
        let account = question.sink.shared_account();
        let key = account.map(|account| Key::new(account, &question.destination));
        let mut wait = Duration::ZERO;
        if let Some((description, age)) = key.as_ref().and_then(|key| self.store.find(key)) {
            tell(Ok(&description));
            wait = self.renewal().saturating_sub(age);
        }
        let mut failures = 0;
        loop {
            sleep(wait).await;
            let answer = match &key {
                Some(key) => self.ask_in_turn(question, key).await,
                None => ask(question).await,
            };
            tell(answer.as_ref());
            wait = match answer {
                Ok(description) if description.kind == DestinationKind::Withheld => {
                    self.note_withheld(question);
                    self.patience(u32::MAX, key.is_some())
                }
                Ok(_) => {
                    failures = 0;
                    self.renewal()
                }
                Err(_failure) => {
                    failures += 1;
                    self.patience(failures, key.is_some())
                }
            };
        }
    }

    /// Waits for its turn and a random moment, then asks, unless somebody else has asked meanwhile.
    async fn ask_in_turn(&self, question: &Question, key: &Key) -> Result<Description, Failure> {
        let _turn = self.turn.lock().await;
        if let Some((description, age)) = self.store.find(key)
            && age < DESCRIPTION_FRESH_FOR
        {
            return Ok(description);
        }
        sleep(self.up_to(self.within)).await;
        let description = ask(question).await?;
        // What may not be asked today may be asked after a restart: it is not remembered.
        if description.kind != DestinationKind::Withheld {
            self.store.keep(key, &description).await;
        }
        Ok(description)
    }

    /// Said once for all streams: it is one permission that is missing.
    fn note_withheld(&self, question: &Question) {
        if !self.withheld.swap(true, Ordering::Relaxed) {
            info!(
                destination = %question.destination,
                "the credentials may not ask destinations (firehose:DescribeDeliveryStream): \
                 `aggregate = \"auto\"` means one event per record"
            );
        }
    }

    /// How long an answer is good for.
    fn renewal(&self) -> Duration {
        DESCRIPTION_FRESH_FOR + self.up_to(DESCRIPTION_FRESH_FOR / 2)
    }

    /// The pause after so many failures in a row: random in the upper half of a bound that doubles.
    fn patience(&self, failures: u32, scarce: bool) -> Duration {
        let (min, max) = if scarce {
            (DESCRIPTION_RETRY_MIN, DESCRIPTION_RETRY_MAX)
        } else {
            (DESCRIPTION_FREE_RETRY_MIN, DESCRIPTION_FREE_RETRY_MAX)
        };
        let doubled = min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let bound = doubled.min(max);
        bound / 2 + self.up_to(bound / 2)
    }

    fn up_to(&self, most: Duration) -> Duration {
        let part = u32::try_from(self.world.entropy.u64() >> 32).unwrap_or(u32::MAX);
        most.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

/// Asks once and gives up in time, whatever the sink does.
async fn ask(question: &Question) -> Result<Description, Failure> {
    let answer = question.sink.describe(Arc::clone(&question.destination));
    timeout(ATTEMPT_TIMEOUT_BASE, answer).await.unwrap_or_else(|_elapsed| {
        Err(Failure {
            trouble: Trouble::TimedOut,
            ambiguous: false,
            message: "the destination was asked and did not answer".to_owned(),
        })
    })
}
