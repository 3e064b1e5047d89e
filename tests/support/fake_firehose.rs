//! A Firehose on loopback, with the service's limits and its error messages, that can be told to
//! fail in every way in which the service, or what stands before it, has been seen to fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use base64_simd::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// `PutRecordBatch`: decoded bytes of all records.
const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What one request is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Every record is taken.
    Accept,
    /// The records for which the pattern, repeated as needed, is true are taken; the others fail
    /// as throttled ones do, with status 200.
    Partly(Vec<bool>),
    /// Nothing is taken: this status and error code.
    Error(u16, &'static str),
    /// No error code, as a proxy answers.
    Page(u16),
    /// Every record is taken, and no answer is ever given.
    Hang,
    /// Every record is taken; then the connection is reset instead of an answer.
    Reset,
    /// Every record is taken; the answer has so many results.
    Count(usize),
    /// Everything is taken unless a record contains these bytes: then the call is refused.
    RefuseIf(&'static [u8]),
    /// Calls with more decoded bytes are too large for what stands before the service.
    TooLargeBeyond(usize),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) records: usize,
    /// Decoded bytes of all records.
    pub(crate) bytes: usize,
}

/// A record that was taken, in the order of taking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) stream: String,
    pub(crate) data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Memory {
    script: VecDeque<Reply>,
    then: Option<Reply>,
    requests: Vec<Request>,
    /// What `DescribeDeliveryStream` answers: a description, or an error code.
    description: Option<Result<serde_json::Value, &'static str>>,
    described: usize,
    accepted: BTreeMap<u64, Accepted>,
    in_progress: usize,
    in_progress_max: usize,
}

/// The running fake. Ends when dropped.
#[derive(Debug)]
pub(crate) struct FakeFirehose {
    pub(crate) url: String,
    memory: Arc<Mutex<Memory>>,
    changed: watch::Receiver<u64>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    memory: Arc<Mutex<Memory>>,
    changed: Arc<watch::Sender<u64>>,
    delay: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutRecordBatch {
    delivery_stream_name: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Record {
    data: String,
}

impl FakeFirehose {
    /// Answers with the script, then accepts everything.
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_then(script, Reply::Accept, Duration::ZERO).await
    }

    /// Answers with the script, then always with `then`; each answer takes `delay`.
    pub(crate) async fn start_then(
        script: impl IntoIterator<Item = Reply>,
        then: Reply,
        delay: Duration,
    ) -> Self {
        let memory =
            Memory { script: script.into_iter().collect(), then: Some(then), ..Memory::default() };
        let memory = Arc::new(Mutex::new(memory));
        let (sender, changed) = watch::channel(0);
        let shared = Shared { memory: Arc::clone(&memory), changed: Arc::new(sender), delay };
        let router = Router::new()
            .route("/", post(put))
            .layer(DefaultBodyLimit::disable())
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // A connection that is dropped is reset, not closed.
        let listener = listener.tap_io(|stream| {
            let socket = socket2::SockRef::from(&*stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        });
        let server = standpipe::tasks::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, memory, changed, server }
    }

    /// From now on every request is answered so.
    pub(crate) fn answer(&self, then: Reply) {
        let mut memory = self.memory.lock().unwrap();
        memory.script.clear();
        memory.then = Some(then);
    }

    /// From now on `DescribeDeliveryStream` is answered so: with a stream of that type and that
    /// destination, or with an error code.
    pub(crate) fn describe(&self, answer: Result<(&str, serde_json::Value), &'static str>) {
        let answer = answer.map(|(source, destination)| {
            json!({ "DeliveryStreamDescription": {
                "DeliveryStreamARN": "arn:aws:firehose:us-east-1:000000000000:deliverystream/orders",
                "DeliveryStreamName": "orders",
                "DeliveryStreamStatus": "ACTIVE",
                "DeliveryStreamType": source,
                "VersionId": "1",
                "Destinations": [destination],
                "HasMoreDestinations": false,
            } })
        });
        self.memory.lock().unwrap().description = Some(answer);
    }

    /// How often a stream was described, or refused to be.
    pub(crate) fn described(&self) -> usize {
        self.memory.lock().unwrap().described
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.memory.lock().unwrap().requests.clone()
    }

    /// Requests that were in progress at once, at most.
    pub(crate) fn in_progress_max(&self) -> usize {
        self.memory.lock().unwrap().in_progress_max
    }

    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.memory.lock().unwrap().accepted.values().cloned().collect()
    }

    /// The records that were taken, in order.
    pub(crate) fn data(&self) -> Vec<Vec<u8>> {
        self.accepted().into_iter().map(|accepted| accepted.data).collect()
    }

    /// Everything that was taken, one behind the other, as S3 would hold it.
    pub(crate) fn concatenated(&self) -> Vec<u8> {
        self.data().concat()
    }

    /// Waits until so many requests have arrived.
    pub(crate) async fn arrived(&self, requests: usize) {
        let mut changed = self.changed.clone();
        let enough = |_: &u64| self.memory.lock().unwrap().requests.len() >= requests;
        changed.wait_for(enough).await.unwrap();
    }
}

impl Drop for FakeFirehose {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn put(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    if target == Some("Firehose_20150804.DescribeDeliveryStream") {
        let mut memory = shared.memory.lock().unwrap();
        memory.described += 1;
        return match &memory.description {
            Some(Ok(description)) => Json(description).into_response(),
            Some(Err(code)) => error(400, code, "not told"),
            None => error(400, "ResourceNotFoundException", "not found"),
        };
    }
    if target != Some("Firehose_20150804.PutRecordBatch") {
        return error(400, "UnknownOperationException", "no such operation");
    }
    let call: PutRecordBatch = match serde_json::from_slice(&body) {
        Ok(call) => call,
        Err(wrong) => return error(400, "SerializationException", &wrong.to_string()),
    };
    let mut records = Vec::new();
    for record in &call.records {
        match STANDARD.decode_to_vec(&record.data) {
            Ok(data) => records.push(data),
            Err(_) => return error(400, "SerializationException", "Data is not base64"),
        }
    }
    let bytes = records.iter().map(Vec::len).sum();
    let reply = {
        let mut memory = shared.memory.lock().unwrap();
        memory.requests.push(Request { headers, body, records: records.len(), bytes });
        memory.in_progress += 1;
        memory.in_progress_max = memory.in_progress_max.max(memory.in_progress);
        memory.script.pop_front().or_else(|| memory.then.clone()).unwrap()
    };
    shared.changed.send_modify(|requests| *requests += 1);
    tokio::time::sleep(shared.delay).await;
    let response = match over_a_limit(&records, bytes) {
        Some(refusal) => refusal,
        None => answer(&shared, &call.delivery_stream_name, records, bytes, reply).await,
    };
    shared.memory.lock().unwrap().in_progress -= 1;
    response
}

/// The service's limits, in the service's words.
fn over_a_limit(records: &[Vec<u8>], bytes: usize) -> Option<Response> {
    let invalid = |what: &str| Some(error(400, "InvalidArgumentException", what));
    if records.is_empty() || records.len() > 500 {
        return invalid(
            "1 validation error detected: Value at 'records' failed to satisfy constraint: Member \
             must have length less than or equal to 500",
        );
    }
    if let Some(index) = records.iter().position(|record| record.len() > 1_024_000) {
        return invalid(&format!(
            "1 validation error detected: Value at 'records.{}.member.data' failed to satisfy \
             constraint: Member must have length less than or equal to 1024000",
            index + 1
        ));
    }
    if bytes > CALL_BYTES_MAX {
        return invalid("Records size exceeds 4 MB limit");
    }
    None
}

async fn answer(
    shared: &Shared,
    stream: &str,
    records: Vec<Vec<u8>>,
    bytes: usize,
    reply: Reply,
) -> Response {
    let all = |records| results(&take(shared, stream, records, &[true]));
    match reply {
        Reply::Partly(pattern) => results(&take(shared, stream, records, &pattern)),
        Reply::Error(status, code) => error(status, code, "Slow down."),
        Reply::Page(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, "<html>something is wrong</html>").into_response()
        }
        Reply::Hang => {
            all(records);
            std::future::pending().await
        }
        Reply::Reset => {
            all(records);
            // Ends the connection's task without the message of a panic.
            std::panic::resume_unwind(Box::new("reset"))
        }
        Reply::Count(count) => {
            let mut taken = take(shared, stream, records, &[true]);
            let last = taken.last().cloned().unwrap();
            taken.resize(count, last);
            results(&taken)
        }
        Reply::RefuseIf(marker) => {
            let bad = |data: &Vec<u8>| data.windows(marker.len()).any(|part| part == marker);
            if records.iter().any(bad) {
                return error(400, "InvalidArgumentException", "a record is not liked");
            }
            all(records)
        }
        Reply::TooLargeBeyond(limit) if bytes > limit => {
            (StatusCode::PAYLOAD_TOO_LARGE, "too large").into_response()
        }
        Reply::Accept | Reply::TooLargeBeyond(_) => all(records),
    }
}

/// Takes the records that the pattern lets through, and says what became of each.
fn take(
    shared: &Shared,
    stream: &str,
    records: Vec<Vec<u8>>,
    pattern: &[bool],
) -> Vec<serde_json::Value> {
    let mut memory = shared.memory.lock().unwrap();
    let mut results = Vec::new();
    for (data, taken) in records.into_iter().zip(pattern.iter().cycle()) {
        if !taken {
            results.push(json!({
                "ErrorCode": "ServiceUnavailableException",
                "ErrorMessage": "Slow down.",
            }));
            continue;
        }
        let number = memory.accepted.len() as u64;
        let id = format!("{number:032x}");
        results.push(json!({ "RecordId": id }));
        memory.accepted.insert(number, Accepted { id, stream: stream.to_owned(), data });
    }
    results
}

fn results(results: &[serde_json::Value]) -> Response {
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    let body = json!({
        "FailedPutCount": failed,
        "Encrypted": false,
        "RequestResponses": results,
    });
    Json(body).into_response()
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let body = json!({ "__type": code, "message": message });
    (status, [("x-amzn-errortype", code.to_owned())], Json(body)).into_response()
}
