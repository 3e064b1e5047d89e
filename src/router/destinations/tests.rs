use std::collections::BTreeMap;
use std::sync::Mutex as Lock;
use std::sync::atomic::AtomicU64;

use standpipe_wal::fs::RealFs;
use standpipe_wal::log::Entropy;
use tokio::time::Instant;

use super::*;
use crate::sink::{BoxFuture, Call, Fate, Limits};
use crate::world::Clock;

/// An account whose hosts share a few questions per second; the excess is throttled.
#[derive(Debug)]
struct Account {
    start: Instant,
    state: Lock<State>,
    answer: Lock<Option<DestinationKind>>,
}

#[derive(Debug, Default)]
struct State {
    /// Questions in each second.
    questions: BTreeMap<u64, u32>,
    tokens: f64,
    refilled: Duration,
}

const PER_SECOND: f64 = 5.0;

impl Account {
    fn new(answer: Option<DestinationKind>) -> Arc<Self> {
        let state = State { tokens: PER_SECOND, ..State::default() };
        Arc::new(Self { start: Instant::now(), state: Lock::new(state), answer: Lock::new(answer) })
    }

    fn asked(&self) -> u32 {
        self.state.lock().unwrap().questions.values().sum()
    }

    fn describe(&self) -> Result<Description, Failure> {
        let now = self.start.elapsed();
        let mut state = self.state.lock().unwrap();
        *state.questions.entry(now.as_secs()).or_default() += 1;
        let gained = now.saturating_sub(state.refilled).as_secs_f64() * PER_SECOND;
        state.tokens = (state.tokens + gained).min(PER_SECOND);
        state.refilled = now;
        let failure = |trouble| Failure { trouble, ambiguous: false, message: "not now".into() };
        if state.tokens < 1.0 {
            return Err(failure(Trouble::Throttled));
        }
        state.tokens -= 1.0;
        let answer = *self.answer.lock().unwrap();
        answer.map(Description::of).ok_or_else(|| failure(Trouble::Faulty))
    }
}

#[derive(Debug)]
struct Host(Arc<Account>);

impl Sink for Host {
    fn kind(&self) -> &'static str {
        "host"
    }

    fn limits(&self) -> Limits {
        Limits { records_max: 1, record_bytes_max: 1, call_bytes_max: 1 }
    }

    fn encoded_bytes(&self, _data_bytes: usize, _records: usize) -> usize {
        0
    }

    fn deliver(&self, _call: Call) -> BoxFuture<'_, Result<Vec<Fate>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn describe(&self, _destination: Arc<str>) -> BoxFuture<'_, Result<Description, Failure>> {
        Box::pin(async { self.0.describe() })
    }

    fn shared_account(&self) -> Option<String> {
        Some("account".to_owned())
    }
}

/// A day that passes as the runtime's clock does.
#[derive(Debug)]
struct Day(Instant);

impl Clock for Day {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

#[derive(Debug)]
struct Seeded(Lock<fastrand::Rng>);

impl Entropy for Seeded {
    fn u64(&self) -> u64 {
        self.0.lock().unwrap().u64(..)
    }
}

fn world(seed: u64) -> World {
    World {
        clock: Arc::new(Day(Instant::now())),
        entropy: Arc::new(Seeded(Lock::new(fastrand::Rng::with_seed(seed)))),
        ..World::real()
    }
}

/// The configured default.
const WITHIN: Duration = Duration::from_mins(20);

fn question(account: &Arc<Account>, stream: u64) -> Question {
    Question {
        sink: Arc::new(Host(Arc::clone(account))),
        destination: format!("stream-{stream}").into(),
    }
}

/// A fleet that starts at once, each host with some streams. Returns when every stream has an answer.
async fn start_fleet(account: &Arc<Account>, hosts: u64, streams: u64) -> Duration {
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for host in 0..hosts {
        let destinations = Arc::new(Destinations::new(None, WITHIN, world(host * 7919 + streams)));
        for stream in 0..streams {
            let (destinations, answered) = (destinations.clone(), answered.clone());
            let question = question(account, stream);
            tasks.spawn(async move {
                let mut first = true;
                let tell = |answer: Result<&Description, &Failure>| {
                    if answer.is_ok() && std::mem::take(&mut first) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                };
                destinations.follow(&question, tell).await;
            });
        }
    }
    let begin = Instant::now();
    while answered.load(Ordering::Relaxed) < hosts * streams {
        assert!(begin.elapsed() < Duration::from_hours(48), "somebody never gets an answer");
        sleep(Duration::from_secs(1)).await;
    }
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_hosts_that_start_at_once_stay_far_below_the_limit() {
    let account = Account::new(Some(DestinationKind::S3));
    let took = start_fleet(&account, 1000, 1).await;
    let state = account.state.lock().unwrap();
    let busiest_minute = (0..took.as_secs().div_ceil(60))
        .map(|minute| state.questions.range(minute * 60..(minute + 1) * 60).map(|(_, n)| n).sum())
        .max()
        .unwrap_or(0u32);
    let asked: u32 = state.questions.values().sum();
    assert!(f64::from(busiest_minute) / 60.0 < PER_SECOND / 3.0, "{busiest_minute} in a minute");
    assert!(asked < 1020, "{asked} questions for 1000 answers");
    // A few may meet each other in one second, are throttled, and ask again later.
    assert!(
        took < WITHIN + 2 * DESCRIPTION_RETRY_MIN + WITHIN,
        "the last answer came after {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_of_many_streams_asks_for_one_at_a_time() {
    let account = Account::new(Some(DestinationKind::S3));
    let took = start_fleet(&account, 200, 10).await;
    let state = account.state.lock().unwrap();
    let busiest = state.questions.values().max().copied().unwrap_or(0);
    assert!(busiest <= 5, "{busiest} questions in one second");
    // Ten random pauses, one after the other.
    assert!(took > WITHIN && took < 10 * WITHIN, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_answer_asks_less_and_less_often_and_is_told_in_the_end() {
    let account = Account::new(None);
    let destinations = Destinations::new(None, WITHIN, world(5));
    let question = question(&account, 0);
    let (failures, answers) = (AtomicU64::new(0), AtomicU64::new(0));
    let following = destinations.follow(&question, |answer| {
        let count = if answer.is_ok() { &answers } else { &failures };
        count.fetch_add(1, Ordering::Relaxed);
    });
    tokio::select! {
        () = following => {}
        () = async {
            sleep(Duration::from_hours(24)).await;
            let asked = account.asked();
            assert!((6..20).contains(&asked), "{asked} questions in a day");
            assert_eq!(failures.load(Ordering::Relaxed), u64::from(asked));
            *account.answer.lock().unwrap() = Some(DestinationKind::S3);
            sleep(DESCRIPTION_RETRY_MAX + WITHIN).await;
            assert_eq!(answers.load(Ordering::Relaxed), 1);
            // And then not again for days.
            sleep(DESCRIPTION_FRESH_FOR.mul_f64(0.99)).await;
            assert_eq!(account.asked(), asked + 1);
            sleep(DESCRIPTION_FRESH_FOR).await;
            assert_eq!(account.asked(), asked + 2);
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_one_destination_ask_once() {
    let account = Account::new(Some(DestinationKind::Iceberg));
    let destinations = Arc::new(Destinations::new(None, WITHIN, world(6)));
    let told = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (destinations, told) = (destinations.clone(), told.clone());
        let question = question(&account, 0);
        tasks.spawn(async move {
            let tell = |_: Result<&Description, &Failure>| {
                told.fetch_add(1, Ordering::Relaxed);
            };
            destinations.follow(&question, tell).await;
        });
    }
    sleep(WITHIN + Duration::from_secs(1)).await;
    assert_eq!((account.asked(), told.load(Ordering::Relaxed)), (1, 8));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_answer_holds_at_once_and_nobody_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("destinations.json");
    let world = world(7);
    let open = || {
        let file = (Arc::new(RealFs) as Arc<dyn Fs>, path.clone());
        Destinations::new(Some(file), Duration::ZERO, world.clone())
    };
    let account = Account::new(Some(DestinationKind::Snowflake));
    let question = question(&account, 0);
    let first = open();
    let told = Lock::new(None);
    let tell = |answer: Result<&Description, &Failure>| {
        *told.lock().unwrap() = answer.ok().cloned();
    };
    assert!(timeout(Duration::from_secs(1), first.follow(&question, tell)).await.is_err());
    assert_eq!(told.lock().unwrap().take(), Some(Description::of(DestinationKind::Snowflake)));

    // The next start, with a destination that does not answer any more.
    *account.answer.lock().unwrap() = None;
    let second = open();
    assert!(timeout(Duration::from_secs(1), second.follow(&question, tell)).await.is_err());
    assert_eq!(told.lock().unwrap().take(), Some(Description::of(DestinationKind::Snowflake)));
    assert_eq!(account.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_tell_is_told_and_not_kept() {
    let account = Account::new(Some(DestinationKind::Withheld));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("destinations.json");
    let file = (Arc::new(RealFs) as Arc<dyn Fs>, path.clone());
    let destinations = Destinations::new(Some(file), Duration::ZERO, world(8));
    let question = question(&account, 0);
    let told = Lock::new(Vec::new());
    let following = destinations.follow(&question, |answer| {
        told.lock().unwrap().push(answer.map(|seen| seen.kind).ok());
    });
    assert!(timeout(Duration::from_hours(24), following).await.is_err());
    let told = told.lock().unwrap();
    assert!((4..=8).contains(&told.len()), "{told:?}");
    assert!(told.iter().all(|kind| *kind == Some(DestinationKind::Withheld)));
    assert!(!path.exists());
}
