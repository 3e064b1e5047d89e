//! The loop of one stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::Offset;
use standpipe_wal::tail::Tail;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::aggregate::Rule;
use super::backlog::{show_backlog, show_packed};
use super::batch::Batch;
use super::build::{Builder, Built, Events, HeldByCall};
use super::burial::Undertaker;
use super::pending::{Clock, Pending};
use super::shrink::Shrink;
use super::start::{call_bytes_max, call_limits, restore};
use super::tail::Read;
use super::{Commits, Task};
use crate::config::StreamConfig;
use crate::journal::Durable;
use crate::limits::attempt_timeout;
use crate::offsets::{Key, Progress};
use crate::sink::{Call, Failure, Trouble};
use crate::status::StreamStatus;
use crate::tasks::Stop;
use crate::uploader::attempt::{self, Answer};
use crate::uploader::backoff::Backoff;
use crate::uploader::gate::Passage;
use crate::uploader::health::Condition;
use crate::uploader::{Next, Overlap, Uploader};

mod paused;
mod relief;

/// A stream on its way to a sink.
pub(super) struct Stream {
    key: Key,
    log_id: [u8; 16],
    settings: StreamConfig,
    destination: Arc<str>,
    builder: Builder,
    undertaker: Undertaker,
    durable: watch::Receiver<Durable>,
    /// Whether somebody is left who can publish a durable offset.
    durable_lives: bool,
    commits: Arc<dyn Commits>,
    status: Arc<StreamStatus>,
    stop: Stop,
    relief: Stop,
    drain_timeout: Duration,
    uploader: Uploader,
    pending: Pending,
    shrink: Shrink,
    /// Lent to the call that is being built from new events.
    tail: Option<Box<Tail>>,
    /// The call that reads new events; the next one begins where it stops.
    reading: Option<u64>,
    calls: JoinSet<Done>,
    /// What to give up if a task panics.
    tasks: HashMap<Id, u64>,
    committed: Progress,
}

/// A step of a call that has ended.
enum Done {
    /// The call was built.
    Built(u64, Box<Built>),
    /// The call was answered.
    Answered(u64, Answer, Passage),
    /// An event became a dead letter, or not.
    Buried(u64, Result<u64, String>),
}

impl Stream {
    pub(super) fn new(task: Task, rules: watch::Receiver<Arc<Rule>>) -> Self {
        let Task { stream, dir, fs, log_id, oldest, durable, settings, destination, .. } = task;
        let Task { sink, sink_name, progress, commits, memory, status, stop, world, .. } = task;
        let limits = call_limits(sink.as_ref(), settings.ordered);
        let (mut window, committed) = restore(&stream, log_id, oldest, progress);
        if task.goes_on {
            // Whoever delivered before has counted them.
            drop(window.take_uncounted());
        }
        let condition = Condition::new(stream.clone(), sink_name.clone(), Arc::clone(&status));
        let uploader = Uploader::new(
            Overlap::new(settings.in_flight_max, settings.ordered),
            call_bytes_max(limits, sink.as_ref(), &memory),
            window,
            Backoff::new(task.backoff_max, world.entropy.u64()),
            task.letters.per_minute(),
            condition,
            Arc::clone(&status),
        );
        let cursor = uploader.window().committed();
        let pending = Pending::new(cursor, *durable.borrow(), Instant::now());
        let undertaker = Undertaker {
            fs: Arc::clone(&fs),
            dir: dir.clone(),
            stream: stream.clone(),
            log_id,
            sink: sink_name.clone(),
            destination: Arc::clone(&destination),
            letters: task.letters,
            world: world.clone(),
        };
        let builder = Builder {
            fs,
            dir,
            rules,
            sink,
            limits,
            gate: task.gate,
            slots: task.slots.share(),
            memory: memory.share(),
            durable: durable.clone(),
            world,
        };
        Self {
            key: Key { stream, sink: sink_name },
            log_id,
            settings,
            destination,
            builder,
            undertaker,
            durable,
            durable_lives: true,
            commits,
            status,
            stop,
            relief: task.relief,
            drain_timeout: task.drain_timeout,
            uploader,
            pending,
            shrink: Shrink::default(),
            tail: None,
            reading: None,
            calls: JoinSet::new(),
            tasks: HashMap::new(),
            committed,
        }
    }

    pub(super) async fn run(mut self) {
        self.commit();
        if self.settings.paused {
            return self.stay_paused().await;
        }
        self.note_unpaused();
        let mut drained_by = None;
        loop {
            let now = Instant::now();
            let durable = *self.durable.borrow_and_update();
            self.pending.observe(durable, now);
            self.skip_settled();
            show_backlog(&self.status, &self.pending, &self.uploader);
            if self.stop.is_stopped() {
                let deadline = *drained_by.get_or_insert(now + self.drain_timeout);
                if now >= deadline || self.uploader.is_out() || self.is_drained() {
                    break;
                }
            }
            if self.relief.is_stopped() {
                return self.hand_over().await;
            }
            let draining = drained_by.is_some();
            match self.uploader.next(now, self.is_ready(now, draining)) {
                Next::Again(id, batch) => self.build_again(id, batch),
                Next::Fresh(id) => self.build_fresh(id),
                Next::Bury(id, batch, reason) => self.bury(id, batch, reason),
                Next::Wait(until) => self.wait(now, until, drained_by).await,
            }
        }
        self.end();
    }

    /// Whether everything that is durable was confirmed.
    fn is_drained(&self) -> bool {
        self.pending.events() == 0 && self.uploader.is_idle()
    }

    /// Whether new events should go: a call can be filled, or the oldest has waited long enough.
    fn is_ready(&self, now: Instant, draining: bool) -> bool {
        self.pending.events() > 0
            && self.could_read()
            && (draining
                || self.is_full()
                || self.pending.is_hurried()
                || self.pending.deadline(self.settings.linger) <= now)
    }

    /// Whether new events could be read now, if there were any.
    fn could_read(&self) -> bool {
        self.reading.is_none() && self.uploader.could_take_fresh()
    }

    /// Whether what waits fills a call. What earlier runs left has waited long enough anyway.
    fn is_full(&self) -> bool {
        let Some(bytes) = self.expected_bytes() else { return true };
        let records_max = self.builder.limits.records_max;
        self.shrink.of(bytes) >= self.call_bytes_max()
            || self.pending.events() >= self.builder.rules.borrow().events_per_call(records_max)
    }

    /// What a call may hold now.
    fn call_bytes_max(&self) -> usize {
        self.uploader.call_bytes_max().min(self.builder.gate.call_bytes_max())
    }

    /// What the waiting events weigh as records.
    fn expected_bytes(&self) -> Option<usize> {
        let delimiters =
            self.pending.events() * self.builder.rules.borrow().bytes_per_event() as u64;
        let bytes = self.pending.payload_bytes()? + delimiters;
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Waits until something that matters has changed. Everything it waits on is a value that is
    /// looked at again afterwards, so nothing can be missed between two rounds. `now` is the round's
    /// own: a later one could be behind a deadline that the round still saw before it, and nobody
    /// would wake up for it.
    async fn wait(&mut self, now: Instant, until: Option<Instant>, drained_by: Option<Instant>) {
        let fresh = self.could_read();
        let waits_for_company = fresh && self.pending.events() > 0;
        let company = self.pending.ripens(self.settings.linger, now).filter(|_| waits_for_company);
        let wake = [until, company, drained_by].into_iter().flatten().min();
        let sleep = sleep_until(wake.unwrap_or(now));
        tokio::select! {
            biased;
            Some(done) = self.calls.join_next_with_id(), if !self.calls.is_empty() => {
                self.ended(done);
            }
            changed = self.durable.changed(), if fresh && self.durable_lives => {
                self.durable_lives = changed.is_ok();
            }
            () = self.stop.stopped(), if drained_by.is_none() => {}
            () = self.relief.stopped() => {}
            () = sleep, if wake.is_some() => {}
        }
    }

    /// Jumps over ranges that were confirmed or passed before a restart.
    fn skip_settled(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let cursor = self.pending.cursor();
        let settled = self.uploader.window().settled_from(cursor);
        let end = self.uploader.window().committed().max(match settled {
            Some(range) if range.start <= cursor => range.end,
            _ => cursor,
        });
        if end > cursor {
            self.pending.skip(end);
        }
    }

    fn build_fresh(&mut self, id: u64) {
        let cursor = self.pending.cursor();
        let mut tail = self.tail.take().unwrap_or_else(|| {
            let Builder { fs, dir, .. } = &self.builder;
            Box::new(Tail::open(Arc::clone(fs), dir.clone(), cursor))
        });
        if tail.offset() != cursor {
            tail.seek(cursor);
        }
        let settled = self.uploader.window().settled_from(cursor);
        let end = settled.map_or(Offset::MAX, |range| range.start);
        self.reading = Some(id);
        self.build(id, Events::Fresh(tail, end), self.expected_bytes());
    }

    fn build_again(&mut self, id: u64, batch: Batch) {
        let expected = Some(batch.bytes_max);
        self.build(id, Events::Again(batch), expected);
    }

    fn build(&mut self, id: u64, events: Events, expected: Option<usize>) {
        let builder = self.builder.clone();
        let call_bytes_max = self.call_bytes_max();
        let probing = self.uploader.is_out();
        let building = builder.build(events, call_bytes_max, expected, probing);
        let task = self.calls.spawn(async move { Done::Built(id, Box::new(building.await)) });
        self.tasks.insert(task.id(), id);
    }

    /// Sends a call. What it holds is given back when the call has ended, also where it is cut off.
    fn send(&mut self, id: u64, read: Read, held: HeldByCall) {
        let sink = Arc::clone(&self.builder.sink);
        let records = read.packed.records;
        let body_bytes = sink.encoded_bytes(records.data.len(), records.len());
        let timeout = attempt_timeout(body_bytes.max(records.data.len()));
        let call = Call { destination: Arc::clone(&self.destination), records, timeout };
        debug!(stream = %self.key.stream, batch = id, records = call.records.len(), "call begins");
        let status = Arc::clone(&self.status);
        let task = self.calls.spawn(async move {
            let began = Instant::now();
            let answer = attempt::attempt(sink.as_ref(), call).await;
            status.call_durations.observe(began.elapsed());
            Done::Answered(id, answer, held.into_passage())
        });
        self.tasks.insert(task.id(), id);
    }

    /// Stores an event as a dead letter. The commit passes it only when that is on disk.
    fn bury(&mut self, id: u64, batch: Batch, reason: String) {
        warn!(
            stream = %self.key.stream, sink = self.key.sink, offset = %batch.start(),
            error = reason, "an event is refused for certain and becomes a dead letter"
        );
        let burying = self.undertaker.clone().bury(batch, reason);
        let task = self.calls.spawn(async move { Done::Buried(id, burying.await) });
        self.tasks.insert(task.id(), id);
    }

    fn ended(&mut self, done: Result<(Id, Done), JoinError>) {
        let now = Instant::now();
        match done {
            Ok((task, Done::Built(id, built))) => {
                self.tasks.remove(&task);
                self.built(id, *built, now);
            }
            Ok((task, Done::Answered(id, answer, passage))) => {
                self.tasks.remove(&task);
                let taken = self.uploader.answered(id, answer, now);
                passage.answered(taken.load, taken.throttled);
            }
            Ok((task, Done::Buried(id, outcome))) => {
                self.tasks.remove(&task);
                self.uploader.buried(id, outcome, now);
            }
            Err(error) => {
                let Some(id) = self.tasks.remove(&error.id()) else { return };
                self.reading.take_if(|reading| *reading == id);
                // Whether it had sent anything is not known.
                let failure = Failure {
                    trouble: Trouble::Faulty,
                    ambiguous: true,
                    message: error.to_string(),
                };
                self.uploader.answered(id, Err(failure), now);
            }
        }
        self.commit();
    }

    fn built(&mut self, id: u64, built: Built, now: Instant) {
        let Built { tail, until, read, held } = built;
        let fresh = self.reading.take_if(|reading| *reading == id).is_some();
        let mut read = match read {
            Ok(read) => read,
            Err(reason) => {
                self.tail = self.tail.take().or(tail);
                return self.uploader.unreadable(id, &reason, now);
            }
        };
        if fresh {
            let cursor = self.pending.cursor();
            self.note_read(&read, tail.as_deref(), until, now);
            self.tail = tail;
            if self.pending.cursor() == cursor {
                let reason = format!("nothing is to be found at {cursor}, which is durable");
                return self.uploader.unreadable(id, &reason, now);
            }
        }
        for (range, reason) in &read.missing {
            warn!(
                stream = %self.key.stream, offset = %range.start, to = %range.end,
                reason = reason.word(), "events cannot be read and are passed"
            );
        }
        if self.uploader.built(id, &mut read, now) {
            self.send(id, read, held);
        }
    }

    /// Notes how far new events were read.
    fn note_read(&mut self, read: &Read, tail: Option<&Tail>, until: Durable, now: Instant) {
        let Some(tail) = tail else { return };
        let clock = Clock { now, now_ms: self.builder.world.now_ms() };
        let payload = self.pending.counted(&read.packed.spans);
        self.pending.read(tail.offset(), payload, until, read.last_ms, clock);
        let per_event = self.builder.rules.borrow().bytes_per_event();
        self.shrink.learn(read.packed.weight(per_event), read.packed.records.data.len());
        show_packed(&self.status, &read.packed);
    }

    /// Hands progress over, where there is any.
    fn commit(&mut self) {
        let progress = self.uploader.progress(self.log_id);
        if progress != self.committed {
            self.commits.commit(&self.key, progress.clone());
            self.committed = progress;
        }
    }
}
