//! How fast a log is read and checked from the page cache: what a start may have to do for its
//! newest segment, and what `wal verify` does for all of them.
//!
//! `cargo bench -p standpipe-wal`
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement: it prints, takes the time, and fails by panicking"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use standpipe_wal::fs::{Access, Fs, RealFs};
use standpipe_wal::inspect::verify::{Request, verify};
use standpipe_wal::log::OsEntropy;
use standpipe_wal::{Events, Flags, Log, Offset, Options, StreamName};

const LOG_BYTES: u64 = 1 << 30;
const ROUNDS: usize = 3;

fn main() {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    for payload_bytes in [200, 1000, 16_000] {
        let dir = tempfile::tempdir().unwrap();
        let stream: StreamName = "orders".parse().unwrap();
        write(&fs, dir.path(), &stream, payload_bytes);
        let raw = best(|| raw(&*fs, &dir.path().join("orders")));
        let scan = best(|| {
            let request = Request { committed: Offset::ZERO, durable: None };
            let verified = verify(&*fs, dir.path(), &stream, request, &mut |_| {}).unwrap();
            assert!(verified.is_clean());
            verified.bytes()
        });
        println!(
            "events of {payload_bytes:>6} B: checked at {scan:.2} GB/s, read alone at {raw:.2} GB/s"
        );
    }
    let bytes = vec![7_u8; 1 << 20];
    let checksum = best(|| {
        (0..1024).for_each(|_| {
            black_box(crc32fast::hash(black_box(&bytes)));
        });
        1 << 30
    });
    println!("checksums of bytes in the processor's cache: {checksum:.2} GB/s");
}

fn write(fs: &Arc<dyn Fs>, dir: &Path, stream: &StreamName, payload_bytes: usize) {
    let (entropy, pool) = (Arc::new(OsEntropy), None);
    let options = Options { segment_bytes: 64 << 20, entropy, pool };
    let (mut log, _) = Log::open(fs, dir, stream, &options, Offset::ZERO, 1).unwrap();
    let payload = vec![b'x'; payload_bytes];
    while log.disk_bytes() < LOG_BYTES {
        for _ in 0..64 {
            let mut events = Events::with_capacity(256 << 10, Flags::default());
            while events.has_room_for(payload_bytes) {
                events.push(&payload);
            }
            log.push(events, 1);
        }
        log.sync(1).unwrap();
    }
    log.close(1).unwrap();
}

/// Reads all files of a directory as the scan does, and does nothing with them.
fn raw(fs: &dyn Fs, dir: &Path) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    for entry in fs.list(dir).unwrap().into_iter().filter(|entry| !entry.is_dir) {
        let file = fs.open(&dir.join(entry.name), Access::Read).unwrap();
        let mut position = 0;
        loop {
            let read = file.read_at(&mut buffer, position).unwrap() as u64;
            if read == 0 {
                break;
            }
            position += read;
        }
        total += position;
    }
    black_box(&buffer);
    total
}

/// GB/s of the fastest of some rounds.
fn best(round: impl Fn() -> u64) -> f64 {
    let rates = (0..ROUNDS).map(|_| {
        let begin = Instant::now();
        let bytes = round();
        bytes as f64 / 1e9 / begin.elapsed().as_secs_f64()
    });
    rates.fold(0.0, f64::max)
}
