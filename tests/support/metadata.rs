//! The metadata service of an instance (`IMDSv2`) on loopback, which can be told to behave badly.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Gives a token, a region, and credentials with another key each time.
    Well,
    /// Ends the connection instead of an answer.
    Closes,
    /// Takes requests and never answers.
    Hangs,
    /// Answers everything with this status.
    Answers(u16),
}

/// The running service. Ends when dropped.
pub(crate) struct Metadata {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    manner: Mutex<Manner>,
    given: Mutex<u32>,
    /// How long credentials are good for.
    lifetime: Duration,
}

impl Metadata {
    pub(crate) async fn start(manner: Manner, lifetime: Duration) -> Self {
        let shared =
            Arc::new(Shared { manner: Mutex::new(manner), given: Mutex::new(0), lifetime });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = standpipe::tasks::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, shared, server }
    }

    /// From now on it behaves so.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let manner = *shared.manner.lock().unwrap();
    match manner {
        Manner::Well => {}
        Manner::Closes => std::panic::resume_unwind(Box::new("closed")),
        Manner::Hangs => std::future::pending().await,
        Manner::Answers(status) => return StatusCode::from_u16(status).unwrap().into_response(),
    }
    match request.uri().path() {
        "/latest/api/token" => {
            ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "token").into_response()
        }
        _ if !request.headers().contains_key("x-aws-ec2-metadata-token") => {
            StatusCode::UNAUTHORIZED.into_response()
        }
        "/latest/meta-data/placement/region" => "eu-west-1".into_response(),
        "/latest/meta-data/iam/security-credentials/" => "role".into_response(),
        "/latest/meta-data/iam/security-credentials/role" => credentials(&shared),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn credentials(shared: &Shared) -> Response {
    let mut given = shared.given.lock().unwrap();
    *given += 1;
    let now = SystemTime::now();
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    let body = json!({
        "Code": "Success",
        "LastUpdated": time(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": format!("AKID{given:04}"),
        "SecretAccessKey": "secret",
        "Token": "session",
        "Expiration": time(now + shared.lifetime),
    });
    body.to_string().into_response()
}
