//! The Firehose API, spoken by the AWS SDK and by hand.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_firehose::error::ProvideErrorMetadata as _;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Door, Setup};
use crate::intake::Refusal;
use crate::intake::double::{self, Owner};

fn start(options: &str, configured: &[&'static str]) -> (Door, Owner) {
    let intake = double::Options { configured: configured.into(), ..double::Options::default() };
    Setup { kind: "firehose", options: options.into(), intake, ..Setup::default() }.start()
}

fn sdk(door: &Door) -> Client {
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(&door.address)
        .build();
    Client::from_conf(config)
}

fn record(data: impl Into<Vec<u8>>) -> Record {
    Record::builder().data(Blob::new(data)).build().unwrap()
}

/// One request by hand; the whole answer.
async fn raw(door: &Door, head: &str, body: &str) -> String {
    let address = door.address.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = if head.contains("Content-Length") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n{length}\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_answer_comes_after_the_last_record_is_durable() {
    let (door, mut owner) = start("", &[]);
    let sdk = sdk(&door);
    let put = sdk
        .put_record_batch()
        .delivery_stream_name("orders")
        .set_records(Some((0..500_usize).map(|n| record(vec![0xff; n * 8])).collect()));
    let call = crate::tasks::spawn(put.send());
    let mut sizes = Vec::new();
    let mut runs = Vec::new();
    while sizes.len() < 500 {
        let run = owner.next().await;
        assert_eq!(run.stream.as_str(), "orders");
        assert!(run.flags().raw, "a record is delivered as it is");
        sizes.extend(run.payloads().iter().map(Vec::len));
        runs.push(run);
    }
    assert_eq!(sizes, (0..500).map(|n| n * 8).collect::<Vec<_>>());
    assert!(runs.len() > 1, "more than a frame");
    let last = runs.pop().unwrap();
    let mut first = 0;
    for run in runs {
        let count = run.payloads().len() as u64;
        run.store(first);
        first += count;
    }
    assert!(!call.is_finished());
    last.store(first);
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.failed_put_count(), 0);
    let mut ids: Vec<&str> =
        answer.request_responses().iter().filter_map(|response| response.record_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 500, "every record has an id of its own");

    let put = crate::tasks::spawn(
        sdk.put_record().delivery_stream_name("orders").record(record("x")).send(),
    );
    let run = owner.next().await;
    assert_eq!(run.payloads(), [b"x"]);
    run.store(500);
    assert!(put.await.unwrap().unwrap().record_id().ends_with(".orders.500"));
    door.stop().await;
}

#[tokio::test]
async fn records_that_the_log_refuses_fail_alone() {
    let (door, mut owner) = start("", &[]);
    let put = sdk(&door)
        .put_record_batch()
        .delivery_stream_name("orders")
        .set_records(Some((0..3).map(|_| record(vec![1; 200_000])).collect()));
    let call = crate::tasks::spawn(put.send());
    owner.next().await.store(0);
    let refusal = Refusal::Unavailable { reason: "no space".into() };
    owner.next().await.refuse(refusal);
    owner.next().await.store(1);
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.failed_put_count(), 1);
    let codes: Vec<_> =
        answer.request_responses().iter().map(|response| response.error_code()).collect();
    assert_eq!(codes, [None, Some("ServiceUnavailableException"), None]);
    door.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_blocked_for_too_long_is_a_503() {
    let (door, mut owner) = start("ack_timeout = '5s'", &[]);
    let body = r#"{"DeliveryStreamName":"orders","Record":{"Data":"eA=="}}"#;
    let head = "POST / HTTP/1.1\r\nX-Amz-Target: Firehose_20150804.PutRecord";
    let begun = tokio::time::Instant::now();
    let (answer, run) = tokio::join!(raw(&door, head, body), owner.next());
    assert!(begun.elapsed() >= std::time::Duration::from_secs(5));
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains(r#""__type":"ServiceUnavailableException""#), "{answer}");
    drop(run);
    door.stop().await;
}

#[tokio::test]
async fn a_stream_is_described_without_opening_it() {
    let (door, owner) = start("", &[]);
    let describe = sdk(&door).describe_delivery_stream().delivery_stream_name("orders");
    let answer = describe.send().await.unwrap();
    let description = answer.delivery_stream_description().unwrap();
    assert_eq!(description.delivery_stream_status().as_str(), "ACTIVE");
    assert_eq!(description.delivery_stream_type().as_str(), "DirectPut");
    assert!(owner.journal.streams().is_empty());
    door.stop().await;

    let (door, _owner) = start("unknown_streams = 'configured'", &["orders"]);
    let sdk = sdk(&door);
    assert!(sdk.describe_delivery_stream().delivery_stream_name("orders").send().await.is_ok());
    let error = sdk.describe_delivery_stream().delivery_stream_name("other").send().await;
    assert_eq!(error.unwrap_err().code(), Some("ResourceNotFoundException"));
    let put = sdk.put_record().delivery_stream_name("other").record(record("x")).send().await;
    assert_eq!(put.unwrap_err().code(), Some("ResourceNotFoundException"));
    door.stop().await;
}

#[tokio::test]
async fn what_is_not_the_api_is_refused_in_the_apis_words() {
    let (door, owner) = start("", &[]);
    let put = "POST / HTTP/1.1\r\nX-Amz-Target: Firehose_20150804.PutRecord";
    let cases = [
        ("GET / HTTP/1.1", "", "UnknownOperationException"),
        ("POST /other HTTP/1.1", "", "UnknownOperationException"),
        ("POST / HTTP/1.1", "{}", "UnknownOperationException"),
        (
            "POST / HTTP/1.1\r\nX-Amz-Target: Firehose_20150804.Nothing",
            "{}",
            "UnknownOperationException",
        ),
        (&format!("{put}\r\nContent-Encoding: gzip"), "x", "InvalidArgumentException"),
        (put, "no json", "SerializationException"),
        (put, r#"{"DeliveryStreamName":"a b","Record":{"Data":"eA=="}}"#, "ValidationException"),
    ];
    for (head, body, code) in cases {
        let answer = raw(&door, head, body).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
        assert!(answer.contains(&format!("\"__type\":\"{code}\"")), "{head}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("x-amzn-requestid: "), "{answer}");
    }
    let large = format!("{put}\r\nContent-Length: 99999999");
    let answer = raw(&door, &large, "").await;
    assert!(answer.contains("Records size exceeds 4 MB limit"), "{answer}");
    assert!(owner.journal.streams().is_empty());
    assert_eq!(door.refused("firehose_api"), cases.len() as u64 + 1);
    door.stop().await;
}
