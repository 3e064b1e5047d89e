//! A client in acknowledged mode, written against `docs/PROTOCOL.md` and nothing of the agent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// An answer to lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All lines up to this one are durable or were refused.
    Ack(u64),
    /// This line was refused.
    Nak(u64, String),
}

/// The half that sends.
pub(crate) type Writer = Box<dyn Write + Send>;

/// The half that hears.
pub(crate) struct Answers(BufReader<Box<dyn Read + Send>>);

/// Connects to where an agent says that it listens, and says hello.
///
/// # Errors
/// Where the agent is not there, or goes away meanwhile.
pub(crate) fn connect(address: &str) -> io::Result<(Writer, Answers)> {
    let (reader, mut writer): (Box<dyn Read + Send>, Writer) =
        if let Some(path) = address.strip_prefix("unix://") {
            let stream = UnixStream::connect(path)?;
            (Box::new(stream.try_clone()?), Box::new(stream))
        } else {
            let host = address.strip_prefix("tcp://").expect("an address");
            let stream = TcpStream::connect(host)?;
            stream.set_nodelay(true)?;
            (Box::new(stream.try_clone()?), Box::new(stream))
        };
    writer.write_all(b"STANDPIPE/2 ack=durable\n")?;
    let mut answers = Answers(BufReader::new(reader));
    let hello = answers.line()?;
    assert!(hello.starts_with("OK "), "the hello was answered with {hello:?}");
    Ok((writer, answers))
}

impl Answers {
    /// Waits for the next answer.
    ///
    /// # Errors
    /// Where the connection ends.
    pub(crate) fn next(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let (word, rest) = line.split_once(' ').expect(&line);
        let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = number.parse().expect(&line);
        match word {
            "ACK" => Ok(Answer::Ack(number)),
            "NAK" => Ok(Answer::Nak(number, text.to_owned())),
            _ => panic!("an answer of another kind: {line:?}"),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(whole) => Ok(whole.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
