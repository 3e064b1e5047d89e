//! Asks a running agent. Blocking, for commands; needs no runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::{HURRY_PATH, Hurry, LOG_LEVEL_PATH, STATUS_PATH, Snapshot};

/// An agent that takes longer is not well, and the command says so instead of hanging.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Work that an agent is asked for takes no longer.
const WORK_TIMEOUT: Duration = Duration::from_mins(10);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Asks the agent behind this admin socket. `None` where nobody listens there.
pub fn ask(socket: &Path) -> anyhow::Result<Option<Snapshot>> {
    talk(socket, &get(STATUS_PATH), ANSWER_TIMEOUT)?.map(|body| json(&body, socket)).transpose()
}

/// Has the agent deliver without waiting for company, and asks how it stands.
pub fn hurry(socket: &Path, streams: &Hurry) -> anyhow::Result<Option<Snapshot>> {
    let body = serde_json::to_string(streams).context("write JSON")?;
    let request = request(HURRY_PATH, "application/json", &body);
    talk(socket, &request, ANSWER_TIMEOUT)?.map(|body| json(&body, socket)).transpose()
}

/// Changes what the agent logs. Returns what it logs now.
pub fn set_log_level(socket: &Path, filter: &str) -> anyhow::Result<Option<String>> {
    let answer = talk(socket, &request(LOG_LEVEL_PATH, "text/plain", filter), ANSWER_TIMEOUT)?;
    Ok(answer.map(|body| String::from_utf8_lossy(&body).into_owned()))
}

/// Has the agent behind this admin socket do something. `None` where nobody listens there.
///
/// # Errors
/// Where the agent could not do it, with its reason.
pub fn post<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<Option<T>> {
    let answer = talk(socket, &request(path, "text/plain", ""), WORK_TIMEOUT)?;
    answer.map(|body| json(&body, socket)).transpose()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: standpipe\r\n\r\n")
}

fn request(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.0\r\nHost: standpipe\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request and returns the body of the answer. `None` where nobody listens.
fn talk(socket: &Path, request: &str, patience: Duration) -> anyhow::Result<Option<Vec<u8>>> {
    let answer = match exchange(socket, request, patience) {
        Ok(answer) => answer,
        Err(error) if nobody_listens(&error) => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("ask the agent at {}", socket.display()));
        }
    };
    let body = body(&answer);
    body.with_context(|| format!("the answer of the agent at {}", socket.display())).map(Some)
}

fn json<T: DeserializeOwned>(body: &[u8], socket: &Path) -> anyhow::Result<T> {
    let value = serde_json::from_slice(body);
    let value = value.context("it is none of this version of standpipe");
    value.with_context(|| format!("the answer of the agent at {}", socket.display()))
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn exchange(socket: &Path, request: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    // HTTP/1.0: the body ends where the connection ends.
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The body of an answer that says that all is well; what it says else is the error.
fn body(answer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let end = b"\r\n\r\n";
    let head_bytes = answer
        .windows(end.len())
        .position(|window| window == end)
        .context("it ended before the agent had answered")?;
    let (head, body) = answer.split_at(head_bytes + end.len());
    let status_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status_line = String::from_utf8_lossy(status_line);
    let text = String::from_utf8_lossy(body);
    let is_well = status_line.split(' ').nth(1) == Some("200");
    anyhow::ensure!(is_well, "it is {status_line:?}: {}", text.trim());
    Ok(body.to_owned())
}
