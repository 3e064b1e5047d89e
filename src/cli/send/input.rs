//! Reads standard input on a thread of its own: a read of a terminal or a pipe cannot be
//! interrupted, and must not keep the command from ending.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context as _;
use standpipe_wal::StreamName;
use tokio::sync::mpsc;

use crate::client::lines::{Block, Packer, Skipped};
use crate::limits::CLIENT_READ_BYTES;

/// Blocks that wait between standard input and the socket.
const BLOCKS_WAITING_MAX: usize = 4;

/// What reading has met so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Lines that were not sent.
    pub(super) skipped: Skipped,
    /// Why the input ended before its end.
    pub(super) error: Option<io::Error>,
}

/// Starts to read.
pub(super) fn start(
    stream: &StreamName,
) -> anyhow::Result<(mpsc::Receiver<Block>, Arc<Mutex<Read>>)> {
    let (sender, receiver) = mpsc::channel(BLOCKS_WAITING_MAX);
    let read = Arc::<Mutex<Read>>::default();
    let (packer, met) = (Packer::new(stream), read.clone());
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || run(io::stdin().lock(), packer, &sender, &met))
        .context("start a thread")?;
    Ok((receiver, read))
}

fn run(
    mut input: impl io::Read,
    mut packer: Packer,
    blocks: &mpsc::Sender<Block>,
    met: &Mutex<Read>,
) {
    let note = |skipped: Skipped, error: Option<io::Error>| {
        *met.lock().unwrap_or_else(PoisonError::into_inner) = Read { skipped, error };
    };
    let mut buffer = vec![0; CLIENT_READ_BYTES];
    let error = loop {
        let block = match input.read(&mut buffer) {
            Ok(0) => break None,
            Ok(bytes) => packer.pack(buffer.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break Some(error),
        };
        note(packer.skipped(), None);
        if blocks.blocking_send(block).is_err() {
            return;
        }
    };
    let last = packer.end();
    note(packer.skipped(), error);
    // Nobody is left to send it where this fails.
    let _sent = blocks.blocking_send(last).is_ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces, then fails.
    struct Broken(Vec<&'static [u8]>);

    impl io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("gone"));
            }
            self.0.remove(0).read(buffer)
        }
    }

    #[test]
    fn what_came_before_the_input_broke_is_sent_and_the_error_is_kept() {
        let (sender, mut receiver) = mpsc::channel(10);
        let met = Mutex::default();
        let packer = Packer::new(&"s".parse().unwrap());
        run(Broken(vec![b"one\n\ntw", b"o"]), packer, &sender, &met);
        drop(sender);
        let mut sent = Vec::new();
        while let Some(block) = receiver.blocking_recv() {
            sent.extend(block.bytes);
        }
        assert_eq!(sent, b"s one\ns two\n");
        let met = met.into_inner().unwrap();
        assert_eq!(met.skipped.empty, 1);
        assert_eq!(met.error.unwrap().to_string(), "gone");
    }
}
