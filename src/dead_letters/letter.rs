//! A dead letter's bytes: two frames as the log has them (`wal/FORMAT.md`), with the same salt.
//!
//! Both have the event's offset as base and the time of the burial. The first holds one event, a
//! JSON object with what is known about the letter: `log_id` (hex), `sink`, `destination`, `code`,
//! `reason`. The second holds the event itself, with its flags. What is not such a pair is no
//! letter: each frame has a checksum, so damage costs the letters that it hits and no others.

use serde::{Deserialize, Serialize};
use standpipe_wal::frame::{self, Decoded, Frame, Header};
use standpipe_wal::{Flags, Offset, events};

/// An event that a destination refuses, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The event's offset in its log.
    pub offset: Offset,
    /// When it was buried, in milliseconds of Unix time.
    pub time_ms: u64,
    /// How the event was to be delivered.
    pub flags: Flags,
    /// What else is known.
    pub details: Details,
    /// The event.
    pub payload: Vec<u8>,
}

/// What is known about a letter beside its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The log that the offset belongs to, in hex.
    pub log_id: String,
    /// The sink's name in the configuration.
    pub sink: String,
    /// The name at the destination.
    pub destination: String,
    /// The destination's word for the refusal, such as `InvalidArgumentException`.
    pub code: String,
    /// The destination's sentence.
    pub reason: String,
}

impl Letter {
    /// The letter's bytes. `salt` is random and not zero.
    pub(super) fn encode(&self, salt: u64) -> Vec<u8> {
        // Plain strings: nothing in them can fail to become JSON.
        let details = serde_json::to_vec(&self.details).unwrap_or_default();
        let mut bytes = Vec::with_capacity(details.len() + self.payload.len() + 128);
        for (event, flags) in [(&details, Flags::default()), (&self.payload, self.flags)] {
            let header = Header {
                salt: salt.max(1),
                base: self.offset,
                count: 1,
                flags,
                seal: false,
                durable: self.offset,
                time_ms: self.time_ms,
            };
            let length = u32::try_from(event.len()).unwrap_or(u32::MAX).to_le_bytes();
            let body = [length.as_slice(), event.as_slice()];
            bytes.extend_from_slice(&header.encode(body.into_iter()));
            for part in body {
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }

    fn of(details: Frame<'_>, event: Frame<'_>) -> Option<Self> {
        let (first, second) = (details.header, event.header);
        if first.salt != second.salt || first.base != second.base {
            return None;
        }
        let details = serde_json::from_slice(events::iter(details.body).next()?).ok()?;
        Some(Self {
            offset: first.base,
            time_ms: first.time_ms,
            flags: second.flags,
            details,
            payload: events::iter(event.body).next()?.to_vec(),
        })
    }
}

/// Hands every letter in the bytes of a file to `take`. Returns how many bytes are of none.
pub(super) fn each<E>(
    bytes: &[u8],
    take: &mut impl FnMut(Letter) -> Result<(), E>,
) -> Result<u64, E> {
    let mut rest = bytes;
    let mut strange = 0;
    while !rest.is_empty() {
        let found = frame_at(rest).and_then(|details| {
            let length = details.disk_bytes();
            let event = frame_at(rest.get(length..)?)?;
            Some((Letter::of(details, event)?, length + event.disk_bytes()))
        });
        let length = if let Some((letter, length)) = found {
            take(letter)?;
            length
        } else {
            strange += 1;
            1
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(strange)
}

fn frame_at(bytes: &[u8]) -> Option<Frame<'_>> {
    match frame::decode_any(bytes) {
        Decoded::Frame(frame) if frame.header.count == 1 => Some(frame),
        Decoded::Frame(_) | Decoded::Short { .. } | Decoded::Bad => None,
    }
}
