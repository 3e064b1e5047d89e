//! One stream in the hands of its owner.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use standpipe_wal::limits::SEGMENT_HEADER_BYTES;
use standpipe_wal::{Error, Log, Offset, StreamName};
use tokio::time::Instant;

use super::message::{Append, Room};
use super::owner::Shared;
use super::quota::Quota;
use super::{Durable, Opened, Stream};
use crate::intake::{Answer, Refusal};
use crate::limits::{IDLE_ROLL_AFTER, WRITE_RETRY_MAX, WRITE_RETRY_MIN};

/// A stream's log and who waits for it.
pub(super) struct Slot {
    stream: Arc<Stream>,
    /// Absent until it could be opened.
    log: Option<Log>,
    /// One for each run that was pushed and is not synced, in the order of the pushes.
    unanswered: VecDeque<Unanswered>,
    /// Runs of clients that cannot be told, kept while the log cannot be written.
    waiting: VecDeque<Append>,
    /// When to try again, after a failure.
    retry_at: Option<Instant>,
    failures: u32,
    /// What the log had no room for when it failed.
    wanted_bytes: usize,
    /// What was last reported to the quota.
    reported_bytes: u64,
    /// Where the log goes on at least, when it is opened. May lie beyond events that are not
    /// delivered yet: nothing is trimmed by it.
    confirmed: Offset,
    committed: Offset,
    damaged: Vec<Range<Offset>>,
    /// Commits that may be trimmed once they are old enough (`retain_delivered`).
    retained: VecDeque<(Instant, Offset)>,
    /// Since when everything has been delivered.
    idle_since: Option<Instant>,
}

struct Unanswered {
    range: Range<Offset>,
    payload_bytes: u64,
    answer: Option<Answer>,
    room: Room,
}

impl Slot {
    pub(super) fn new(stream: Arc<Stream>, confirmed: Offset) -> Self {
        Self {
            stream,
            log: None,
            unanswered: VecDeque::new(),
            waiting: VecDeque::new(),
            retry_at: None,
            failures: 0,
            wanted_bytes: 0,
            reported_bytes: 0,
            confirmed,
            committed: Offset::ZERO,
            damaged: Vec::new(),
            retained: VecDeque::new(),
            idle_since: None,
        }
    }

    /// Opens the log and recovers what is there. Returns what its reader has to be told.
    pub(super) fn open(&mut self, shared: &Shared, now_ms: u64) -> Option<Opened> {
        let name = &self.stream.name;
        let opened =
            Log::open(&shared.fs, &shared.dir, name, &shared.options, self.confirmed, now_ms);
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        let durable = Durable { offset: log.durable(), newest_ms: now_ms, ..Durable::default() };
        self.stream.durable.send_replace(durable);
        let opened = Opened {
            stream: self.stream.clone(),
            dir: log.dir().to_path_buf(),
            log_id: log.log_id(),
            oldest: log.oldest(),
            durable: self.stream.durable.subscribe(),
            recovery,
        };
        self.log = Some(log);
        self.publish_shape();
        self.report(&shared.quota);
        self.recovered();
        if self.stream.status.log.state().state == "opening" {
            self.stream.status.log.enter("ok", "");
        }
        Some(opened)
    }

    pub(super) fn name(&self) -> &StreamName {
        &self.stream.name
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.unanswered.is_empty()
    }

    pub(super) fn unsynced_bytes(&self) -> usize {
        self.log.as_ref().map_or(0, Log::unsynced_bytes)
    }

    /// Takes events into the round, or keeps or refuses them while the log cannot be written.
    pub(super) fn append(&mut self, append: Append, now_ms: u64) {
        match &mut self.log {
            Some(log) if self.retry_at.is_none() => {
                let payload_bytes = append.events.payload_bytes();
                let range = log.push(append.events, now_ms);
                self.unanswered.push_back(Unanswered {
                    range,
                    payload_bytes,
                    answer: append.answer,
                    room: append.room,
                });
            }
            _ => self.keep_or_refuse(append),
        }
    }

    /// A client that waits for an answer gets one; for the others the events wait here, with the
    /// memory that they were granted, which in the end makes the socket wait.
    fn keep_or_refuse(&mut self, append: Append) {
        let Some(answer) = append.answer else { return self.waiting.push_back(append) };
        let refusal = Refusal::Unavailable { reason: self.reason() };
        self.stream.status.refused.add(refusal.code(), append.events.count().into());
        // The client is gone.
        let _gone = answer.send(Err(refusal)).is_err();
    }

    fn reason(&self) -> String {
        self.stream.closed.borrow().as_deref().unwrap_or("opening").to_owned()
    }

    /// Makes the round durable and answers it. Returns how long the disk took.
    pub(super) fn sync(&mut self, quota: &Quota, now_ms: u64) -> Duration {
        let Some(log) = &mut self.log else { return Duration::ZERO };
        let began = Instant::now();
        let synced = log.sync(now_ms);
        let took = began.elapsed();
        self.stream.status.syncs.observe(took);
        // Before the answers: who is answered and asks for more is measured by what is taken now.
        self.report(quota);
        match synced {
            Ok(synced) => {
                if let Some(trouble) = synced.failed_over {
                    let stream = &self.stream.name;
                    tracing::warn!(%stream, offset = %synced.durable, error = %trouble,
                        "a write failed; the log goes on in a new segment");
                }
                self.answer(synced.durable, now_ms);
                self.recovered();
            }
            Err(error) => {
                // Segments that were filled on the way may be durable.
                let durable = self.log.as_ref().map(Log::durable).unwrap_or_default();
                self.answer(durable, now_ms);
                self.give_back(&error);
            }
        }
        took
    }

    /// Answers everybody whose events are below the durable offset.
    fn answer(&mut self, durable: Offset, now_ms: u64) {
        let answered = self.unanswered.partition_point(|one| one.range.end <= durable);
        let (mut events, mut bytes) = (0, 0);
        for unanswered in self.unanswered.iter().take(answered) {
            events += standpipe_wal::offset::count(&unanswered.range);
            bytes += unanswered.payload_bytes;
        }
        self.stream.durable.send_modify(|published| {
            published.offset = durable;
            published.payload_bytes += bytes;
            published.newest_ms = now_ms;
        });
        let status = &self.stream.status;
        status.accepted_events.add(events);
        status.accepted_bytes.add(bytes);
        status.next.set(durable.get());
        status.durable.set(durable.get());
        for Unanswered { range, answer, room, .. } in self.unanswered.drain(..answered) {
            drop(room);
            if let Some(answer) = answer {
                // First the number: whoever was answered finds itself counted.
                let told =
                    if answer.is_closed() { 0 } else { standpipe_wal::offset::count(&range) };
                status.acknowledged_events.add(told);
                // The client is gone; its events are durable all the same.
                let _gone = answer.send(Ok(range)).is_err();
            }
        }
    }

    /// Neither the segment nor a new one could be written: whoever can be told is told, the rest
    /// waits for the next try.
    fn give_back(&mut self, error: &Error) {
        self.failed(error);
        let Some(log) = &mut self.log else { return };
        self.wanted_bytes = log.unsynced_bytes();
        let runs = log.take_unsynced();
        let unanswered = std::mem::take(&mut self.unanswered);
        assert_eq!(runs.len(), unanswered.len(), "the log gave back other runs than it was given");
        for (events, Unanswered { answer, room, .. }) in runs.into_iter().zip(unanswered) {
            let stream = self.stream.clone();
            self.keep_or_refuse(Append { stream, events, answer, room });
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        let pause = WRITE_RETRY_MIN * 2u32.saturating_pow(self.failures.min(16) - 1);
        self.retry_at = Some(Instant::now() + pause.min(WRITE_RETRY_MAX));
        let reason = error.to_string();
        self.stream.closed.send_replace(Some(reason.as_str().into()));
        let state = if error.is_out_of_space() { "full" } else { "failing" };
        if self.stream.status.log.enter(state, &reason).is_some() {
            tracing::error!(stream = %self.stream.name, %error, state,
                "the log cannot be written; new events wait or are refused");
        }
    }

    fn recovered(&mut self) {
        if self.failures == 0 {
            return;
        }
        self.failures = 0;
        self.retry_at = None;
        self.stream.closed.send_replace(None);
        if let Some(left) = self.stream.status.log.enter("ok", "") {
            let lasted = left.since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(stream = %self.stream.name,
                lasted = %humantime::format_duration(Duration::from_secs(lasted)),
                "the log can be written again");
        }
    }

    /// Confirmed by the destination and durable in the offset store: space may be given back.
    pub(super) fn committed(&mut self, committed: Offset, damaged: &[(u64, u64)], now_ms: u64) {
        self.committed = self.committed.max(committed);
        // Each commit names all of them: what was trimmed since is of no interest any more.
        let oldest = self.log.as_ref().map(Log::oldest).unwrap_or_default();
        let damaged = damaged.iter().map(|&(start, end)| Offset::new(start)..Offset::new(end));
        self.damaged = damaged.filter(|range| range.end > oldest).collect();
        let retain = self.stream.settings().retain_delivered;
        if retain.is_zero() {
            self.trim(self.committed, now_ms);
        } else if self.retained.back().is_none_or(|(at, _)| at.elapsed() > retain / 64) {
            self.retained.push_back((Instant::now(), self.committed));
        } else if let Some((_, newest)) = self.retained.back_mut() {
            *newest = self.committed;
        }
    }

    fn trim(&mut self, committed: Offset, now_ms: u64) {
        let Some(log) = &mut self.log else { return };
        let stream = &self.stream.name;
        match log.trim(committed, &self.damaged, now_ms) {
            Ok(trimmed) if trimmed.segments > 0 => {
                tracing::debug!(%stream, segments = trimmed.segments, bytes = trimmed.bytes,
                    oldest = %trimmed.oldest, "gave back delivered segments");
                self.damaged.retain(|range| range.end > trimmed.oldest);
            }
            Ok(_) => {}
            // Nothing is lost: the next commit tries again, and so does the next start.
            Err(error) => tracing::warn!(%stream, %error, "could not give back delivered segments"),
        }
        self.publish_shape();
    }

    fn publish_shape(&self) {
        let Some(log) = &self.log else { return };
        let status = &self.stream.status;
        status.next.set(log.next().get());
        status.durable.set(log.durable().get());
        status.oldest.set(log.oldest().get());
        status.segments.set(log.segments() as u64);
        status.disk_bytes.set(log.disk_bytes());
    }

    /// Tells the quota what the stream takes on disk now.
    pub(super) fn report(&mut self, quota: &Quota) {
        let bytes = self.log.as_ref().map_or(0, Log::disk_bytes);
        if bytes != self.reported_bytes {
            // First the stream's own number: whoever is woken by the quota looks at both.
            self.publish_shape();
            quota.report(self.reported_bytes, bytes);
            self.reported_bytes = bytes;
        }
    }

    /// When this stream wants [`Slot::care`] without a message.
    pub(super) fn wants_care_at(&mut self) -> Option<Instant> {
        self.note_idle();
        let retained = self.retained.front().map(|(at, _)| *at + self.retain());
        let idle = self.idle_since.filter(|_| self.has_idle_bytes()).map(|at| at + IDLE_ROLL_AFTER);
        [self.retry_at, retained, idle].into_iter().flatten().min()
    }

    /// Keeps track of since when there is nothing left to deliver. Asked for after whatever happens
    /// to the stream: not only a commit makes it so, but also events that were refused after all.
    fn note_idle(&mut self) {
        let is_idle = self.log.as_ref().is_some_and(|log| self.committed >= log.next());
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or_else(Instant::now));
    }

    fn retain(&self) -> Duration {
        self.stream.settings().retain_delivered
    }

    fn has_idle_bytes(&self) -> bool {
        let empty = SEGMENT_HEADER_BYTES as u64;
        self.retained.is_empty() && self.log.as_ref().is_some_and(|log| log.disk_bytes() > empty)
    }

    /// Does what time has made due. Returns what a reader has to be told, where the log was opened.
    pub(super) fn care(&mut self, shared: &Shared, now_ms: u64) -> Option<Opened> {
        let now = Instant::now();
        let is_retry_due = self.retry_at.is_some_and(|at| at <= now);
        let opened = if is_retry_due { self.retry(shared, now_ms) } else { None };
        let retain = self.retain();
        let mut trim_to = None;
        while let Some((_, committed)) = self.retained.pop_front_if(|(at, _)| *at + retain <= now) {
            trim_to = Some(committed);
        }
        if let Some(committed) = trim_to {
            self.trim(committed, now_ms);
        }
        if self.idle_since.is_some_and(|at| at + IDLE_ROLL_AFTER <= now) && self.has_idle_bytes() {
            self.roll_idle(now_ms);
        }
        opened
    }

    fn retry(&mut self, shared: &Shared, now_ms: u64) -> Option<Opened> {
        self.retry_at = None;
        let opened = if self.log.is_none() { self.open(shared, now_ms) } else { None };
        let log = self.log.as_mut()?;
        // Nothing is pushed yet, and whoever is answered with a refusal has not sent it again: that
        // there is nothing to write must not pass for a success.
        let prepared = log.prepare(self.wanted_bytes as u64, now_ms);
        self.report(&shared.quota);
        if let Err(error) = prepared {
            self.failed(&error);
            return opened;
        }
        for append in std::mem::take(&mut self.waiting) {
            self.append(append, now_ms);
        }
        self.sync(&shared.quota, now_ms);
        opened
    }

    /// Everything was delivered a while ago: the last segment gives its bytes back too.
    fn roll_idle(&mut self, now_ms: u64) {
        self.idle_since = None;
        let Some(log) = &mut self.log else { return };
        match log.roll_idle(now_ms) {
            Ok(()) => self.trim(self.committed, now_ms),
            Err(error) => self.failed(&error),
        }
    }

    /// A clean end. What still waits for the disk is not stored; nobody was told that it is.
    pub(super) fn close(self, now_ms: u64) {
        let stream = &self.stream.name;
        let lost: u64 = self.waiting.iter().map(|append| u64::from(append.events.count())).sum();
        if lost > 0 {
            self.stream.status.refused.add("unavailable", lost);
            tracing::error!(%stream, events = lost,
                "events of clients that wait for no answer could not be written before the end");
        }
        if let Some(Err(error)) = self.log.map(|log| log.close(now_ms)) {
            tracing::warn!(%stream, %error, "could not seal the log; the next start reads it again");
        }
    }
}
