//! Tasks and how they end.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Starts a task. A panic inside it is logged by [`crate::telemetry`]'s hook and ends that task
/// alone.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Starts a task that belongs to a set, so that its end can be waited for.
pub fn spawn_on<F>(set: &mut JoinSet<F::Output>, future: F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    set.spawn(future);
}

/// Tells everybody who holds a [`Stop`] that it is time to end.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A value that changes once, from "run" to "stop". Waiting on it can not miss the change.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A stopper and what listens to it.
pub fn stop_pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it was said.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it was said, or once nobody is left who could say it.
    pub async fn stopped(&mut self) {
        // An error means the stopper is gone, which is a stop as well.
        let _gone = self.0.wait_for(|stop| *stop).await.is_err();
    }
}
