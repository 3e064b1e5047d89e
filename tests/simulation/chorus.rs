//! Many futures in one task, polled in the order of their numbers.
//!
//! Some of tokio's primitives wake those who wait in an order that no seed decides. Who waits within
//! a chorus goes on in the chorus' order whatever the order of the waking.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use standpipe::tasks::BoxFuture;

/// Ready once every member is.
pub(crate) struct Chorus(Vec<Member>);

struct Member {
    future: Option<BoxFuture<'static, ()>>,
    call: Arc<Call>,
}

struct Call {
    is_woken: AtomicBool,
    chorus: Mutex<Waker>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.chorus.lock().unwrap().wake_by_ref();
    }
}

impl Chorus {
    pub(crate) fn new(futures: Vec<BoxFuture<'static, ()>>) -> Self {
        let call = || Call { is_woken: true.into(), chorus: Mutex::new(Waker::noop().clone()) };
        Self(
            futures
                .into_iter()
                .map(|future| Member { future: Some(future), call: Arc::new(call()) })
                .collect(),
        )
    }
}

impl Future for Chorus {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for member in &mut self.0 {
            member.call.chorus.lock().unwrap().clone_from(context.waker());
            let Some(future) = &mut member.future else { continue };
            if member.call.is_woken.swap(false, Ordering::Relaxed) {
                let waker = Waker::from(Arc::clone(&member.call));
                if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    member.future = None;
                }
            }
        }
        if self.0.iter().all(|member| member.future.is_none()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
