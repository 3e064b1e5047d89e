//! A window that moves forward over a file, so that reading large stretches takes few system calls
//! and bounded memory.

use std::io;

use crate::fs::File;
use crate::limits::{READ_BYTES_MAX, READ_BYTES_MIN};

/// A stretch of a file in memory. Holds nothing until something is read.
#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    /// The part of `buffer` that was read and not yet passed.
    start: usize,
    end: usize,
    /// The position in the file of `buffer[start]`.
    position: u64,
    /// What the next read asks for: small for one that follows the writer closely, large for one
    /// that has much to catch up.
    read_bytes: usize,
}

impl Window {
    /// A window that begins at a position.
    pub(crate) fn at(position: u64) -> Self {
        Self { position, ..Self::default() }
    }

    /// The position in the file where [`Window::bytes`] begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What is in memory, from the position on.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Moves forward over bytes that are in memory.
    pub(crate) fn pass(&mut self, bytes: usize) {
        let passed = bytes.min(self.end - self.start);
        self.start += passed;
        self.position += passed as u64;
    }

    /// Moves forward over bytes that are in memory, and lends them.
    pub(crate) fn take(&mut self, bytes: usize) -> &[u8] {
        let begin = self.start;
        self.pass(bytes);
        self.buffer.get(begin..self.start).unwrap_or_default()
    }

    /// Forgets what was read: what the writer has written since is seen by the next read.
    pub(crate) fn forget(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Goes back to a position that was passed; what is still in memory is not read again.
    pub(crate) fn back(&mut self, position: u64) {
        let passed =
            self.position.checked_sub(position).and_then(|bytes| usize::try_from(bytes).ok());
        match passed.and_then(|passed| self.start.checked_sub(passed)) {
            Some(start) => {
                self.start = start;
                self.position = position;
            }
            None => self.jump(position),
        }
    }

    /// Goes to another position.
    pub(crate) fn jump(&mut self, position: u64) {
        self.forget();
        self.position = position;
    }

    /// Gives the memory back; the position stays.
    pub(crate) fn release(&mut self) {
        self.forget();
        self.buffer = Vec::new();
        self.read_bytes = 0;
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Reads until at least `bytes` are in memory; false where the file ends before.
    ///
    /// # Panics
    /// Where more than [`READ_BYTES_MAX`] are asked for, which no frame needs.
    pub(crate) fn need(&mut self, file: &dyn File, bytes: usize) -> io::Result<bool> {
        let held = self.end - self.start;
        if held >= bytes {
            return Ok(true);
        }
        assert!(bytes <= READ_BYTES_MAX, "a reader asked for more than its window can hold");
        let wanted = self.read_bytes.clamp(READ_BYTES_MIN, READ_BYTES_MAX).max(bytes);
        self.read_bytes = wanted.saturating_mul(4);
        if self.buffer.len() < wanted {
            let mut larger = vec![0; wanted];
            if let (Some(room), Some(kept)) =
                (larger.get_mut(..held), self.buffer.get(self.start..self.end))
            {
                room.copy_from_slice(kept);
            }
            self.buffer = larger;
        } else {
            self.buffer.copy_within(self.start..self.end, 0);
        }
        (self.start, self.end) = (0, held);
        // More than is needed is taken where it comes, and not insisted on.
        while self.end < bytes {
            let room = self.buffer.get_mut(self.end..wanted).unwrap_or_default();
            match file.read_at(room, self.position + self.end as u64)? {
                0 => return Ok(false),
                read => self.end += read,
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::{SEGMENT, World};

    #[test]
    fn no_more_is_passed_than_is_in_memory() {
        let world = World::new(SEGMENT);
        let _log = world.open(0);
        world.plant("file", b"0123456789");
        let file = world.fs.open(&world.path("file"), crate::fs::Access::Read).unwrap();
        let mut window = Window::at(2);
        assert!(window.need(&*file, 3).unwrap());
        assert_eq!(window.bytes(), b"23456789");
        window.pass(5);
        assert_eq!(window.take(100), b"789");
        assert_eq!(window.position(), 10);
        assert!(!window.need(&*file, 1).unwrap());
    }
}
