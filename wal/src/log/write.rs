//! Making what was pushed durable.

use crate::error::Error;
use crate::log::{Log, Synced, Trouble};
use crate::segment::Reason;

impl Log {
    /// Makes everything pushed durable: writes it, rolls where a segment is full, syncs. Returns
    /// the new durable offset.
    ///
    /// Where a write or a sync fails, that file is given up and everything that is not durable goes
    /// into a new segment.
    ///
    /// # Errors
    /// Where that fails too, or there is no room. What was pushed stays in memory: call `sync`
    /// again later, or [`Log::take_unsynced`]. What was synced before the failure stays durable.
    pub fn sync(&mut self, now_ms: u64) -> Result<Synced, Error> {
        let mut failed_over = None;
        if let Err(trouble) = self.write_pending(now_ms) {
            match trouble {
                Trouble::Full(error) => return Err(error),
                Trouble::Failed(error) => failed_over = Some(error),
            }
            self.abandon();
            if let Err(trouble) = self.write_pending(now_ms) {
                if let Trouble::Failed(_) = trouble {
                    self.abandon();
                }
                return Err(trouble.into_error());
            }
        }
        Ok(Synced { durable: self.durable, failed_over })
    }

    /// After a failure: tries whether `bytes` could be written now, without writing them. Begins a
    /// segment where there is none, or makes sure of room in the present one. Does nothing where
    /// that was done before.
    ///
    /// # Errors
    /// Where a write would fail too. The log stays usable.
    pub fn prepare(&mut self, bytes: u64, now_ms: u64) -> Result<(), Error> {
        let segment_bytes = self.workshop.segment_bytes;
        let prepared = match &mut self.active {
            None => self.begin(self.reason, bytes, now_ms),
            Some(active) => {
                let bytes = bytes.min(active.room(segment_bytes));
                active.reserve(bytes, segment_bytes)
            }
        };
        prepared.map_err(|trouble| {
            if let Trouble::Failed(_) = trouble {
                self.abandon();
            }
            trouble.into_error()
        })
    }

    fn write_pending(&mut self, now_ms: u64) -> Result<(), Trouble> {
        while !self.pending.is_empty() {
            if self.active.is_none() {
                self.begin(self.reason, self.pending.disk_bytes(), now_ms)?;
            }
            self.write_what_fits()?;
            if !self.pending.is_empty() {
                self.seal(now_ms)?;
            }
        }
        Ok(())
    }

    /// Writes and syncs the frames for which the active segment has room.
    fn write_what_fits(&mut self) -> Result<(), Trouble> {
        let segment_bytes = self.workshop.segment_bytes;
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        let room = active.room(segment_bytes);
        let group = self.pending.fitting(room, active.is_empty(), active.salt);
        if group.frames == 0 {
            return Ok(());
        }
        if let Err(trouble) = active.reserve(group.disk_bytes, segment_bytes) {
            let Trouble::Full(error) = trouble else { return Err(trouble) };
            if !self.workshop.make_room() {
                return Err(Trouble::Full(error));
            }
            active.reserve(group.disk_bytes, segment_bytes)?;
        }
        let headers = self.pending.headers(group, active.salt, self.durable);
        active.append(&mut self.pending.slices(&headers))?;
        active.sync()?;
        let bytes = active.disk_bytes();
        if let Some(end) = self.pending.drop_durable(group) {
            self.durable = end;
        }
        if let Some(newest) = self.segments.back_mut() {
            newest.end = self.durable;
            newest.bytes = bytes;
        }
        Ok(())
    }

    /// Gives up the active segment, whose state on disk is unknown beyond the durable offset. The
    /// next one will say that it ends there.
    pub(super) fn abandon(&mut self) {
        if let Some(active) = self.active.take() {
            self.reason = Reason::FailedWrite;
            if let Some(newest) = self.segments.back_mut() {
                newest.bytes = active.disk_bytes();
            }
        }
    }
}
