//! `aggregate = "auto"`: what the service describes, as the real SDK reads it, and what follows.

use serde_json::{Value, json};
use standpipe::config::Aggregate;
use standpipe::sink::Trouble;
use standpipe::sink::description::{Description, DestinationKind, Step};

use crate::fake_firehose::FakeFirehose;
use crate::stream::{Delivery, Writer, firehose, numbered, settings};

fn s3(more: &Value) -> Value {
    let mut s3 = json!({
        "RoleARN": "arn:aws:iam::000000000000:role/r",
        "BucketARN": "arn:aws:s3:::bucket",
        "BufferingHints": { "IntervalInSeconds": 300, "SizeInMBs": 5 },
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
    });
    for (key, value) in more.as_object().unwrap() {
        s3[key] = value.clone();
    }
    s3
}

/// An S3 destination as the service describes it: in both forms.
pub(crate) fn to_s3(more: &Value) -> Value {
    json!({
        "DestinationId": "destinationId-000000000001",
        "S3DestinationDescription": s3(&json!({})),
        "ExtendedS3DestinationDescription": s3(more),
    })
}

fn to(kind: &str, description: &Value) -> Value {
    let mut destination = json!({ "DestinationId": "destinationId-000000000001" });
    destination[kind] = description.clone();
    destination
}

pub(crate) fn processing(processors: &[(&str, &[(&str, &str)])]) -> Value {
    let parameter =
        |(name, value): &(&str, &str)| json!({ "ParameterName": name, "ParameterValue": value });
    let processors: Vec<_> = processors
        .iter()
        .map(|(kind, parameters)| {
            let parameters: Vec<_> = parameters.iter().map(parameter).collect();
            json!({ "Type": kind, "Parameters": parameters })
        })
        .collect();
    json!({ "ProcessingConfiguration": { "Enabled": true, "Processors": processors } })
}

async fn assert_recognized(cases: Vec<(Value, DestinationKind, Vec<Step>)>) {
    let fake = FakeFirehose::start([]).await;
    let sink = firehose(&fake.url).await;
    for (destination, kind, steps) in cases {
        fake.describe(Ok(("DirectPut", destination.clone())));
        let found = sink.describe("orders".into()).await.unwrap();
        assert_eq!(found, Description { kind, steps }, "{destination}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_destination_is_recognized() {
    use DestinationKind::{
        HttpEndpoint, Iceberg, OpenSearch, Redshift, Snowflake, SplunkEvent, SplunkRaw, Unknown,
    };
    let lambda = processing(&[("Lambda", &[("LambdaArn", "arn:aws:lambda:x")])]);
    let nothing = json!({});
    let raw = json!({ "HECEndpointType": "Raw" });
    let event = json!({ "HECEndpointType": "Event" });
    assert_recognized(vec![
        (to("S3DestinationDescription", &s3(&nothing)), DestinationKind::S3, vec![]),
        (to("RedshiftDestinationDescription", &lambda), Redshift, vec![Step::Lambda]),
        (to("AmazonopensearchserviceDestinationDescription", &nothing), OpenSearch, vec![]),
        (to("AmazonOpenSearchServerlessDestinationDescription", &nothing), OpenSearch, vec![]),
        (to("ElasticsearchDestinationDescription", &nothing), OpenSearch, vec![]),
        (to("SplunkDestinationDescription", &raw), SplunkRaw, vec![]),
        (to("SplunkDestinationDescription", &event), SplunkEvent, vec![]),
        (to("HttpEndpointDestinationDescription", &lambda), HttpEndpoint, vec![Step::Lambda]),
        (to("IcebergDestinationDescription", &nothing), Iceberg, vec![]),
        (to("SnowflakeDestinationDescription", &nothing), Snowflake, vec![]),
        (to("NewDestinationDescription", &nothing), Unknown, vec![]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_on_the_way_to_s3_is_recognized() {
    let lambda = processing(&[("Lambda", &[("LambdaArn", "arn:aws:lambda:x")])]);
    let mut off = lambda.clone();
    off["ProcessingConfiguration"]["Enabled"] = json!(false);
    let partitioned = json!({
        "DataFormatConversionConfiguration": { "Enabled": true },
        "DynamicPartitioningConfiguration": { "Enabled": true },
    });
    let not_partitioned = json!({
        "DataFormatConversionConfiguration": { "Enabled": false },
        "DynamicPartitioningConfiguration": { "Enabled": false },
    });
    let delimited: &[_] = &[("SubRecordType", "DELIMITED"), ("Delimiter", "Cg==")];
    let json_and_keys = processing(&[
        ("RecordDeAggregation", &[("SubRecordType", "JSON")]),
        ("MetadataExtraction", &[("JsonParsingEngine", "JQ-1.6")]),
    ]);
    let append = |parameters| processing(&[("AppendDelimiterToRecord", parameters)]);
    let newline = || "\n".to_owned();
    let cases = [
        (json!({}), vec![]),
        (json!({ "CompressionFormat": "GZIP" }), vec![Step::Compress("GZIP".to_owned())]),
        (lambda, vec![Step::Lambda]),
        (off, vec![]),
        (append(&[]), vec![Step::Append(newline())]),
        (append(&[("Delimiter", "\\n")]), vec![Step::Append(newline())]),
        (append(&[("Delimiter", "|")]), vec![Step::Append("|".to_owned())]),
        (json_and_keys, vec![Step::DeaggregateJson, Step::Extract]),
        (
            processing(&[("RecordDeAggregation", delimited)]),
            vec![Step::DeaggregateDelimited(newline())],
        ),
        (partitioned, vec![Step::Convert, Step::Partition]),
        (not_partitioned, vec![]),
        (processing(&[("Decompression", &[])]), vec![Step::Other("Decompression".to_owned())]),
    ];
    let to_s3 = cases.map(|(more, steps)| (to_s3(&more), DestinationKind::S3, steps));
    assert_recognized(to_s3.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_reads_from_elsewhere_is_recognized() {
    let fake = FakeFirehose::start([]).await;
    fake.describe(Ok(("KinesisStreamAsSource", to_s3(&json!({})))));
    let found = firehose(&fake.url).await.describe("orders".into()).await.unwrap();
    assert_eq!(found.steps, [Step::ForeignSource("KinesisStreamAsSource".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_an_answer_and_other_errors_are_none() {
    let fake = FakeFirehose::start([]).await;
    let sink = firehose(&fake.url).await;
    fake.describe(Err("AccessDeniedException"));
    let found = sink.describe("orders".into()).await.unwrap();
    assert_eq!(found, Description::of(DestinationKind::Withheld));
    for (code, trouble) in [
        ("ResourceNotFoundException", Trouble::Missing),
        ("ThrottlingException", Trouble::Throttled),
        ("LimitExceededException", Trouble::Throttled),
        ("ExpiredTokenException", Trouble::Denied),
    ] {
        fake.describe(Err(code));
        assert_eq!(sink.describe("orders".into()).await.unwrap_err().trouble, trouble);
    }
}

/// A stream with `aggregate = "auto"` that has delivered so many events, and what they became.
async fn deliver(fake: &FakeFirehose, events: usize) -> (Delivery, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    let delivery = writer.deliver(firehose(&fake.url).await, settings(Aggregate::Auto));
    // The question comes first here; in an agent it may come long after.
    delivery.aggregate_settled().await;
    writer.append(numbered(events));
    delivery.commits.committed(events as u64).await;
    (delivery, fake.data())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_to_s3_is_packed_and_says_why() {
    let fake = FakeFirehose::start([]).await;
    fake.describe(Ok(("DirectPut", to_s3(&json!({})))));
    let (delivery, data) = deliver(&fake, 1000).await;
    assert_eq!(data.len(), 1);
    assert_eq!(
        data[0],
        numbered(1000).iter().flat_map(|e| [e, "\n"]).collect::<String>().as_bytes()
    );
    let state = delivery.status.aggregate.state();
    assert_eq!(state.state, "lines");
    assert!(state.reason.contains("one behind the other"), "{}", state.reason);
    assert_eq!(fake.described(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_de_aggregates_gets_500_events_in_a_record_and_no_last_delimiter() {
    let fake = FakeFirehose::start([]).await;
    let json = processing(&[("RecordDeAggregation", &[("SubRecordType", "JSON")])]);
    fake.describe(Ok(("DirectPut", to_s3(&json))));
    let (_, data) = deliver(&fake, 1200).await;
    let expected: Vec<_> =
        numbered(1200).chunks(500).map(|events| events.join("\n").into_bytes()).collect();
    assert!(data == expected, "{} records", data.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_records_without_a_delimiter() {
    let fake = FakeFirehose::start([]).await;
    let search = to("AmazonopensearchserviceDestinationDescription", &json!({}));
    fake.describe(Ok(("DirectPut", search)));
    let (_, data) = deliver(&fake, 3).await;
    assert_eq!(data, numbered(3).into_iter().map(String::into_bytes).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_each_event_is_a_record() {
    let fake = FakeFirehose::start([]).await;
    fake.describe(Err("AccessDeniedException"));
    let (delivery, data) = deliver(&fake, 3).await;
    assert_eq!(data.len(), 3);
    let state = delivery.status.aggregate.state();
    assert_eq!(state.state, "none");
    assert!(state.reason.contains("firehose:DescribeDeliveryStream"), "{}", state.reason);
}
