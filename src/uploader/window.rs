//! What was delivered, and how far it may be committed.
//!
//! Calls end in any order, so delivered ranges lie beyond the committed offset with gaps between
//! them. The committed offset advances over contiguous ranges alone: it never passes an event that
//! is neither confirmed nor accounted for with a reason. Pure; nothing here waits or fails.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use standpipe_wal::Offset;

use crate::limits::UNCONFIRMED_RANGES_MAX;
use crate::offsets::{Progress, Reason, Unconfirmed};

/// The delivered prefix of one stream and the ranges beyond it.
#[derive(Clone, Debug, Default)]
pub struct Window {
    committed: Offset,
    /// Confirmed ranges beyond `committed`, by start; merged where they touch.
    delivered: BTreeMap<Offset, Offset>,
    /// Ranges beyond `committed` that will never be confirmed, by start; disjoint from `delivered`.
    passed: BTreeMap<Offset, (Offset, Reason)>,
    /// Ranges without a confirmation that the committed offset has passed.
    unconfirmed: VecDeque<Unconfirmed>,
    /// How many events earlier ones of them held.
    folded: BTreeMap<Reason, u64>,
    /// What of `unconfirmed` nobody has counted yet.
    uncounted: Vec<(Reason, u64)>,
}

impl Window {
    /// A window that begins at an offset, with nothing behind it.
    pub fn new(committed: Offset) -> Self {
        Self { committed, ..Self::default() }
    }

    /// The window that was stored.
    pub fn restore(progress: &Progress) -> Self {
        let mut window = Self::new(Offset::new(progress.committed));
        for passed in &progress.unconfirmed {
            window.uncounted.push((passed.reason, passed.end.saturating_sub(passed.start)));
            window.unconfirmed.push_back(passed.clone());
        }
        for &(reason, events) in &progress.folded {
            window.uncounted.push((reason, events));
            window.folded.insert(reason, events);
        }
        window.fold();
        for &(start, end) in &progress.delivered {
            window.deliver(&(Offset::new(start)..Offset::new(end)));
        }
        for passed in &progress.passed {
            window.pass(&(Offset::new(passed.start)..Offset::new(passed.end)), passed.reason);
        }
        window
    }

    /// What has to be stored to come back to this point.
    pub fn progress(&self, log_id: [u8; 16]) -> Progress {
        Progress {
            log_id,
            committed: self.committed.get(),
            delivered: self.delivered.iter().map(|(s, e)| (s.get(), e.get())).collect(),
            passed: self
                .passed
                .iter()
                .map(|(start, &(end, reason))| Unconfirmed {
                    start: start.get(),
                    end: end.get(),
                    reason,
                })
                .collect(),
            unconfirmed: self.unconfirmed.iter().cloned().collect(),
            folded: self.folded.iter().map(|(&reason, &events)| (reason, events)).collect(),
        }
    }

    /// The first offset that is not committed.
    pub fn committed(&self) -> Offset {
        self.committed
    }

    /// How many separate ranges lie beyond the committed offset.
    pub fn ranges(&self) -> usize {
        self.delivered.len() + self.passed.len()
    }

    /// Where the last range ends.
    pub fn end(&self) -> Offset {
        let delivered = self.delivered.last_key_value().map(|(_, end)| *end);
        let passed = self.passed.last_key_value().map(|(_, (end, _))| *end);
        delivered.max(passed).unwrap_or(self.committed)
    }

    /// Events passed without a confirmation, by reason, that this was not asked for before: those
    /// of earlier runs at first.
    pub fn take_uncounted(&mut self) -> Vec<(Reason, u64)> {
        std::mem::take(&mut self.uncounted)
    }

    /// The first range that ends beyond an offset and needs not be sent: a reader at that offset stops
    /// where the range begins and goes on where it ends.
    pub fn settled_from(&self, offset: Offset) -> Option<Range<Offset>> {
        let settled = [self.delivered_from(offset), self.passed_from(offset)];
        settled.into_iter().flatten().min_by_key(|range| range.start)
    }

    fn delivered_from(&self, offset: Offset) -> Option<Range<Offset>> {
        let before = self.delivered.range(..=offset).next_back();
        before
            .filter(|&(_, end)| *end > offset)
            .or_else(|| self.delivered.range(offset..).next())
            .map(|(&start, &end)| start..end)
    }

    /// Notes that the destination has confirmed a range, and commits as far as that allows.
    pub fn deliver(&mut self, range: &Range<Offset>) {
        let start = range.start.max(self.committed);
        if start >= range.end {
            return;
        }
        // An event may be confirmed by a repetition after it was given up for lost.
        self.cut_passed(&(start..range.end));
        let (mut start, mut end) = (start, range.end);
        if let Some((&before, &before_end)) = self.delivered.range(..=start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.delivered.range(start..=end).next() {
            end = end.max(next_end);
            self.delivered.remove(&next);
        }
        self.delivered.insert(start, end);
        self.advance();
    }

    /// Notes that a range can never be confirmed. What of it was confirmed before stays confirmed.
    pub fn pass(&mut self, range: &Range<Offset>, reason: Reason) {
        let mut at = range.start.max(self.committed);
        while at < range.end {
            let taken = self.settled_from(at).unwrap_or(range.end..range.end);
            let gap_end = taken.start.min(range.end);
            if at < gap_end {
                self.passed.insert(at, (gap_end, reason));
            }
            at = taken.end.max(gap_end);
        }
        self.advance();
    }

    fn passed_from(&self, offset: Offset) -> Option<Range<Offset>> {
        let before = self.passed.range(..=offset).next_back();
        before
            .filter(|&(_, (end, _))| *end > offset)
            .or_else(|| self.passed.range(offset..).next())
            .map(|(&start, &(end, _))| start..end)
    }

    /// Takes a range out of what was passed.
    fn cut_passed(&mut self, range: &Range<Offset>) {
        while let Some(old) = self.passed_from(range.start).filter(|old| old.start < range.end) {
            let Some((_, reason)) = self.passed.remove(&old.start) else { return };
            if old.start < range.start {
                self.passed.insert(old.start, (range.start, reason));
            }
            if range.end < old.end {
                self.passed.insert(range.end, (old.end, reason));
            }
        }
    }

    /// Moves the committed offset over everything that begins exactly there.
    fn advance(&mut self) {
        loop {
            if let Some(end) = self.delivered.remove(&self.committed) {
                self.committed = end;
            } else if let Some((end, reason)) = self.passed.remove(&self.committed) {
                self.note_unconfirmed(self.committed..end, reason);
                self.committed = end;
            } else {
                return;
            }
        }
    }

    fn note_unconfirmed(&mut self, range: Range<Offset>, reason: Reason) {
        let (start, end) = (range.start.get(), range.end.get());
        self.uncounted.push((reason, end.saturating_sub(start)));
        match self.unconfirmed.back_mut() {
            Some(last) if last.end == start && last.reason == reason => last.end = end,
            _ => self.unconfirmed.push_back(Unconfirmed { start, end, reason }),
        }
        self.fold();
    }

    /// Keeps the latest ranges, and counts what earlier ones held.
    fn fold(&mut self) {
        while self.unconfirmed.len() > UNCONFIRMED_RANGES_MAX {
            let Some(oldest) = self.unconfirmed.pop_front() else { return };
            let events = oldest.end.saturating_sub(oldest.start);
            *self.folded.entry(oldest.reason).or_default() += events;
        }
    }
}

#[cfg(test)]
#[path = "window/tests.rs"]
mod tests;
