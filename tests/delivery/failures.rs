//! Every way in which a call can fail: what is confirmed once stays confirmed, what is not goes
//! again, and what cannot be known is counted.

use std::time::Duration;

use standpipe::config::{Aggregate, StreamConfig};

use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Writer, firehose, lines, numbered, settings};

/// What was delivered and what it took.
struct Outcome {
    /// The least and the most that any event was delivered.
    times: (usize, usize),
    possible_duplicates: u64,
    requests: usize,
}

/// Delivers so many events, one per record, while the service answers with a script first.
async fn deliver(count: usize, script: impl IntoIterator<Item = Reply>) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start(script).await;
    let mut writer = Writer::open(dir.path());
    let events = numbered(count);
    writer.append(&events);
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    delivery.commits.committed(count as u64).await;
    let delivered = lines(&fake.concatenated());
    assert!(delivered.keys().eq(&events), "something is missing, or was never sent");
    let times = delivered.values().copied();
    Outcome {
        times: (times.clone().min().unwrap(), times.max().unwrap()),
        possible_duplicates: delivery.status.possible_duplicates.value(),
        requests: fake.requests().len(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_for_now_record_by_record_goes_again_alone() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..10 {
        let script: Vec<Reply> = (0..random.usize(1..12))
            .map(|_| Reply::Partly((0..random.usize(1..9)).map(|_| random.bool()).collect()))
            .collect();
        println!("{script:?}");
        let outcome = deliver(random.usize(1..1500), script).await;
        assert_eq!(outcome.times, (1, 1), "a confirmed record was sent again");
        assert_eq!(outcome.possible_duplicates, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_not_taken_goes_again() {
    for reply in [
        Reply::Error(503, "ServiceUnavailableException"),
        Reply::Error(400, "ThrottlingException"),
        Reply::Error(400, "ResourceNotFoundException"),
        Reply::Error(400, "ExpiredTokenException"),
        Reply::Page(503),
        Reply::Page(403),
    ] {
        println!("{reply:?}");
        let outcome = deliver(20, [reply]).await;
        assert_eq!(outcome.times, (1, 1));
        assert_eq!(outcome.possible_duplicates, 0);
        assert_eq!(outcome.requests, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_outcome_is_unknown_goes_again_and_is_counted() {
    for reply in [Reply::Reset, Reply::Count(19), Reply::Count(21), Reply::Count(0)] {
        println!("{reply:?}");
        let outcome = deliver(20, [reply]).await;
        assert_eq!(outcome.times, (2, 2));
        assert_eq!(outcome.possible_duplicates, 20);
    }
    for reply in [Reply::Error(500, "InternalFailure"), Reply::Page(500), Reply::Page(504)] {
        println!("{reply:?}");
        let outcome = deliver(20, [reply]).await;
        assert_eq!((outcome.times, outcome.possible_duplicates), ((1, 1), 20));
    }
}

/// Takes as long as the shortest attempt time-out.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_answer_is_given_up_and_goes_again() {
    let outcome = deliver(20, [Reply::Hang]).await;
    assert_eq!(outcome.times, (2, 2));
    assert_eq!(outcome.possible_duplicates, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_has_a_name() {
    for (reply, state) in [
        (Reply::Error(400, "ResourceNotFoundException"), "missing"),
        (Reply::Error(400, "AccessDeniedException"), "denied"),
        (Reply::Error(400, "UnrecognizedClientException"), "denied"),
        (Reply::Page(407), "denied"),
        (Reply::Error(503, "ServiceUnavailableException"), "throttled"),
        (Reply::Partly(vec![false]), "throttled"),
        (Reply::Page(502), "faulty"),
        (Reply::Count(3), "faulty"),
        (Reply::Reset, "unreachable"),
        (Reply::Error(400, "InvalidArgumentException"), "refused"),
    ] {
        println!("{reply:?}");
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeFirehose::start_then([], reply, Duration::ZERO).await;
        let mut writer = Writer::open(dir.path());
        writer.append(numbered(2));
        let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
        delivery.state(state).await;
        assert!(!delivery.status.upload.state().reason.is_empty());
        assert!(delivery.status.oldest_pending_ms.value() > 0);
        fake.answer(Reply::Accept);
        delivery.state("ok").await;
        delivery.commits.committed(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_nothing_is_ambiguous() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(2));
    // A port that was free a moment ago and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sink = firehose(&format!("http://{free}")).await;
    let delivery = writer.deliver(sink, settings(Aggregate::None));
    delivery.state("unreachable").await;
    assert_eq!(delivery.status.possible_duplicates.value(), 0);
    // Nothing gets through, so there is nothing to drain.
    let commits = delivery.stop().await;
    assert_eq!(commits.last().committed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_calls_are_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start_then([], Reply::Hang, Duration::ZERO).await;
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(3000));
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    fake.arrived(4).await;
    assert_eq!(fake.in_progress_max(), 4);
    let committed = delivery.kill().await.last().committed;
    assert_eq!(committed, 0, "calls without an answer are not committed");
}

/// In strict order nothing overtakes anything, also not within a call that is taken in part: a call
/// holds one record, and the next goes when it is confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn in_order_no_event_overtakes_another() {
    let dir = tempfile::tempdir().unwrap();
    let script = (0..40).map(|at| match at % 4 {
        0 => Reply::Partly(vec![false, true, true]),
        1 => Reply::Error(503, "ServiceUnavailableException"),
        2 => Reply::Partly(vec![true, false]),
        _ => Reply::Accept,
    });
    let fake = FakeFirehose::start(script).await;
    let mut writer = Writer::open(dir.path());
    let events = numbered(300);
    writer.append(&events);
    let ordered = StreamConfig { ordered: true, ..settings(Aggregate::None) };
    let delivery = writer.deliver(firehose(&fake.url).await, ordered);
    delivery.commits.committed(300).await;
    assert_eq!(fake.in_progress_max(), 1);
    assert!(fake.requests().iter().all(|request| request.records == 1));
    let arrived: Vec<String> = fake
        .data()
        .iter()
        .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
        .collect();
    assert_eq!(arrived, events);
}
