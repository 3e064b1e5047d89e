//! Sends numbered events in acknowledged mode and keeps the ledger of what was acknowledged.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lines that may wait for their acknowledgement on one connection.
const WINDOW: usize = 16 * 1024;

/// Lines in one write.
const LINES_PER_WRITE: usize = 256;

/// What stands behind each number, so that an event has about 200 bytes.
const FILLER: &str = "the quick brown fox jumps over the lazy dog while the log is written and synced \
     and the uploader packs many of these lines into one record, since Firehose bills 5 KiB steps";

/// One stream's events, numbered from zero, and which of them the agent has acknowledged.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) stream: &'static str,
    acknowledged: Vec<bool>,
    /// Lines written, repetitions included.
    pub(super) sent: u64,
}

impl Ledger {
    pub(super) fn new(stream: &'static str, events: usize) -> Self {
        Self { stream, acknowledged: vec![false; events], sent: 0 }
    }

    /// How many events there are.
    pub(super) fn events(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many of them were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.iter().filter(|acknowledged| **acknowledged).count() as u64
    }

    /// Takes the first events for acknowledged.
    #[cfg(test)]
    pub(super) fn acknowledge_first(&mut self, events: usize) {
        self.acknowledged.iter_mut().take(events).for_each(|acknowledged| *acknowledged = true);
    }

    /// Whether this event was.
    pub(super) fn is_acknowledged(&self, event: usize) -> bool {
        self.acknowledged.get(event).copied().unwrap_or(false)
    }
}

/// Digits of the number at the beginning of an event.
pub(super) const NUMBER_DIGITS: usize = 9;

/// The payload of an event.
pub(super) fn payload(event: usize) -> String {
    format!("{event:0NUMBER_DIGITS$} {FILLER}")
}

/// How far all feeders together are, for whoever waits for it.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sends every event of the ledger that was not acknowledged. Returns whether all of them are now;
/// not so where the connection broke.
pub(super) fn feed(socket: &Path, ledger: &mut Ledger, total: &Total) -> anyhow::Result<bool> {
    let missing: Vec<usize> =
        (0..ledger.events()).filter(|event| !ledger.is_acknowledged(*event)).collect();
    let Ok(connection) = UnixStream::connect(socket) else { return Ok(false) };
    let mut answers = BufReader::new(connection.try_clone()?);
    let mut greeting = String::new();
    let asked = (&connection).write_all(b"STANDPIPE/2 ack=durable\n");
    let answered = asked.and_then(|()| answers.read_line(&mut greeting));
    if !answered.is_ok_and(|bytes| bytes > 0) {
        return Ok(false);
    }
    anyhow::ensure!(greeting.starts_with("OK"), "the agent answered {greeting:?} to the hello");

    let window = Window::default();
    let refused = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let refused = read_answers(answers, &window, total);
            window.close();
            refused
        });
        let sent = write_lines(&connection, ledger.stream, &missing, &window);
        // The agent answers what it has and closes its side. It is gone where this fails.
        let _gone = connection.shutdown(Shutdown::Write).is_err();
        ledger.sent += sent;
        reader.join()
    });
    let refused =
        refused.map_err(|_panic| anyhow::anyhow!("the reader of the answers panicked"))?;
    let answered = window.lock().answered;
    for (line, event) in missing.iter().take(answered).enumerate() {
        if let (false, Some(entry)) =
            (refused.contains(&(line + 1)), ledger.acknowledged.get_mut(*event))
        {
            *entry = true;
        }
    }
    Ok(answered == missing.len() && refused.is_empty())
}

/// Writes lines as the window allows, until all are written or the agent is gone. Returns how many.
fn write_lines(connection: &UnixStream, stream: &str, events: &[usize], window: &Window) -> u64 {
    let mut connection = connection;
    let mut sent = 0;
    let mut text = String::new();
    for lines in events.chunks(LINES_PER_WRITE) {
        text.clear();
        for event in lines {
            // A string takes whatever it is given.
            let _written = writeln!(text, "{stream} {}", payload(*event)).is_ok();
        }
        if !window.wait_for_room(sent) || connection.write_all(text.as_bytes()).is_err() {
            break;
        }
        sent += lines.len();
    }
    sent as u64
}

/// Reads `ACK n` and `NAK n code text` until the connection ends; returns the refused lines.
fn read_answers(answers: impl BufRead, window: &Window, total: &Total) -> Vec<usize> {
    let mut refused = Vec::new();
    for answer in answers.lines() {
        let Ok(answer) = answer else { break };
        let mut words = answer.split(' ');
        let (word, line) = (words.next(), words.next().and_then(|n| n.parse::<usize>().ok()));
        match (word, line) {
            (Some("ACK"), Some(line)) => {
                let more = window.answered(line);
                total.0.fetch_add(more as u64, Ordering::Relaxed);
            }
            (Some("NAK"), Some(line)) => refused.push(line),
            _ => break,
        }
    }
    refused
}

/// Lines that were answered: what the writer waits for.
#[derive(Debug, Default)]
struct Window {
    state: Mutex<Answered>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Answered {
    answered: usize,
    closed: bool,
}

impl Window {
    fn lock(&self) -> MutexGuard<'_, Answered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every line up to this one is answered; returns how many are new.
    fn answered(&self, line: usize) -> usize {
        let mut state = self.lock();
        let more = line.saturating_sub(state.answered);
        state.answered += more;
        self.changed.notify_all();
        more
    }

    /// No answer will come any more.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until another line may be sent after `sent`; false where no answer will come.
    fn wait_for_room(&self, sent: usize) -> bool {
        let full = |state: &mut Answered| !state.closed && sent >= state.answered + WINDOW;
        let state = self.changed.wait_while(self.lock(), full);
        !state.unwrap_or_else(PoisonError::into_inner).closed
    }
}
