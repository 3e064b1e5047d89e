//! `standpipe dead-letter …`: events that a destination refuses for certain.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use serde::Serialize;
use standpipe_wal::StreamName;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::lock::DirLock;

use super::human;
use super::output::{self, Style};
use super::place::PlaceArgs;
use super::table::{Align, Cell, Table};
use super::wal::look::Place;
use crate::admin::dead_letters::{Handled, drop_all};
use crate::admin::{client, dead_letters};
use crate::dead_letters::letter::Details;
use crate::dead_letters::{DeadLetters, Letter};

/// The longest reason in a table.
const REASON_CHARS_MAX: usize = 72;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the streams that have dead letters, or the letters of one
    List(List),
    /// Print the event of a dead letter exactly as it was accepted
    Show(Show),
    /// Append the letters of a stream to it again, through the running agent, and remove them
    Replay(Change),
    /// Remove the letters of a stream for ever
    Drop(Change),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The stream
    stream: Option<StreamName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The stream
    stream: StreamName,
    /// The event's offset, as `list` shows it
    offset: u64,
    /// Print what is known about the letter as well, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// The stream
    stream: StreamName,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What is printed about a letter.
#[derive(Serialize)]
struct Row<'a> {
    stream: &'a str,
    offset: u64,
    #[serde(with = "crate::status::rfc3339")]
    time: std::time::SystemTime,
    bytes: usize,
    raw: bool,
    #[serde(flatten)]
    details: &'a Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> Row<'a> {
    fn of(stream: &'a StreamName, letter: &'a Letter) -> Self {
        Self {
            stream: stream.as_str(),
            offset: letter.offset.get(),
            time: UNIX_EPOCH + Duration::from_millis(letter.time_ms),
            bytes: letter.payload.len(),
            raw: letter.flags.raw,
            details: &letter.details,
            payload: None,
            payload_base64: None,
        }
    }
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list(args),
        Command::Show(args) => show(args),
        Command::Replay(args) => change(args, "replay"),
        Command::Drop(args) => change(args, "drop"),
    }
}

/// The letters below a data directory, to be looked at.
fn open(place: &Place) -> DeadLetters {
    DeadLetters::new(Arc::new(RealFs), &place.data_dir, 0, 0)
}

fn read(letters: &DeadLetters, stream: &StreamName) -> anyhow::Result<Vec<Letter>> {
    let mut found = Vec::new();
    let take = |letter| {
        found.push(letter);
        Ok::<_, io::Error>(())
    };
    let strange = letters.read(stream, u64::MAX, take);
    let strange = strange.with_context(|| format!("read the dead letters of {stream}"))?;
    if strange > 0 {
        let note = format!("{stream}: {strange} bytes among the dead letters are none of them");
        // There is nobody left to tell where this fails.
        let _unseen = writeln!(io::stderr().lock(), "note: {note}").is_err();
    }
    Ok(found)
}

fn list(args: &List) -> anyhow::Result<()> {
    let letters = open(&args.place.place()?);
    let streams = match &args.stream {
        Some(stream) => vec![stream.clone()],
        None => letters.streams().context("list the dead letters")?,
    };
    let mut found = Vec::new();
    for stream in streams {
        let letters = read(&letters, &stream)?;
        found.push((stream, letters));
    }
    if args.json {
        let rows = found.iter().flat_map(|(stream, letters)| {
            letters.iter().map(move |letter| Row::of(stream, letter))
        });
        return output::print_json(&rows.collect::<Vec<_>>());
    }
    found.retain(|(_, letters)| !letters.is_empty());
    if found.is_empty() {
        return output::print("no dead letters\n");
    }
    let table = if args.stream.is_some() { of_letters(&found) } else { of_streams(&found) };
    output::print(&table.render(output::colors()))
}

fn of_streams(found: &[(StreamName, Vec<Letter>)]) -> Table {
    let mut table = Table::new(&[
        ("STREAM", Align::Left),
        ("LETTERS", Align::Right),
        ("BYTES", Align::Right),
        ("OLDEST", Align::Left),
        ("NEWEST", Align::Left),
        ("LAST REASON", Align::Left),
    ]);
    for (stream, letters) in found {
        let bytes: usize = letters.iter().map(|letter| letter.payload.len()).sum();
        let [oldest, newest] = [letters.first(), letters.last()].map(|letter| letter.map(time));
        let reason = letters.last().map(|letter| short(&letter.details.reason));
        table.row([
            Cell::new(stream.as_str()),
            Cell::styled(human::count(letters.len() as u64), Style::Warning),
            Cell::new(human::bytes(bytes as u64)),
            Cell::new(oldest.unwrap_or_default()),
            Cell::new(newest.unwrap_or_default()),
            Cell::new(reason.unwrap_or_default()),
        ]);
    }
    table
}

fn of_letters(found: &[(StreamName, Vec<Letter>)]) -> Table {
    let mut table = Table::new(&[
        ("OFFSET", Align::Right),
        ("TIME", Align::Left),
        ("BYTES", Align::Right),
        ("DELIVERY STREAM", Align::Left),
        ("REASON", Align::Left),
    ]);
    for letter in found.iter().flat_map(|(_, letters)| letters) {
        table.row([
            Cell::new(letter.offset.to_string()),
            Cell::new(time(letter)),
            Cell::new(human::bytes(letter.payload.len() as u64)),
            Cell::new(&letter.details.destination),
            Cell::new(short(&letter.details.reason)),
        ]);
    }
    table
}

fn time(letter: &Letter) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(letter.time_ms);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A reason on one line, no longer than a table can bear.
fn short(reason: &str) -> String {
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= REASON_CHARS_MAX {
        return line;
    }
    line.chars().take(REASON_CHARS_MAX - 1).chain(['…']).collect()
}

fn show(args: &Show) -> anyhow::Result<()> {
    let letters = read(&open(&args.place.place()?), &args.stream)?;
    let letter = letters.into_iter().rev().find(|letter| letter.offset.get() == args.offset);
    let letter = letter.with_context(|| {
        let (stream, offset) = (&args.stream, args.offset);
        format!(
            "{stream} has no dead letter of offset {offset}: see `standpipe dead-letter list {stream}`"
        )
    })?;
    if args.json {
        let mut row = Row::of(&args.stream, &letter);
        let text = std::str::from_utf8(&letter.payload).ok();
        row.payload = text.map(str::to_owned);
        if text.is_none() {
            row.payload_base64 = Some(base64_simd::STANDARD.encode_to_string(&letter.payload));
        }
        return output::print_json(&row);
    }
    io::stdout().lock().write_all(&letter.payload).context("write to standard output")
}

fn change(args: &Change, action: &str) -> anyhow::Result<()> {
    let place = args.place.place()?;
    let letters = open(&place);
    let count = read(&letters, &args.stream)?.len();
    if count == 0 {
        anyhow::bail!("{} has no dead letters", args.stream);
    }
    if !args.yes {
        ask(&args.stream, count, action)?;
    }
    let path = format!("{}/{}/{action}", dead_letters::PATH, args.stream);
    let handled = match client::post(&place.admin, &path)? {
        Some(handled) => handled,
        None if action == "drop" => drop_stopped(&place, &letters, &args.stream)?,
        None => anyhow::bail!(
            "no agent runs at {}: start it and replay again, only it can append to the log",
            place.admin.display()
        ),
    };
    if args.json {
        return output::print_json(&handled);
    }
    let (count, bytes) = (human::count(handled.letters), human::bytes(handled.bytes));
    let stream = &args.stream;
    output::print(&match action {
        "drop" => format!("dropped {count} dead letters of {stream} ({bytes})\n"),
        _ => format!("{count} dead letters are durable in {stream} again and left the pile\n"),
    })
}

fn drop_stopped(
    place: &Place,
    letters: &DeadLetters,
    stream: &StreamName,
) -> anyhow::Result<Handled> {
    let _lock = DirLock::acquire(&place.data_dir)
        .context("an agent is starting or does not answer; nothing was dropped")?;
    drop_all(letters, stream).with_context(|| format!("drop the dead letters of {stream}"))
}

fn ask(stream: &StreamName, count: usize, action: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        anyhow::bail!("{action} of {count} dead letters of {stream}: say --yes to do it");
    }
    output::print(&format!("{action} {count} dead letters of {stream}? [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("read the answer")?;
    anyhow::ensure!(matches!(answer.trim(), "y" | "yes"), "nothing was done");
    Ok(())
}
