//! The segment that is being written.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Context, Error};
use crate::frame::Header;
use crate::fs::File;
use crate::limits::{
    ALLOCATE_BYTES_MAX, ALLOCATE_BYTES_MIN, FRAME_HEADER_BYTES, SEALED_TAIL_BYTES_MAX,
    SEGMENT_HEADER_BYTES, WRITE_SLICES_MAX,
};

/// Why a segment could not be written.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no room, and nothing was written: the file is as good as before.
    Full(Error),
    /// The state of the file is unknown. It must never be written or synced again.
    Failed(Error),
}

impl Trouble {
    /// What the system said.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Full(error) | Self::Failed(error) => error,
        }
    }

    /// Sorts the error of an operation that leaves everything as it was if there is no room.
    pub(crate) fn harmless_if_full(error: Error) -> Self {
        if error.is_out_of_space() { Self::Full(error) } else { Self::Failed(error) }
    }
}

/// A file that is written at its end. There is at most one for each log, and whoever drops it never
/// opens it for writing again.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    /// Where the next frame goes.
    position: u64,
    /// The file's length: room up to here is certain.
    reserved: u64,
    can_allocate: bool,
}

impl Active {
    /// A file whose header is written, with its length.
    pub(crate) fn new(file: Arc<dyn File>, path: PathBuf, salt: u64, reserved: u64) -> Self {
        let position = SEGMENT_HEADER_BYTES as u64;
        Self { file, path, salt, position, reserved, can_allocate: true }
    }

    /// What the file takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.reserved.max(self.position)
    }

    /// Whether no frame was written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.position == SEGMENT_HEADER_BYTES as u64
    }

    /// How much can be written before the segment is full; a seal still fits then.
    pub(crate) fn room(&self, segment_bytes: u64) -> u64 {
        segment_bytes.saturating_sub(self.position + FRAME_HEADER_BYTES as u64)
    }

    /// Makes sure of room for `bytes`, so that a full disk is noticed before anything is written.
    /// Reserves ahead, in growing steps up to `segment_bytes`.
    pub(crate) fn reserve(&mut self, bytes: u64, segment_bytes: u64) -> Result<(), Trouble> {
        let needed = self.position + bytes;
        if needed <= self.reserved || !self.can_allocate {
            return Ok(());
        }
        let step = self.reserved.clamp(ALLOCATE_BYTES_MIN, ALLOCATE_BYTES_MAX);
        let ahead = self.reserved.saturating_add(step).min(segment_bytes).max(needed);
        match self.allocate(ahead) {
            Err(error) if error.is_out_of_space() && ahead > needed => self.allocate(needed),
            result => result,
        }
        .map_err(Trouble::harmless_if_full)
    }

    fn allocate(&mut self, end: u64) -> Result<(), Error> {
        match self.file.allocate(self.reserved, end - self.reserved) {
            Ok(()) => self.reserved = end,
            // The file grows by being written then.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.can_allocate = false,
            Err(error) => return Err(error).during("reserve room in", &self.path),
        }
        Ok(())
    }

    /// Writes at the end. Nothing is durable before [`Active::sync`].
    pub(crate) fn append(&mut self, slices: &mut [IoSlice<'_>]) -> Result<(), Trouble> {
        let written = write_all(&*self.file, slices, self.position).during("write", &self.path);
        self.position = written.map_err(Trouble::Failed)?;
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&self) -> Result<(), Trouble> {
        self.file.sync_data().during("sync", &self.path).map_err(Trouble::Failed)
    }

    /// Writes a seal behind frames that are durable, syncs it, and cuts off what was reserved in
    /// vain; returns the bytes that the segment takes now. The cut needs no sync: what it removes
    /// is behind the seal and never read.
    pub(crate) fn seal(mut self, seal: &Header) -> Result<u64, Trouble> {
        let header = seal.encode(std::iter::empty());
        self.append(&mut [IoSlice::new(&header)])?;
        self.sync()?;
        let unused = self.reserved.saturating_sub(self.position);
        if unused > SEALED_TAIL_BYTES_MAX.min(self.position)
            && self.file.truncate(self.position).is_ok()
        {
            self.reserved = self.position;
        }
        Ok(self.disk_bytes())
    }
}

/// Writes all slices, however short the single writes are; returns the position behind them.
pub(crate) fn write_all(
    file: &dyn File,
    slices: &mut [IoSlice<'_>],
    mut position: u64,
) -> io::Result<u64> {
    let mut rest = slices;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let call = rest.get(..WRITE_SLICES_MAX).unwrap_or(rest);
        match file.write_at(call, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(position)
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, behind a feature")]

    use std::path::Path;

    use super::*;
    use crate::fs::Fs;
    use crate::fs::sim::{Fault, Kind, SimFs};
    use crate::offset::Offset;

    const PATH: &str = "/segment";

    fn active(disk: &SimFs) -> Active {
        let file = disk.create(Path::new(PATH)).unwrap();
        Active::new(file, PATH.into(), 1, 0)
    }

    fn append(active: &mut Active, bytes: usize) {
        active.append(&mut [IoSlice::new(&vec![b'x'; bytes])]).unwrap();
    }

    fn seal(active: Active) -> u64 {
        let offset = Offset::new(1);
        let header = Header {
            salt: 1,
            base: offset,
            count: 0,
            flags: crate::Flags::default(),
            seal: true,
            durable: offset,
            time_ms: 1,
        };
        active.seal(&header).unwrap()
    }

    fn size(disk: &SimFs) -> u64 {
        disk.read(Path::new(PATH)).unwrap().len() as u64
    }

    #[test]
    fn room_is_reserved_ahead_in_growing_steps_up_to_the_segment_and_for_what_is_larger() {
        let disk = SimFs::new(1);
        let mut active = active(&disk);
        let kib = [(1, 64), (60, 64), (61, 128), (125, 256), (253, 300), (296, 300), (400, 404)];
        for (bytes, reserved) in kib {
            active.reserve(bytes << 10, 300 << 10).unwrap();
            assert_eq!((size(&disk), active.disk_bytes()), (reserved << 10, reserved << 10));
        }
        append(&mut active, 10_000);
        assert_eq!(active.room(300 << 10), (300 << 10) - 4096 - 10_000 - 48);
        assert_eq!(active.room(14_143), 0);
        assert_eq!(active.room(14_145), 1);
    }

    #[test]
    fn where_there_is_no_room_to_reserve_ahead_what_is_needed_is_reserved() {
        let disk = SimFs::new(1);
        let mut active = active(&disk);
        disk.inject_on(Kind::Allocate, Fault::NoSpace, 0, 1);
        active.reserve(10_000, 1 << 20).unwrap();
        assert_eq!(size(&disk), 14_096);
        disk.inject_on(Kind::Allocate, Fault::NoSpace, 0, 2);
        assert!(matches!(active.reserve(10_001, 1 << 20), Err(Trouble::Full(_))));
        disk.inject_on(Kind::Allocate, Fault::Io, 0, 1);
        assert!(matches!(active.reserve(10_001, 1 << 20), Err(Trouble::Failed(_))));
        assert_eq!(size(&disk), 14_096);
    }

    #[test]
    fn a_seal_cuts_off_more_than_what_is_used_and_leaves_less() {
        for (frames, bytes) in [(28_623, 32_767), (28_624, 65_536), (50_000, 65_536)] {
            let disk = SimFs::new(1);
            let mut active = active(&disk);
            active.reserve(1, 1 << 20).unwrap();
            append(&mut active, frames);
            assert_eq!((seal(active), size(&disk)), (bytes, bytes), "{frames}");
        }
    }

    /// A file system that cannot reserve.
    #[derive(Debug)]
    struct Growing(Arc<dyn File>);

    impl File for Growing {
        fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
            self.0.read_at(buffer, position)
        }

        fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
            self.0.write_at(slices, position)
        }

        fn allocate(&self, _position: u64, _length: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            self.0.truncate(length)
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }

        fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
            self.0.next_data(position)
        }

        fn data_end(&self, position: u64) -> io::Result<u64> {
            self.0.data_end(position)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }
    }

    #[test]
    fn where_nothing_can_be_reserved_the_file_grows_by_being_written() {
        let disk = SimFs::new(1);
        let file = disk.create(Path::new(PATH)).unwrap();
        let mut active = Active::new(Arc::new(Growing(file)), PATH.into(), 1, 0);
        active.reserve(10_000, 1 << 20).unwrap();
        append(&mut active, 10_000);
        assert_eq!((size(&disk), active.disk_bytes()), (14_096, 14_096));
    }
}
