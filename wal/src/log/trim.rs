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

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::fs::Fs;
    use crate::fs::sim::{Fault, Kind, SimFs};
    use crate::log::tests::{Seeded, write_tens};
    use crate::retention::Pool;
    use crate::{Options, StreamName};

    const STREAMS: &str = "/streams";
    const FIRST: &str = "/streams/orders/00000000000000000000.seg";

    /// A log of three segments with a pool.
    fn log(disk: &SimFs) -> Log {
        disk.create_dir(Path::new(STREAMS)).unwrap();
        let fs: std::sync::Arc<dyn Fs> = std::sync::Arc::new(disk.clone());
        let pool = Pool::open(fs.clone(), "/pool".into(), 1 << 20, Duration::MAX).unwrap();
        let entropy = std::sync::Arc::new(Seeded::new(1));
        let options =
            Options { segment_bytes: 1 << 20, entropy, pool: Some(std::sync::Arc::new(pool)) };
        let name: StreamName = "orders".parse().unwrap();
        let (mut log, _) =
            Log::open(&fs, Path::new(STREAMS), &name, &options, Offset::ZERO, 1).unwrap();
        for runs in [0..2, 2..4, 4..6] {
            write_tens(&mut log, runs, 96);
            log.roll_idle(1).unwrap();
        }
        assert_eq!(log.segments(), 4);
        log
    }

    #[test]
    fn what_cannot_be_removed_stays_in_the_log_and_what_is_gone_leaves_it() {
        let some = [Offset::ZERO..Offset::new(5)];
        for (damaged, kind) in [(&[] as &[_], Kind::Remove), (&some, Kind::Rename)] {
            let disk = SimFs::new(1);
            let mut log = log(&disk);
            disk.inject_on(kind, Fault::Io, 0, 1);
            assert!(log.trim(Offset::new(20), damaged, 1).is_err());
            assert_eq!((log.segments(), log.oldest()), (4, Offset::ZERO));
            disk.remove(Path::new(FIRST)).unwrap();
            assert_eq!(log.trim(Offset::new(20), damaged, 1).unwrap().segments, 1);
            assert_eq!((log.segments(), log.oldest()), (3, Offset::new(20)));
        }
    }

    #[test]
    fn a_small_segment_is_not_kept_for_later_and_nothing_to_trim_costs_nothing() {
        let disk = SimFs::new(1);
        let mut log = log(&disk);
        assert!(log.segments.front().unwrap().bytes < 512 << 10);
        log.trim(Offset::new(20), &[], 1).unwrap();
        assert_eq!(disk.list(Path::new("/pool")).unwrap(), []);
        let before = disk.operations();
        assert_eq!(log.trim(Offset::new(39), &[], 1).unwrap().segments, 0);
        assert_eq!(disk.operations(), before);
    }

    #[test]
    fn where_space_is_short_the_pool_is_given_up_for_events() {
        let disk = SimFs::new(1);
        let mut log = log(&disk);
        let old = Path::new("/streams/old");
        disk.plant(old, &vec![1; 64 << 10]).unwrap();
        let pool = log.workshop.pool.clone().unwrap();
        pool.settle(vec![pool.offer(old, 64 << 10, 1).unwrap().unwrap()]);
        write_tens(&mut log, 6..7, 96);
        // Once ahead, once for what is needed: the events go where they would have gone.
        let segments = log.segments();
        let mut events = crate::Events::default();
        events.push(&vec![b'x'; 40_000]);
        events.push(&vec![b'x'; 30_000]);
        log.push(events, 1);
        disk.inject_on(Kind::Allocate, Fault::NoSpace, 0, 2);
        assert_eq!(log.sync(1).unwrap().durable, Offset::new(72));
        assert_eq!((pool.bytes(), log.segments()), (0, segments));
    }

    #[test]
    fn an_idle_log_rolls_once() {
        let disk = SimFs::new(1);
        let mut log = log(&disk);
        let before = disk.operations();
        log.roll_idle(1).unwrap();
        assert_eq!((disk.operations(), log.segments()), (before, 4));
    }

    #[test]
    fn whether_there_is_room_can_be_asked_before_anything_is_written() {
        let disk = SimFs::new(1);
        let mut log = log(&disk);
        log.close(1).unwrap();
        let fs: std::sync::Arc<dyn Fs> = std::sync::Arc::new(disk.clone());
        let entropy = std::sync::Arc::new(Seeded::new(2));
        let options = Options { segment_bytes: 64 << 10, entropy, pool: None };
        let name: StreamName = "orders".parse().unwrap();
        let opened = Log::open(&fs, Path::new(STREAMS), &name, &options, Offset::ZERO, 1);
        log = opened.unwrap().0;
        disk.inject_on(Kind::Allocate, Fault::NoSpace, 0, 2);
        assert!(log.prepare(10_000, 1).unwrap_err().is_out_of_space());
        log.prepare(10_000, 1).unwrap();
        let path = Path::new("/streams/orders/00000000000000000060.seg");
        assert!(disk.read(path).unwrap().len() > 14_000);
        let before = disk.operations();
        log.prepare(10_000, 1).unwrap();
        assert_eq!(disk.operations(), before, "it has been asked before");
    }
}
