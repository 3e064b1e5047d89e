//! `standpipe drain`: waits until everything that is in the log now is delivered.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use standpipe_wal::StreamName;

use super::place::PlaceArgs;
use super::wal::look::{self, Place};
use super::{EXIT_CODES, human, output};
use crate::admin::{Hurry, client};
use crate::config::value::Period;

mod progress;

use progress::{Progress, Stand};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Deliver everything that is in the log now, and wait for it
///
/// The agent is told to send what waits for a call to become full. What comes in meanwhile is not
/// waited for. Fails where a stream gets nowhere (which, why, since when), and after the time-out;
/// nothing is lost by that, the agent goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// How long to wait at most, like "30s" or "5m" [default: as long as something is delivered]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// Print the outcome as JSON for programs
    #[arg(long)]
    json: bool,

    /// These streams alone
    #[arg(value_name = "STREAM")]
    streams: Vec<StreamName>,
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let place = args.place.place()?;
    let wanted = Hurry { streams: args.streams.iter().map(ToString::to_string).collect() };
    let Some(first) = client::hurry(&place.admin, &wanted)? else {
        return without_agent(args, &place);
    };
    let began = Instant::now();
    let mut progress = Progress::new(&first, &args.streams);
    let bar = bar(progress.total());
    announce(&progress, bar.is_hidden() && !args.json)?;
    let stand = loop {
        let elapsed = began.elapsed();
        let snapshot = client::ask(&place.admin)?;
        let snapshot = snapshot.context("the agent has ended before everything was delivered")?;
        let stand = progress.look(&snapshot, elapsed);
        bar.set_position(progress.total() - progress.left());
        bar.set_message(progress.estimate(elapsed));
        let late = args.timeout.is_some_and(|timeout| elapsed >= timeout);
        if stand != Stand::Going || late {
            break stand;
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    bar.finish_and_clear();
    conclude(args, &progress, stand, began.elapsed())
}

/// A progress bar on standard error where that is a terminal.
fn bar(total: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_the_default_will_do) => bar,
    }
}

fn announce(progress: &Progress, aloud: bool) -> anyhow::Result<()> {
    if !aloud {
        return Ok(());
    }
    output::print(&format!("{} events are to be delivered\n", human::count(progress.total())))
}

fn conclude(
    args: &Args,
    progress: &Progress,
    stand: Stand,
    elapsed: Duration,
) -> anyhow::Result<()> {
    if args.json {
        output::print_json(&progress.report(stand, elapsed))?;
    }
    match stand {
        Stand::Done if args.json => Ok(()),
        Stand::Done => output::print(&format!(
            "delivered {} events in {}\n",
            human::count(progress.total()),
            human::age(elapsed.as_secs_f64())
        )),
        Stand::Stuck => anyhow::bail!("not everything was delivered: {}", progress.remains()),
        Stand::Going => anyhow::bail!(
            "not everything was delivered within {}: {}; {}",
            Period(args.timeout.unwrap_or_default()),
            progress.remains(),
            progress.estimate(elapsed)
        ),
    }
}

/// Nobody delivers anything; there may be nothing to deliver.
fn without_agent(args: &Args, place: &Place) -> anyhow::Result<()> {
    let sight = look::look(place)?;
    let wanted = |stream: &str| {
        args.streams.is_empty() || args.streams.iter().any(|name| name.as_str() == stream)
    };
    let streams = sight.streams.iter().filter(|stat| wanted(&stat.stream));
    let left: u64 = streams.map(|stat| stat.backlog_events).sum();
    anyhow::ensure!(
        left == 0,
        "no agent runs with {}, so nothing is delivered: {} events wait; start it",
        place.data_dir.display(),
        human::count(left)
    );
    output::print("no agent runs, and everything is delivered\n")
}
