//! Readers: what they find, and what holds for every step that they take.

use standpipe_wal::error::Error;
use standpipe_wal::tail::{Step as TailStep, Tail};
use standpipe_wal::{Offset, events};

/// How raw payloads begin.
pub(crate) const RAW: &str = "raw";

/// What lies in a log, from one offset on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Event(u64, Vec<u8>),
    Missing(std::ops::Range<Offset>, standpipe_wal::tail::Cause),
}

/// Reads up to `until`.
pub(crate) fn drain(tail: &mut Tail, until: Offset) -> Result<Vec<Found>, Error> {
    let found = read_frames(tail, until, usize::MAX)?;
    assert_eq!(tail.offset(), until, "a reader says it is up to date before it is");
    Ok(found)
}

/// Takes some steps towards `until` and checks that nothing is left out and nothing comes twice.
pub(crate) fn read_frames(
    tail: &mut Tail,
    until: Offset,
    frames: usize,
) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for _ in 0..frames {
        let at = tail.offset();
        let after = match tail.next(until)? {
            TailStep::UpToDate => break,
            TailStep::Missing { range, cause } => {
                assert_eq!(range.start, at, "a gap begins where the reader stands");
                assert!(range.end > at, "a gap is not empty");
                let end = range.end;
                found.push(Found::Missing(range, cause));
                end
            }
            TailStep::Frame(frame) => {
                assert_eq!(frame.base, at, "a frame begins where the reader stands");
                let before = found.len();
                for (offset, payload) in (frame.base.get()..).zip(events::iter(frame.body)) {
                    assert_eq!(payload.starts_with(RAW.as_bytes()), frame.flags.raw);
                    found.push(Found::Event(offset, payload.to_vec()));
                }
                assert_eq!(found.len() - before, frame.count as usize);
                assert!(frame.count > 0, "a frame is not empty");
                frame.base.after(u64::from(frame.count))
            }
        };
        assert_eq!(tail.offset(), after, "a reader stands behind what it gave");
        assert!(after <= until, "a reader goes beyond the durable offset");
    }
    Ok(found)
}
