//! `standpipe doctor`: what is wrong with this host, and what to do about it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde::Serialize;
use standpipe_wal::fs::real::RealFs;
use standpipe_wal::{StreamName, inspect};

use super::output::{self, Style};
use super::table::{Align, Cell, Table};
use super::{ConfigArgs, EXIT_CODES};
use crate::admin::{Snapshot, client};
use crate::agent::streams_dir;
use crate::config::{Config, Loaded};
use crate::finding::{Finding, Level};

mod delivery;
mod doors;
mod host;
mod policy;

/// Check host, credentials and delivery streams, and say what to do
///
/// Looks at the configuration, the data directory and its disk, limits, sockets, the running agent,
/// credentials, clock, and each stream that is configured or has a log. Changes nothing unless it is
/// asked to; asks AWS about at most one delivery stream per second. Fails if a line is a failure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Measure syncs with a file of 4 KiB, doctor-probe-… in the data directory, which is removed
    #[arg(long)]
    probe_disk: bool,

    /// Deliver one event to prove that this stream may: it arrives where real ones do
    #[arg(long, value_name = "STREAM")]
    send_test_event: Option<StreamName>,

    /// Ask nothing outside of this host
    #[arg(long, conflicts_with = "send_test_event")]
    offline: bool,

    /// Print the least IAM policy that this configuration needs, and check nothing
    #[arg(long, conflicts_with_all = ["probe_disk", "send_test_event", "offline"])]
    policy: bool,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// The worst level of all.
    level: Level,
    findings: &'a [Finding],
}

/// What the parts look at.
struct Patient {
    config: Config,
    /// Streams that are configured or have a log.
    streams: BTreeSet<StreamName>,
    /// What the agent answered, if it runs.
    agent: Option<Snapshot>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(error) if args.policy => return Err(error),
        Err(error) => {
            let advice = "mend the file; `standpipe check` shows what holds with all defaults";
            let finding = Finding::failure("configuration", format!("{error:#}"), advice);
            return conclude(args, &[finding]);
        }
    };
    if args.policy {
        return policy::print(&loaded.resolved.config);
    }
    let findings = findings(args, &loaded)?;
    conclude(args, &findings)
}

fn findings(args: &Args, loaded: &Loaded) -> anyhow::Result<Vec<Finding>> {
    let config = loaded.resolved.config.clone();
    let file = loaded.file.as_ref().map_or_else(
        || "there is no file, the built-in defaults hold".to_owned(),
        |file| format!("{} is right", file.display()),
    );
    let mut findings = vec![Finding::ok("configuration", file)];
    let (agent, answer) = match client::ask(&config.admin.unix) {
        Ok(agent) => (agent, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let patient = Patient { streams: streams(&config), config, agent };
    findings.extend(host::examine(&patient, args.probe_disk));
    findings.extend(doors::examine(&patient, &loaded.resolved.effective, answer));
    if args.offline {
        return Ok(findings);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    findings.extend(runtime.block_on(delivery::examine(&patient, args.send_test_event.as_ref())));
    Ok(findings)
}

/// A log that cannot be listed is said by [`host`].
fn streams(config: &Config) -> BTreeSet<StreamName> {
    let logs = inspect::streams(&RealFs, &streams_dir(&config.data_dir)).unwrap_or_default();
    config.streams.keys().cloned().chain(logs).collect()
}

fn conclude(args: &Args, findings: &[Finding]) -> anyhow::Result<()> {
    let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if args.json {
        output::print_json(&Report { level, findings })?;
    } else {
        output::print(&render(findings, output::colors()))?;
    }
    let failures = findings.iter().filter(|finding| finding.level == Level::Failure).count();
    anyhow::ensure!(failures == 0, "{failures} of {} checks failed", findings.len());
    Ok(())
}

/// A line for each, what to do below it.
fn render(findings: &[Finding], colors: bool) -> String {
    let mut table =
        Table::new(&[("", Align::Left), ("LOOKED AT", Align::Left), ("IT IS", Align::Left)]);
    for Finding { level, subject, says, advice } in findings {
        let (style, word) = match level {
            Level::Ok => (Style::Good, "ok"),
            Level::Warning => (Style::Warning, "warning"),
            Level::Failure => (Style::Bad, "FAILURE"),
        };
        let mut lines = says.lines();
        let first = lines.next().unwrap_or_default();
        table.row([Cell::styled(word, style), Cell::new(subject), Cell::new(first)]);
        for line in lines {
            table.row([Cell::default(), Cell::default(), Cell::new(line)]);
        }
        if !advice.is_empty() {
            table.row([Cell::default(), Cell::default(), Cell::new(format!("→ {advice}"))]);
        }
    }
    table.render(colors)
}
