//! Tasks and how they end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

/// Tells everybody who holds a [`Stop`] that it is time to end; so does dropping it.
#[derive(Debug)]
pub struct Stopper(Arc<Semaphore>);

/// A value that changes once, from "run" to "stop". Waiting on it can not miss the change.
///
/// It is a semaphore without permits: waiting ends when it is closed, and who waited first goes on
/// first, which a `watch` does not promise and a simulation needs.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Semaphore>);

/// A stopper and what listens to it.
pub fn stop_pair() -> (Stopper, Stop) {
    let closes = Arc::new(Semaphore::new(0));
    (Stopper(Arc::clone(&closes)), Stop(closes))
}

impl Stopper {
    /// Says it.
    pub fn stop(&self) {
        self.0.close();
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Stop {
    /// Whether it was said.
    pub fn is_stopped(&self) -> bool {
        self.0.is_closed()
    }

    /// Returns once it was said, or once nobody is left who could say it.
    pub async fn stopped(&mut self) {
        // There is no permit to be had: only closing ends this.
        let _closed = self.0.acquire().await.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_seen_before_and_after_it_was_said() {
        let (stopper, stop) = stop_pair();
        let (mut early, mut late) = (stop.clone(), stop.clone());
        assert!(!stop.is_stopped());
        let waits = spawn(async move { early.stopped().await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        stopper.stop();
        waits.await.unwrap();
        late.stopped().await;
        assert!(stop.is_stopped());
    }

    #[tokio::test]
    async fn a_stopper_that_is_gone_is_a_stop() {
        let (stopper, mut stop) = stop_pair();
        drop(stopper);
        stop.stopped().await;
        assert!(stop.is_stopped());
    }
}
