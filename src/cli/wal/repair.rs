//! `standpipe wal repair`: the one command here that writes, and only when it is told to.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::Serialize;
use standpipe_wal::fs::Fs;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::limits::SEGMENT_BYTES_DEFAULT;
use standpipe_wal::lock::DirLock;
use standpipe_wal::log::OsEntropy;
use standpipe_wal::repair::{Repaired, repair};
use standpipe_wal::{Error, Offset, Options, StreamName};

use super::super::output;
use super::look::{Agent, Place, committed};
use super::progress::Progress;
use super::seen::Seen;
use super::verify::report::{Report, StreamReport};
use super::verify::{check, text};
use crate::cli::place::PlaceArgs;
use crate::cli::{EXIT_FAILURE, EXIT_OK, human};

const AFTER_HELP: &str = "\
The agent must be stopped. Everything that is taken out is kept in the stream's directory quarantine/,
which nothing ever cleans up. Events that are lost stay lost and are counted when the agent comes to
them; `wal verify` finds no damage afterwards.

Exit codes: 0 there is no damage (any more), 1 there is, or it failed (standard error says why),
2 the command line is wrong.";

/// Take damage out of the log of a stopped agent
///
/// Checks the log as `wal verify` does, says what it will do, asks, and does it: what the next start
/// would do anyway, and then damaged segments are written again without what is damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Args {
    /// The streams; all of them unless named
    streams: Vec<StreamName>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    dry_run: bool,
    /// Whether there is no damage (any more).
    clean: bool,
    /// What was found before.
    before: Report,
    /// What was done, by stream.
    repaired: BTreeMap<String, Done>,
}

#[derive(Serialize)]
struct Done {
    /// Segments that were written again without what is damaged.
    rewritten_segments: Vec<PathBuf>,
    /// Files that were moved to the quarantine.
    set_aside: Vec<PathBuf>,
    /// Copies of what was taken out.
    kept: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let place = args.place.place()?;
    let seen = Seen::at(&place)?;
    let _lock = (!args.dry_run).then(|| lock(&place, &seen)).transpose()?;
    let streams = place.streams(&args.streams)?;
    let before = check(&place, seen, &streams)?;
    if !args.json {
        let plan = before.seen.heading(&place) + &plan(&before);
        output::print(&plan)?;
    }
    let mut repaired = BTreeMap::new();
    let mut clean = before.clean;
    if !clean && !args.dry_run {
        anyhow::ensure!(args.yes || ask()?, "nothing was changed");
        repaired = mend(&place, &before)?;
        clean = check(&place, Seen::at(&place)?, &streams)?.clean;
        if !args.json {
            output::print(&done(&repaired, clean))?;
        }
    }
    if args.json {
        output::print_json(&Outcome { dry_run: args.dry_run, clean, before, repaired })?;
    }
    Ok(if clean { EXIT_OK } else { EXIT_FAILURE })
}

/// Keeps an agent from starting meanwhile.
fn lock(place: &Place, seen: &Seen) -> anyhow::Result<DirLock> {
    let dir = place.data_dir.display();
    if seen.agent != Agent::Stopped {
        let process = seen.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        anyhow::bail!(
            "an agent{process} has {dir}; stop it first, or look at what a repair would do with --dry-run"
        );
    }
    // An agent could not read what somebody else has written.
    let owner = std::fs::metadata(&place.data_dir).with_context(|| format!("look at {dir}"))?.uid();
    let user = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        owner == user,
        "{dir} belongs to user {owner}, and this is user {user}: run it as that user (sudo -u '#{owner}' …)"
    );
    match DirLock::acquire(&place.data_dir) {
        Err(Error::Locked { .. }) => {
            anyhow::bail!("an agent has just started in {dir}; stop it first")
        }
        acquired => Ok(acquired?),
    }
}

/// What was found, and what will be done about it.
fn plan(before: &Report) -> String {
    if before.clean {
        return text::render(before, output::colors()) + "there is nothing to repair\n";
    }
    let mut plan = text::render(before, output::colors());
    plan += "\nA repair does what the next start would do, and then:\n";
    for stream in before.streams.iter().filter(|stream| !stream.clean) {
        let damaged =
            stream.segments.iter().filter(|one| one.header_damaged || !one.damage.is_empty());
        for segment in damaged {
            let events = human::count(segment.events);
            plan += &[
                "  writes ",
                &stream.stream,
                "/",
                &segment.name,
                " again with the ",
                &events,
                " events that can be read\n",
            ]
            .concat();
        }
        for name in &stream.useless {
            plan += &["  moves ", &stream.stream, "/", name, " to quarantine/\n"].concat();
        }
    }
    plan + "  and keeps everything that it takes out in quarantine/ beside it.\n"
}

fn ask() -> anyhow::Result<bool> {
    let stdin = io::stdin();
    anyhow::ensure!(
        stdin.is_terminal(),
        "nothing was changed: there is nobody to ask; say --yes to repair"
    );
    output::print("\nRepair it now? [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn mend(place: &Place, before: &Report) -> anyhow::Result<BTreeMap<String, Done>> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let options =
        Options { segment_bytes: SEGMENT_BYTES_DEFAULT, entropy: Arc::new(OsEntropy), pool: None };
    let committed = committed(&place.data_dir, &mut Vec::new());
    let damaged = || before.streams.iter().filter(|stream| !stream.clean);
    let mut progress = Progress::of(damaged().map(|stream| stream.bytes).sum());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let mut repaired = BTreeMap::new();
    for StreamReport { stream: name, .. } in damaged() {
        progress.say(name);
        let stream: StreamName = name.parse().context("a stream's name")?;
        let committed = Offset::new(committed.get(&stream).copied().unwrap_or(0));
        let (dir, add) = (place.streams_dir(), &mut |bytes| progress.add(bytes));
        let done = repair(&fs, &dir, &stream, &options, committed, now_ms, add)
            .with_context(|| format!("repair the log of stream {stream}"))?;
        repaired.insert(name.clone(), Done::from(done));
    }
    Ok(repaired)
}

impl From<Repaired> for Done {
    fn from(repaired: Repaired) -> Self {
        let Repaired { recovery, segments, quarantined } = repaired;
        let mut kept = recovery.quarantined;
        kept.extend(
            quarantined.into_iter().filter(|path| !kept.contains(path)).collect::<Vec<_>>(),
        );
        Self { rewritten_segments: segments, set_aside: recovery.set_aside, kept }
    }
}

fn done(repaired: &BTreeMap<String, Done>, clean: bool) -> String {
    let mut text = String::from("\n");
    for (stream, done) in repaired {
        let segments = human::count(done.rewritten_segments.len() as u64);
        text += &[stream, ": ", &segments, " segments were written again; kept aside:\n"].concat();
        for path in done.set_aside.iter().chain(&done.kept) {
            text += &["  ", &path.display().to_string(), "\n"].concat();
        }
    }
    text + if clean {
        "the log is without damage now\n"
    } else {
        "there is still damage: `standpipe wal verify` says where\n"
    }
}
