//! Raw ceilings: what the disk gives to a bare loop.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

/// The log's segment size.
const SEGMENT_BYTES: u64 = 64 << 20;
/// What the log writes at most between two syncs of a stream.
const ROUND_BYTES: usize = 8 << 20;

/// Writes `bytes` in all through as many threads as there are streams, into new segment files that
/// are allocated and rolled as the log does it, each round followed by fdatasync.
pub(crate) fn write_and_sync(dir: &Path, bytes: u64, streams: usize) -> Duration {
    let dir = dir.join("ceiling");
    let _absent = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let share = bytes / streams as u64;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for stream in 0..streams {
            let dir = &dir;
            scope.spawn(move || write_stream(dir, stream, share));
        }
    });
    let took = start.elapsed();
    std::fs::remove_dir_all(&dir).unwrap();
    took
}

fn write_stream(dir: &Path, stream: usize, share: u64) {
    let block: Vec<u8> = (0..ROUND_BYTES).map(|i| ((i * 31) >> 3) as u8).collect();
    let parent = File::open(dir).unwrap();
    let mut written = 0;
    for segment in 0.. {
        if written >= share {
            break;
        }
        let file = File::create(dir.join(format!("{stream}-{segment}"))).unwrap();
        parent.sync_all().unwrap();
        let (mut position, mut allocated, mut step) = (0, 0, 64 << 10);
        while position < SEGMENT_BYTES && written < share {
            let length = (ROUND_BYTES as u64).min(SEGMENT_BYTES - position);
            while allocated < position + length {
                let more = step.min(SEGMENT_BYTES - allocated);
                fallocate(&file, FallocateFlags::empty(), allocated, more).unwrap();
                allocated += more;
                step = (step * 2).min(16 << 20);
            }
            file.write_all_at(&block[..length as usize], position).unwrap();
            file.sync_data().unwrap();
            position += length;
            written += length;
        }
    }
}

/// One bare append of 4 KiB followed by fdatasync, into a growing file.
#[derive(Debug)]
pub(crate) struct BareAppend {
    file: File,
    position: u64,
}

impl BareAppend {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { file: File::create(dir.join("bare")).unwrap(), position: 0 }
    }

    pub(crate) fn once(&mut self) -> Duration {
        let start = Instant::now();
        self.file.write_all_at(&[7; 4096], self.position).unwrap();
        self.file.sync_data().unwrap();
        self.position += 4096;
        start.elapsed()
    }
}
