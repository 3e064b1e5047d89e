//! Records and calls as full as the service allows, and no fuller: the fake refuses what is.

use standpipe::config::Aggregate;
use standpipe_wal::Flags;

use crate::fake_firehose::FakeFirehose;
use crate::stream::{Writer, firehose, lines, numbered, settings};

#[tokio::test(flavor = "multi_thread")]
async fn lines_fill_records_and_calls() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    let events: Vec<String> = (0..60_000).map(|at| format!("{at:0199}")).collect();
    writer.append(&events);
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::Lines));
    delivery.commits.committed(60_000).await;
    let delivered = lines(&fake.concatenated());
    assert_eq!(delivered.len(), events.len());
    assert!(delivered.values().all(|times| *times == 1));
    // 200 bytes each: three records of 1,024,000 and what is left of a call of 4,000,000.
    let requests = fake.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| (request.records, request.bytes) == (4, 4_000_000)));
    let mut sizes: Vec<_> = fake.data().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [[928_000; 3].as_slice(), &[1_024_000; 9]].concat());
    let status = &delivery.status;
    assert_eq!(status.delivered_events.value(), 60_000);
    assert_eq!(status.delivered_bytes.value(), 60_000 * 199);
    // Each record is billed in steps of 5 KiB: 200 and 181.25 of them.
    assert_eq!(status.billed_bytes.value(), (9 * 200 + 3 * 182) * 5 * 1024);
    assert_eq!((status.calls.value(), status.records_sent.value()), (3, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_per_record_makes_calls_of_500() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(1200));
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::None));
    delivery.commits.committed(1200).await;
    let mut records: Vec<_> = fake.requests().iter().map(|request| request.records).collect();
    records.sort_unstable();
    assert_eq!(records, [200, 500, 500]);
    assert_eq!(lines(&fake.concatenated()).len(), 1200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_events_are_delivered_and_raw_ones_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    let largest = vec![b'x'; 1_024_000 - 1];
    let raw = vec![b'r'; 1_024_000];
    writer.append([&largest]);
    writer.append_with(Flags { raw: true }, [raw.clone(), b"a\nb".to_vec()]);
    writer.append(["small"]);
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::Lines));
    delivery.commits.committed(4).await;
    let expected = [[&largest, &b"\n"[..]].concat(), raw, b"a\nb".to_vec(), b"small\n".to_vec()];
    assert!(fake.data() == expected, "the records differ");
    assert_eq!(delivery.status.embedded_delimiter.value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_company_until_the_linger_ends_or_the_agent_stops() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    let mut writer = Writer::open(dir.path());
    let patient = standpipe::config::StreamConfig {
        linger: std::time::Duration::from_secs(3600),
        ..settings(Aggregate::None)
    };
    let delivery = writer.deliver(firehose(&fake.url).await, patient);
    // A full call goes at once; what is over waits, and is drained when the agent stops.
    writer.append(numbered(501));
    delivery.commits.committed(500).await;
    assert_eq!(fake.requests().len(), 1);
    let commits = delivery.stop().await;
    assert_eq!(commits.last().committed, 501);
    assert_eq!(fake.requests().len(), 2);
}
