//! Asks a running agent. Blocking, for commands; needs no runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::{STATUS_PATH, Snapshot};

/// An agent that takes longer is not well, and the command says so instead of hanging.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Asks the agent behind this admin socket. `None` where nobody listens there.
pub fn ask(socket: &Path) -> anyhow::Result<Option<Snapshot>> {
    let answer = match request(socket) {
        Ok(answer) => answer,
        Err(error) if nobody_listens(&error) => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("ask the agent at {}", socket.display()));
        }
    };
    let snapshot = read(&answer);
    snapshot.with_context(|| format!("the answer of the agent at {}", socket.display())).map(Some)
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn request(socket: &Path) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    // HTTP/1.0: the body ends where the connection ends.
    write!(stream, "GET {STATUS_PATH} HTTP/1.0\r\nHost: standpipe\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn read(answer: &[u8]) -> anyhow::Result<Snapshot> {
    let end = b"\r\n\r\n";
    let head_bytes = answer
        .windows(end.len())
        .position(|window| window == end)
        .context("it ended before the agent had answered")?;
    let (head, body) = answer.split_at(head_bytes + end.len());
    let status_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status_line = String::from_utf8_lossy(status_line);
    anyhow::ensure!(status_line.split(' ').nth(1) == Some("200"), "it is {status_line:?}");
    serde_json::from_slice(body).context("it is not a status of this version of standpipe")
}
