//! `run --local DIR`, the embedded default: the agent as it is everywhere, and beside it in the same
//! process a second one that plays Firehose. What the first delivers through the real AWS SDK, the
//! second takes on a local port and writes into files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use standpipe_wal::fs::real::RealFs;

use crate::agent::Agent;
use crate::cli::output;
use crate::config::{self, Config, LogConfig};

/// The usual port is fixed, so that a newcomer can be told it; two of these need two.
const START_HELP: &str = "start the agent (where its port is taken, set \
                          STANDPIPE_SOURCE__1__LISTEN=127.0.0.1:0 for any free one)";

/// Both agents, running.
pub(super) struct Local {
    pub(super) agent: Agent,
    pub(super) firehose: Agent,
}

/// The data directory of the agent.
pub(in crate::cli) fn agent_dir(dir: &Path) -> PathBuf {
    dir.join("agent")
}

/// The data directory of the one that plays Firehose.
pub(in crate::cli) fn firehose_dir(dir: &Path) -> PathBuf {
    dir.join("firehose")
}

/// Where it writes what was delivered, a directory per stream.
pub(in crate::cli) fn delivered_dir(dir: &Path) -> PathBuf {
    dir.join("delivered")
}

/// The agent's unix socket, unless the configuration names other doors.
pub(in crate::cli) fn socket(dir: &Path) -> PathBuf {
    dir.join("standpipe.sock")
}

/// What the configuration says about logging, before anything is started.
pub(super) fn log(dir: &Path, file: Option<&Path>) -> anyhow::Result<LogConfig> {
    let doors = doors(&std::path::absolute(dir)?)?;
    let request = config::Request { file, doors: Some(&doors), over: None };
    Ok(config::load(&request)?.resolved.config.log)
}

pub(super) async fn start(dir: &Path, file: Option<&Path>) -> anyhow::Result<Local> {
    let dir = std::path::absolute(dir)?;
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let firehose = Agent::start(firehose_config(&dir)?, Arc::new(RealFs))
        .await
        .context("start the built-in Firehose endpoint")?;
    let endpoint = firehose.addresses().first().context("the endpoint has no address")?.clone();
    let started = match agent_config(&dir, file, &endpoint) {
        Ok(config) => Agent::start(config, Arc::new(RealFs)).await.context(START_HELP),
        Err(error) => Err(error),
    };
    let agent = match started {
        Ok(agent) => agent,
        Err(error) => {
            firehose.stop().await;
            return Err(error);
        }
    };
    output::print(&introduction(&dir, agent.addresses(), &endpoint)?)?;
    Ok(Local { agent, firehose })
}

/// Its events are whole records and are written as they are.
fn firehose_config(dir: &Path) -> anyhow::Result<Config> {
    let text = format!(
        "data_dir = {data_dir}\n\
         [[source]]\nkind = \"firehose\"\nlisten = \"127.0.0.1:0\"\n\
         [sink.file]\npath = {delivered}\n\
         [stream.default]\nsink = \"file\"\naggregate = \"none\"\ndelimiter = \"\"\n\
         linger = \"100ms\"\n",
        data_dir = quoted(&firehose_dir(dir))?,
        delivered = quoted(&delivered_dir(dir))?,
    );
    Ok(config::from_text("the built-in Firehose endpoint", &text)?.config)
}

/// Below the file: doors that need no rights, and short waits, since somebody is looking. The files
/// take concatenated lines.
fn doors(dir: &Path) -> anyhow::Result<String> {
    Ok(format!(
        "[[source]]\nkind = \"unix\"\npath = {socket}\n\
         [[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:15555\"\n\
         [sink.firehose]\nkind = \"firehose\"\n\
         [stream.default]\naggregate = \"lines\"\nlinger = \"1s\"\n",
        socket = quoted(&socket(dir))?,
    ))
}

fn agent_config(dir: &Path, file: Option<&Path>, endpoint: &str) -> anyhow::Result<Config> {
    let doors = doors(dir)?;
    // Above it: everything stays below the directory and nothing goes to AWS.
    let data_dir = agent_dir(dir);
    let over = format!(
        "data_dir = {}\nadmin.unix = {}\n",
        quoted(&data_dir)?,
        quoted(&data_dir.join(config::defaults::ADMIN_SOCKET))?,
    );
    let request = config::Request { file, doors: Some(&doors), over: Some(("--local", &over)) };
    let mut config = config::load(&request)?.resolved.config;
    let sink = format!(
        "[sink.firehose]\nkind = \"firehose\"\nendpoint_url = \"{endpoint}\"\n\
         credentials = \"local\"\n"
    );
    let local = config::from_text("--local", &sink)?.config;
    for (name, sink) in &mut config.sinks {
        let local = local.sinks.get("firehose").context("the local sink was not read")?;
        tracing::debug!(sink = name, "delivers to the built-in endpoint instead");
        *sink = local.clone();
    }
    Ok(config)
}

/// A path as a TOML string.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(toml::Value::from(text).to_string())
}

/// Where things are, and how to begin.
fn introduction(dir: &Path, addresses: &[String], endpoint: &str) -> anyhow::Result<String> {
    let mut text = String::from("standpipe runs\n");
    for address in addresses {
        writeln!(text, "  events in   {address}")?;
    }
    writeln!(text, "  log         {}", agent_dir(dir).display())?;
    writeln!(text, "  Firehose    {endpoint} (built in)")?;
    writeln!(text, "  delivered   {}", delivered_dir(dir).display())?;
    if let Some(address) = addresses.first() {
        let program = std::env::current_exe().unwrap_or_else(|_unknown| "standpipe".into());
        let program = program.display();
        writeln!(text, "\nSend an event, find it a second later, look into the log:")?;
        writeln!(text, "  echo 'hello, world' | {program} send greetings --to {address}")?;
        writeln!(text, "  grep -r hello {}", delivered_dir(dir).display())?;
        writeln!(text, "  {program} wal stat --local {}", dir.display())?;
    }
    Ok(text)
}
