//! The reading side of a connection: reads, sorts, hands over.
//!
//! An idle connection holds no buffer: it waits until its socket is readable, reads into a buffer
//! of the thread, and keeps only the unfinished rest of a line.

use std::cell::RefCell;
use std::io;

use standpipe_wal::StreamName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::access::Grants;
use super::answers::{Due, Fate};
use super::line::LineParser;
use super::long_lines::LongLine;
use super::numbers::Numbers;
use super::runs::{Parsed, RefusedLines, Run, Sorter};
use super::service::Service;
use super::socket::{Peer, Socket};
use crate::intake::{Door, Permit, Refusal};
use crate::limits::{
    HALF_LINE_IDLE_MAX, READ_BYTES, REFUSED_UNANSWERED_MAX, SHORT_LINE_BYTES_MAX, STOP_GRACE,
    STOP_READ_BYTES_MAX, UNANSWERED_MAX,
};
use crate::tasks::Stop;

thread_local! {
    /// What is read goes here and is parsed before anything else runs on this thread.
    pub(super) static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The reading side of a connection.
pub(super) struct Reader<'a> {
    socket: &'a Socket,
    peer: Peer,
    service: &'a Service,
    stop: Stop,
    parser: LineParser,
    sorter: Sorter<Door>,
    /// What this peer may write.
    grants: Grants<'a>,
    /// Where answers are due; absent for fire and forget.
    answers: Option<mpsc::Sender<Due>>,
    /// Lines that were read so far.
    lines: u64,
    /// Held while this connection has more than a short line in memory.
    long: Option<LongLine>,
    /// When an unfinished line must have got further, and how much of it was held then.
    deadline: Option<Instant>,
    held: usize,
    /// What may still be read after the stop, in bytes.
    last_bytes: usize,
}

/// What a read brought.
enum Read {
    Lines(Parsed<Door>),
    Nothing,
    End,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        socket: &'a Socket,
        peer: Peer,
        service: &'a Service,
        answers: Option<mpsc::Sender<Due>>,
    ) -> Self {
        Self {
            socket,
            peer,
            service,
            stop: service.context.stop.clone(),
            parser: LineParser::new(service.lines.terminator, service.lines.event_bytes_max),
            sorter: Sorter::new(answers.is_some()),
            grants: service.access.grants(peer.account()),
            // A client that is answered sends again what was not.
            last_bytes: if answers.is_some() { 0 } else { STOP_READ_BYTES_MAX },
            answers,
            lines: 0,
            long: None,
            deadline: None,
            held: 0,
        }
    }

    /// Reads to the end, beginning with what was read already.
    pub(super) async fn run(&mut self, first: &[u8]) {
        let parsed = self.parse(first);
        self.hand_over(parsed).await;
        self.settle().await;
        loop {
            match wait(self.socket, self.deadline, &mut self.stop, self.answers.as_ref()).await {
                Wake::Readable => {}
                Wake::Stopped if self.last_bytes > 0 => {}
                Wake::Stopped | Wake::Stalled | Wake::Gone => break,
            }
            // Held until the log has taken what was read.
            let wide = self.service.context.wide_reads.try_acquire().ok();
            let bytes = if wide.is_some() { READ_BYTES } else { SHORT_LINE_BYTES_MAX };
            match self.read(bytes) {
                Read::Lines(parsed) => self.hand_over(parsed).await,
                Read::Nothing if self.stop.is_stopped() => break,
                Read::Nothing => continue,
                Read::End => break,
            }
            self.settle().await;
        }
        let mut parsed = Parsed::of_read(0);
        let sorter = &mut self.sorter;
        self.parser.end(|line| sorter.take(line, &mut parsed, |_| Err(Refusal::Unfinished)));
        self.hand_over(parsed).await;
    }

    fn read(&mut self, bytes_max: usize) -> Read {
        SCRATCH.with_borrow_mut(|scratch| {
            let buffer = scratch.get_mut(..bytes_max).unwrap_or_default();
            match self.socket.try_read(buffer) {
                Ok(0) => Read::End,
                Ok(bytes) => {
                    if self.stop.is_stopped() {
                        self.last_bytes = self.last_bytes.saturating_sub(bytes);
                    }
                    Read::Lines(self.parse(buffer.get(..bytes).unwrap_or_default()))
                }
                Err(error) if is_passing(&error) => Read::Nothing,
                Err(_) => Read::End,
            }
        })
    }

    /// Parses what was read. Nothing waits in here.
    fn parse(&mut self, bytes: &[u8]) -> Parsed<Door> {
        let mut parsed = Parsed::of_read(bytes.len());
        let (sorter, service, grants) = (&mut self.sorter, self.service, &self.grants);
        let open = |name: &StreamName| {
            if !grants.allow(name) {
                return Err(Refusal::Forbidden);
            }
            service.context.intake.door(name, service.unknown)
        };
        self.parser.feed(bytes, |line| sorter.take(line, &mut parsed, open));
        self.sorter.end_of_read(&parsed);
        self.note_progress(parsed.lines);
        parsed
    }

    /// An unfinished line must go on: a short one by any byte, a long one, which keeps others from
    /// theirs, by the size of a short one.
    fn note_progress(&mut self, lines: u32) {
        let held = self.parser.held_bytes();
        let step = if held > SHORT_LINE_BYTES_MAX { SHORT_LINE_BYTES_MAX } else { 1 };
        if !self.parser.is_mid_line() {
            self.deadline = None;
        } else if lines > 0 || held == 0 || self.deadline.is_none() || held >= self.held + step {
            self.deadline = Some(Instant::now() + HALF_LINE_IDLE_MAX);
            self.held = held;
        }
    }

    /// Takes or gives back the permit for a long line, as the unfinished line asks for it.
    async fn settle(&mut self) {
        if self.parser.held_bytes() <= SHORT_LINE_BYTES_MAX {
            self.long = None;
        } else if self.long.is_none() {
            let long = self.service.context.long_lines.acquire(self.parser.held_name());
            tokio::select! {
                long = long => self.long = Some(long),
                () = self.stop.stopped() => {}
            }
            // It could not go on while nobody read it.
            self.deadline = Some(Instant::now() + HALF_LINE_IDLE_MAX);
        }
    }

    /// Hands the runs of one read over, one after the other; waits wherever the log has no room.
    async fn hand_over(&mut self, parsed: Parsed<Door>) {
        let base = self.lines + 1;
        self.lines += u64::from(parsed.lines);
        let number = |index: u32| base + u64::from(index);
        let answered_before = |next: Option<&Run<Door>>| {
            next.map_or(self.lines, |next| number(next.first).saturating_sub(1))
        };
        let before_runs = answered_before(parsed.runs.first());
        self.refuse(parsed.refused, base, before_runs).await;
        let mut runs = parsed.runs.into_iter().peekable();
        while let Some(run) = runs.next() {
            let through = answered_before(runs.peek());
            self.submit(run, base, through).await;
        }
    }

    async fn refuse(&self, refused: Vec<RefusedLines<Door>>, base: u64, before_runs: u64) {
        if refused.is_empty() {
            return;
        }
        let mut ranges = 0;
        for RefusedLines { refusal, door, events, lines, .. } in refused {
            self.count(door.as_ref(), &refusal, events);
            ranges += lines.ranges();
            let Some(answers) = &self.answers else { continue };
            // Lines are answered in the order of the queue: only behind the last refusal of this
            // read are all lines before its first run answered.
            let due = Due { base, lines, fate: Fate::Refused(refusal), through: base - 1 };
            if answers.send(due).await.is_err() {
                return;
            }
        }
        let Some(answers) = &self.answers else { return };
        let lines = Numbers::default();
        let fate = Fate::Nothing;
        if answers.send(Due { base, lines, fate, through: before_runs }).await.is_err() {
            return;
        }
        if ranges > REFUSED_UNANSWERED_MAX {
            // All slots are free once all answers before are on their way.
            let _written = answers.reserve_many(UNANSWERED_MAX).await.is_ok();
        }
    }

    async fn submit(&self, run: Run<Door>, base: u64, through: u64) {
        let Run { door, events, lines, .. } = run;
        // No slot: the other side takes no answers any more; the events are stored all the same.
        let slot = match &self.answers {
            Some(answers) => answers.reserve().await.ok(),
            None => None,
        };
        match self.reserve(&door, events.body().len()).await {
            Ok(permit) => {
                let (sender, receiver) = slot.is_some().then(oneshot::channel).unzip();
                permit.submit(events, sender);
                if let Some((slot, receiver)) = slot.zip(receiver) {
                    slot.send(Due { base, lines, fate: Fate::Submitted(receiver), through });
                }
            }
            Err(refusal) => {
                self.count(Some(&door), &refusal, u64::from(events.count()));
                if let Some(slot) = slot {
                    slot.send(Due { base, lines, fate: Fate::Refused(refusal), through });
                }
            }
        }
    }

    /// Waits for room in the log; when the agent stops, only a moment longer.
    async fn reserve(&self, door: &Door, bytes: usize) -> Result<Permit, Refusal> {
        let mut stop = self.stop.clone();
        let stopped = async {
            stop.stopped().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            biased;
            permit = self.service.context.intake.reserve(door, bytes, self.answers.is_some()) => permit,
            () = stopped => Err(Refusal::Stopping),
        }
    }

    fn count(&self, door: Option<&Door>, refusal: &Refusal, events: u64) {
        let service = self.service;
        service.refusals.count(&service.context.status, door, refusal, events, self.peer);
    }
}

/// Whether a read found nothing rather than failed.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Why a connection that waits for input goes on.
pub(super) enum Wake {
    Readable,
    Stopped,
    /// Half a line was there for too long.
    Stalled,
    /// Nobody takes answers any more, or the socket is broken.
    Gone,
}

/// Waits for input.
pub(super) async fn wait(
    socket: &Socket,
    deadline: Option<Instant>,
    stop: &mut Stop,
    answers: Option<&mpsc::Sender<Due>>,
) -> Wake {
    let readable = async {
        let Some(deadline) = deadline else { return Some(socket.readable().await) };
        tokio::time::timeout_at(deadline, socket.readable()).await.ok()
    };
    let gone = async {
        match answers {
            Some(answers) => answers.closed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.stopped() => Wake::Stopped,
        () = gone => Wake::Gone,
        readable = readable => match readable {
            Some(Ok(())) => Wake::Readable,
            Some(Err(_)) => Wake::Gone,
            None => Wake::Stalled,
        },
    }
}
