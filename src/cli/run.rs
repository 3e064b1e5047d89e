//! `standpipe run`: the agent, until a signal ends it.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use standpipe_wal::fs::real::RealFs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ConfigArgs, EXIT_CODES, output};
use crate::agent::Agent;
use crate::config::raw::Raw;
use crate::config::{LogConfig, Resolved};
use crate::systemd::Notifier;
use crate::systemd::activation::Inherited;
use crate::telemetry::{self, Format};

pub(super) mod local;
mod reload;
mod service;

/// How long threads that only look (the size of a directory, a name in DNS) may hold up the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Run the agent
///
/// SIGTERM and SIGINT stop it in order: what was read is synced and acknowledged, what is left is
/// delivered for up to `upload.drain_timeout`. A second signal ends it at once, which loses nothing
/// that was acknowledged.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Keep everything below DIR and deliver into files there, through a built-in Firehose endpoint
    #[arg(long, value_name = "DIR")]
    local: Option<PathBuf>,

    /// What to log, instead of `log.level`: `debug`, or a filter like `warn,standpipe::router=debug`
    #[arg(long, value_name = "LEVEL", env = "STANDPIPE_LOG")]
    log: Option<String>,

    /// How to log, instead of `log.format`
    #[arg(long, value_name = "FORMAT", env = "STANDPIPE_LOG_FORMAT", value_enum)]
    log_format: Option<Format>,
}

impl Args {
    /// What the configuration says, unless the command line says something else.
    fn log(&self) -> anyhow::Result<LogConfig> {
        let config = match &self.local {
            Some(dir) => local::log(dir, self.config.config.as_deref())?,
            None => self.config.load()?.resolved.config.log,
        };
        Ok(LogConfig {
            level: self.log.clone().unwrap_or(config.level),
            format: self.log_format.unwrap_or(config.format),
        })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    // Before there are threads: it changes the environment.
    let inherited = Inherited::from_environment().context("take over the listening sockets")?;
    let log = args.log()?;
    telemetry::start(log.format, &log.level)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let ended = runtime.block_on(serve(args, inherited));
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

/// One file per stream and connection: as many as the system allows, so that the limits of the
/// configuration are the ones that bind.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        if let Err(error) = raised {
            tracing::warn!(%error, current, "cannot raise the limit of open files");
        }
    }
}

/// What runs in this process: the agent, and with `--local` the one that plays Firehose.
struct Agents {
    agent: Agent,
    firehose: Option<Agent>,
    /// The configuration that holds, where it can be read again.
    effective: Option<Raw>,
}

impl Agents {
    /// In the order in which data flows.
    async fn stop(self) {
        self.agent.stop().await;
        if let Some(firehose) = self.firehose {
            firehose.stop().await;
        }
    }
}

async fn serve(args: &Args, inherited: Inherited) -> anyhow::Result<()> {
    // Before anything is started, so that no signal is missed.
    let mut signals = Signals::new()?;
    let mut agents = tokio::select! {
        agents = start(args, inherited) => agents?,
        name = signals.end() => anyhow::bail!("{name} came before the agent had started"),
    };
    let notifier = Notifier::from_environment();
    notifier.ready();
    let mut requests = agents.agent.reload_requests();
    let name = {
        let mut telling = std::pin::pin!(service::tell(&notifier, agents.agent.pulse()));
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::End(name) => break name,
                    Asked::Reload => {
                        notifier.reloading();
                        reload::reload(args, &mut agents).await;
                        notifier.ready();
                    }
                },
                Some(asked) = requests.recv() => {
                    // Whoever asked is gone; the log says it as well.
                    let _gone = asked.send(reload::reload(args, &mut agents).await).is_err();
                }
                never = &mut telling => match never {},
            }
        }
    };
    notifier.stopping(agents.agent.stop_max());
    tracing::info!(signal = name, "stopping");
    tokio::select! {
        () = agents.stop() => {}
        name = signals.end() => anyhow::bail!(
            "{name} came while the agent was stopping: ended at once, the next start recovers"
        ),
    }
    tracing::info!("stopped");
    Ok(())
}

async fn start(args: &Args, inherited: Inherited) -> anyhow::Result<Agents> {
    let (agent, firehose, effective) = if let Some(dir) = &args.local {
        let started = local::start(dir, args.config.config.as_deref()).await?;
        (started.agent, Some(started.firehose), None)
    } else {
        let Resolved { config, effective } = args.config.load()?.resolved;
        let agent = Agent::start_with(config, Arc::new(RealFs), inherited).await?;
        let lines = agent.addresses().iter().map(|address| format!("listening on {address}\n"));
        output::print(&lines.collect::<String>())?;
        (agent, None, Some(effective))
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), addresses = ?agent.addresses(), "started");
    Ok(Agents { agent, firehose, effective })
}

/// The signals that ask a program for something. A terminal that was closed asks it to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether a hang-up means that the terminal was closed.
    on_terminal: bool,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            on_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// Waits for one and says what it asks for.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.hangup.recv() => {
                if self.on_terminal { Asked::End("SIGHUP") } else { Asked::Reload }
            }
        }
    }

    /// Waits for one that asks the program to end, and says its name.
    async fn end(&mut self) -> &'static str {
        loop {
            if let Asked::End(name) = self.next().await {
                return name;
            }
        }
    }
}

/// What a signal asks for.
enum Asked {
    End(&'static str),
    Reload,
}
