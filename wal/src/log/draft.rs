//! A segment in the making. It gets its name only when all that it must hold is synced, so that
//! no crash leaves a segment with half a header, or one that hides frames of its predecessor which
//! it does not hold itself.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::fs::{Access, File, Fs};
use crate::limits::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::log::active::{Active, Trouble, write_all};
use crate::retention::{Pool, Pooled};
use crate::segment::{Header, Reason, SegmentId};

/// Behind the name of a segment that is not complete.
pub(crate) const DRAFT_SUFFIX: &str = ".new";

/// Where drafts become segments.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    pub(crate) fs: Arc<dyn Fs>,
    /// The stream's directory.
    pub(crate) dir: PathBuf,
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) segment_bytes: u64,
}

/// A segment without its name.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) active: Active,
    id: SegmentId,
    /// The file comes from the pool's directory, which must be synced as well.
    pooled: bool,
}

impl Workshop {
    /// Writes the header of a new segment, with room for `bytes` of frames, or at least for the
    /// first of them.
    pub(crate) fn draft(&self, header: &Header, bytes: u64) -> Result<Draft, Trouble> {
        match self.try_draft(header, bytes) {
            Err(Trouble::Full(_)) if self.make_room() => self.try_draft(header, bytes),
            result => result,
        }
    }

    /// Gives the pool up; whether that freed anything.
    pub(crate) fn make_room(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.clear().is_ok_and(|bytes| bytes > 0))
    }

    /// Takes a file of the pool where the stream has filled a segment: a quiet one must not hold a
    /// whole pooled file.
    fn try_draft(&self, header: &Header, bytes: u64) -> Result<Draft, Trouble> {
        let id = SegmentId::new(header.base);
        if header.reason == Reason::Roll
            && let Some(Pooled { path, bytes: length, .. }) =
                self.pool.as_ref().and_then(|pool| pool.take())
        {
            let file = self.fs.open(&path, Access::ReadWrite).during("open", &path);
            let file = file.map_err(|error| {
                // The pool no longer counts it, so it must not stay.
                let _gone = self.fs.remove(&path).is_ok();
                Trouble::Failed(error)
            })?;
            let active = Active::new(file, path, header.salt, length);
            let header = Header { recycled: true, ..header.clone() };
            return self.fill(Draft { active, id, pooled: true }, &header, bytes);
        }
        let path = self.dir.join(format!("{}{DRAFT_SUFFIX}", id.file_name()));
        let file = self.create(&path).map_err(Trouble::harmless_if_full)?;
        let active = Active::new(file, path, header.salt, 0);
        self.fill(Draft { active, id, pooled: false }, header, bytes)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>, Error> {
        match self.fs.create(path) {
            // Left by an attempt that failed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.remove(path).during("remove", path)?;
                self.fs.create(path)
            }
            result => result,
        }
        .during("create", path)
    }

    fn fill(&self, mut draft: Draft, header: &Header, bytes: u64) -> Result<Draft, Trouble> {
        let bytes = bytes.min(draft.active.room(self.segment_bytes));
        let reserved =
            if bytes == 0 { Ok(()) } else { draft.active.reserve(bytes, self.segment_bytes) };
        let filled = reserved.and_then(|()| {
            let mut block = header.encode();
            if header.recycled {
                // Where the first frame will be, so that a frame of the file's earlier life is not
                // taken for it if the header is damaged one day.
                block.resize(SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES, 0);
            }
            write_all(&*draft.active.file, &mut [IoSlice::new(&block)], 0)
                .during("write", &draft.active.path)
                .map_err(Trouble::harmless_if_full)
        });
        match filled {
            Ok(_position) => Ok(draft),
            Err(trouble) => {
                self.discard(&draft);
                Err(trouble)
            }
        }
    }

    /// Syncs the draft, gives it its name, and makes the name durable. A segment of the same name
    /// is replaced in the same instant.
    pub(crate) fn publish(&self, mut draft: Draft) -> Result<Active, Trouble> {
        let path = self.dir.join(draft.id.file_name());
        let named = draft.active.sync().and_then(|()| {
            let renamed = self.fs.rename(&draft.active.path, &path);
            renamed.during("rename", &draft.active.path).map_err(Trouble::harmless_if_full)
        });
        if let Err(trouble) = named {
            self.discard(&draft);
            return Err(trouble);
        }
        // The old name first: in no order of events may the file be known under both.
        if let Some(pool) = self.pool.as_ref().filter(|_| draft.pooled) {
            self.sync_dir(pool.dir())?;
        }
        self.sync_dir(&self.dir)?;
        draft.active.path = path;
        Ok(draft.active)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), Trouble> {
        self.fs.sync_dir(dir).during("sync", dir).map_err(Trouble::harmless_if_full)
    }

    /// Removes a draft that came to nothing. If that fails too, the next attempt or the next start
    /// removes it.
    pub(crate) fn discard(&self, draft: &Draft) {
        let _gone = self.fs.remove(&draft.active.path).is_ok();
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use std::time::Duration;

    use super::*;
    use crate::fs::sim::{Fault, Kind, SimFs};
    use crate::offset::Offset;
    use crate::segment::{LogId, Predecessor};

    const DIR: &str = "/stream";

    fn header(reason: Reason) -> Header {
        Header {
            stream: "stream".parse().unwrap(),
            base: Offset::ZERO,
            log_id: LogId::new([1; 16]),
            salt: 1,
            predecessor: Predecessor { salt: 0, end: Offset::ZERO },
            reason,
            recycled: false,
            created_ms: 1,
        }
    }

    /// A file of 256 KiB that is full of the same byte is in the pool.
    fn workshop(disk: &SimFs) -> Workshop {
        disk.create_dir(Path::new(DIR)).unwrap();
        let old = Path::new("/stream/old");
        disk.plant(old, &vec![b'o'; 256 << 10]).unwrap();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let pool = Pool::open(Arc::clone(&fs), "/pool".into(), 1 << 20, Duration::MAX).unwrap();
        let offered = pool.offer(old, 256 << 10, 1).unwrap().unwrap();
        pool.settle(vec![offered]);
        Workshop { fs, dir: DIR.into(), pool: Some(Arc::new(pool)), segment_bytes: 1 << 20 }
    }

    #[test]
    fn a_file_of_the_pool_begins_with_a_header_and_no_frame_of_its_earlier_life() {
        let disk = SimFs::new(1);
        let workshop = workshop(&disk);
        let draft = workshop.draft(&header(Reason::Roll), 0).unwrap();
        let bytes = disk.read(&draft.active.path).unwrap();
        let (block, rest) = bytes.split_at(SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES);
        assert!(block[SEGMENT_HEADER_BYTES..].iter().all(|byte| *byte == 0));
        assert!(rest.iter().all(|byte| *byte == b'o') && rest.len() > 250_000);
    }

    #[test]
    fn where_space_is_short_the_pool_is_given_up_for_a_segment() {
        let disk = SimFs::new(1);
        let workshop = workshop(&disk);
        // Once ahead, once for what is needed.
        disk.inject_on(Kind::Allocate, Fault::NoSpace, 0, 2);
        workshop.draft(&header(Reason::First), 1).unwrap();
        assert_eq!(workshop.pool.as_ref().unwrap().bytes(), 0);
        disk.inject_on(Kind::Allocate, Fault::NoSpace, 0, 2);
        let full = workshop.draft(&Header { base: Offset::new(7), ..header(Reason::First) }, 1);
        assert!(matches!(full, Err(Trouble::Full(_))), "{full:?}");
        disk.inject_on(Kind::Create, Fault::NoSpace, 0, 1);
        let full = workshop.draft(&Header { base: Offset::new(9), ..header(Reason::First) }, 1);
        assert!(matches!(full, Err(Trouble::Full(_))), "{full:?}");
    }

    #[test]
    fn what_came_to_nothing_leaves_no_file() {
        let disk = SimFs::new(1);
        let workshop = workshop(&disk);
        for (kind, fault) in [(Kind::Write, Fault::Io), (Kind::Allocate, Fault::Io)] {
            disk.inject_on(kind, fault, 0, 1);
            assert!(matches!(workshop.draft(&header(Reason::First), 1), Err(Trouble::Failed(_))));
            assert_eq!(disk.list(Path::new(DIR)).unwrap(), []);
        }
        let draft = workshop.draft(&header(Reason::First), 1).unwrap();
        disk.inject_on(Kind::SyncData, Fault::Io, 0, 1);
        assert!(matches!(workshop.publish(draft), Err(Trouble::Failed(_))));
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), []);
    }

    /// Where there is no room for what was pushed, no empty segment is left behind either.
    #[test]
    fn a_log_that_finds_no_room_for_its_first_events_begins_no_segment() {
        let disk = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let streams = Path::new("/streams");
        disk.create_dir(streams).unwrap();
        let options = crate::Options {
            segment_bytes: 1 << 20,
            entropy: Arc::new(crate::log::tests::Seeded::new(1)),
            pool: None,
        };
        let stream = "orders".parse().unwrap();
        let (mut log, _) =
            crate::Log::open(&fs, streams, &stream, &options, Offset::ZERO, 1).unwrap();
        for _ in 0..3 {
            let mut events = crate::Events::default();
            events.push(&vec![b'x'; 100_000]);
            log.push(events, 1);
        }
        disk.limit(Some(200 << 10));
        assert!(log.sync(1).unwrap_err().is_out_of_space());
        assert_eq!(disk.list(&streams.join("orders")).unwrap(), []);
        disk.limit(None);
        assert_eq!(log.sync(1).unwrap().durable, Offset::new(3));
    }
}
