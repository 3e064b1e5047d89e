//! One call: read, decoded, made durable, answered.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use standpipe_wal::{Events, StreamName};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::Admission;
use super::reply::{self, ApiError, Fate, RecordIds};
use super::request::{self, Operation, Put};
use crate::intake::{Door, Outcome, Refusal, UnknownStreams};
use crate::limits::{
    FIREHOSE_DOOR_BODY_BYTES_MAX, FIREHOSE_DOOR_BODY_WAIT_MAX, FIREHOSE_DOOR_INLINE_BYTES_MAX,
    STOP_GRACE,
};
use crate::source::Context;
use crate::source::refusals::Refusals;
use crate::source::socket::Peer;

/// What all calls of one door share.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) context: Context,
    pub(super) unknown: UnknownStreams,
    pub(super) ack_timeout: Duration,
    pub(super) refusals: Refusals,
    pub(super) admission: Admission,
    /// Random, so that record ids of two lives of the agent differ.
    pub(super) id: u128,
    pub(super) opened: SystemTime,
}

/// A call that was read: what it asks, and the room that its body takes.
struct Received {
    operation: Operation,
    body: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

/// Why a run is not known to be stored.
enum Failure {
    Refused(Refusal),
    /// `ack_timeout` is over, or the agent is about to end.
    Late,
}

/// Answers one request, whatever it is.
pub(super) async fn answer(api: Arc<Api>, peer: Peer, request: Request<Body>) -> Response {
    let request_id = format!("{:032x}", fastrand::u128(..));
    let served = match timeout(FIREHOSE_DOOR_BODY_WAIT_MAX, receive(&api, request)).await {
        Ok(Ok(received)) => serve(&api, received, peer).await,
        Ok(Err(error)) => Err(error),
        Err(_late) => Err(ApiError::invalid_argument("the body did not arrive in time")),
    };
    match served {
        Ok(body) => reply::response(StatusCode::OK, body, &request_id),
        Err(error) => {
            if error.is_of_the_client() {
                api.context.status.refused.add("firehose_api", 1);
                api.refusals.note(error.code(), 1, peer, &error.message());
            }
            error.response(&request_id)
        }
    }
}

async fn receive(api: &Api, request: Request<Body>) -> Result<Received, ApiError> {
    let (head, body) = request.into_parts();
    if head.uri.path() != "/" || head.method != axum::http::Method::POST {
        let message = "this port offers the Firehose API alone: POST /";
        return Err(ApiError::unknown_operation(message));
    }
    let operation = Operation::from_target(text(&head.headers, "x-amz-target"))?;
    if let Some(encoding) = text(&head.headers, header::CONTENT_ENCODING.as_str())
        && encoding != "identity"
    {
        let message = format!("Content-Encoding {encoding:?} is not taken here");
        return Err(ApiError::invalid_argument(&message));
    }
    let length = text(&head.headers, header::CONTENT_LENGTH.as_str());
    let length = length.and_then(|length| length.parse().ok());
    let length = length.unwrap_or(FIREHOSE_DOOR_BODY_BYTES_MAX);
    if length > FIREHOSE_DOOR_BODY_BYTES_MAX {
        return Err(too_large());
    }
    let room = api.admission.body(length).await;
    // Either too large, or the client went away and reads no answer.
    let body = to_bytes(body, FIREHOSE_DOOR_BODY_BYTES_MAX).await.map_err(|_error| too_large())?;
    Ok(Received { operation, body, room })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn too_large() -> ApiError {
    ApiError::invalid_argument("Records size exceeds 4 MB limit")
}

async fn serve(api: &Api, received: Received, peer: Peer) -> Result<String, ApiError> {
    let Received { operation, body, room } = received;
    let put = match operation {
        Operation::DescribeDeliveryStream => return describe(api, &body),
        Operation::PutRecord => request::put_record,
        Operation::PutRecordBatch => request::put_record_batch,
    };
    let bytes = body.len();
    let Put { stream, runs } = decode(body, put).await?;
    let Some(_share) = api.admission.share(&stream, bytes) else {
        return Err(ApiError::unavailable("Slow down."));
    };
    let door = open(api, &stream)?;
    let fates = store(api, &door, runs, peer).await;
    drop(room);
    let ids = RecordIds { door: api.id, stream: &stream };
    let stored = fates.iter().find_map(|(_, fate)| match fate {
        Fate::Stored(first) => Some(*first),
        Fate::Failed(_) => None,
    });
    let Some(first) = stored else {
        // The SDKs retry this by themselves, unlike failures of single records.
        let reason = fates.into_iter().find_map(|(_, fate)| match fate {
            Fate::Failed(reason) => Some(reason),
            Fate::Stored(_) => None,
        });
        return Err(ApiError::unavailable(&reason.unwrap_or_default()));
    };
    Ok(match operation {
        Operation::PutRecord => reply::put_record(ids, first),
        Operation::PutRecordBatch | Operation::DescribeDeliveryStream => {
            reply::put_record_batch(ids, &fates)
        }
    })
}

/// Decodes a small body at once and a large one where it may take its time.
async fn decode(body: Bytes, put: fn(&[u8]) -> Result<Put, ApiError>) -> Result<Put, ApiError> {
    if body.len() <= FIREHOSE_DOOR_INLINE_BYTES_MAX {
        return put(&body);
    }
    match tokio::task::spawn_blocking(move || put(&body)).await {
        Ok(decoded) => decoded,
        Err(_panicked) => Err(ApiError::internal("the call could not be decoded")),
    }
}

fn open(api: &Api, stream: &StreamName) -> Result<Door, ApiError> {
    let door = api.context.intake.door(stream, api.unknown);
    door.map_err(|refusal| ApiError::not_found(stream, &refusal.to_string()))
}

/// Looking must not open a stream: where any name may be opened, any is said to be there.
fn describe(api: &Api, body: &[u8]) -> Result<String, ApiError> {
    let stream = request::describe(body)?;
    if api.unknown == UnknownStreams::Configured {
        open(api, &stream)?;
    }
    let opened = api.opened.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(reply::describe(&stream, opened.as_secs()))
}

/// Hands the runs over one after the other, then waits until each is durable or refused.
async fn store(api: &Api, door: &Door, runs: Vec<Events>, peer: Peer) -> Vec<(u32, Fate)> {
    let deadline = Instant::now() + api.ack_timeout;
    let mut pending = Vec::with_capacity(runs.len());
    for events in runs {
        let count = events.count();
        pending.push((count, submit(api, door, events, deadline).await));
    }
    let mut fates = Vec::with_capacity(pending.len());
    for (count, pending) in pending {
        let outcome = match pending {
            Ok(answer) => wait(api, answer, deadline).await,
            Err(failure) => {
                if let Failure::Refused(refusal) = &failure {
                    let status = &api.context.status;
                    api.refusals.count(status, Some(door), refusal, count.into(), peer);
                }
                Err(failure)
            }
        };
        fates.push((
            count,
            match outcome {
                Ok(first) => Fate::Stored(first),
                Err(Failure::Refused(refusal)) => Fate::Failed(refusal.to_string()),
                Err(Failure::Late) => Fate::Failed("Slow down.".to_owned()),
            },
        ));
    }
    fates
}

async fn submit(
    api: &Api,
    door: &Door,
    events: Events,
    deadline: Instant,
) -> Result<oneshot::Receiver<Outcome>, Failure> {
    let reserved = api.context.intake.reserve(door, events.body().len(), true);
    let permit = in_time(api, deadline, reserved).await?.map_err(Failure::Refused)?;
    let (sender, receiver) = oneshot::channel();
    permit.submit(events, Some(sender));
    Ok(receiver)
}

async fn wait(
    api: &Api,
    answer: oneshot::Receiver<Outcome>,
    deadline: Instant,
) -> Result<standpipe_wal::Offset, Failure> {
    match in_time(api, deadline, answer).await? {
        Ok(Ok(stored)) => Ok(stored.start),
        Ok(Err(refusal)) => Err(Failure::Refused(refusal)),
        // The log ended before it answered.
        Err(_gone) => Err(Failure::Late),
    }
}

/// Until the deadline, or a moment after the agent was told to stop.
async fn in_time<T>(
    api: &Api,
    deadline: Instant,
    future: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut stop = api.context.stop.clone();
    let stopped = async {
        stop.stopped().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        biased;
        output = timeout_at(deadline, future) => output.map_err(|_late| Failure::Late),
        () = stopped => Err(Failure::Late),
    }
}
