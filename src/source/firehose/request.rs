//! What a call asks for: JSON and base64 in, runs of events out. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use standpipe_wal::{Events, Flags, StreamName};

use super::reply::ApiError;
use crate::limits::{
    FIREHOSE_DOOR_CALL_BYTES_MAX, FIREHOSE_RECORD_BYTES_MAX, FIREHOSE_RECORDS_MAX,
};

/// The service's own prefix of `X-Amz-Target`.
const TARGET_PREFIX: &str = "Firehose_20150804.";

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One record.
    PutRecord,
    /// Up to 500 records.
    PutRecordBatch,
    /// Whether a stream is there, and what it is.
    DescribeDeliveryStream,
}

impl Operation {
    /// Reads the header `X-Amz-Target`.
    pub fn from_target(target: Option<&str>) -> Result<Self, ApiError> {
        let Some(target) = target else {
            return Err(ApiError::unknown_operation("the header X-Amz-Target is required"));
        };
        match target.strip_prefix(TARGET_PREFIX) {
            Some("PutRecord") => Ok(Self::PutRecord),
            Some("PutRecordBatch") => Ok(Self::PutRecordBatch),
            Some("DescribeDeliveryStream") => Ok(Self::DescribeDeliveryStream),
            _ => Err(ApiError::unknown_operation(&format!(
                "{target:?} is not offered here; {TARGET_PREFIX}PutRecord, PutRecordBatch and \
                 DescribeDeliveryStream are"
            ))),
        }
    }
}

/// Records on their way into the log.
#[derive(Debug)]
pub struct Put {
    /// Where they go.
    pub stream: StreamName,
    /// The records in order, cut where a frame is full. There is at least one.
    pub runs: Vec<Events>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawPut<'a> {
    #[serde(borrow)]
    delivery_stream_name: Cow<'a, str>,
    #[serde(borrow)]
    record: RawRecord<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawPutBatch<'a> {
    #[serde(borrow)]
    delivery_stream_name: Cow<'a, str>,
    #[serde(borrow)]
    records: Vec<RawRecord<'a>>,
}

/// Borrowed from the body, unless the client escaped a character that needs no escape.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRecord<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawDescribe<'a> {
    #[serde(borrow)]
    delivery_stream_name: Cow<'a, str>,
}

/// Reads the body of a `PutRecord`.
pub fn put_record(body: &[u8]) -> Result<Put, ApiError> {
    let raw: RawPut<'_> = json(body)?;
    put(&raw.delivery_stream_name, std::slice::from_ref(&raw.record), |_| "record.data".to_owned())
}

/// Reads the body of a `PutRecordBatch`.
pub fn put_record_batch(body: &[u8]) -> Result<Put, ApiError> {
    let raw: RawPutBatch<'_> = json(body)?;
    let count = raw.records.len();
    if count > FIREHOSE_RECORDS_MAX {
        return Err(ApiError::validation(&format!(
            "Value at 'records' failed to satisfy constraint: Member must have length less than \
             or equal to {FIREHOSE_RECORDS_MAX}"
        )));
    }
    if count == 0 {
        return Err(ApiError::validation(
            "Value at 'records' failed to satisfy constraint: Member must have length greater \
             than or equal to 1",
        ));
    }
    // The service counts records from one.
    put(&raw.delivery_stream_name, &raw.records, |index| {
        format!("records.{}.member.data", index + 1)
    })
}

/// Reads the body of a `DescribeDeliveryStream`.
pub fn describe(body: &[u8]) -> Result<StreamName, ApiError> {
    let raw: RawDescribe<'_> = json(body)?;
    stream_name(&raw.delivery_stream_name)
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::serialization(&error.to_string()))
}

fn stream_name(name: &str) -> Result<StreamName, ApiError> {
    name.parse().map_err(|_invalid: standpipe_wal::stream_name::InvalidStreamName| {
        ApiError::validation(&format!(
            "Value '{name}' at 'deliveryStreamName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z0-9_.-]+, and have 1 to 64 characters"
        ))
    })
}

fn put(
    name: &str,
    records: &[RawRecord<'_>],
    place: impl Fn(usize) -> String,
) -> Result<Put, ApiError> {
    let stream = stream_name(name)?;
    let encoded: usize = records.iter().map(|record| record.data.len()).sum();
    let mut runs = Vec::new();
    let mut run = Events::with_capacity(0, RAW);
    let (mut total, mut left) = (0, encoded);
    let mut data = Vec::new();
    for (index, record) in records.iter().enumerate() {
        data.clear();
        let encoded = record.data.as_bytes();
        if base64_simd::STANDARD.decode_append(encoded, &mut data).is_err() {
            let place = place(index);
            return Err(ApiError::serialization(&format!("'{place}' is not base64")));
        }
        if data.len() > FIREHOSE_RECORD_BYTES_MAX {
            return Err(ApiError::validation(&format!(
                "Value at '{}' failed to satisfy constraint: Member must have length less than \
                 or equal to {FIREHOSE_RECORD_BYTES_MAX}",
                place(index)
            )));
        }
        total += data.len();
        if total > FIREHOSE_DOOR_CALL_BYTES_MAX {
            return Err(ApiError::invalid_argument("Records size exceeds 4 MB limit"));
        }
        if run.is_empty() || !run.has_room_for(data.len()) {
            let next = Events::with_capacity(capacity(left, data.len()), RAW);
            runs.extend(Some(std::mem::replace(&mut run, next)).filter(|run| !run.is_empty()));
        }
        run.push(&data);
        left -= encoded.len();
    }
    runs.push(run);
    Ok(Put { stream, runs })
}

/// What a run needs for what is left of a call, at most a frame or its first record.
fn capacity(encoded_left: usize, first: usize) -> usize {
    use standpipe_wal::limits::{BODY_BYTES_MAX, EVENT_PREFIX_BYTES};
    let decoded_left = encoded_left / 4 * 3 + FIREHOSE_RECORDS_MAX * EVENT_PREFIX_BYTES;
    decoded_left.min(BODY_BYTES_MAX).max(EVENT_PREFIX_BYTES + first)
}

/// Records are delivered as they are: no delimiter is added.
const RAW: Flags = Flags { raw: true };

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use standpipe_wal::events;

    use super::*;

    fn encode(data: &[u8]) -> String {
        base64_simd::STANDARD.encode_to_string(data)
    }

    fn batch(records: &[Vec<u8>]) -> Vec<u8> {
        let records: Vec<_> =
            records.iter().map(|data| serde_json::json!({ "Data": encode(data) })).collect();
        serde_json::to_vec(&serde_json::json!({ "DeliveryStreamName": "s", "Records": records }))
            .unwrap()
    }

    fn error(body: &[u8]) -> (&'static str, String) {
        let error = put_record_batch(body).unwrap_err();
        (error.code(), error.message().to_owned())
    }

    #[test]
    fn the_limits_are_the_services_own_and_so_are_its_words() {
        assert!(put_record_batch(&batch(&vec![vec![1]; 500])).is_ok());
        let (code, message) = error(&batch(&vec![vec![1]; 501]));
        assert_eq!(code, "ValidationException");
        assert!(message.contains("at 'records' failed") && message.contains("equal to 500"));
        let (code, message) = error(&batch(&[]));
        assert_eq!(code, "ValidationException");
        assert!(message.contains("greater than or equal to 1"));

        assert!(put_record_batch(&batch(&[vec![0; 1_024_000]])).is_ok());
        let (code, message) = error(&batch(&[vec![], vec![0; 1_024_001]]));
        assert_eq!(code, "ValidationException");
        assert!(message.contains("'records.2.member.data'") && message.contains("1024000"));

        let mut records = vec![vec![0; 1_024_000]; 4];
        records.push(vec![0; FIREHOSE_DOOR_CALL_BYTES_MAX - 4 * 1_024_000]);
        assert!(put_record_batch(&batch(&records)).is_ok());
        records.push(vec![0]);
        let expected = ("InvalidArgumentException", "Records size exceeds 4 MB limit".to_owned());
        assert_eq!(error(&batch(&records)), expected);
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        for (body, code) in [
            (&b""[..], "SerializationException"),
            (b"[]", "SerializationException"),
            (b"{\"DeliveryStreamName\":\"s\"}", "SerializationException"),
            (
                b"{\"DeliveryStreamName\":\"s\",\"Records\":[{\"Data\":\"*\"}]}",
                "SerializationException",
            ),
            (
                b"{\"DeliveryStreamName\":\"s\",\"Records\":[{\"Data\":5}]}",
                "SerializationException",
            ),
            (
                b"{\"DeliveryStreamName\":\"a/b\",\"Records\":[{\"Data\":\"\"}]}",
                "ValidationException",
            ),
        ] {
            assert_eq!(error(body).0, code, "{}", String::from_utf8_lossy(body));
        }
        assert!(put_record(b"{\"DeliveryStreamName\":\"s\",\"Records\":[]}").is_err());
        assert!(Operation::from_target(None).is_err());
        assert!(Operation::from_target(Some("Firehose_20150804.CreateDeliveryStream")).is_err());
        assert!(Operation::from_target(Some("Kinesis_20131202.PutRecord")).is_err());
    }

    #[test]
    fn escaped_slashes_and_unknown_members_are_read() {
        let body = br#"{"Extra":[1],"DeliveryStreamName":"s","Record":{"Data":"\/\/8=","X":1}}"#;
        let put = put_record(body).unwrap();
        assert_eq!(events::iter(put.runs[0].body()).collect::<Vec<_>>(), [&[0xff, 0xff]]);
        assert!(put.runs[0].flags().raw);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn every_record_is_in_the_runs_once_and_in_order(
            sizes in proptest::collection::vec(
                prop_oneof![0_usize..300, 100_000_usize..300_000],
                1..12,
            ),
        ) {
            let records: Vec<Vec<u8>> =
                sizes.iter().zip(0_u8..).map(|(&size, byte)| vec![byte; size]).collect();
            let put = put_record_batch(&batch(&records)).unwrap();
            prop_assert!(put.runs.iter().all(|run| !run.is_empty()));
            let found: Vec<Vec<u8>> =
                put.runs.iter().flat_map(|run| events::iter(run.body())).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, records);
        }
    }
}
