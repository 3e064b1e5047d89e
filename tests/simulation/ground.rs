//! What the simulated agent stands on beside its disk: one thread, a calendar, randomness.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use standpipe::tasks::{self, BoxFuture};
use standpipe::world::{Clock, OnPanic, Worker, Workers, World};
use tokio::time::{Instant, Sleep, sleep};

use crate::chance::{Chance, Seeded};

/// The agent's world in one life, and the calendar, to be moved.
pub(crate) fn world(chance: &mut Chance, calendar: &Arc<Calendar>) -> World {
    World {
        workers: Arc::new(OneThread(Mutex::new(chance.fork()))),
        clock: Arc::clone(calendar) as Arc<dyn Clock>,
        entropy: Arc::new(Seeded::new(chance.u64())),
    }
}

/// Workers that take turns on the thread of the simulation. Each is held up at times, as a thread is
/// by its disk and by the machine.
#[derive(Debug)]
struct OneThread(Mutex<Chance>);

/// The longest that a worker is held up at once, in milliseconds.
const HELD_UP_MS_MAX: u64 = 40;

/// The longest that a read takes, in milliseconds.
const READ_MS_MAX: u64 = 10;

impl Workers for OneThread {
    fn start(
        &self,
        _name: String,
        work: BoxFuture<'static, ()>,
        _panic: OnPanic,
    ) -> io::Result<Worker> {
        let (running, worker) = Worker::new();
        let work = HeldUp { work, chance: self.0.lock().unwrap().fork(), pause: None };
        tasks::spawn(async move {
            work.await;
            drop(running);
        });
        Ok(worker)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let took = self.0.lock().unwrap().between(0, READ_MS_MAX);
        Box::pin(async move {
            sleep(Duration::from_millis(took)).await;
            work();
        })
    }
}

/// Work that sometimes goes on only a while after it could.
struct HeldUp {
    work: BoxFuture<'static, ()>,
    chance: Chance,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for HeldUp {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() && self.chance.one_in(4) {
            let pause = Duration::from_millis(self.chance.between(1, HELD_UP_MS_MAX));
            self.pause = Some(Box::pin(sleep(pause)));
        }
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        self.work.as_mut().poll(context)
    }
}

/// The time of day: it goes with the simulated clock, and jumps.
#[derive(Debug)]
pub(crate) struct Calendar {
    began: Instant,
    /// What it shows at `began`, in milliseconds of Unix time.
    began_ms: AtomicI64,
}

impl Calendar {
    pub(crate) fn new(began_ms: i64) -> Self {
        Self { began: Instant::now(), began_ms: AtomicI64::new(began_ms) }
    }

    /// Somebody sets the clock.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.began_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    pub(crate) fn shows_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        self.began_ms.load(Ordering::Relaxed) + elapsed
    }
}

impl Clock for Calendar {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.shows_ms()).unwrap_or(0)
    }
}
