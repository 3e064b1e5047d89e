//! Events as they travel from a socket to a frame: encoded once, never touched again.

use crate::limits::{BODY_BYTES_MAX, EVENT_BYTES_MAX, EVENT_PREFIX_BYTES};

/// What a frame says about all of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The payload is delivered exactly as it is: no delimiter is added behind it.
    pub raw: bool,
}

/// A run of events of one stream, already in the form of a frame's body: each event is its length
/// as a little-endian `u32`, then its bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    body: Vec<u8>,
    count: u32,
    /// The largest payload.
    largest: usize,
    flags: Flags,
}

impl Events {
    /// An empty run with room for `bytes` of body.
    pub fn with_capacity(bytes: usize, flags: Flags) -> Self {
        Self { body: Vec::with_capacity(bytes), count: 0, largest: 0, flags }
    }

    /// Whether a payload of this size still fits into the same frame. The first always does.
    pub fn has_room_for(&self, payload: usize) -> bool {
        self.count == 0 || self.body.len() + EVENT_PREFIX_BYTES + payload <= BODY_BYTES_MAX
    }

    /// Adds one event.
    ///
    /// # Panics
    /// Where the payload is larger than [`EVENT_BYTES_MAX`] or does not fit
    /// ([`Events::has_room_for`]): both are bugs of the caller, who must refuse or begin a new run.
    pub fn push(&mut self, payload: &[u8]) {
        assert!(payload.len() <= EVENT_BYTES_MAX, "an event over the size limit was not refused");
        assert!(self.has_room_for(payload.len()), "an event was pushed into a full frame");
        #[expect(clippy::cast_possible_truncation, reason = "at most EVENT_BYTES_MAX")]
        let length = payload.len() as u32;
        self.body.extend_from_slice(&length.to_le_bytes());
        self.body.extend_from_slice(payload);
        self.count += 1;
        self.largest = self.largest.max(payload.len());
    }

    /// How many events there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the largest payload.
    pub fn largest(&self) -> usize {
        self.largest
    }

    /// What holds for all of them.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// The encoded bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The bytes of the payloads alone.
    pub fn payload_bytes(&self) -> u64 {
        (self.body.len() - self.count as usize * EVENT_PREFIX_BYTES) as u64
    }
}

/// The events of a frame's body, in order. Ends early where a length does not fit, which
/// [`is_well_formed`] tells apart from the end.
pub fn iter(body: &[u8]) -> Iter<'_> {
    Iter { rest: body }
}

/// See [`iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<EVENT_PREFIX_BYTES>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (event, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(event)
    }
}

/// Whether a body holds exactly `count` events and nothing else.
pub fn is_well_formed(body: &[u8], count: u32) -> bool {
    let mut events = iter(body);
    let found = events.by_ref().count();
    found == count as usize && events.rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_events_up_to_its_limit_and_one_of_any_size() {
        let mut run = Events::with_capacity(0, Flags::default());
        assert!(run.has_room_for(EVENT_BYTES_MAX), "the first always fits");
        run.push(&[7; 1000]);
        let room = BODY_BYTES_MAX - 2 * EVENT_PREFIX_BYTES - 1000;
        assert!(run.has_room_for(room) && !run.has_room_for(room + 1));
        run.push(&vec![7; room]);
        assert!(!run.has_room_for(0));
        assert_eq!((run.count(), run.body().len()), (2, BODY_BYTES_MAX));
        assert_eq!(run.largest(), room);
        assert_eq!(run.payload_bytes(), 1000 + room as u64);
    }

    #[test]
    fn a_body_is_well_formed_with_as_many_events_as_it_says_and_nothing_behind() {
        let mut run = Events::with_capacity(0, Flags::default());
        run.push(b"one");
        run.push(b"");
        assert!(is_well_formed(run.body(), 2) && is_well_formed(b"", 0));
        assert!(!is_well_formed(run.body(), 1) && !is_well_formed(run.body(), 3));
        assert!(!is_well_formed(&[run.body(), b"x"].concat(), 2));
    }
}
