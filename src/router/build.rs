//! Building a call: room in memory first, then one pass over the log on a blocking thread.

use std::path::PathBuf;
use std::sync::Arc;

use standpipe_wal::Offset;
use standpipe_wal::fs::Fs;
use standpipe_wal::limits::READ_BYTES_MAX;
use standpipe_wal::tail::Tail;
use tokio::sync::watch;

use crate::journal::Durable;
use crate::limits::CALL_OVERHEAD_BYTES;
use crate::router::aggregate::Rule;
use crate::router::batch::Batch;
use crate::router::tail::{Read, Wanted, read};
use crate::sink::{Limits, Records, Sink};
use crate::uploader::gate::{Gate, Passage};
use crate::uploader::memory::{MemoryShare, Reserved};
use crate::uploader::slots::{Slot, SlotShare};
use crate::world::World;

/// What all calls of a stream are built with.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    /// The rule that holds when a call is begun.
    pub(crate) rules: watch::Receiver<Arc<Rule>>,
    pub(crate) sink: Arc<dyn Sink>,
    /// What one call may hold at most.
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    pub(crate) slots: SlotShare,
    pub(crate) memory: MemoryShare,
    pub(crate) durable: watch::Receiver<Durable>,
    pub(crate) world: World,
}

/// Which events a call is for.
#[derive(Debug)]
pub(crate) enum Events {
    /// What the tail reads next, no further than here.
    Fresh(Box<Tail>, Offset),
    /// What was read before.
    Again(Batch),
}

/// A call that was built, or why not.
#[derive(Debug)]
pub(crate) struct Built {
    /// The tail that was lent, where it still exists.
    pub(crate) tail: Option<Box<Tail>>,
    /// The durable offset up to which new events were read.
    pub(crate) until: Durable,
    /// What was read.
    pub(crate) read: Result<Read, String>,
    /// What the call holds until it has ended.
    pub(crate) held: HeldByCall,
}

/// What a call took before it was built, in this order: who waits for the pace or for a slot holds
/// no memory meanwhile.
#[derive(Debug)]
pub(crate) struct HeldByCall {
    pub(crate) passage: Passage,
    slot: Slot,
    memory: Reserved,
}

impl HeldByCall {
    /// Gives back all but the passage, which is to see the answer.
    pub(crate) fn into_passage(self) -> Passage {
        let Self { passage, slot, memory } = self;
        drop((slot, memory));
        passage
    }
}

impl Builder {
    /// Builds a call of at most `call_bytes_max`, where `expected_bytes` is how much there is to
    /// read if that is known, and `probing` whether nothing gets through at the moment.
    pub(crate) async fn build(
        self,
        events: Events,
        call_bytes_max: usize,
        expected_bytes: Option<usize>,
        probing: bool,
    ) -> Built {
        let Limits { records_max, record_bytes_max, .. } = self.limits;
        let rule = Arc::clone(&self.rules.borrow());
        let expected = expected_bytes.map_or(usize::MAX, |bytes| rule.room_for(bytes, records_max));
        let mut passage = self.gate.pass(call_bytes_max.min(expected)).await;
        let slot = self.slots.take(probing).await;
        // One event may be larger than the call limit of a stream in trouble.
        let mut data_bytes = call_bytes_max.max(record_bytes_max).min(expected);
        let sink = Arc::clone(&self.sink);
        let reading_bytes = READ_BYTES_MAX + rule.memory_bytes();
        let weight = |bytes| call_memory(sink.as_ref(), bytes, records_max) + reading_bytes;
        let wanted = weight(data_bytes);
        let least = weight(data_bytes.min(record_bytes_max));
        let mut memory = self.memory.reserve(wanted, least).await;
        if memory.bytes() < wanted {
            data_bytes = data_bytes.min(record_bytes_max);
        }
        let until = *self.durable.borrow();
        let limits = Limits {
            records_max,
            record_bytes_max: record_bytes_max.min(call_bytes_max),
            call_bytes_max: call_bytes_max.min(data_bytes),
        };
        let world = self.world.clone();
        let reading = move || self.read(events, until, &rule, limits, data_bytes);
        let (tail, mut read) = match world.blocking(reading).await {
            Ok((tail, read)) => (tail, read.map_err(|error| describe(&error))),
            Err(error) => (None, Err(error.to_string())),
        };
        let data_bytes = read.as_mut().map_or(0, keep_what_is_used);
        memory.shrink_to(call_memory(sink.as_ref(), data_bytes, records_max));
        let packed = read.as_ref().map(|read| &read.packed.records);
        passage
            .built(packed.map_or(0, |records| records.data.len()), packed.map_or(0, Records::len));
        Built { tail, until, read, held: HeldByCall { passage, slot, memory } }
    }

    fn read(
        self,
        events: Events,
        until: Durable,
        rule: &Rule,
        limits: Limits,
        data_bytes: usize,
    ) -> (Option<Box<Tail>>, Result<Read, standpipe_wal::error::Error>) {
        let data = Vec::with_capacity(data_bytes);
        match events {
            Events::Fresh(mut tail, end) => {
                let wanted = Wanted::Next(until.offset.min(end));
                let read = read(&mut tail, &wanted, rule, limits, data);
                (Some(tail), read)
            }
            Events::Again(batch) => {
                let mut tail = Tail::open(self.fs, self.dir, batch.start());
                let wanted = Wanted::Again(batch.ranges);
                (None, read(&mut tail, &wanted, rule, limits, data))
            }
        }
    }
}

/// Gives back most of a buffer that is mostly empty: what earlier runs left has no known size, so a
/// whole call was reserved for it. Returns what the buffer takes.
fn keep_what_is_used(read: &mut Read) -> usize {
    let data = &mut read.packed.records.data;
    if data.len() < data.capacity() / 2 {
        data.shrink_to_fit();
    }
    data.capacity()
}

/// What a call with so much data takes from the memory until it has ended.
pub(crate) fn call_memory(sink: &dyn Sink, data_bytes: usize, records_max: usize) -> usize {
    data_bytes + sink.encoded_bytes(data_bytes, records_max) + CALL_OVERHEAD_BYTES
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
