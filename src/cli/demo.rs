//! `standpipe demo`: shows with counts that nothing that was acknowledged is lost, though the agent
//! is killed in the middle.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{self, Style};
use super::run::local;
use super::table::{Align, Cell, Table};
use super::wal::look::{Agent, Place, Sight, look};
use super::{EXIT_CODES, human};

mod delivered;
mod feed;
mod process;

use feed::{Ledger, Total};
use process::Process;

const STREAMS: [&str; 4] = ["orders", "clicks", "metrics", "audit"];

/// How often progress is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Without any progress for this long something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Show with counts that nothing acknowledged is lost, though the agent is killed
///
/// Starts a real agent, feeds it over its socket, kills it with SIGKILL in the middle, starts it
/// again, and shows that every acknowledged event was delivered and the log was trimmed.
///
/// Everything happens below a temporary directory and on local sockets; the destination is the
/// built-in Firehose endpoint, reached through the real AWS SDK.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// How many events to send
    #[arg(long, value_name = "N", default_value_t = 300_000,
          value_parser = clap::value_parser!(u32).range(1000..=50_000_000))]
    events: u32,

    /// Keep the directory with the log and the delivered files
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("standpipe-demo-").tempdir();
    let mut dir = dir.context("make a temporary directory")?;
    dir.disable_cleanup(args.keep);
    let ended = Demo::new(dir.path(), args.events as usize).run();
    if args.keep {
        output::print(&format!("\nKept {}\n", dir.path().display()))?;
    }
    ended
}

struct Demo {
    dir: PathBuf,
    ledgers: Vec<Ledger>,
    begun: Instant,
    steps: u32,
}

impl Demo {
    fn new(dir: &Path, events: usize) -> Self {
        let share = |index| events / STREAMS.len() + usize::from(index < events % STREAMS.len());
        let ledgers = STREAMS.iter().enumerate();
        let ledgers = ledgers.map(|(index, stream)| Ledger::new(stream, share(index))).collect();
        Self { dir: dir.to_owned(), ledgers, begun: Instant::now(), steps: 0 }
    }

    fn run(mut self) -> anyhow::Result<()> {
        let agent = self.start()?;
        self.feed_and_kill(agent)?;
        let before = self.look_at_what_is_left()?;
        let agent = self.start()?;
        self.resend()?;
        self.wait_for_delivery()?;
        let after = self.wait_for_trimming()?;
        let status = agent.stop()?;
        ensure!(status.success(), "the agent ended with {status} after SIGTERM");
        self.step("stop", "SIGTERM: the agent ended with exit code 0")?;
        self.compare()?;
        let bytes = |sight: &Sight| human::bytes(sight.streams.iter().map(|s| s.disk_bytes).sum());
        let segments = |sight: &Sight| sight.streams.iter().map(|s| s.segments).sum::<u64>();
        self.step(
            "trimmed",
            &format!(
                "the log took {} in {} segments after the kill, {} in {} now",
                bytes(&before),
                segments(&before),
                bytes(&after),
                segments(&after),
            ),
        )?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let all = format!("\nEvery acknowledged event arrived. {seconds:.1} s.\n");
        output::print(&if output::colors() { Style::Good.paint(&all) } else { all })
    }

    /// One line of the story.
    fn step(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        self.steps += 1;
        output::print(&format!("{:>2}  {name:<9} {text}\n", self.steps))
    }

    fn start(&mut self) -> anyhow::Result<Process> {
        let begun = Instant::now();
        let agent = Process::start(&self.dir)?;
        let text = format!(
            "agent, process {}, answers after {} ms, everything below {}",
            agent.id(),
            begun.elapsed().as_millis(),
            self.dir.display()
        );
        self.step("start", &text)?;
        Ok(agent)
    }

    fn events(&self) -> u64 {
        self.ledgers.iter().map(|ledger| ledger.events() as u64).sum()
    }

    fn acknowledged(&self) -> u64 {
        self.ledgers.iter().map(Ledger::acknowledged).sum()
    }

    /// Feeds all streams at once, a connection each. `watch` is called with the number of
    /// acknowledged events until they have ended.
    fn feed(&mut self, mut watch: impl FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let socket = local::socket(&self.dir);
        let total = Total::default();
        std::thread::scope(|scope| {
            let mut feeders = Vec::new();
            for ledger in &mut self.ledgers {
                feeders.push(scope.spawn(|| feed::feed(&socket, ledger, &total)));
            }
            while feeders.iter().any(|feeder| !feeder.is_finished()) {
                watch(total.value())?;
                std::thread::sleep(Duration::from_millis(1));
            }
            for feeder in feeders {
                let ended = feeder.join();
                ended.map_err(|_panic| anyhow::anyhow!("a feeder panicked"))??;
            }
            Ok(())
        })
    }

    fn feed_and_kill(&mut self, agent: Process) -> anyhow::Result<()> {
        let (events, id) = (self.events(), agent.id());
        let bar = progress(events, "acknowledged");
        let mut agent = Some(agent);
        self.feed(|acknowledged| {
            bar.set_position(acknowledged);
            match agent.take_if(|_| acknowledged >= events * 2 / 5) {
                Some(agent) => agent.kill(),
                None => Ok(()),
            }
        })?;
        bar.finish_and_clear();
        if let Some(agent) = agent {
            agent.kill()?;
        }
        let sent: u64 = self.ledgers.iter().map(|ledger| ledger.sent).sum();
        let acknowledged = self.acknowledged();
        let text = format!(
            "{} of {} events to {} streams, {} acknowledged",
            human::count(sent),
            human::count(events),
            self.ledgers.len(),
            human::count(acknowledged)
        );
        self.step("feed", &text)?;
        let open = human::count(sent - acknowledged);
        self.step("kill -9", &format!("process {id}, with {open} events sent and not acknowledged"))
    }

    fn look_at_what_is_left(&mut self) -> anyhow::Result<Sight> {
        let sight = look(&Place::of_local(&self.dir)?)?;
        ensure!(sight.agent == Agent::Stopped, "the killed agent still holds its data directory");
        let backlog: u64 = sight.streams.iter().map(|stat| stat.backlog_events).sum();
        let bytes: u64 = sight.streams.iter().map(|stat| stat.disk_bytes).sum();
        let text = format!(
            "{} events wait in the log of the stopped agent, {} on disk",
            human::count(backlog),
            human::bytes(bytes)
        );
        self.step("wal stat", &text)?;
        Ok(sight)
    }

    fn resend(&mut self) -> anyhow::Result<()> {
        let (events, before) = (self.events(), self.acknowledged());
        let bar = progress(events, "acknowledged");
        self.feed(|acknowledged| {
            bar.set_position(before + acknowledged);
            Ok(())
        })?;
        bar.finish_and_clear();
        let acknowledged = self.acknowledged();
        ensure!(acknowledged == events, "only {acknowledged} of {events} events were acknowledged");
        let rest = human::count(events - before);
        let text = format!(
            "the {rest} events without an acknowledgement; now all {} have one",
            human::count(events)
        );
        self.step("resend", &text)
    }

    /// Waits until neither the agent nor the endpoint has anything left to deliver.
    fn wait_for_delivery(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let places =
            [Place::of_local(&self.dir)?, Place::of_data_dir(&local::firehose_dir(&self.dir))?];
        let backlog = || -> anyhow::Result<(u64, Vec<Sight>)> {
            let sights = places.iter().map(look).collect::<anyhow::Result<Vec<_>>>()?;
            let streams = sights.iter().flat_map(|sight| &sight.streams);
            Ok((streams.map(|stat| stat.backlog_events).sum(), sights))
        };
        let bar = progress(self.events(), "delivered");
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let (left, sights) = backlog()?;
            bar.set_position(self.events().saturating_sub(left));
            if left == 0 {
                break;
            }
            if left < least {
                (least, since) = (left, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                bar.finish_and_clear();
                bail!("{left} events are not delivered:\n{}", troubles(&sights));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        bar.finish_and_clear();
        let seconds = begun.elapsed().as_secs_f64();
        self.step(
            "deliver",
            &format!("through PutRecordBatch, {seconds:.1} s until nothing was left"),
        )
    }

    /// Waits until each stream has only its newest segment.
    fn wait_for_trimming(&mut self) -> anyhow::Result<Sight> {
        let place = Place::of_local(&self.dir)?;
        let begun = Instant::now();
        loop {
            let sight = look(&place)?;
            if sight.streams.iter().all(|stat| stat.segments <= 1) {
                return Ok(sight);
            }
            ensure!(begun.elapsed() < PATIENCE, "the log was not trimmed:\n{}", troubles(&[sight]));
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Compares the files with the ledger.
    fn compare(&mut self) -> anyhow::Result<()> {
        let mut table = Table::new(&[
            ("    STREAM", Align::Left),
            ("ACKNOWLEDGED", Align::Right),
            ("IN THE FILES", Align::Right),
            ("MISSING", Align::Right),
            ("TWICE", Align::Right),
        ]);
        let (mut present, mut cut, mut problems) = (0, 0, Vec::new());
        for ledger in &self.ledgers {
            let dir = local::delivered_dir(&self.dir).join(ledger.stream);
            let found = delivered::check(&dir, ledger)?;
            present += found.present;
            cut += found.cut;
            table.row([
                Cell::new(format!("    {}", ledger.stream)),
                Cell::new(human::count(ledger.acknowledged())),
                Cell::new(human::count(found.present)),
                Cell::new(human::count(found.missing.len() as u64)),
                Cell::new(human::count(found.repeated)),
            ]);
            if let Some(first) = found.missing.first() {
                let missing = found.missing.len();
                problems.push(format!(
                    "{}: {missing} events are missing, the first is {first}",
                    ledger.stream
                ));
            }
            if found.foreign > 0 {
                problems
                    .push(format!("{}: {} lines that nobody sent", ledger.stream, found.foreign));
            }
        }
        let text = format!(
            "read {} of {} acknowledged events in the delivered files, byte for byte",
            human::count(present),
            human::count(self.acknowledged())
        );
        self.step("compare", &text)?;
        output::print(&table.render(output::colors()))?;
        if cut > 0 {
            output::print(&format!(
                "    {cut} of the files end where the kill cut off a write; its events came again\n"
            ))?;
        }
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(())
    }
}

/// The streams that have something left, with their states.
fn troubles(sights: &[Sight]) -> String {
    let streams = sights.iter().flat_map(|sight| &sight.streams);
    let lines = streams.filter(|stat| stat.backlog_events > 0 || stat.segments > 1).map(|stat| {
        format!(
            "  {}: {} events in {} segments, {} {}\n",
            stat.stream, stat.backlog_events, stat.segments, stat.state, stat.reason
        )
    });
    lines.collect()
}

/// A bar on a terminal, nothing elsewhere.
fn progress(events: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(events).with_message(what);
    let style = ProgressStyle::with_template("    {bar:40} {human_pos} of {human_len} {msg}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_malformed) => bar,
    }
}
