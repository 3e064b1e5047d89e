//! Asks a running agent. Blocking, for commands; needs no runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::{STATUS_PATH, Snapshot};

/// An agent that takes longer is not well, and the command says so instead of hanging.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Work that an agent is asked for takes no longer.
const WORK_TIMEOUT: Duration = Duration::from_mins(10);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Asks the agent behind this admin socket. `None` where nobody listens there.
pub fn ask(socket: &Path) -> anyhow::Result<Option<Snapshot>> {
    let answer = match request(socket, "GET", STATUS_PATH, ANSWER_TIMEOUT) {
        Ok(answer) => answer,
        Err(error) if nobody_listens(&error) => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("ask the agent at {}", socket.display()));
        }
    };
    let snapshot = read(&answer);
    snapshot.with_context(|| format!("the answer of the agent at {}", socket.display())).map(Some)
}

/// Has the agent behind this admin socket do something. `None` where nobody listens there.
///
/// # Errors
/// Where the agent could not do it, with its reason.
pub fn post<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<Option<T>> {
    let answer = match request(socket, "POST", path, WORK_TIMEOUT) {
        Ok(answer) => answer,
        Err(error) if nobody_listens(&error) => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("ask the agent at {}", socket.display()));
        }
    };
    let (status, body) = split(&answer)?;
    anyhow::ensure!(status == "200", "the agent says: {}", String::from_utf8_lossy(body));
    Ok(Some(serde_json::from_slice(body).context("read the agent's answer")?))
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn request(socket: &Path, method: &str, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    // HTTP/1.0: the body ends where the connection ends.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: standpipe\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn read(answer: &[u8]) -> anyhow::Result<Snapshot> {
    let (status, body) = split(answer)?;
    anyhow::ensure!(status == "200", "its status is {status}");
    serde_json::from_slice(body).context("it is not a status of this version of standpipe")
}

/// The status of an answer, and its body.
fn split(answer: &[u8]) -> anyhow::Result<(String, &[u8])> {
    let end = b"\r\n\r\n";
    let head_bytes = answer
        .windows(end.len())
        .position(|window| window == end)
        .context("it ended before the agent had answered")?;
    let (head, body) = answer.split_at(head_bytes + end.len());
    let status_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status_line = String::from_utf8_lossy(status_line);
    Ok((status_line.split(' ').nth(1).unwrap_or_default().to_owned(), body))
}
