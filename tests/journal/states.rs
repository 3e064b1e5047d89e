//! What a stream says of its log, and for how long.

use std::time::Duration;

use standpipe::config::WhenFull;
use standpipe_wal::fs::sim::SimFs;

use super::{FREE_BYTES_MIN, events, name, settings, start};

/// Clients that are told hold nothing back, so the tries in between have nothing to write. That must
/// not look like success: `since` would move on, and the log would fill with changes of state.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stays_full_is_said_to_be_full_without_a_break() {
    let setup = start(&SimFs::new(8), settings(WhenFull::Block), u64::MAX / 2);
    let door = setup.door("a");
    setup.submit(&door, events(0, 1, 10)).await.await.unwrap().unwrap();
    setup.fs.limit(Some(setup.fs.used_bytes()));
    setup.submit(&door, events(1, 2, 100_000)).await.await.unwrap().unwrap_err();
    let status = setup.journal.find(&name("a")).unwrap().status().clone();
    let entered = status.log.state();
    for _try in 0..3 {
        let before = setup.fs.operations();
        while setup.fs.operations() == before {
            assert_eq!(status.log.state().since, entered.since);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(status.log.state(), entered);
    setup.fs.limit(None);
    while status.log.state().state != "ok" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    setup.submit(&door, events(1, 2, 100_000)).await.await.unwrap().unwrap();
}

/// Whoever did not fit was refused, or has gone while it waited: nobody is left to see the room.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_room_again_says_so_although_nobody_asks() {
    for when_full in [WhenFull::Reject, WhenFull::Block] {
        let setup = start(&SimFs::new(9), settings(when_full), u64::MAX / 2);
        let door = setup.door("a");
        setup.submit(&door, events(0, 1, 10)).await.await.unwrap().unwrap();
        setup.journal.report_free(FREE_BYTES_MIN - 1);
        let mut asks = Box::pin(setup.intake.reserve(&door, 10, false));
        let asked = std::future::poll_fn(|context| {
            std::task::Poll::Ready(asks.as_mut().poll(context).is_ready())
        });
        assert_eq!(asked.await, when_full == WhenFull::Reject);
        let status = setup.journal.find(&name("a")).unwrap().status().clone();
        let full = status.log.state();
        assert_eq!(full.state, "full");
        setup.journal.report_free(FREE_BYTES_MIN - 1);
        assert_eq!(status.log.state(), full);
        drop(asks);
        setup.journal.report_free(FREE_BYTES_MIN);
        assert_eq!(status.log.state().state, "ok", "{when_full:?}");
    }
}
