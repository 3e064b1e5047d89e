//! One connection to an agent, after the hello.

use std::io;

use memchr::memrchr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Address;
use super::answer::Answer;
use crate::limits::{ANSWER_BYTES_MAX, CLIENT_CONNECT_MAX};

const HELLO: &[u8] = b"STANDPIPE/2 ack=durable frame=line\n";

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) enum Lost {
    /// It broke; another one may work.
    Broken(String),
    /// The other side says that it will not serve us.
    NotServed(String),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What the agent says.
pub(super) struct Answers {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What came, up to the unfinished last line.
    received: Vec<u8>,
}

/// What we say.
pub(super) struct Writer(Box<dyn AsyncWrite + Send + Unpin>);

/// Connects and says hello.
pub(super) async fn open(address: &Address) -> Result<(Answers, Writer), Lost> {
    let late = |what: &str| Lost::Broken(format!("{what} took too long"));
    let (reader, mut writer) = match timeout(CLIENT_CONNECT_MAX, connect(address)).await {
        Ok(connected) => connected?,
        Err(_elapsed) => return Err(late("connecting")),
    };
    let mut answers = Answers { reader, received: Vec::new() };
    writer.0.write_all(HELLO).await?;
    match timeout(CLIENT_CONNECT_MAX, answers.hello()).await {
        Ok(taken) => taken?,
        Err(_elapsed) => return Err(late("the answer to the hello")),
    }
    Ok((answers, writer))
}

async fn connect(address: &Address) -> io::Result<(Box<dyn AsyncRead + Send + Unpin>, Writer)> {
    match address {
        Address::Unix(path) => {
            let (reader, writer) = UnixStream::connect(path).await?.into_split();
            Ok((Box::new(reader), Writer(Box::new(writer))))
        }
        Address::Tcp(host) => {
            let socket = TcpStream::connect(host).await?;
            socket.set_nodelay(true)?;
            let (reader, writer) = socket.into_split();
            Ok((Box::new(reader), Writer(Box::new(writer))))
        }
    }
}

impl Writer {
    /// Writes some of it. Cancel safe.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        match self.0.write(bytes).await? {
            0 => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            written => Ok(written),
        }
    }
}

impl Answers {
    async fn hello(&mut self) -> Result<(), Lost> {
        let mut answers = Vec::new();
        while answers.is_empty() {
            answers = self.next().await?;
        }
        match answers.swap_remove(0) {
            Answer::Ok => Ok(()),
            Answer::Err(text) | Answer::Unknown(text) => Err(Lost::NotServed(text)),
            answer @ (Answer::Ack(_) | Answer::Nak { .. }) => {
                Err(Lost::NotServed(format!("{answer:?} before any line")))
            }
        }
    }

    /// Waits for more and returns the answers that are complete. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Vec<Answer>, Lost> {
        if self.reader.read_buf(&mut self.received).await? == 0 {
            return Err(Lost::Broken("the agent closed the connection".to_owned()));
        }
        let complete = memrchr(b'\n', &self.received).map_or(0, |end| end + 1);
        let rest = self.received.split_off(complete);
        let received = std::mem::replace(&mut self.received, rest);
        if self.received.len() > ANSWER_BYTES_MAX {
            return Err(Lost::NotServed("a line without an end".to_owned()));
        }
        let lines = received.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| Answer::parse(line.strip_suffix(b"\r").unwrap_or(line))).collect())
    }
}
