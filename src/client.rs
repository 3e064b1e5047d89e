//! The client's side of the acknowledged mode: hands lines to an agent until each one is
//! acknowledged or refused, through lost connections and restarts of the agent.
//!
//! What was not acknowledged when a connection is lost is sent again on the next one, so a line
//! can arrive twice where the acknowledgement was lost on its way: at least once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::limits::{CLIENT_PAUSE_MAX, CLIENT_PAUSE_MIN};

pub mod address;
pub mod answer;
mod connection;
pub mod lines;
pub mod window;

pub use address::Address;
use connection::Lost;
use lines::Block;
use window::Window;

/// How to send.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the agent listens.
    pub address: Address,
    /// Bytes that may be on their way without an acknowledgement.
    pub window_bytes: usize,
    /// How long to go on trying without an acknowledgement or a connection.
    pub patience: Duration,
}

/// What became of the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Lines that were taken from the input to be sent.
    pub lines: u64,
    /// Lines that the agent has made durable.
    pub acknowledged: u64,
    /// Bytes of input that are dealt with, in whole blocks.
    pub done_bytes: u64,
    /// Lines that the agent refused, by its code.
    pub refused: BTreeMap<String, u64>,
    /// The agent's words for the first refusal of each code.
    pub reasons: BTreeMap<String, String>,
    /// Lines that were sent more than once.
    pub resent: u64,
    /// Times that a connection was lost or could not be made.
    pub reconnects: u64,
}

impl Tally {
    /// Lines that were refused.
    pub fn refused_lines(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Lines that were neither acknowledged nor refused.
    pub fn unanswered(&self) -> u64 {
        self.lines - self.acknowledged - self.refused_lines()
    }
}

/// Why sending ended before the input did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There was no progress for too long.
    #[error("no acknowledgement from {address} for {seconds} s: {cause}")]
    GaveUp {
        /// The agent's address.
        address: Address,
        /// The patience that was over, in seconds.
        seconds: u64,
        /// What the last attempt said.
        cause: String,
    },
    /// What listens there does not speak the acknowledged mode, or not to us.
    #[error("{address} does not take acknowledged lines: {answer}")]
    NotServed {
        /// The address.
        address: Address,
        /// What it said instead.
        answer: String,
    },
}

/// Sends blocks of lines until the channel has ended and every line is answered. `progress` is
/// called whenever the tally has changed. Dropping the future stops at once; the tally that
/// `progress` saw last holds.
pub async fn send(
    options: &Options,
    mut input: mpsc::Receiver<Block>,
    mut progress: impl FnMut(&Tally),
) -> Result<Tally, Error> {
    let mut sender = Sender {
        options,
        window: Window::new(options.window_bytes),
        last_progress: Instant::now(),
        failures: 0,
        connected: false,
        input_ended: false,
    };
    loop {
        let cause = match sender.attempt(&mut input, &mut progress).await {
            Ok(()) => return Ok(sender.window.tally().clone()),
            Err(Lost::NotServed(answer)) => {
                return Err(Error::NotServed { address: options.address.clone(), answer });
            }
            Err(Lost::Broken(cause)) => cause,
        };
        if std::mem::take(&mut sender.connected) && sender.window.is_empty() {
            // Nobody waited for anything until now.
            sender.last_progress = Instant::now();
        }
        if sender.last_progress.elapsed() >= options.patience {
            return Err(Error::GaveUp {
                address: options.address.clone(),
                seconds: options.patience.as_secs(),
                cause,
            });
        }
        sender.window.connection_lost();
        progress(sender.window.tally());
        tokio::time::sleep(sender.pause()).await;
    }
}

/// What survives a connection.
struct Sender<'a> {
    options: &'a Options,
    window: Window,
    last_progress: Instant,
    failures: u32,
    /// Whether the present attempt got as far as a connection.
    connected: bool,
    input_ended: bool,
}

impl Sender<'_> {
    /// One connection, until all is answered or it is lost.
    async fn attempt(
        &mut self,
        input: &mut mpsc::Receiver<Block>,
        progress: &mut impl FnMut(&Tally),
    ) -> Result<(), Lost> {
        let (mut answers, mut writer) = connection::open(&self.options.address).await?;
        self.connected = true;
        loop {
            if self.input_ended && self.window.is_empty() {
                return Ok(());
            }
            if self.window.needs_another_connection() {
                return Err(Lost::Broken("the agent is stopping".to_owned()));
            }
            // Waiting for input costs no patience.
            let stalled = self.last_progress + self.options.patience;
            let waiting = !self.window.is_empty();
            tokio::select! {
                block = input.recv(), if !self.input_ended && self.window.has_room() => {
                    match block {
                        Some(block) => {
                            if self.window.is_empty() {
                                self.last_progress = Instant::now();
                            }
                            self.window.push(block);
                            progress(self.window.tally());
                        }
                        None => self.input_ended = true,
                    }
                }
                written = writer.write(self.window.unwritten()), if self.window.has_unwritten() => {
                    self.window.written(written?);
                }
                answers = answers.next() => {
                    self.take(answers?)?;
                    progress(self.window.tally());
                }
                () = tokio::time::sleep_until(stalled), if waiting => {
                    return Err(Lost::Broken("the agent does not answer".to_owned()));
                }
            }
        }
    }

    fn take(&mut self, answers: Vec<answer::Answer>) -> Result<(), Lost> {
        let before = self.window.answered();
        for answer in answers {
            self.window.answer(answer).map_err(Lost::Broken)?;
        }
        if self.window.answered() > before {
            self.last_progress = Instant::now();
            self.failures = 0;
        }
        Ok(())
    }

    /// Full jitter: many clients that lost the same agent do not come back at the same time.
    fn pause(&mut self) -> Duration {
        let longest = CLIENT_PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        longest.min(CLIENT_PAUSE_MAX).mul_f64(fastrand::f64())
    }
}
