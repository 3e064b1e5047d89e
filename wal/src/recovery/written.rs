//! A file as far as it was ever written. Space is reserved ahead of the frames, and whoever reads on
//! into it has the system fill its cache with zeros, which then look like data to the next question.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::fs::File;

/// A file that nobody writes meanwhile, and where its data ends, asked once before anything is read.
///
/// Only reading ahead ends there: a frame that goes on behind it, as one may whose last bytes are
/// zeros on a file system that does not store those, is read as a whole.
#[derive(Debug)]
pub(crate) struct Written {
    file: Arc<dyn File>,
    end: u64,
}

impl Written {
    /// Looks where the data ends.
    pub(crate) fn new(file: Arc<dyn File>) -> io::Result<Self> {
        let mut end = 0;
        while let Some(data) = file.next_data(end)? {
            let behind = file.data_end(data)?;
            if behind <= end {
                // A file system that knows nothing.
                break;
            }
            end = behind;
        }
        Ok(Self { file, end })
    }
}

impl File for Written {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let before_end = self.end.checked_sub(position).filter(|bytes| *bytes > 0);
        let length = before_end.and_then(|bytes| usize::try_from(bytes).ok());
        let length = length.map_or(buffer.len(), |bytes| bytes.min(buffer.len()));
        self.file.read_at(buffer.get_mut(..length).unwrap_or_default(), position)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_at(slices, position)
    }

    fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.file.allocate(position, length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
        if position >= self.end { Ok(None) } else { self.file.next_data(position) }
    }

    fn data_end(&self, position: u64) -> io::Result<u64> {
        if position >= self.end { self.file.size() } else { Ok(self.end) }
    }

    fn will_read(&self, position: u64, length: u64) {
        self.file.will_read(position, length);
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::segment::window::Window;

    /// Data up to 5,000, a hole up to 50,000, data up to 60,000, and room up to 1 MiB.
    #[derive(Debug, Default)]
    struct Holed {
        read_to: AtomicU64,
    }

    impl File for Holed {
        fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
            let end = (position + buffer.len() as u64).min(1 << 20);
            self.read_to.fetch_max(end, Ordering::Relaxed);
            Ok(usize::try_from(end.saturating_sub(position)).unwrap())
        }

        fn write_at(&self, _slices: &[IoSlice<'_>], _position: u64) -> io::Result<usize> {
            unreachable!("nothing is written")
        }

        fn allocate(&self, _position: u64, _length: u64) -> io::Result<()> {
            unreachable!("nothing is written")
        }

        fn truncate(&self, _length: u64) -> io::Result<()> {
            unreachable!("nothing is written")
        }

        fn size(&self) -> io::Result<u64> {
            Ok(1 << 20)
        }

        fn next_data(&self, position: u64) -> io::Result<Option<u64>> {
            Ok(match position {
                0..5_000 | 50_000..60_000 => Some(position),
                5_000..50_000 => Some(50_000),
                _ => None,
            })
        }

        fn data_end(&self, position: u64) -> io::Result<u64> {
            Ok(if position < 5_000 { 5_000 } else { 60_000 })
        }

        fn sync_data(&self) -> io::Result<()> {
            unreachable!("nothing is written")
        }
    }

    #[cfg(feature = "sim")]
    #[test]
    fn everything_else_is_asked_of_the_file_itself() {
        use std::path::Path;

        use crate::fs::Fs;
        use crate::fs::sim::{Fault, Kind, SimFs};

        let disk = SimFs::new(1);
        let path = Path::new("/file");
        let written = Written::new(disk.create(path).unwrap()).unwrap();
        assert_eq!(written.write_at(&[IoSlice::new(b"abc"), IoSlice::new(b"de")], 1).unwrap(), 5);
        assert_eq!(disk.read(path).unwrap(), b"\0abcde");
        written.allocate(0, 100).unwrap();
        assert_eq!((written.size().unwrap(), disk.read(path).unwrap().len()), (100, 100));
        written.truncate(4).unwrap();
        assert_eq!(disk.read(path).unwrap(), b"\0abc");
        let written = Written::new(disk.open(path, crate::fs::Access::ReadWrite).unwrap()).unwrap();
        assert_eq!((written.next_data(0).unwrap(), written.data_end(1).unwrap()), (Some(1), 4));
        written.allocate(0, 50).unwrap();
        assert_eq!((written.next_data(4).unwrap(), written.data_end(4).unwrap()), (None, 50));
        disk.inject_on(Kind::SyncData, Fault::Io, 0, 1);
        assert!(written.sync_data().is_err());
    }

    #[test]
    fn reading_ahead_ends_where_the_last_data_ends_and_a_frame_is_read_beyond() {
        let file = Arc::new(Holed::default());
        let written = Written::new(file.clone()).unwrap();
        let mut window = Window::at(10_000);
        assert!(window.need(&written, 100).unwrap());
        assert_eq!(window.bytes().len(), 50_000);
        assert_eq!(file.read_to.load(Ordering::Relaxed), 60_000, "what was reserved is not read");
        assert_eq!(written.next_data(60_000).unwrap(), None);
        assert!(window.need(&written, 50_001).unwrap(), "a frame goes on there");
        assert!(window.need(&written, 1_000_000).unwrap());
        assert!(!window.need(&written, 1 << 20).unwrap(), "the end of the file");
    }
}
