//! From an event that is refused for certain to a dead letter on disk. Runs on blocking threads.

use std::path::PathBuf;
use std::sync::Arc;

use standpipe_wal::fs::Fs;
use standpipe_wal::{Flags, Offset, Step, StreamName, Tail, events};

use super::batch::Batch;
use crate::dead_letters::letter::Details;
use crate::dead_letters::{DeadLetters, Letter};
use crate::world::World;

/// What is needed to bury events of a stream.
#[derive(Clone, Debug)]
pub(super) struct Undertaker {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) stream: StreamName,
    pub(super) log_id: [u8; 16],
    pub(super) sink: String,
    pub(super) destination: Arc<str>,
    pub(super) letters: Arc<DeadLetters>,
    pub(super) world: World,
}

impl Undertaker {
    /// Stores an event as a dead letter. It is on disk when this is `Ok`, which says how many bytes
    /// its payload has; else it has to be kept, for the reason that is given.
    pub(super) async fn bury(self, batch: Batch, reason: String) -> Result<u64, String> {
        let world = self.world.clone();
        let burying = move || self.bury_now(batch.start(), reason);
        world.blocking(burying).await.map_err(|error| error.to_string())?
    }

    fn bury_now(&self, offset: Offset, reason: String) -> Result<u64, String> {
        let (flags, payload) = self.event(offset)?;
        let bytes = payload.len() as u64;
        let code = reason.split(':').next().filter(|code| !code.contains(' '));
        let letter = Letter {
            offset,
            time_ms: self.world.now_ms(),
            flags,
            details: Details {
                log_id: format!("{:032x}", u128::from_be_bytes(self.log_id)),
                sink: self.sink.clone(),
                destination: self.destination.to_string(),
                code: code.unwrap_or("refused").to_owned(),
                reason,
            },
            payload,
        };
        let salt = self.world.entropy.u64();
        self.letters.bury(&self.stream, &letter, salt).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn event(&self, offset: Offset) -> Result<(Flags, Vec<u8>), String> {
        let mut tail = Tail::open(Arc::clone(&self.fs), self.dir.clone(), offset);
        match tail.next(offset.after(1)) {
            Ok(Step::Frame(frame)) => {
                let index = usize::try_from(offset.since(frame.base)).unwrap_or(usize::MAX);
                let event = events::iter(frame.body).nth(index);
                let event = event.ok_or("the refused event is not in its frame")?;
                Ok((frame.flags, event.to_vec()))
            }
            Ok(Step::Missing { .. } | Step::UpToDate) => {
                Err("the refused event cannot be read any more".to_owned())
            }
            Err(error) => Err(format!("the refused event cannot be read: {error}")),
        }
    }
}
