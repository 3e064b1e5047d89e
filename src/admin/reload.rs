//! How a running agent is asked to read its configuration again, and what it answers.
//!
//! `POST /api/reload` answers with [`Reloaded`], also where nothing was taken over.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Where it is asked for.
pub const PATH: &str = "/api/reload";

/// Requests that wait while one is worked on.
const QUEUE: usize = 8;

/// What became of a reload. It is all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the agent does now what the file says.
    pub reloaded: bool,
    /// The keys that differ from what held before: `stream.orders.linger`.
    pub changed: Vec<String>,
    /// Those of them that take a restart. Where there is one, nothing was changed.
    pub takes_restart: Vec<String>,
    /// The open streams that are delivered anew, from where they are, with other settings.
    pub streams: Vec<String>,
    /// Why nothing was changed, where no key is the reason: the file is wrong.
    pub error: Option<String>,
}

impl Reloaded {
    /// Nothing was changed, for this reason.
    pub fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

/// Somebody asks, and waits for the answer here.
pub type Request = oneshot::Sender<Reloaded>;

/// The way to whoever knows where the configuration comes from, if there is somebody.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<OnceLock<mpsc::Sender<Request>>>);

impl Requests {
    /// From now on requests come here. There is one who answers: a second call gets none.
    pub fn take(&self) -> mpsc::Receiver<Request> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let _taken = self.0.set(sender).is_err();
        receiver
    }

    async fn ask(&self) -> Option<Reloaded> {
        let (answer, answered) = oneshot::channel();
        self.0.get()?.send(answer).await.ok()?;
        answered.await.ok()
    }
}

/// The route.
pub fn routes(requests: Requests) -> Router {
    Router::new().route(PATH, post(reload)).with_state(requests)
}

async fn reload(State(requests): State<Requests>) -> Json<Reloaded> {
    let nobody =
        || Reloaded::failed("this agent reads its configuration at the start alone".into());
    Json(requests.ask().await.unwrap_or_else(nobody))
}
