//! Intake and journal over a simulated disk: answers, failures, and what one stream's trouble does
//! to others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test: a surprise is its failure"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use standpipe::config::{Aggregate, StreamConfig, WhenFull, defaults};
use standpipe::intake::{Door, Intake, Outcome, Refusal, UnknownStreams};
use standpipe::journal::quota::Quota;
use standpipe::journal::{Journal, Opened, Parts};
use standpipe::offsets::{Key, Progress};
use standpipe::world::World;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::sim::{Fault, Loss, SimFs};
use standpipe_wal::log::Entropy;
use standpipe_wal::{Events, Flags, Offset, Options, Pool, Step, StreamName, Tail};
use tokio::sync::{mpsc, oneshot};

#[path = "journal/full.rs"]
mod full;
#[path = "journal/opening.rs"]
mod opening;
#[path = "journal/states.rs"]
mod states;

const MEMORY: usize = 8 << 20;

/// What must stay free of the disk.
const FREE_BYTES_MIN: u64 = 1000;

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) | 1
    }
}

struct Setup {
    fs: SimFs,
    journal: Arc<Journal>,
    intake: Intake,
    opened: mpsc::Receiver<Opened>,
}

fn start(fs: &SimFs, settings: StreamConfig, bytes_max: u64) -> Setup {
    start_after(fs, settings, bytes_max, HashMap::new(), None)
}

fn start_after(
    fs: &SimFs,
    settings: StreamConfig,
    bytes_max: u64,
    confirmed: HashMap<StreamName, Offset>,
    pool: Option<Arc<Pool>>,
) -> Setup {
    let (sender, opened) = mpsc::channel(16);
    start_parts(fs, settings, opened, parts(fs, bytes_max, confirmed, pool, sender))
}

fn start_parts(
    fs: &SimFs,
    settings: StreamConfig,
    opened: mpsc::Receiver<Opened>,
    parts: Parts,
) -> Setup {
    let journal = Arc::new(Journal::start(parts).unwrap());
    let intake = Intake::new(journal.clone(), settings, BTreeMap::new(), MEMORY);
    Setup { fs: fs.clone(), journal, intake, opened }
}

fn parts(
    fs: &SimFs,
    bytes_max: u64,
    confirmed: HashMap<StreamName, Offset>,
    pool: Option<Arc<Pool>>,
    opened: mpsc::Sender<Opened>,
) -> Parts {
    let dir = Path::new("/streams");
    if fs.create_dir(dir).is_ok() {
        fs.sync_dir(Path::new("/")).unwrap();
    }
    Parts {
        fs: Arc::new(fs.clone()),
        dir: dir.into(),
        options: Options { segment_bytes: 64 << 10, entropy: Arc::new(Counting::default()), pool },
        owners: 2,
        sync_interval: Duration::ZERO,
        stream_memory_max: MEMORY / 2,
        streams_max: 8,
        quota: Arc::new(Quota::new(bytes_max, FREE_BYTES_MIN)),
        confirmed,
        opened,
        world: World::real(),
    }
}

fn settings(when_full: WhenFull) -> StreamConfig {
    StreamConfig {
        sink: "none".into(),
        aggregate: Aggregate::Lines,
        linger: Duration::ZERO,
        in_flight_max: 1,
        when_full,
        ..defaults::stream()
    }
}

fn name(name: &str) -> StreamName {
    name.parse().unwrap()
}

fn events(first: u32, count: u32, bytes: usize) -> Events {
    let mut events = Events::with_capacity(1024, Flags::default());
    for n in first..first + count {
        let mut payload = n.to_le_bytes().to_vec();
        payload.resize(bytes.max(4), b'x');
        events.push(&payload);
    }
    events
}

impl Setup {
    fn door(&self, stream: &str) -> Door {
        self.intake.door(&name(stream), UnknownStreams::Open).unwrap()
    }

    /// Submits events and returns their answer to come.
    async fn submit(&self, door: &Door, events: Events) -> oneshot::Receiver<Outcome> {
        let permit = self.intake.reserve(door, events.body().len(), true).await.unwrap();
        let (answer, outcome) = oneshot::channel();
        permit.submit(events, Some(answer));
        outcome
    }
}

/// The numbers of all events of a stream that are durable on this disk.
fn stored(fs: &SimFs, stream: &str, until: Offset) -> Vec<u32> {
    let mut tail =
        Tail::open(Arc::new(fs.clone()), format!("/streams/{stream}").into(), Offset::ZERO);
    let mut found = Vec::new();
    loop {
        match tail.next(until).unwrap() {
            Step::Frame(frame) => {
                let number = |e: &[u8]| u32::from_le_bytes(e[..4].try_into().unwrap());
                found.extend(standpipe_wal::events::iter(frame.body).map(number));
            }
            Step::UpToDate => return found,
            Step::Missing { range, cause } => panic!("{range:?} is missing: {cause:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_with_the_offsets_and_survives_a_power_cut() {
    let setup = start(&SimFs::new(1), settings(WhenFull::Block), u64::MAX / 2);
    let door = setup.door("a");
    let first = setup.submit(&door, events(0, 3, 10)).await.await.unwrap().unwrap();
    assert_eq!(first, Offset::ZERO..Offset::new(3));
    let second = setup.submit(&door, events(3, 2, 10)).await.await.unwrap().unwrap();
    assert_eq!(second, Offset::new(3)..Offset::new(5));
    let after = setup.fs.crash(Loss::EverythingUnsynced, 1);
    assert_eq!(stored(&after, "a", second.end), [0, 1, 2, 3, 4]);
}

/// A destination may have confirmed events beyond those that it has not, and the log may have lost
/// its end since: their offsets are not given out again, and what is not delivered yet stays.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_were_confirmed_are_not_reused_and_do_not_trim() {
    let first = start(&SimFs::new(7), settings(WhenFull::Block), u64::MAX / 2);
    let range = first.submit(&first.door("a"), events(0, 5, 10)).await.await.unwrap().unwrap();
    let fs = first.fs.crash(Loss::EverythingUnsynced, 1);
    let progress = Progress { committed: 2, delivered: vec![(200, 300)], ..Progress::default() };
    let confirmed = HashMap::from([(name("a"), Offset::new(progress.end()))]);
    let again = start_after(&fs, settings(WhenFull::Block), u64::MAX / 2, confirmed, None);
    let door = again.door("a");
    let next = again.submit(&door, events(5, 1, 10)).await.await.unwrap().unwrap();
    assert_eq!(next, Offset::new(300)..Offset::new(301));
    let journal = &again.journal;
    let key = Key { stream: name("a"), sink: "none".into() };
    journal.committed(&key, &progress).await;
    // The owner answers this after it has dealt with the commit.
    again.submit(&door, events(6, 1, 10)).await.await.unwrap().unwrap();
    assert_eq!(stored(&again.fs, "a", range.end), [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_once_per_stream_and_sees_what_is_durable() {
    let mut setup = start(&SimFs::new(2), settings(WhenFull::Block), u64::MAX / 2);
    let door = setup.door("a");
    let range = setup.submit(&door, events(0, 7, 10)).await.await.unwrap().unwrap();
    let mut opened = setup.opened.recv().await.unwrap();
    assert_eq!(opened.stream.name().as_str(), "a");
    let durable = *opened.durable.wait_for(|durable| durable.offset >= range.end).await.unwrap();
    assert_eq!((durable.offset, durable.payload_bytes), (Offset::new(7), 70));
    setup.submit(&door, events(7, 1, 10)).await.await.unwrap().unwrap();
    setup.journal.close().await;
    assert!(setup.opened.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_survived_unnoticed() {
    let setup = start(&SimFs::new(3), settings(WhenFull::Block), u64::MAX / 2);
    let door = setup.door("a");
    setup.submit(&door, events(0, 1, 10)).await.await.unwrap().unwrap();
    // The next operations are the write and the sync of the next round.
    for step in 0..2_u32 {
        setup.fs.inject(Fault::Io, setup.fs.operations() + u64::from(step), 1);
        let range = setup.submit(&door, events(1 + 2 * step, 2, 10)).await.await.unwrap();
        assert_eq!(range.unwrap().end, Offset::new(u64::from(3 + 2 * step)));
    }
    let after = setup.fs.crash(Loss::EverythingUnsynced, 3);
    assert_eq!(stored(&after, "a", Offset::new(5)), [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_who_can_be_told_keeps_the_rest_and_recovers_by_itself() {
    let setup = start(&SimFs::new(4), settings(WhenFull::Block), u64::MAX / 2);
    let door = setup.door("a");
    setup.submit(&door, events(0, 1, 10)).await.await.unwrap().unwrap();
    setup.fs.limit(Some(setup.fs.used_bytes()));

    // More than the room that was reserved ahead: an acknowledged client is told.
    let told = setup.submit(&door, events(1, 2, 100_000)).await.await.unwrap();
    assert!(matches!(told, Err(Refusal::Unavailable { .. })), "{told:?}");
    let status = setup.journal.find(&name("a")).unwrap().status().clone();
    assert_eq!(status.log.state().state, "full");
    assert_eq!(status.refused.snapshot()["unavailable"], 2);

    // One that cannot be told waits at the door until there is room again.
    let refused = setup.intake.reserve(&door, 10, true).await.unwrap_err();
    assert_eq!(refused.code(), "unavailable");
    let intake = setup.intake.clone();
    let waits = door.clone();
    let silent = standpipe::tasks::spawn(async move {
        let events = events(7, 1, 100_000);
        intake.reserve(&waits, events.body().len(), false).await.unwrap().submit(events, None);
    });
    setup.fs.limit(None);
    silent.await.unwrap();
    setup.journal.flush().await;
    let durable = Offset::new(status.durable.value());
    assert_eq!(stored(&setup.fs, "a", durable), [0, 7]);
    assert_eq!(status.log.state().state, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_refuses_or_waits_as_configured_and_other_streams_go_on() {
    let mut own = settings(WhenFull::Reject);
    own.bytes_max = Some(20 << 10);
    let setup = start(&SimFs::new(5), own, u64::MAX / 2);
    let (full, other) = (setup.door("full"), setup.door("other"));
    setup.submit(&full, events(0, 1, 18 << 10)).await.await.unwrap().unwrap();
    let refused = setup.intake.reserve(&full, 10_000, false).await.unwrap_err();
    assert_eq!(refused, Refusal::Full { what: "stream.bytes_max" });
    setup.submit(&other, events(0, 1, 10)).await.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_and_unknown_ones_are_refused() {
    let setup = start(&SimFs::new(6), settings(WhenFull::Block), u64::MAX / 2);
    let refused = setup.intake.door(&name("x"), UnknownStreams::Configured).unwrap_err();
    assert_eq!(refused, Refusal::UnknownStream);
    for n in 0..8 {
        setup.door(&format!("s{n}"));
    }
    let refused = setup.intake.door(&name("s8"), UnknownStreams::Open).unwrap_err();
    assert_eq!(refused, Refusal::TooManyStreams { max: 8 });
    setup.door("s7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_and_a_kill_both_continue_at_the_next_offset() {
    let fs = SimFs::new(7);
    let setup = start(&fs, settings(WhenFull::Block), u64::MAX / 2);
    setup.submit(&setup.door("a"), events(0, 4, 10)).await.await.unwrap().unwrap();
    setup.journal.close().await;
    let setup = start(&fs, settings(WhenFull::Block), u64::MAX / 2);
    let range = setup.submit(&setup.door("a"), events(4, 1, 10)).await.await.unwrap().unwrap();
    assert_eq!(range, Offset::new(4)..Offset::new(5));
    let fs = fs.crash(Loss::EverythingUnsynced, 7);
    let setup = start(&fs, settings(WhenFull::Block), u64::MAX / 2);
    let range = setup.submit(&setup.door("a"), events(5, 1, 10)).await.await.unwrap().unwrap();
    assert_eq!(range, Offset::new(5)..Offset::new(6));
    assert_eq!(stored(&fs, "a", range.end), [0, 1, 2, 3, 4, 5]);
}

/// A journal whose stream has filled and delivered a segment, which went to the pool.
async fn with_a_pooled_segment(age_max: Duration) -> (Setup, Arc<Pool>) {
    let fs = SimFs::new(8);
    let pool = Pool::open(Arc::new(fs.clone()), "/pool".into(), 1 << 20, age_max).unwrap();
    let pool = Arc::new(pool);
    let settings = settings(WhenFull::Reject);
    let setup = start_after(&fs, settings, u64::MAX / 2, HashMap::new(), Some(Arc::clone(&pool)));
    let door = setup.door("a");
    let mut committed = 0;
    for n in 0..9 {
        let range = setup.submit(&door, events(n, 1, 10_000)).await.await.unwrap().unwrap();
        committed = range.end.get();
    }
    let key = Key { stream: name("a"), sink: "none".into() };
    setup.journal.committed(&key, &Progress { committed, ..Progress::default() }).await;
    // An owner answers this after it has dealt with the commit, and then with what time made due.
    setup.journal.flush().await;
    setup.journal.flush().await;
    (setup, pool)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_segment_waits_for_its_next_life_and_no_longer_than_it_may() {
    for (age_max, stays) in [(Duration::MAX, true), (Duration::ZERO, false)] {
        let (setup, pool) = with_a_pooled_segment(age_max).await;
        assert_eq!(pool.bytes() > 0, stays);
        setup.journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_space_is_short_the_pool_is_given_up_before_anything_is_refused() {
    let (setup, pool) = with_a_pooled_segment(Duration::MAX).await;
    setup.journal.report_free(FREE_BYTES_MIN);
    assert!(pool.bytes() > 0, "enough is free");
    let door = setup.door("a");
    setup.journal.report_free(FREE_BYTES_MIN - 1);
    assert_eq!(pool.bytes(), 0);
    setup.submit(&door, events(9, 1, 10)).await.await.unwrap().unwrap();
    setup.journal.report_free(FREE_BYTES_MIN - 1);
    let refused = setup.intake.reserve(&door, 10, true).await.unwrap_err();
    assert_eq!(refused.code(), "full");
    setup.journal.close().await;
}
