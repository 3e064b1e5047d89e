//! Where a stream's delivery begins, and with what.

use standpipe_wal::limits::READ_BYTES_MAX;
use standpipe_wal::{Offset, StreamName};
use tracing::warn;

use super::build::call_memory;
use crate::limits::{CALL_BYTES_FLOOR, GZIP_MEMORY_BYTES};
use crate::offsets::Progress;
use crate::sink::{Limits, Sink};
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
        // A log without a segment has another identity each time it is opened, and nothing that
        // could be delivered again.
        Some(other)
            if other.end() == 0 && other.unconfirmed.is_empty() && other.folded.is_empty() =>
        {
            (Window::new(oldest), other)
        }
        Some(other) => {
            warn!(
                %stream, offset = %oldest, committed = other.committed,
                "the stored progress is of another log, delivery begins with the oldest event"
            );
            let kept = Progress {
                committed: oldest.get(),
                unconfirmed: other.unconfirmed.clone(),
                folded: other.folded.clone(),
                log_id,
                ..Progress::default()
            };
            (Window::restore(&kept), other)
        }
        None => (Window::new(oldest), Progress::default()),
    }
}

/// What one call of a stream may hold. In strict order that is one record: of several in one call
/// the service may take a later one and not an earlier one.
pub(super) fn call_limits(sink: &dyn Sink, ordered: bool) -> Limits {
    let limits = sink.limits();
    if !ordered {
        return limits;
    }
    let call_bytes_max = limits.call_bytes_max.min(limits.record_bytes_max);
    Limits { records_max: 1, call_bytes_max, ..limits }
}

/// The largest call that these limits allow and the memory has room for.
pub(super) fn call_bytes_max(limits: Limits, sink: &dyn Sink, memory: &MemoryPool) -> usize {
    let mut bytes = limits.call_bytes_max;
    while bytes > CALL_BYTES_FLOOR
        && call_memory(sink, bytes.max(limits.record_bytes_max), limits.records_max)
            + READ_BYTES_MAX
            + GZIP_MEMORY_BYTES
            > memory.capacity()
    {
        bytes /= 2;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::{Reason, Unconfirmed};

    /// What a stream that never had an event left behind, under the identity that it had then.
    #[test]
    fn progress_that_says_nothing_is_not_taken_for_another_logs() {
        let stream: StreamName = "orders".parse().unwrap();
        let nothing = Progress { log_id: [1; 16], ..Progress::default() };
        let (window, stored) = restore(&stream, [2; 16], Offset::new(7), Some(nothing.clone()));
        assert_eq!(window.committed(), Offset::new(7), "delivery begins with the oldest event");
        assert_eq!(stored, nothing);
    }

    #[test]
    fn progress_of_another_log_keeps_its_counts_and_nothing_else() {
        let stream: StreamName = "orders".parse().unwrap();
        let lost = Unconfirmed { start: 3, end: 5, reason: Reason::Lost };
        let other = Progress {
            log_id: [1; 16],
            committed: 40,
            delivered: vec![(50, 60)],
            unconfirmed: vec![lost.clone()],
            folded: vec![(Reason::Lost, 9)],
            ..Progress::default()
        };
        let (window, _stored) = restore(&stream, [2; 16], Offset::new(7), Some(other));
        let kept = window.progress([2; 16]);
        assert_eq!((kept.committed, kept.delivered, kept.unconfirmed), (7, vec![], vec![lost]));
        assert_eq!(kept.folded, [(Reason::Lost, 9)]);
    }
}
