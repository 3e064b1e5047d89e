//! The request that leaves: ours in the body, the SDK's in everything else.

use std::time::{Duration, SystemTime};

use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use aws_sdk_firehose::{Client, Config};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::HeaderMap;
use standpipe::sink::{Call, Fate, Records};

use crate::fake_firehose::{FakeFirehose, Request};
use crate::stream::firehose;

const RECORDS: [&[u8]; 4] = [b"one\n", b"", b"\x00\xff\"\\", b"the last one"];

async fn ours(fake: &FakeFirehose) -> Request {
    let mut records = Records::default();
    for record in RECORDS {
        records.data.extend_from_slice(record);
        records.ends.push(records.data.len());
    }
    let timeout = Duration::from_secs(60);
    let call = Call { destination: "orders".into(), records, timeout };
    let fates = firehose(&fake.url).await.deliver(call).await.unwrap();
    assert_eq!(fates, [const { Fate::Delivered }; 4]);
    fake.requests().pop().unwrap()
}

async fn the_sdks_own(fake: &FakeFirehose) -> Request {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .retry_config(aws_sdk_firehose::config::retry::RetryConfig::disabled())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(&fake.url)
        .build();
    let record = |data: &[u8]| Record::builder().data(Blob::new(data)).build().unwrap();
    Client::from_conf(config)
        .put_record_batch()
        .delivery_stream_name("orders")
        .set_records(Some(RECORDS.map(record).to_vec()))
        .send()
        .await
        .unwrap();
    fake.requests().pop().unwrap()
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    assert_eq!(values.len(), 1, "{name} stands there {} times", values.len());
    values[0].to_str().unwrap()
}

/// Headers that differ from call to call.
const EACH_ITS_OWN: [&str; 4] =
    ["authorization", "x-amz-date", "amz-sdk-invocation-id", "user-agent"];

#[tokio::test]
async fn the_request_equals_the_sdks_own() {
    let fake = FakeFirehose::start([]).await;
    let ours = ours(&fake).await;
    let theirs = the_sdks_own(&fake).await;
    assert_eq!(ours.body, theirs.body);
    let stable = |headers: &HeaderMap| {
        let mut headers: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !EACH_ITS_OWN.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .filter(|(name, _)| name != "x-amz-user-agent")
            .collect();
        headers.sort();
        headers
    };
    assert_eq!(stable(&ours.headers), stable(&theirs.headers));
    let names = |headers: &HeaderMap| {
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&ours.headers), names(&theirs.headers));
    let length: usize = one(&ours.headers, "content-length").parse().unwrap();
    assert_eq!(length, ours.body.len());
    assert_eq!(one(&ours.headers, "x-amz-target"), "Firehose_20150804.PutRecordBatch");
}

#[tokio::test]
async fn the_signature_covers_the_body_that_was_sent() {
    let fake = FakeFirehose::start([]).await;
    let request = ours(&fake).await;
    let authorization = one(&request.headers, "authorization");
    assert_eq!(signature(&fake.url, &request, &request.body), authorization);
    // The check can fail: for the empty list that the SDK itself had serialised, it does.
    let empty = br#"{"DeliveryStreamName":"orders","Records":[]}"#;
    assert_ne!(signature(&fake.url, &request, empty), authorization);
    assert!(
        !request.headers.contains_key("x-amz-content-sha256"),
        "the SDK says the hash of the body in a header now: compare it here as well"
    );
}

/// Signs the request anew, with the headers and the time that it was signed with, for this body.
fn signature(url: &str, request: &Request, body: &[u8]) -> String {
    let authorization = one(&request.headers, "authorization");
    let (_, rest) = authorization.split_once("SignedHeaders=").unwrap();
    let (signed, _) = rest.split_once(',').unwrap();
    let headers: Vec<(&str, &str)> = signed
        .split(';')
        // These two are added by the signer itself.
        .filter(|name| !["host", "x-amz-date"].contains(name))
        .map(|name| (name, one(&request.headers, name)))
        .collect();
    let identity = Credentials::new("local", "local", None, None, "local").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("firehose")
        .time(time(one(&request.headers, "x-amz-date")))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let url = format!("{url}/");
    let body = SignableBody::Bytes(body);
    let signable = SignableRequest::new("POST", url, headers.into_iter(), body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let header = |(name, value): (&str, &str)| (name == "authorization").then(|| value.to_owned());
    instructions.headers().find_map(header).unwrap()
}

/// `20261123T230405Z`
fn time(basic: &str) -> SystemTime {
    let digits: Vec<String> = basic
        .split_terminator(|c: char| !c.is_ascii_digit())
        .flat_map(|digits| digits.as_bytes().chunks(2))
        .map(|two| String::from_utf8(two.to_vec()).unwrap())
        .collect();
    let [century, year, month, day, hour, minute, second] = digits.try_into().unwrap();
    let extended = format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    humantime::parse_rfc3339(&extended).unwrap()
}
