//! What a running agent does with dead letters when it is asked: it alone writes there.
//!
//! `POST /api/dead-letters/STREAM/drop` and `…/replay`. Both answer with [`Handled`], or with a
//! sentence and a status other than 200.

use std::io;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use standpipe_wal::{Events, StreamName};
use tokio::sync::{mpsc, oneshot};

use crate::dead_letters::{DeadLetters, Letter};
use crate::intake::{Intake, UnknownStreams};

/// Below this path.
pub const PATH: &str = "/api/dead-letters";

/// Letters that wait between the disk and the log, each of at most the largest event.
const QUEUE: usize = 1;

/// Who can do it.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// The letters.
    pub letters: Arc<DeadLetters>,
    /// The way back into the log.
    pub intake: Intake,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// How many letters.
    pub letters: u64,
    /// What they took on disk.
    pub bytes: u64,
}

/// Removes all letters of a stream. Blocks.
///
/// # Errors
/// Where the files cannot be read or removed.
pub fn drop_all(letters: &DeadLetters, stream: &StreamName) -> io::Result<Handled> {
    let up_to = letters.close(stream)?;
    let mut count = 0;
    letters.read(stream, up_to, |_| {
        count += 1;
        Ok::<_, io::Error>(())
    })?;
    Ok(Handled { letters: count, bytes: letters.remove(stream, up_to)? })
}

/// The routes.
pub fn routes(keeper: Keeper) -> Router {
    let path = format!("{PATH}/{{stream}}/{{action}}");
    Router::new().route(&path, post(act)).with_state(keeper)
}

type Answer = Result<Json<Handled>, (StatusCode, String)>;

async fn act(
    State(keeper): State<Keeper>,
    Path((stream, action)): Path<(String, String)>,
) -> Answer {
    let stream: StreamName =
        stream.parse().map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}")))?;
    let done = match action.as_str() {
        "drop" => {
            let letters = Arc::clone(&keeper.letters);
            let dropping = move || drop_all(&letters, &stream).map_err(|error| error.to_string());
            tokio::task::spawn_blocking(dropping).await.map_err(|error| error.to_string()).flatten()
        }
        "replay" => keeper.replay(stream).await,
        _ => return Err((StatusCode::NOT_FOUND, format!("nothing is called {action:?}"))),
    };
    done.map(Json).map_err(|reason| (StatusCode::INTERNAL_SERVER_ERROR, reason))
}

impl Keeper {
    /// Appends all letters to their stream again and removes them once all are durable there.
    async fn replay(&self, stream: StreamName) -> Result<Handled, String> {
        let (sender, mut receiver) = mpsc::channel::<Letter>(QUEUE);
        let (letters, name) = (Arc::clone(&self.letters), stream.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let up_to = letters.close(&name)?;
            // Where nobody takes any more letters, the reason is told by whoever took them.
            letters.read(&name, up_to, |letter| {
                sender.blocking_send(letter).map_err(|_gone| io::Error::other("given up"))
            })?;
            Ok::<_, io::Error>(up_to)
        });
        let mut count = 0;
        while let Some(letter) = receiver.recv().await {
            self.append(&stream, &letter).await.map_err(|reason| {
                format!(
                    "{count} letters are in the stream again and all are kept here as well; the \
                     one of offset {} is not: {reason}",
                    letter.offset
                )
            })?;
            count += 1;
        }
        let up_to = reading.await.map_err(|error| error.to_string())?;
        let up_to = up_to.map_err(|error| format!("read the dead letters: {error}"))?;
        let letters = Arc::clone(&self.letters);
        let removing = move || letters.remove(&stream, up_to);
        let bytes = tokio::task::spawn_blocking(removing).await.map_err(|e| e.to_string())?;
        let bytes = bytes.map_err(|error| {
            format!("{count} letters are in the stream again, but they stay here as well: {error}")
        })?;
        Ok(Handled { letters: count, bytes })
    }

    async fn append(&self, stream: &StreamName, letter: &Letter) -> Result<(), String> {
        let door = self.intake.door(stream, UnknownStreams::Open).map_err(|e| e.to_string())?;
        let mut events = Events::with_capacity(letter.payload.len(), letter.flags);
        events.push(&letter.payload);
        let bytes = events.body().len();
        let permit = self.intake.reserve(&door, bytes, true).await.map_err(|e| e.to_string())?;
        let (answer, answered) = oneshot::channel();
        permit.submit(events, Some(answer));
        match answered.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(refusal)) => Err(refusal.to_string()),
            Err(_gone) => Err("the agent is stopping".to_owned()),
        }
    }
}
