//! `standpipe wal export`: the events of streams in files of their own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use standpipe_wal::{Offset, StreamName};

use super::super::output::{self, Style};
use super::super::table::{Align, Cell, Table};
use super::cat::format::{Format, Printer};
use super::look::{Agent, Place};
use super::progress::{Counted, Progress};
use super::read::{Reader, extent};
use super::seen::Seen;
use crate::cli::place::PlaceArgs;
use crate::cli::{EXIT_FAILURE, EXIT_OK, human};

/// Whoever may not read the log may not read what is exported from it either.
const FILE_MODE: u32 = 0o640;

const BUFFER_BYTES: usize = 256 * 1024;

const AFTER_HELP: &str = "\
A file holds the payloads, each followed by a newline, so that it can be sent again:
`standpipe send STREAM < STREAM.log`. It has its name only when it is complete and synced; a file
that is there is never replaced. Of a running agent's log, what is durable now is exported.

Exit codes: 0 everything was exported, 1 some events were lost to damage, or it failed (standard
error says why), 2 the command line is wrong.";

/// Write the events of streams to files, one per stream
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::cli) struct Args {
    /// The streams; all of them unless named
    streams: Vec<StreamName>,

    /// The directory; made where it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Begin at this offset
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,

    /// End before this offset
    #[arg(long, value_name = "OFFSET")]
    until: Option<u64>,

    /// Compress with gzip
    #[arg(long)]
    gzip: bool,

    /// End each event with a zero byte instead of a newline
    #[arg(long, short = '0', conflicts_with = "objects")]
    null: bool,

    /// Write a JSON object per event, as `wal cat --json` does: it holds every byte, and the time
    #[arg(long)]
    objects: bool,

    /// Print the summary as JSON for programs
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    running: bool,
    agent: Agent,
    files: Vec<Exported>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A file that was written.
#[derive(Serialize)]
struct Exported {
    stream: String,
    file: PathBuf,
    from: u64,
    until: u64,
    events: u64,
    /// Of the file.
    bytes: u64,
    lost_events: u64,
    /// Events that hold the byte that ends an event: read back, they are more events.
    ambiguous_events: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let place = args.place.place()?;
    let seen = Seen::at(&place)?;
    let streams = place.streams(&args.streams)?;
    fs::create_dir_all(&args.to).with_context(|| format!("create {}", args.to.display()))?;
    let files: Vec<_> = streams.iter().map(|stream| args.path(stream)).collect();
    // Before hours are spent on the first of them.
    if let Some(taken) = files.iter().find(|file| file.exists()) {
        anyhow::bail!(
            "{} is there already; move it away, or export to another directory",
            taken.display()
        );
    }
    let mut exported = Vec::with_capacity(streams.len());
    for (stream, file) in streams.iter().zip(files) {
        let done = export(args, &place, stream, &file);
        exported.push(done.with_context(|| format!("export stream {stream}"))?);
    }
    let lost: u64 = exported.iter().map(|file| file.lost_events).sum();
    if args.json {
        output::print_json(&Report {
            running: seen.agent == Agent::Running,
            agent: seen.agent,
            files: exported,
            notes: seen.notes,
        })?;
    } else {
        output::print(&(seen.heading(&place) + &render(&exported, output::colors())))?;
    }
    Ok(if lost == 0 { EXIT_OK } else { EXIT_FAILURE })
}

impl Args {
    fn path(&self, stream: &StreamName) -> PathBuf {
        let kind = if self.objects { "jsonl" } else { "log" };
        let gzip = if self.gzip { ".gz" } else { "" };
        self.to.join(format!("{stream}.{kind}{gzip}"))
    }
}

/// Writes one file.
fn export(
    args: &Args,
    place: &Place,
    stream: &StreamName,
    path: &Path,
) -> anyhow::Result<Exported> {
    let mut extent = extent(place, stream)?;
    let from = Offset::new(args.from.unwrap_or(0)).max(extent.oldest);
    if let Some(until) = args.until {
        extent.until = extent.until.min(Offset::new(until));
    }
    let file = Unfinished::create(path)?;
    let (format, end) = match (args.objects, args.null) {
        (true, _) => (Format::Json, b'\n'),
        (false, true) => (Format::Raw, b'\0'),
        (false, false) => (Format::Raw, b'\n'),
    };
    let gzip = args.gzip.then(Compression::default);
    let printer = Printer::new(Output::new(file.handle()?, gzip), format, end);
    let there = extent.until.get().saturating_sub(from.get());
    let mut taker = Counted::new(printer, Progress::of_events(there, stream.as_str()));
    Reader::new(place, stream, from).read(&extent, &mut u64::MAX.clone(), &mut taker)?;
    let Counted { taker: printer, events, .. } = taker;
    let (lost_events, ambiguous_events) = (printer.lost(), printer.ambiguous());
    printer.into_inner().finish().with_context(|| format!("write {}", file.path.display()))?;
    let bytes = file.finish(path)?;
    Ok(Exported {
        stream: stream.to_string(),
        file: path.to_owned(),
        from: from.get(),
        until: extent.until.get().max(from.get()),
        events,
        bytes,
        lost_events,
        ambiguous_events,
    })
}

/// Where the bytes go.
enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<BufWriter<GzEncoder<File>>>),
}

impl Output {
    fn new(file: File, gzip: Option<Compression>) -> Self {
        match gzip {
            None => Self::Plain(BufWriter::with_capacity(BUFFER_BYTES, file)),
            Some(level) => {
                let encoder = GzEncoder::new(file, level);
                Self::Gzip(Box::new(BufWriter::with_capacity(BUFFER_BYTES, encoder)))
            }
        }
    }

    /// Writes what is left.
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut writer) => writer.flush(),
            Self::Gzip(writer) => (*writer).into_inner()?.finish().map(|_file| ()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
        }
    }
}

/// A file that is not complete; removed unless it is finished.
struct Unfinished {
    file: File,
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// Beside the file that it will be.
    fn create(path: &Path) -> anyhow::Result<Self> {
        let path = path.with_added_extension(format!("part.{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(FILE_MODE).open(&path);
        let file = file.with_context(|| format!("create {}", path.display()))?;
        Ok(Self { file, path, finished: false })
    }

    fn handle(&self) -> anyhow::Result<File> {
        Ok(self.file.try_clone()?)
    }

    /// Syncs it and gives it its name, which nobody else may have taken meanwhile. Returns its
    /// size.
    fn finish(mut self, path: &Path) -> anyhow::Result<u64> {
        let shown = || path.display();
        self.file.sync_all().with_context(|| format!("sync {}", self.path.display()))?;
        let bytes = self.file.metadata()?.len();
        // Unlike a rename, a link never replaces anything.
        fs::hard_link(&self.path, path).with_context(|| format!("name {}", shown()))?;
        fs::remove_file(&self.path).with_context(|| format!("remove {}", self.path.display()))?;
        self.finished = true;
        let dir = path.parent().unwrap_or(path);
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.with_context(|| format!("sync {}", dir.display()))?;
        Ok(bytes)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let _gone = fs::remove_file(&self.path).is_ok();
        }
    }
}

fn render(files: &[Exported], colors: bool) -> String {
    if files.is_empty() {
        return "no streams yet\n".to_owned();
    }
    let mut table = Table::new(&[
        ("STREAM", Align::Left),
        ("FROM", Align::Right),
        ("UNTIL", Align::Right),
        ("EVENTS", Align::Right),
        ("SIZE", Align::Right),
        ("LOST", Align::Right),
        ("FILE", Align::Left),
    ]);
    for file in files {
        let style = if file.lost_events > 0 { Style::Bad } else { Style::Plain };
        table.row([
            Cell::new(&file.stream),
            Cell::new(human::count(file.from)),
            Cell::new(human::count(file.until)),
            Cell::new(human::count(file.events)),
            Cell::new(human::bytes(file.bytes)),
            Cell::styled(human::count(file.lost_events), style),
            Cell::new(file.file.display().to_string()),
        ]);
    }
    let mut text = format!("\n{}", table.render(colors));
    for file in files.iter().filter(|file| file.ambiguous_events > 0) {
        let events = human::count(file.ambiguous_events);
        let warning = format!(
            "note: {}: {events} events hold the byte that ends an event; use --null or --objects to \
             keep them whole\n",
            file.stream
        );
        text += &warning;
    }
    text
}
