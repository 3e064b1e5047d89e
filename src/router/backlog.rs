//! How much of a stream is left, for people and programs.

use super::aggregate::{Packed, Unnamed};
use super::pending::Pending;
use crate::status::StreamStatus;
use crate::uploader::Uploader;

/// Brings the numbers up to date.
pub(super) fn show_backlog(status: &StreamStatus, pending: &Pending, uploader: &Uploader) {
    let counted = pending.counted_payload_bytes() + uploader.unconfirmed_bytes();
    status.backlog_bytes.set(counted + uncounted_bytes(status, pending));
    let waiting = (pending.events() > 0).then(|| pending.since_ms());
    status.oldest_pending_ms.set(uploader.oldest_ms().or(waiting).unwrap_or(0));
}

/// Counts what was seen while events were packed for the first time.
pub(super) fn show_packed(status: &StreamStatus, packed: &Packed) {
    status.embedded_delimiter.add(packed.embedded_delimiter);
    let Unnamed { not_object, raw, too_large } = packed.unnamed;
    let unnamed = [("not_object", not_object), ("raw", raw), ("too_large", too_large)];
    for (reason, events) in unnamed.into_iter().filter(|(_, events)| *events > 0) {
        status.unnamed.add(reason, events);
    }
}

/// What earlier runs left and nobody has read yet, judged by what events take on disk.
fn uncounted_bytes(status: &StreamStatus, pending: &Pending) -> u64 {
    let events = pending.uncounted_events();
    let on_disk = status.durable.value().saturating_sub(status.oldest.value());
    if events == 0 || on_disk == 0 {
        return 0;
    }
    let bytes = u128::from(events) * u128::from(status.disk_bytes.value());
    u64::try_from(bytes / u128::from(on_disk)).unwrap_or(u64::MAX)
}
