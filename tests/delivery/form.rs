//! What is sent where it is not simply the events: compressed records, events with names.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use standpipe::config::{Aggregate, Compression, Identity, IdentityForm, StreamConfig};
use standpipe_wal::Flags;

use crate::auto::{processing, to_s3};
use crate::fake_firehose::{FakeFirehose, Reply};
use crate::stream::{Writer, firehose, lines, numbered, settings};

fn gzip() -> StreamConfig {
    StreamConfig { compression: Compression::Gzip, ..settings(Aggregate::Lines) }
}

fn decompressed(data: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    MultiGzDecoder::new(data).read_to_end(&mut all).unwrap();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_records_are_full_and_what_lies_in_s3_is_one_gzip_file() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([Reply::Partly(vec![false, true])]).await;
    fake.describe(Ok(("DirectPut", to_s3(&json!({})))));
    let mut writer = Writer::open(dir.path());
    let mut random = fastrand::Rng::with_seed(1);
    let mut events: Vec<String> = Vec::new();
    for at in 0..60_000 {
        let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(250).collect();
        events.push(format!("{{\"event\":{at:08},\"noise\":\"{noise}\"}}"));
    }
    writer.append(&events);
    let delivery = writer.deliver(firehose(&fake.url).await, gzip());
    delivery.commits.committed(60_000).await;
    let delivered = lines(&decompressed(&fake.concatenated()));
    assert_eq!(delivered.len(), 60_000);
    assert!(delivered.values().all(|times| *times == 1));
    let requests = fake.requests();
    // Two full calls, the last one, and half of the first one again.
    let bytes: Vec<_> = requests.iter().map(|request| (request.records, request.bytes)).collect();
    let full = |(_, bytes): &&(usize, usize)| (3_980_000..=4_000_000).contains(bytes);
    assert_eq!((bytes.len(), bytes.iter().filter(full).count()), (4, 2), "{bytes:?}");
    assert!(bytes.iter().all(|(records, _)| *records <= 4), "{bytes:?}");
    let sizes: Vec<_> = fake.data().iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 1_024_000), "{sizes:?}");
    let status = &delivery.status;
    assert_eq!(status.compression.state().state, "gzip");
    let bytes: usize = sizes.iter().sum();
    let billed = status.billed_bytes.value();
    assert!((0..sizes.len() as u64 * 5120).contains(&(billed - bytes as u64)), "{billed} {bytes}");
    assert_eq!(status.delivered_bytes.value(), events.iter().map(|e| e.len() as u64).sum::<u64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_stay_as_they_are_where_the_destination_cannot_decompress_them() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([]).await;
    fake.describe(Ok(("DirectPut", to_s3(&processing(&[("AppendDelimiterToRecord", &[])])))));
    let mut writer = Writer::open(dir.path());
    let delivery = writer.deliver(firehose(&fake.url).await, gzip());
    delivery.state_of("none", |status| &status.compression).await;
    writer.append(numbered(10));
    delivery.commits.committed(10).await;
    assert_eq!(lines(&fake.concatenated()).len(), 10);
    let state = delivery.status.compression.state();
    assert!(state.reason.contains("between two members"), "{}", state.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_delivered_twice_has_the_same_name_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeFirehose::start([Reply::Reset, Reply::Hang]).await;
    let mut writer = Writer::open(dir.path());
    writer.append((0..700).map(|at| format!("{{\"event\":{at}}}")));
    writer.append_with(Flags { raw: true }, ["{\"raw\":true}\n"]);
    writer.append(["no object"]);
    let settings = || StreamConfig {
        identity: Identity::IdAndTime,
        identity_as: IdentityForm::Members,
        ..settings(Aggregate::Lines)
    };
    // The first call breaks after it was taken; the second one, when the agent is killed.
    let delivery = writer.deliver(firehose(&fake.url).await, settings());
    fake.arrived(2).await;
    delivery.kill().await;
    let delivery = writer.deliver(firehose(&fake.url).await, settings());
    delivery.commits.committed(702).await;
    let delivered = lines(&fake.concatenated());
    // The query of the documentation: one row for each name.
    let mut names = BTreeSet::new();
    for (line, times) in &delivered {
        // The call under way when the agent was killed may have been taken or not.
        assert!((2..=3).contains(times), "{line} is not the same each time");
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let Some(name) = event["standpipe_id"].as_str() else { continue };
        assert!(names.insert(name.to_owned()), "{name} names two events");
        let (_, offset) = name.split_once('-').unwrap();
        assert_eq!(event["event"].as_u64().unwrap(), offset.parse::<u64>().unwrap());
        humantime::parse_rfc3339(event["standpipe_time"].as_str().unwrap()).unwrap();
    }
    assert_eq!(names.len(), 700);
    let unnamed = delivery.status.unnamed.snapshot();
    assert_eq!(unnamed.into_iter().collect::<Vec<_>>(), [("not_object", 1), ("raw", 1)]);
}
