//! What was promised and what was done: the oracle. Whatever breaks a promise is noted as a violation,
//! with the event.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use standpipe::offsets::{Progress, Reason};

use crate::payload::Id;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

impl Ledger {
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) streams: BTreeMap<String, Stream>,
    pub(crate) violations: Vec<String>,
    /// Which life it is, from zero.
    pub(crate) life: u32,
}

/// One stream's part of it.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) ordered: bool,
    /// Which event has which offset: of those that were acknowledged, and of those that were found
    /// in the log when a commit passed them.
    located: BTreeMap<u64, Id>,
    acknowledged: BTreeSet<Id>,
    /// What the destination has seen of each event.
    seen: BTreeMap<Id, Seen>,
    /// Offsets that a commit may pass, each looked at once.
    accounted: BTreeSet<u64>,
    /// All offsets below are accounted for.
    accounted_to: u64,
    /// Events that were refused one by one: only they may become dead letters.
    pub(crate) refused_alone: BTreeSet<Id>,
    dead_letters: BTreeSet<Id>,
    /// Sent, and not confirmed by an answer.
    unsettled: BTreeSet<Id>,
    /// What the offset store knew to be delivered when this life began.
    known: BTreeSet<Id>,
    pub(crate) this_life: Tally,
}

/// Counts of one life.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Events that clients handed over.
    pub(crate) submitted: u64,
    /// Events that were not even taken in.
    pub(crate) turned_away: u64,
    /// Events that the destination took once more.
    pub(crate) duplicates: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// How often the destination took it.
    taken: u32,
    confirmed: bool,
    /// The last life that was told so.
    told_in: Option<u32>,
    last_life: u32,
    /// Whether the agent cannot know that the destination has it.
    ambiguous: bool,
}

impl Seen {
    fn new(life: u32) -> Self {
        Self { taken: 0, confirmed: false, told_in: None, last_life: life, ambiguous: false }
    }
}

impl Books {
    pub(crate) fn stream(&mut self, name: &str) -> &mut Stream {
        self.streams.get_mut(name).unwrap()
    }

    pub(crate) fn violated(&mut self, promise: &str, what: &str) {
        let life = self.life;
        self.violations.push(format!("{promise} in life {life}: {what}"));
    }

    /// A life begins, with this progress in the offset store. Where the one before `saved` what it
    /// was told, that belongs to it.
    pub(crate) fn begin_life(
        &mut self,
        life: u32,
        stored: &BTreeMap<String, Progress>,
        saved: bool,
    ) {
        self.life = life;
        for (name, stream) in &mut self.streams {
            stream.this_life = Tally::default();
            stream.known.clear();
            let Some(progress) = stored.get(name) else { continue };
            let below = stream.located.range(..progress.committed);
            let beyond = progress.delivered.iter().flat_map(|&(s, e)| stream.located.range(s..e));
            stream.known = below.chain(beyond).map(|(_, id)| *id).collect();
            let confirmed = |id: &Id| stream.seen.get(id).is_some_and(|seen| seen.confirmed);
            stream.known.retain(confirmed);
            if saved {
                let told =
                    stream.seen.iter().filter(|(_, seen)| seen.told_in == life.checked_sub(1));
                stream.known.extend(told.map(|(id, _)| *id));
            }
        }
    }

    /// The agent said that these events are durable.
    pub(crate) fn acknowledged(&mut self, name: &str, range: &Range<u64>, ids: &[Id]) {
        if range.end - range.start != ids.len() as u64 {
            self.violated("P1", &format!("{name}: {} events got {range:?}", ids.len()));
        }
        for (offset, id) in range.clone().zip(ids) {
            self.locate(name, offset, *id);
        }
        self.stream(name).acknowledged.extend(ids);
    }

    /// An event has an offset, and no other ever has it.
    pub(crate) fn locate(&mut self, name: &str, offset: u64, id: Id) {
        let before = self.stream(name).located.insert(offset, id);
        if let Some(other) = before.filter(|other| *other != id) {
            self.violated("P1", &format!("{name}: offset {offset} is of {other} and of {id}"));
        }
    }

    /// A call arrives with these events, some of which may have come before.
    pub(crate) fn arrived(&mut self, name: &str, ids: &[Id]) {
        let stream = self.stream(name);
        let call: BTreeSet<Id> = ids.iter().copied().collect();
        let fresh = call.iter().find(|id| !stream.seen.contains_key(id));
        let mut waiting = stream.unsettled.difference(&call);
        let overtaken = waiting.find(|id| !stream.refused_alone.contains(id));
        let jumps = match (fresh, overtaken) {
            (Some(fresh), Some(overtaken)) if stream.ordered => Some((*fresh, *overtaken)),
            _ => None,
        };
        let sorted = ids.is_sorted();
        let ordered = stream.ordered;
        stream.unsettled.extend(&call);
        if call.len() != ids.len() {
            self.violated("P9", &format!("{name}: a call holds an event twice"));
        }
        if let Some((fresh, overtaken)) = jumps {
            self.violated("order", &format!("{name}: {fresh} overtakes {overtaken}"));
        }
        if ordered && !sorted {
            self.violated("order", &format!("{name}: a call is not in order"));
        }
    }

    /// The destination takes an event.
    pub(crate) fn taken(&mut self, name: &str, id: Id) {
        let life = self.life;
        let stream = self.stream(name);
        let known = stream.known.contains(&id);
        let first = Seen::new(life);
        let seen = stream.seen.entry(id).or_insert(first);
        let before = *seen;
        *seen = Seen { taken: before.taken + 1, last_life: life, ..before };
        if before.taken == 0 {
            return;
        }
        let this_life = before.last_life == life;
        stream.this_life.duplicates += u64::from(this_life);
        if known {
            self.violated("P9", &format!("{name}: {id} was known to be delivered"));
        } else if this_life && !before.ambiguous {
            self.violated("P9", &format!("{name}: {id} comes again without a reason"));
        }
    }

    /// Whether the agent can know what became of an event.
    pub(crate) fn answered(&mut self, name: &str, id: Id, confirmed: bool, ambiguous: bool) {
        let life = self.life;
        let stream = self.stream(name);
        if confirmed {
            stream.unsettled.remove(&id);
        }
        let first = Seen::new(life);
        let seen = stream.seen.entry(id).or_insert(first);
        seen.confirmed |= confirmed;
        seen.told_in = if confirmed { Some(life) } else { seen.told_in };
        seen.ambiguous = !confirmed && (seen.ambiguous || ambiguous);
    }

    /// The offsets of a range that no commit has passed before.
    pub(crate) fn unaccounted(&mut self, name: &str, range: Range<u64>) -> Vec<u64> {
        let stream = self.stream(name);
        while stream.accounted.contains(&stream.accounted_to) {
            stream.accounted_to += 1;
        }
        let from = range.start.max(stream.accounted_to);
        (from..range.end).filter(|offset| !stream.accounted.contains(offset)).collect()
    }

    /// A commit passes an offset, at which lies this event, or none that could be read.
    pub(crate) fn passed(
        &mut self,
        name: &str,
        offset: u64,
        found: Option<Id>,
        reason: Option<Reason>,
    ) {
        if let Some(id) = found {
            self.locate(name, offset, id);
        }
        let stream = self.stream(name);
        let seen = found.and_then(|id| stream.seen.get(&id));
        let confirmed = seen.is_some_and(|seen| seen.confirmed);
        let is_dead_letter = found.is_some_and(|id| stream.refused_alone.contains(&id))
            && reason == Some(Reason::DeadLetter);
        let never_existed = found.is_none() && reason == Some(Reason::Unproven);
        stream.accounted.insert(offset);
        if let Some(id) = found.filter(|_| is_dead_letter) {
            stream.dead_letters.insert(id);
            stream.unsettled.remove(&id);
        }
        if !confirmed && !is_dead_letter && !never_existed {
            let event = found.map_or("an event that is not there".to_owned(), |id| id.to_string());
            let why = reason.map_or("without a reason", Reason::word);
            self.violated("P2", &format!("{name}: a commit passes {offset}, {event}, {why}"));
        }
    }

    /// These events are dead letters on the disk.
    pub(crate) fn buried(&mut self, name: &str, found: &BTreeSet<Id>) {
        let missing: Vec<Id> = self.stream(name).dead_letters.difference(found).copied().collect();
        for id in missing {
            self.violated("P2", &format!("{name}: {id} was passed as a dead letter and is none"));
        }
    }

    /// What the log may have given back, given the committed offset that survived.
    pub(crate) fn trimmed_to(&mut self, name: &str, oldest: u64, committed: u64) {
        if oldest > committed {
            let what = format!("{name}: the log begins at {oldest}, {committed} is committed");
            self.violated("P3", &what);
        }
    }

    /// In the end: everything that was acknowledged has arrived.
    pub(crate) fn close(&mut self) {
        let mut missing = Vec::new();
        for (name, stream) in &self.streams {
            for id in &stream.acknowledged {
                let arrived = stream.seen.get(id).is_some_and(|seen| seen.confirmed);
                if !arrived && !stream.dead_letters.contains(id) {
                    missing.push(format!("{name}: {id} was acknowledged and never delivered"));
                }
            }
        }
        for what in missing {
            self.violated("P1", &what);
        }
    }

    pub(crate) fn acknowledged_events(&self) -> usize {
        self.streams.values().map(|stream| stream.acknowledged.len()).sum()
    }

    pub(crate) fn dead_letters(&self) -> usize {
        self.streams.values().map(|stream| stream.dead_letters.len()).sum()
    }

    pub(crate) fn delivered_events(&self) -> usize {
        let confirmed = |stream: &Stream| stream.seen.values().filter(|s| s.confirmed).count();
        self.streams.values().map(confirmed).sum()
    }
}
