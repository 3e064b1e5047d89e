//! The agent's log: on standard error, for people on a terminal, one JSON object per line elsewhere.
//!
//! Fields have the same names everywhere: `stream`, `offset`, `segment`, `source`, `sink`, `peer`,
//! `batch`, `attempt`, `error`. `error` is for data lost or an operator who must act, `warn` for the
//! unexpected that was recovered, `info` for the life cycle, `debug` for calls, `trace` for events.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::environment;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text, with colours on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged unless told otherwise: libraries only where they have something to complain of.
pub const FILTER_DEFAULT: &str = "warn,standpipe=info,aws_config=error,aws_smithy_runtime=error";

/// Begins to log. To be called once, before any thread is started.
pub fn start(format: Format, filter: &str) -> anyhow::Result<()> {
    let filter: EnvFilter = filter.parse().with_context(|| {
        format!("the log filter {filter:?}, which is levels like \"debug\" or \"standpipe=debug\"")
    })?;
    let terminal = io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    let json = format == Format::Json || (format == Format::Auto && !terminal);
    let started = if json {
        subscriber.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        subscriber.with_ansi(terminal && !environment::no_color()).try_init()
    };
    started.map_err(anyhow::Error::from_boxed).context("begin to log")?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a bug. It is logged with its place, like everything else that an operator should see.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        thread = thread.name(),
        location,
        backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| tracing::field::display(&backtrace)),
        "panicked: {message}"
    );
}
