//! A host whose clock is off: the SDK learns the time from the answers, and where it cannot, the
//! stream says that it is the clock.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_firehose::primitives::{DateTime, DateTimeFormat};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use standpipe::config::Aggregate;
use standpipe::tasks::spawn;
use tokio::net::TcpListener;

use crate::stream::{Writer, firehose, numbered, settings};

/// A service whose clock is ahead of ours, and whose answers have its date, or that of a proxy whose
/// clock is ours.
#[derive(Debug, Default)]
struct Service {
    ahead: Mutex<Duration>,
    dated: bool,
    refused: Mutex<u64>,
}

async fn put(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    let there = SystemTime::now() + *service.ahead.lock().unwrap();
    let stamp = |time| humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
    let earliest = stamp(there - Duration::from_mins(5));
    let signed = headers["x-amz-date"].to_str().unwrap();
    let mut answer = if signed < earliest.as_str() {
        *service.refused.lock().unwrap() += 1;
        let code = "InvalidSignatureException";
        let message = format!("Signature expired: {signed} is now earlier than {earliest}");
        (StatusCode::BAD_REQUEST, Json(json!({ "__type": code, "message": message })))
            .into_response()
    } else {
        let call: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let results = vec![json!({ "RecordId": "1" }); call["Records"].as_array().unwrap().len()];
        Json(json!({ "FailedPutCount": 0, "RequestResponses": results })).into_response()
    };
    if service.dated {
        let date = DateTime::from(there).fmt(DateTimeFormat::HttpDate).unwrap();
        answer.headers_mut().insert("date", date.parse().unwrap());
    }
    answer
}

async fn serve(service: &Arc<Service>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", axum::routing::post(put)).with_state(Arc::clone(service));
    spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_costs_one_call() {
    let hour = Mutex::new(Duration::from_hours(1));
    let service = Arc::new(Service { ahead: hour, dated: true, ..Service::default() });
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(20));
    let sink = firehose(&serve(&service).await).await;
    let delivery = writer.deliver(sink, settings(Aggregate::None));
    delivery.commits.committed(20).await;
    let error = delivery.status.last_error.last().unwrap();
    println!("{}", error.reason);
    assert!(error.reason.contains("clock is 3600 s behind the service's"), "{}", error.reason);
    writer.append(numbered(20));
    delivery.commits.committed(40).await;
    assert_eq!(*service.refused.lock().unwrap(), 1);
    assert_eq!(delivery.status.possible_duplicates.value(), 0);
    assert_eq!(delivery.status.upload.state().state, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_stays_off_is_named_and_delivery_goes_on_when_it_is_set() {
    let hour = Mutex::new(Duration::from_hours(1));
    let service = Arc::new(Service { ahead: hour, ..Service::default() });
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path());
    writer.append(numbered(20));
    let sink = firehose(&serve(&service).await).await;
    let delivery = writer.deliver(sink, settings(Aggregate::None));
    delivery.state("denied").await;
    let reason = delivery.status.upload.state().reason;
    println!("{reason}");
    assert!(reason.contains("this host's clock is off"), "{reason}");
    *service.ahead.lock().unwrap() = Duration::ZERO;
    delivery.commits.committed(20).await;
    assert_eq!(delivery.status.possible_duplicates.value(), 0);
    delivery.state("ok").await;
}
