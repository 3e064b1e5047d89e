//! A log without room: who waits for it goes on, and the state says what is so.

use std::io;

use standpipe::tasks::{self, BoxFuture};
use standpipe::world::{OnPanic, Worker, Workers};
use tokio::time::{Instant, sleep};

use super::*;

/// Workers on the test's own thread, so that its clock can be paused.
#[derive(Debug)]
struct Tasks;

impl Workers for Tasks {
    fn start(&self, _: String, work: BoxFuture<'static, ()>, _: OnPanic) -> io::Result<Worker> {
        let (running, worker) = Worker::new();
        tasks::spawn(async move {
            work.await;
            drop(running);
        });
        Ok(worker)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }
}

/// What is in flight counts against the disk until it is there. Where it then takes no more than was
/// reserved already, nothing is ever given back, and who waited must go on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_disk_goes_on_when_what_was_in_flight_has_landed() {
    let fs = SimFs::new(9);
    let (sender, opened) = mpsc::channel(16);
    let segment = 64 << 10;
    let mut parts = parts(&fs, segment + 30_000, HashMap::new(), None, sender);
    parts.sync_interval = Duration::from_millis(200);
    let setup = start_parts(&fs, settings(WhenFull::Block), opened, parts);
    let door = setup.door("a");
    setup.submit(&door, events(0, 1, 10)).await.await.unwrap().unwrap();
    assert_eq!(setup.journal.quota().used(), segment);
    // Not durable before the shared sync, so the next one has no room yet.
    let in_flight = setup.submit(&door, events(1, 1, 20_000)).await;
    let waits = setup.submit(&door, events(2, 1, 20_000)).await;
    in_flight.await.unwrap().unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(setup.journal.quota().used(), segment);
    assert_eq!(door_state(&setup, "a"), "ok");
}

/// A client that is told that there is no room leaves no trace once there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_full_says_that_it_has_room_again() {
    let fs = SimFs::new(10);
    let setup = start(&fs, settings(WhenFull::Reject), u64::MAX / 2);
    let door = setup.door("a");
    setup.submit(&door, events(0, 1, 10)).await.await.unwrap().unwrap();
    setup.journal.quota().report_free(FREE_BYTES_MIN - 1);
    let refused = setup.intake.reserve(&door, 10, true).await.unwrap_err();
    assert_eq!((refused.code(), door_state(&setup, "a")), ("full", "full".to_owned()));
    setup.journal.quota().report_free(FREE_BYTES_MIN);
    setup.submit(&door, events(1, 1, 10)).await.await.unwrap().unwrap();
    assert_eq!(door_state(&setup, "a"), "ok");
}

fn door_state(setup: &Setup, stream: &str) -> String {
    setup.journal.find(&name(stream)).unwrap().status().log.state().state
}

/// A commit that comes while other events are on their way to the disk leaves the stream undelivered;
/// where those are refused after all, there is nothing left to deliver, and no other commit to say so.
#[tokio::test(start_paused = true)]
async fn a_stream_gives_its_space_back_when_what_was_not_delivered_was_refused() {
    let fs = SimFs::new(11);
    let (sender, opened) = mpsc::channel(16);
    let mut parts = parts(&fs, u64::MAX / 2, HashMap::new(), None, sender);
    parts.sync_interval = Duration::from_millis(100);
    parts.world.workers = Arc::new(Tasks);
    let setup = start_parts(&fs, settings(WhenFull::Block), opened, parts);
    let door = setup.door("a");
    let range = setup.submit(&door, events(0, 3, 10)).await.await.unwrap().unwrap();
    // Pushed, and not synced for a while.
    let refused = setup.submit(&door, events(3, 1, 100_000)).await;
    let key = Key { stream: name("a"), sink: "none".into() };
    let progress = Progress { committed: range.end.get(), ..Progress::default() };
    setup.journal.committed(&key, &progress).await;
    fs.limit(Some(fs.used_bytes()));
    assert_eq!(refused.await.unwrap().unwrap_err().code(), "unavailable");
    fs.limit(None);
    let stream = setup.journal.find(&name("a")).unwrap();
    let status = stream.status();
    let began = Instant::now();
    while status.oldest.value() < range.end.get() {
        assert!(began.elapsed() < Duration::from_secs(600), "nothing was given back");
        sleep(Duration::from_secs(1)).await;
    }
}
