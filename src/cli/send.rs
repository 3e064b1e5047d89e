//! `standpipe send`: lines from standard input to an agent, each acknowledged or refused.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use standpipe_wal::StreamName;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::input::Read;
use super::{human, output};
use crate::client::lines::Block;
use crate::client::{self, Address, Options, Tally};
use crate::config::value::Size;

mod input;

const AFTER_HELP: &str = "\
Each line of standard input becomes one event, byte for byte, without its line feed. Empty lines
are skipped and counted. When the connection is lost, what was not acknowledged is sent again.

Exit codes: 0 every line was acknowledged, 1 some was not (standard error says why).";

/// The options of `send`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The stream
    stream: StreamName,
    #[arg(
        long,
        help = "Where the agent listens: unix:///PATH or tcp://HOST:PORT",
        value_name = "URL",
        env = "STANDPIPE_TO",
        default_value = "unix:///run/standpipe/standpipe.sock"
    )]
    to: Address,
    /// How much may be on its way without an acknowledgement
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    window: usize,
    /// How long to try without an acknowledgement before giving up
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Print the summary as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Print neither progress nor summary
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

fn size(text: &str) -> Result<usize, String> {
    let size: bytesize::ByteSize = text.parse()?;
    match Size(size.as_u64()).in_memory() {
        0 => Err("a window has at least one byte".to_owned()),
        bytes => Ok(bytes),
    }
}

/// What came of it, for programs.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    stream: &'a str,
    to: String,
    seconds: f64,
    #[serde(flatten)]
    tally: &'a Tally,
    /// Lines that were neither acknowledged nor refused.
    unanswered: u64,
    skipped_empty: u64,
    skipped_too_large: u64,
    /// Why it ended early, if it did.
    error: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(send(args))
}

async fn send(args: &Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (blocks, read) = input::start(&args.stream)?;
    let bar = if args.quiet { ProgressBar::hidden() } else { progress_bar() };
    let options =
        Options { address: args.to.clone(), window_bytes: args.window, patience: args.patience };
    let mut tally = Tally::default();
    let progress = |now: &Tally| {
        bar.set_position(now.done_bytes);
        bar.set_message(message(now));
        tally.clone_from(now);
    };
    let sent = until_interrupted(&options, blocks, progress).await;
    bar.finish_and_clear();
    let read = read.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = sent.and_then(|()| complaint(&tally, &read).map_or(Ok(()), Err));
    let summary = Summary {
        stream: args.stream.as_str(),
        to: args.to.to_string(),
        seconds: begun.elapsed().as_secs_f64(),
        tally: &tally,
        unanswered: tally.unanswered(),
        skipped_empty: read.skipped.empty,
        skipped_too_large: read.skipped.too_large,
        error: outcome.as_ref().err().map(|error| format!("{error:#}")),
    };
    if args.json {
        output::print_json(&summary)?;
    } else if !args.quiet {
        output::print(&summary.text())?;
    }
    outcome
}

/// Why the command fails although everything was answered.
fn complaint(tally: &Tally, read: &Read) -> Option<anyhow::Error> {
    if let Some(failure) = &read.error {
        return Some(anyhow!("cannot read standard input: {failure}"));
    }
    let refused = tally.refused_lines() + read.skipped.too_large;
    (refused > 0).then(|| anyhow!("{} lines were refused", human::count(refused)))
}

/// Sends until all is answered. The first interrupt ends the input and lets the answers come, the
/// second ends everything.
async fn until_interrupted(
    options: &Options,
    mut blocks: mpsc::Receiver<Block>,
    progress: impl FnMut(&Tally),
) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let (forward, input) = mpsc::channel(1);
    let interrupted = Cell::new(false);
    // The thread that reads cannot be interrupted. So its blocks go through here, where the input
    // can end without it.
    let forwarding = async {
        let all = async {
            while let Some(block) = blocks.recv().await {
                if forward.send(block).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = all => {}
            () = interrupts.next() => interrupted.set(true),
        }
        drop(forward);
        interrupts.next().await;
    };
    tokio::select! {
        sent = client::send(options, input, progress) => sent?,
        () = forwarding => bail!("interrupted before all was answered"),
    };
    if interrupted.get() {
        bail!("interrupted before the end of the input");
    }
    Ok(())
}

/// The signals with which people and service managers end a program.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// On standard error, where that is a terminal. A file shows how much of it is done.
fn progress_bar() -> ProgressBar {
    let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let length = file.and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len());
    let (bar, template) = if length > 0 {
        let template = "{bar:30} {percent:>3} % {bytes_per_sec:>14} {eta:>4}  {msg}";
        (ProgressBar::new(length), template)
    } else {
        (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}  {msg}")
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_the_default_will_do) => bar,
    }
}

fn message(tally: &Tally) -> String {
    let mut text = format!("{} acknowledged", human::count(tally.acknowledged));
    for (lines, word) in [
        (tally.refused_lines(), "refused"),
        (tally.unanswered(), "on their way"),
        (tally.reconnects, "reconnects"),
    ] {
        if lines > 0 {
            append(&mut text, format_args!(", {} {word}", human::count(lines)));
        }
    }
    text
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    // A string takes whatever it is given.
    let _written = text.write_fmt(more).is_ok();
}

impl Summary<'_> {
    fn text(&self) -> String {
        let tally = self.tally;
        let seconds = human::age(self.seconds);
        let mut text = format!("{}: {} lines in {seconds}", self.stream, human::count(tally.lines));
        for (lines, word) in [
            (tally.acknowledged, "acknowledged"),
            (self.unanswered, "not answered"),
            (tally.resent, "sent again"),
            (self.skipped_empty, "empty lines skipped"),
            (self.skipped_too_large, "too large to be sent"),
            (tally.reconnects, "reconnects"),
        ] {
            if lines > 0 {
                append(&mut text, format_args!(", {} {word}", human::count(lines)));
            }
        }
        text.push('\n');
        for (code, lines) in &tally.refused {
            let reason = tally.reasons.get(code).map_or("", String::as_str);
            let lines = human::count(*lines);
            append(&mut text, format_args!("  refused {lines}: {code}: {reason}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::lines::Skipped;

    fn tally() -> Tally {
        Tally {
            lines: 1_000,
            acknowledged: 990,
            refused: [("full".to_owned(), 4)].into(),
            reasons: [("full".to_owned(), "the log is full".to_owned())].into(),
            resent: 3,
            ..Tally::default()
        }
    }

    #[test]
    fn the_summary_says_everything_that_is_not_as_it_should_be() {
        let tally = tally();
        let mut summary = Summary {
            stream: "orders",
            to: "tcp://h:1".to_owned(),
            seconds: 2.0,
            tally: &tally,
            unanswered: tally.unanswered(),
            skipped_empty: 5,
            skipped_too_large: 0,
            error: None,
        };
        assert_eq!(
            summary.text(),
            "orders: 1,000 lines in 2s, 990 acknowledged, 6 not answered, 3 sent again, \
             5 empty lines skipped\n  refused 4: full: the log is full\n"
        );
        summary.error = Some("4 lines were refused".to_owned());
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["acknowledged"], 990);
        assert_eq!(json["refused"]["full"], 4);
        assert_eq!(json["unanswered"], 6);
        assert_eq!(json["error"], "4 lines were refused");
    }

    #[test]
    fn refused_lines_and_a_broken_input_are_failures() {
        assert!(complaint(&Tally::default(), &Read::default()).is_none());
        assert!(complaint(&tally(), &Read::default()).is_some());
        let skipped = Skipped { empty: 9, too_large: 0 };
        assert!(complaint(&Tally::default(), &Read { skipped, error: None }).is_none());
        let skipped = Skipped { empty: 0, too_large: 1 };
        assert!(complaint(&Tally::default(), &Read { skipped, error: None }).is_some());
    }

    #[test]
    fn a_window_is_a_size() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert!(size("0").is_err());
        assert!(size("much").is_err());
    }
}
