//! `standpipe wal cat`: the events themselves.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use standpipe_wal::{Offset, StreamName};

use super::super::output;
use super::look::{Agent, Place};
use super::progress::{Counted, Progress};
use super::read::{Extent, Reader, extent};
use crate::cli::place::PlaceArgs;
use crate::cli::{EXIT_FAILURE, EXIT_OK};

pub(super) mod format;

use format::{Format, Printer};

/// How often a log is looked at that gets nothing new, at first and after a while.
const WAIT_MIN: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
Of a running agent's log, only what is durable is printed: an agent that is killed forgets none of
it. Of a stopped one's, everything that can be read. What cannot be read is named on standard error
(with --json among the events), and reading goes on behind it.

Exit codes: 0 every event of the range was printed, 1 some were lost to damage, or it failed
(standard error says why), 2 the command line is wrong.";

/// Print the events of a stream
///
/// Each event as it was sent, followed by a newline. Begins at the oldest event in the log, and
/// writes nothing below the data directory.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::cli) struct Args {
    /// The stream
    stream: StreamName,

    /// Begin at this offset
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,

    /// Begin this many events before the end
    #[arg(long, value_name = "N", conflicts_with = "from")]
    last: Option<u64>,

    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Wait for more events at the end, also while the agent is stopped
    #[arg(long, short)]
    follow: bool,

    /// Print the offset and the time of ingest before each event
    #[arg(long, conflicts_with = "json")]
    with_offsets: bool,

    /// End each event with a zero byte instead of a newline
    #[arg(long, short = '0', conflicts_with = "json")]
    null: bool,

    /// Print a JSON object per event: offset, time, and payload (`payload_base64` if it is not UTF-8)
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let place = args.place.place()?;
    let begin = extent(&place, &args.stream)?;
    let until = begin.until.get();
    let from = match (args.from, args.last) {
        (Some(from), _) => from,
        (None, Some(last)) => until.saturating_sub(last).max(begin.oldest.get()),
        (None, None) => begin.oldest.get(),
    };
    let format = match (args.json, args.with_offsets) {
        (true, _) => Format::Json,
        (false, true) => Format::WithOffsets,
        (false, false) => Format::Raw,
    };
    let end = if args.null { b'\0' } else { b'\n' };
    let left = args.count.unwrap_or(u64::MAX);
    // On a terminal the events themselves show how far it is, and nobody knows the end of --follow.
    let progress = if args.follow || io::stdout().is_terminal() {
        Progress::none()
    } else {
        Progress::of_events(until.saturating_sub(from).min(left), args.stream.as_str())
    };
    let printer = Printer::new(BufWriter::new(io::stdout().lock()), format, end);
    let mut cat = Cat {
        place: &place,
        reader: Reader::new(&place, &args.stream, Offset::new(from)),
        left,
        printer: Counted::new(printer, progress),
    };
    match cat.run(begin, &args.stream, args.follow) {
        // Whoever closed the pipe has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(EXIT_OK),
        Err(error) => Err(error),
        Ok(()) if cat.printer.taker.lost() > 0 => Ok(EXIT_FAILURE),
        Ok(()) => Ok(EXIT_OK),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What the command is about to do.
struct Cat<'a> {
    place: &'a Place,
    reader: Reader,
    left: u64,
    printer: Counted<Printer<BufWriter<StdoutLock<'a>>>>,
}

impl Cat<'_> {
    fn run(&mut self, begin: Extent, stream: &StreamName, follow: bool) -> anyhow::Result<()> {
        let mut now = begin;
        let mut wait = WAIT_MIN;
        loop {
            let before = self.reader.offset();
            self.reader.read(&now, &mut self.left, &mut self.printer)?;
            self.printer.taker.flush()?;
            if !follow || self.left == 0 {
                return Ok(());
            }
            let moved = self.reader.offset() > before;
            wait = if moved { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
            if reader_is_gone(wait)? {
                return Ok(());
            }
            now = self.look(now, stream);
        }
    }

    /// How far the log can be read now.
    fn look(&mut self, before: Extent, stream: &StreamName) -> Extent {
        let now = match extent(self.place, stream) {
            // While it starts, nobody knows what is durable, and what was stays so. An agent that
            // has just started may not know the stream yet.
            Err(_not_yet) => return before,
            Ok(now) if now.agent == Agent::Starting => return before,
            Ok(now) => now,
        };
        if now.until < self.reader.offset() && now.agent == Agent::Running {
            // No offset is given out twice in the life of a log.
            let (at, oldest) = (self.reader.offset(), now.oldest);
            output::note(&format!(
                "the log ends before offset {at}: it was begun anew; going on at {oldest}"
            ));
            self.reader = Reader::new(self.place, stream, oldest);
        }
        now
    }
}

/// Waits, and returns early where nobody reads standard output any more: with nothing to write,
/// nothing else would say so.
fn reader_is_gone(wait: Duration) -> anyhow::Result<bool> {
    let stdout = io::stdout();
    // No events are asked for: hang-ups and errors are always reported.
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let wait = Timespec::try_from(wait)?;
    match poll(&mut watched, Some(&wait)) {
        Err(rustix::io::Errno::INTR) => Ok(false),
        ready => Ok(ready? > 0),
    }
}
