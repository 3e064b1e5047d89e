//! What is answered to whom. Control is for the unix socket alone: whoever reaches a network address
//! may look, and change nothing.

use std::future::IntoFuture;
use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::{Listener, Registry, Snapshot, metrics};
use crate::tasks::Stop;
use crate::telemetry;

/// Where the status is served.
pub const STATUS_PATH: &str = "/api/status";

/// Where streams are told to deliver without waiting for company. The answer is the status.
pub const HURRY_PATH: &str = "/api/drain";

/// Where the log's level is changed. The body is a filter, the answer the filter that holds.
pub const LOG_LEVEL_PATH: &str = "/api/log-level";

/// Which streams are to deliver at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hurry {
    /// Their names; none for all.
    pub streams: Vec<String>,
}

/// What everybody may see.
fn looking() -> Router<Registry> {
    Router::new()
        .route(STATUS_PATH, get(status))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

fn control() -> Router<Registry> {
    Router::new().route(HURRY_PATH, post(hurry)).route(LOG_LEVEL_PATH, post(log_level))
}

/// Answers the agent's own user until it is time to stop. Connections that are still open then end
/// with the runtime: they hold nothing that would have to be saved. `more` are further routes.
pub async fn serve(listener: Listener, registry: Registry, more: Router, stop: Stop) {
    let routes = looking().merge(control()).with_state(registry).merge(more);
    match listener.socket.try_clone().and_then(tokio::net::UnixListener::from_std) {
        Ok(socket) => run(axum::serve(socket, routes).into_future(), stop).await,
        Err(error) => tracing::error!(%error, "the admin socket cannot be served"),
    }
}

/// Opens the address for those who only look.
pub fn bind_tcp(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let open = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        io::Result::Ok(listener)
    };
    let listener = open().with_context(|| format!("listen on admin.listen = \"{address}\""))?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            listen = %address,
            "admin.listen is no loopback address: whoever reaches it sees names and numbers of all \
             streams, unencrypted"
        );
    }
    Ok(listener)
}

/// The same as [`serve`] for those who only look.
pub async fn serve_tcp(listener: TcpListener, registry: Registry, stop: Stop) {
    let routes = looking().with_state(registry);
    match tokio::net::TcpListener::from_std(listener) {
        Ok(socket) => run(axum::serve(socket, routes).into_future(), stop).await,
        Err(error) => tracing::error!(%error, "admin.listen cannot be served"),
    }
}

async fn run(serving: impl Future<Output = io::Result<()>>, mut stop: Stop) {
    tokio::select! {
        () = stop.stopped() => {}
        ended = serving => {
            if let Err(error) = ended {
                tracing::error!(%error, "an admin listener ended");
            }
        }
    }
}

async fn status(State(registry): State<Registry>) -> Json<Snapshot> {
    Json(registry.snapshot())
}

async fn metrics_text(State(registry): State<Registry>) -> Response {
    let text = metrics::render(&registry.snapshot());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// Whoever gets an answer at all knows that the agent is alive.
async fn healthz() -> &'static str {
    "alive\n"
}

async fn readyz(State(registry): State<Registry>) -> (StatusCode, String) {
    match registry.snapshot().not_accepting() {
        None => (StatusCode::OK, "accepting\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn hurry(
    State(registry): State<Registry>,
    Json(wanted): Json<Hurry>,
) -> Result<Json<Snapshot>, (StatusCode, String)> {
    match registry.hurry(&wanted.streams) {
        Ok(()) => Ok(Json(registry.snapshot())),
        Err(name) => Err((StatusCode::NOT_FOUND, format!("there is no stream {name}"))),
    }
}

async fn log_level(filter: String) -> Result<String, (StatusCode, String)> {
    let changed = telemetry::set_filter(filter.trim());
    changed.map_err(|error| (StatusCode::BAD_REQUEST, format!("{error:#}")))
}

#[cfg(test)]
mod tests;
