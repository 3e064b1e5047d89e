//! What the agent takes from the machine beside its disk and its network: threads, the time of day,
//! randomness.
//!
//! Nothing in the pipeline starts a thread, reads the calendar or draws a random number but through
//! this. Durations are measured with [`tokio::time::Instant`], which follows the runtime's clock. So
//! a whole agent can live in a simulation: on one thread, on a clock that jumps, from one seed.

use std::fmt::Debug;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use standpipe_wal::log::{Entropy, OsEntropy};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::tasks::BoxFuture;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// Where work runs that blocks on the disk.
    pub workers: Arc<dyn Workers>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub entropy: Arc<dyn Entropy>,
}

impl World {
    /// The machine itself.
    pub fn real() -> Self {
        Self {
            workers: Arc::new(Threads),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
        }
    }

    /// Now, in milliseconds of Unix time; zero before 1970. May jump in both directions.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Runs work that reads from the disk where it may block. Dropping the future does not stop the
    /// work, so it must be harmless when nobody waits for it.
    ///
    /// # Errors
    /// Where the work panicked, or the runtime ends before its turn came.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkEnded> {
        let (sender, receiver) = oneshot::channel();
        let work = Box::new(move || {
            // Nobody waits any more: the call was given up.
            let _gone = sender.send(work()).is_err();
        });
        self.workers.block(work).await;
        receiver.await.map_err(|_gone| WorkEnded)
    }
}

/// Work ended without a result: it panicked, which was reported, or was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work ended without a result")]
pub struct WorkEnded;

/// What a panic does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// It ends the process: half an agent is worse than one that is started again.
    Abort,
    /// It ends the work alone.
    Unwind,
}

/// Where work runs that blocks on the disk.
pub trait Workers: Debug + Send + Sync {
    /// Starts a worker of this name, which may block as long and as often as it likes. Must be
    /// called inside a runtime; the worker may use its timers.
    ///
    /// # Errors
    /// Where no thread can be started.
    fn start(
        &self,
        name: String,
        work: BoxFuture<'static, ()>,
        panic: OnPanic,
    ) -> io::Result<Worker>;

    /// Runs a piece of work that may block. The future is ready once it has ended, however it did.
    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// A worker that was started. Dropping this lets it run on.
#[derive(Debug)]
pub struct Worker(oneshot::Receiver<()>);

impl Worker {
    /// A worker, and what is to be dropped once it has ended.
    pub fn new() -> (oneshot::Sender<()>, Self) {
        let (running, ended) = oneshot::channel();
        (running, Self(ended))
    }

    /// Returns once the worker has ended, and all that it held was given up.
    pub async fn ended(self) {
        // Nothing is ever sent: that the sender is gone is the message.
        let _ended = self.0.await.is_err();
    }
}

/// Each worker is a thread of its own.
#[derive(Clone, Copy, Debug)]
pub struct Threads;

impl Workers for Threads {
    fn start(
        &self,
        name: String,
        work: BoxFuture<'static, ()>,
        panic: OnPanic,
    ) -> io::Result<Worker> {
        let runtime = Handle::current();
        let (running, worker) = Worker::new();
        let thread = std::thread::Builder::new().name(name.clone());
        thread.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
            if outcome.is_err() && panic == OnPanic::Abort {
                tracing::error!(
                    thread = name,
                    "a thread panicked; the agent ends so that it can be restarted"
                );
                std::process::abort();
            }
            drop(running);
        })?;
        Ok(worker)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A panic was reported by the hook; who waits for a result sees that there is none.
            let _ended = tokio::task::spawn_blocking(work).await.is_ok();
        })
    }
}

/// The time of day.
pub trait Clock: Debug + Send + Sync {
    /// Now, in milliseconds of Unix time; zero before 1970.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_has_ended_once_all_it_held_is_given_up() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let work = Box::pin(async move {
            tokio::task::yield_now().await;
            drop(inside);
        });
        let worker = Threads.start("worker".into(), work, OnPanic::Unwind).unwrap();
        worker.ended().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn work_that_panics_has_no_result_and_ends_nothing_else() {
        let world = World::real();
        assert_eq!(world.blocking(|| 7).await, Ok(7));
        let panics = || -> u32 { panic!("on purpose") };
        assert_eq!(world.blocking(panics).await, Err(WorkEnded));
        let work = Box::pin(async { panic!("on purpose") });
        Threads.start("worker".into(), work, OnPanic::Unwind).unwrap().ended().await;
    }
}
