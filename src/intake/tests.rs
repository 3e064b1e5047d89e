use std::task::Poll;

use standpipe_wal::{Events, Flags};

use super::double::{Options, pair};
use super::{Door, Intake, UnknownStreams};

const MEMORY: usize = 8 << 20;
const CHUNK: usize = 64 << 10;

fn door(intake: &Intake, stream: &str) -> Door {
    intake.door(&stream.parse().unwrap(), UnknownStreams::Open).unwrap()
}

/// Takes as much as there is without waiting; returns how many chunks.
async fn fill(intake: &Intake, door: &Door) -> usize {
    let mut chunks = 0;
    loop {
        let mut reserve = Box::pin(intake.reserve(door, CHUNK, false));
        let polled = std::future::poll_fn(|context| Poll::Ready(reserve.as_mut().poll(context)));
        let Poll::Ready(permit) = polled.await else { return chunks };
        permit.unwrap().submit(Events::with_capacity(0, Flags::default()), None);
        chunks += 1;
        // The runtime lets a task take only so much in one go.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_that_are_stuck_leave_memory_to_the_next_one() {
    let options = Options { memory: MEMORY, ..Options::default() };
    let (intake, owner) = pair(&options);
    // Nothing that is submitted is ever answered: it is as if no log could be written.
    for stuck in 0..6 {
        let chunks = fill(&intake, &door(&intake, &format!("stuck-{stuck}"))).await;
        assert!(chunks > 0, "stream {stuck} found no room");
    }
    drop(owner);
}

#[tokio::test]
async fn who_waits_for_memory_goes_on_when_its_own_stream_has_landed() {
    let options = Options { memory: MEMORY, ..Options::default() };
    let (intake, mut owner) = pair(&options);
    let door = door(&intake, "a");
    let chunks = fill(&intake, &door).await;
    assert!(chunks >= MEMORY / CHUNK / 2, "one stream alone may have half: {chunks}");
    let mut waits = Box::pin(intake.reserve(&door, CHUNK, false));
    let polled = std::future::poll_fn(|context| Poll::Ready(waits.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    owner.next().await.store(0);
    drop(waits.await.unwrap());
}
