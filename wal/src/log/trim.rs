//! Giving back what was delivered.

use std::io;
use std::ops::Range;

use crate::error::{Context, Error};
use crate::log::{Log, Segment, Trimmed, Workshop};
use crate::offset::Offset;
use crate::recovery::Quarantine;
use crate::retention::{Exit, Offered, exits};
use crate::segment::SegmentId;

impl Log {
    /// Releases the segments that lie wholly below `committed`, oldest first, then syncs the
    /// directory. One that overlaps a `damaged` range goes to `quarantine/` instead. The newest
    /// always stays. To be called only once `committed` is durable in the offset store.
    ///
    /// # Errors
    /// Where a system call fails; what was released before stays released.
    pub fn trim(
        &mut self,
        committed: Offset,
        damaged: &[Range<Offset>],
        now_ms: u64,
    ) -> Result<Trimmed, Error> {
        let ranges: Vec<_> = self.segments.iter().map(|one| one.base..one.end).collect();
        let mut trimmed = Trimmed { segments: 0, bytes: 0, oldest: self.oldest() };
        let mut offered = Vec::new();
        let mut failed = None;
        for exit in exits(&ranges, committed, damaged) {
            let Some(segment) = self.segments.front().copied() else { break };
            match self.release(&segment, exit, now_ms) {
                Ok(pooled) => offered.extend(pooled),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            self.segments.pop_front();
            trimmed.segments += 1;
            trimmed.bytes += segment.bytes;
        }
        trimmed.oldest = self.oldest();
        if trimmed.segments > 0 {
            self.settle(offered)?;
        }
        failed.map_or(Ok(trimmed), Err)
    }

    /// Makes it durable that names are gone; only then may their files be written again.
    fn settle(&self, offered: Vec<Offered>) -> Result<(), Error> {
        let Workshop { fs, dir, pool, .. } = &self.workshop;
        let synced = fs.sync_dir(dir).during("sync", dir);
        if let Some(pool) = pool {
            match &synced {
                Ok(()) => pool.settle(offered),
                Err(_) => pool.withdraw(offered),
            }
        }
        synced
    }

    fn release(
        &self,
        segment: &Segment,
        exit: Exit,
        now_ms: u64,
    ) -> Result<Option<Offered>, Error> {
        let Workshop { fs, dir, pool, segment_bytes } = &self.workshop;
        let path = dir.join(SegmentId::new(segment.base).file_name());
        if exit == Exit::Quarantine {
            return match Quarantine::of(&self.workshop)?.take_in(&path) {
                // Somebody removed it by hand: it is gone, as it should be.
                Err(error) if error.is_not_found() => Ok(None),
                taken => taken.map(|_| None),
            };
        }
        // A small one would leave a log that fills segments with little to write into. One that the
        // pool cannot take, for whatever reason, is removed.
        let useful = segment.bytes >= segment_bytes / 2;
        if let Some(pool) = pool.as_ref().filter(|_| useful)
            && let Ok(Some(offered)) = pool.offer(&path, segment.bytes, now_ms)
        {
            return Ok(Some(offered));
        }
        match fs.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            removed => removed.during("remove", &path).map(|()| None),
        }
    }
}
