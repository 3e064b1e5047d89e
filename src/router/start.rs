//! Where a stream's delivery begins, and with what.

use standpipe_wal::limits::READ_BYTES_MAX;
use standpipe_wal::{Offset, StreamName};
use tracing::warn;

use super::build::call_memory;
use crate::limits::CALL_BYTES_FLOOR;
use crate::offsets::Progress;
use crate::sink::Sink;
use crate::uploader::memory::MemoryPool;
use crate::uploader::window::Window;

/// Where delivery goes on. Progress of another log says nothing about this one's events: they are
/// delivered from the oldest on, some perhaps again.
pub(super) fn restore(
    stream: &StreamName,
    log_id: [u8; 16],
    oldest: Offset,
    progress: Option<Progress>,
) -> (Window, Progress) {
    match progress {
        Some(progress) if progress.log_id == log_id => (Window::restore(&progress), progress),
        Some(other) => {
            warn!(
                %stream, offset = %oldest, committed = other.committed,
                "the stored progress is of another log, delivery begins with the oldest event"
            );
            let kept = Progress {
                committed: oldest.get(),
                delivered: Vec::new(),
                unconfirmed: other.unconfirmed.clone(),
                log_id,
            };
            (Window::restore(&kept), other)
        }
        None => (Window::new(oldest), Progress::default()),
    }
}

/// The largest call that the sink takes and the memory has room for.
pub(super) fn call_bytes_max(sink: &dyn Sink, memory: &MemoryPool) -> usize {
    let limits = sink.limits();
    let mut bytes = limits.call_bytes_max;
    while bytes > CALL_BYTES_FLOOR
        && call_memory(sink, bytes.max(limits.record_bytes_max), limits.records_max)
            + READ_BYTES_MAX
            > memory.capacity()
    {
        bytes /= 2;
    }
    bytes
}
