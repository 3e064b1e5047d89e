//! A stream's rule: chosen at once from what is known, and anew when its destination has answered.

use std::sync::Arc;

use standpipe_wal::{LogId, StreamName};
use tokio::sync::watch;
use tracing::{info, warn};

use super::Task;
use super::aggregate::Rule;
use super::choice::{Choice, choose, depends_on_destination};
use super::destinations::{Destinations, Question};
use crate::config::StreamConfig;
use crate::sink::description::{Description, DestinationKind};
use crate::status::StreamStatus;

/// Who chooses the rule of a stream.
pub(super) struct Asking {
    stream: StreamName,
    log_id: LogId,
    settings: StreamConfig,
    question: Question,
    destinations: Arc<Destinations>,
    status: Arc<StreamStatus>,
    choice: Choice,
    rules: watch::Sender<Arc<Rule>>,
}

impl Asking {
    pub(super) fn new(task: &Task) -> Self {
        let Task { stream, settings, sink, destination, destinations, status, .. } = task;
        let log_id = LogId::new(task.log_id);
        let choice = choose(settings, &Description::of(DestinationKind::Unasked));
        let rule = Rule::new(&choice, settings, sink.limits().record_bytes_max, log_id);
        show(status, &choice);
        Self {
            stream: stream.clone(),
            log_id,
            settings: settings.clone(),
            question: Question { sink: sink.clone(), destination: destination.clone() },
            destinations: destinations.clone(),
            status: status.clone(),
            rules: watch::Sender::new(Arc::new(rule)),
            choice,
        }
    }

    /// The rule that holds, now and later.
    pub(super) fn rules(&self) -> watch::Receiver<Arc<Rule>> {
        self.rules.subscribe()
    }

    /// Goes on until it is dropped.
    pub(super) async fn run(mut self) {
        if self.settings.paused || !depends_on_destination(&self.settings) {
            return std::future::pending().await;
        }
        let (destinations, question) = (self.destinations.clone(), self.question.clone());
        let tell = |answer: Result<&Description, &_>| match answer {
            Ok(description) => self.learn(description),
            Err(failure) => {
                let reason = format!("{}; asked: {failure}", self.choice.reason);
                self.status.aggregate.enter(self.choice.word(), &reason);
            }
        };
        destinations.follow(&question, tell).await;
    }

    fn learn(&mut self, description: &Description) {
        let choice = choose(&self.settings, description);
        if choice != self.choice {
            self.adopt(choice);
        }
        show(&self.status, &self.choice);
    }

    fn adopt(&mut self, choice: Choice) {
        info!(
            stream = %self.stream, destination = %self.question.destination,
            aggregate = choice.word(), reason = choice.reason, "how events become records"
        );
        if !choice.not_compressed_because.is_empty() {
            warn!(
                stream = %self.stream, destination = %self.question.destination,
                reason = choice.not_compressed_because,
                "records are not compressed, though `compression = \"gzip\"` is configured"
            );
        }
        let limits = self.question.sink.limits();
        let rule = Rule::new(&choice, &self.settings, limits.record_bytes_max, self.log_id);
        self.rules.send_replace(Arc::new(rule));
        self.choice = choice;
    }
}

fn show(status: &StreamStatus, choice: &Choice) {
    status.aggregate.enter(choice.word(), &choice.reason);
    let compression = if choice.compressed { "gzip" } else { "none" };
    status.compression.enter(compression, choice.not_compressed_because);
}
