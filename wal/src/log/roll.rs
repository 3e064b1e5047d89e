//! From one segment to the next.

use crate::error::Error;
use crate::events::Flags;
use crate::frame;
use crate::log::{Log, Segment, Trouble, new_salt};
use crate::segment::{Header, Reason};

impl Log {
    /// Begins a new segment at the durable offset, with room for `bytes` of frames.
    pub(super) fn begin(&mut self, reason: Reason, bytes: u64, now_ms: u64) -> Result<(), Trouble> {
        let base = self.durable;
        let predecessor = Segment::predecessor_of(base, &self.segments);
        let header = Header {
            stream: self.stream.clone(),
            base,
            log_id: self.id,
            salt: new_salt(&*self.entropy),
            predecessor,
            reason,
            recycled: false,
            created_ms: now_ms,
        };
        let draft = self.workshop.draft(&header, bytes)?;
        let active = self.workshop.publish(draft)?;
        if self.segments.back().is_some_and(|newest| newest.base == base) {
            // It held nothing that is believed, and was replaced.
            self.segments.pop_back();
        }
        self.segments.push_back(Segment {
            base,
            salt: header.salt,
            end: base,
            bytes: active.disk_bytes(),
            predecessor,
        });
        self.active = Some(active);
        // Whatever ends this segment says why the next is begun.
        self.reason = Reason::FailedWrite;
        Ok(())
    }

    /// Closes the active segment behind its last durable frame. Nothing may be unsynced in it. One
    /// without a frame gets no seal: the next one takes its name.
    pub(super) fn seal(&mut self, now_ms: u64) -> Result<(), Trouble> {
        let Some(active) = self.active.take() else { return Ok(()) };
        if active.is_empty() {
            self.reason = Reason::Roll;
            return Ok(());
        }
        let seal = frame::Header {
            salt: active.salt,
            base: self.durable,
            count: 0,
            flags: Flags::default(),
            seal: true,
            durable: self.durable,
            time_ms: now_ms,
        };
        let bytes = active.seal(&seal)?;
        self.reason = Reason::Roll;
        if let Some(newest) = self.segments.back_mut() {
            newest.bytes = bytes;
        }
        Ok(())
    }

    /// Replaces the newest segment by one that is only a header, so that [`Log::trim`] can release
    /// the delivered events of an idle stream. Does nothing where the newest segment holds no
    /// event, or events are unsynced.
    ///
    /// # Errors
    /// Where the new segment cannot be made. The log stays usable.
    pub fn roll_idle(&mut self, now_ms: u64) -> Result<(), Error> {
        let holds_events = self.segments.back().is_some_and(|newest| newest.base < newest.end);
        if !holds_events || !self.pending.is_empty() {
            return Ok(());
        }
        let reason = if self.seal(now_ms).is_ok() { Reason::Idle } else { Reason::FailedWrite };
        self.begin(reason, 0, now_ms).map_err(Trouble::into_error)
    }

    /// Clean stop: makes durable what was pushed and seals the newest segment, so that the next
    /// start has nothing to write.
    ///
    /// # Errors
    /// Where something pushed could not be made durable, or the seal could not be written; the
    /// latter costs nothing but the next start's time.
    pub fn close(mut self, now_ms: u64) -> Result<(), Error> {
        self.sync(now_ms)?;
        self.seal(now_ms).map_err(Trouble::into_error)
    }
}
