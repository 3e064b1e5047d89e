//! What runs inside of the machine beside the agent: clients that say what was acknowledged.

use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::client::{Answer, connect};

/// The first argument that makes this program the clients.
pub(crate) const ROLE: &str = "guest";

/// Before each line that is meant for the outside.
const MARK: &str = "@ ";

pub(crate) const STREAMS: u64 = 4;

/// How many lines are sent before the answer to the first is awaited.
const BURST: u64 = 20;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What the inside says to the outside.
#[derive(Debug)]
pub(crate) enum Said {
    /// In this life and stream everything before a number is acknowledged.
    Acknowledged { stream: u64, before: u64 },
    /// Everything that is in the log was delivered.
    Delivered,
}

impl Said {
    /// From a line of the console; `None` of one that is the kernel's, the agent's, or cut off.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let said = line.trim_end().strip_prefix(MARK)?.strip_suffix(" .")?;
        if said == "delivered" {
            return Some(Self::Delivered);
        }
        let (stream, before) = said.split_once(' ')?;
        Some(Self::Acknowledged { stream: stream.parse().ok()?, before: before.parse().ok()? })
    }

    fn say(&self) {
        match self {
            Self::Acknowledged { stream, before } => println!("{MARK}{stream} {before} ."),
            Self::Delivered => println!("{MARK}delivered ."),
        }
    }
}

/// An event: told apart from all others by its beginning, and checked by the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) life: u64,
    pub(crate) stream: u64,
    pub(crate) number: u64,
}

impl Event {
    fn text(self) -> String {
        let Self { life, stream, number } = self;
        let mut random = fastrand::Rng::with_seed((life << 48) ^ (stream << 40) ^ number);
        let length = if random.u8(..50) == 0 { 20_000 } else { random.usize(..2000) };
        let padding = std::iter::repeat_with(|| random.alphanumeric()).take(length);
        format!("{life} {stream} {number} {}", padding.collect::<String>())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(str::parse);
        let mut next = || words.next()?.ok();
        let event = Self { life: next()?, stream: next()?, number: next()? };
        (event.text() == text).then_some(event)
    }
}

/// Sends to every stream and says what was acknowledged: for ever, or one burst each, and then
/// waits until everything is delivered.
pub(crate) fn run(socket: &str, life: u64, drain: bool) {
    thread::scope(|scope| {
        for stream in 0..STREAMS {
            scope.spawn(move || send(socket, life, stream, drain));
        }
    });
    while !is_delivered() {
        thread::sleep(BETWEEN_LOOKS);
    }
    Said::Delivered.say();
}

fn send(socket: &str, life: u64, stream: u64, once: bool) {
    let (mut writer, mut answers) = connect(socket).unwrap();
    let mut next = 0;
    let mut acknowledged = 0;
    loop {
        let lines: Vec<_> = (next..next + BURST)
            .map(|number| format!("stream-{stream} {}\n", Event { life, stream, number }.text()))
            .collect();
        writer.write_all(lines.concat().as_bytes()).unwrap();
        next += BURST;
        // The next burst goes while the end of this one is not answered yet.
        let enough = if once { next } else { next - BURST / 2 };
        while acknowledged < enough {
            match answers.next().unwrap() {
                Answer::Ack(before) => acknowledged = before,
                Answer::Nak(number, reason) => panic!("{number} was refused: {reason}"),
            }
            Said::Acknowledged { stream, before: acknowledged }.say();
        }
        if once {
            return;
        }
    }
}

fn is_delivered() -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    let output = command.args(["wal", "stat", "--json", "--data-dir", "/run/disk/data"]).output();
    let stat: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let streams = stat["streams"].as_array().unwrap();
    streams.len() as u64 == STREAMS
        && streams.iter().all(|stream| stream["committed"] == stream["next"])
}
