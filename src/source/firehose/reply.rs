//! What a call is answered, in the service's own form.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use standpipe_wal::{Offset, StreamName};

/// An account that nobody has: there is none behind this door.
const ACCOUNT: &str = "000000000000";

/// An error as the service answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// The value of `__type`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the caller, not the agent, is to change something.
    pub fn is_of_the_client(&self) -> bool {
        self.status.is_client_error()
    }

    pub(super) fn unknown_operation(message: &str) -> Self {
        Self::client("UnknownOperationException", message.to_owned())
    }

    pub(super) fn serialization(message: &str) -> Self {
        Self::client("SerializationException", message.to_owned())
    }

    pub(super) fn validation(error: &str) -> Self {
        Self::client("ValidationException", format!("1 validation error detected: {error}"))
    }

    pub(super) fn invalid_argument(message: &str) -> Self {
        Self::client("InvalidArgumentException", message.to_owned())
    }

    pub(super) fn not_found(stream: &StreamName, reason: &str) -> Self {
        let message = format!("Firehose {stream} under account {ACCOUNT} not found: {reason}.");
        Self::client("ResourceNotFoundException", message)
    }

    pub(super) fn unavailable(message: &str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "ServiceUnavailableException",
            message: message.to_owned(),
        }
    }

    pub(super) fn internal(message: &str) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "InternalFailure",
            message: message.to_owned(),
        }
    }

    fn client(code: &'static str, message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message }
    }

    pub(super) fn response(&self, request_id: &str) -> Response {
        let body = json!({ "__type": self.code, "message": self.message }).to_string();
        let mut response = response(self.status, body, request_id);
        response.headers_mut().insert("x-amzn-ErrorType", HeaderValue::from_static(self.code));
        response
    }
}

/// What became of a run of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Durable; the first record has this offset.
    Stored(Offset),
    /// Not stored, or not known to be.
    Failed(String),
}

/// Names records for ever: a number of this life of the agent, the stream, the offset.
#[derive(Clone, Copy, Debug)]
pub struct RecordIds<'a> {
    /// Random, drawn when the door was opened.
    pub door: u128,
    /// The stream.
    pub stream: &'a StreamName,
}

impl RecordIds<'_> {
    fn write(&self, offset: Offset, to: &mut String) {
        let Self { door, stream } = self;
        // A string takes whatever it is given.
        let _written = write!(to, "{door:032x}.{stream}.{offset}").is_ok();
    }
}

/// The body of a `PutRecord` that was stored.
pub fn put_record(ids: RecordIds<'_>, offset: Offset) -> String {
    let mut body = String::from(r#"{"Encrypted":false,"RecordId":""#);
    ids.write(offset, &mut body);
    body.push_str("\"}");
    body
}

/// The body of a `PutRecordBatch`: for each run, how many records it has and what became of it.
pub fn put_record_batch(ids: RecordIds<'_>, runs: &[(u32, Fate)]) -> String {
    let failed: u32 = runs
        .iter()
        .map(|(count, fate)| if matches!(fate, Fate::Failed(_)) { *count } else { 0 })
        .sum();
    let mut body = format!(r#"{{"Encrypted":false,"FailedPutCount":{failed},"RequestResponses":["#);
    let mut separator = "";
    for (count, fate) in runs {
        let error = match fate {
            Fate::Stored(_) => String::new(),
            Fate::Failed(reason) => {
                json!({ "ErrorCode": "ServiceUnavailableException", "ErrorMessage": reason })
                    .to_string()
            }
        };
        for index in 0..u64::from(*count) {
            body.push_str(separator);
            separator = ",";
            match fate {
                Fate::Failed(_) => body.push_str(&error),
                Fate::Stored(first) => {
                    body.push_str("{\"RecordId\":\"");
                    ids.write(first.after(index), &mut body);
                    body.push_str("\"}");
                }
            }
        }
    }
    body.push_str("]}");
    body
}

/// The body of a `DescribeDeliveryStream`: an active stream that takes records directly and
/// concatenates them at its destination, which is what this door does.
pub fn describe(stream: &StreamName, opened_seconds: u64) -> String {
    let role = format!("arn:aws:iam::{ACCOUNT}:role/standpipe");
    let arn = format!("arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/{stream}");
    let destination = json!({
        "RoleARN": role,
        "BucketARN": "arn:aws:s3:::standpipe",
        "BufferingHints": { "IntervalInSeconds": 300, "SizeInMBs": 5 },
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": { "NoEncryptionConfig": "NoEncryption" },
    });
    json!({ "DeliveryStreamDescription": {
        "DeliveryStreamARN": arn,
        "DeliveryStreamName": stream.as_str(),
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "CreateTimestamp": opened_seconds,
        "Destinations": [{
            "DestinationId": "destinationId-000000000001",
            "ExtendedS3DestinationDescription": destination,
        }],
        "HasMoreDestinations": false,
    } })
    .to_string()
}

/// A response with the headers that every answer has.
pub(super) fn response(status: StatusCode, body: String, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-RequestId", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_stand_at_the_index_of_their_record() {
        let stream: StreamName = "orders".parse().unwrap();
        let ids = RecordIds { door: 7, stream: &stream };
        let failed = Fate::Failed("the log is \"full\"".into());
        let runs = [(2, Fate::Stored(Offset::new(40))), (1, failed)];
        let body: serde_json::Value = serde_json::from_str(&put_record_batch(ids, &runs)).unwrap();
        assert_eq!(body["FailedPutCount"], 1);
        let responses = body["RequestResponses"].as_array().unwrap();
        assert_eq!(responses.len(), 3);
        assert_eq!(responses[0]["RecordId"], "00000000000000000000000000000007.orders.40");
        assert_eq!(responses[1]["RecordId"], "00000000000000000000000000000007.orders.41");
        assert_eq!(responses[2]["ErrorCode"], "ServiceUnavailableException");
        assert_eq!(responses[2]["ErrorMessage"], "the log is \"full\"");
        let body: serde_json::Value =
            serde_json::from_str(&put_record(ids, Offset::new(5))).unwrap();
        assert_eq!(body["RecordId"], "00000000000000000000000000000007.orders.5");
    }
}
