//! The agent's log: on standard error, for people on a terminal, for journald where that listens, one
//! JSON object per line elsewhere.
//!
//! Fields have the same names everywhere: `stream`, `offset`, `segment`, `source`, `sink`, `peer`,
//! `batch`, `attempt`, `error`. `error` is for data lost or an operator who must act, `warn` for the
//! unexpected that was recovered, `info` for the life cycle, `debug` for calls, `trace` for events.

use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{self, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::environment;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, `journald` where systemd says that it listens, JSON elsewhere.
    #[default]
    Auto,
    /// Text, with colours on a terminal.
    Text,
    /// One JSON object per line.
    Json,
    /// Text that begins with systemd's mark of its priority, without the time, which the journal has.
    Journald,
}

impl Format {
    /// What `auto` means for this process.
    fn chosen(self) -> Self {
        match self {
            Self::Auto if io::stderr().is_terminal() => Self::Text,
            Self::Auto if goes_to_journal() => Self::Journald,
            Self::Auto => Self::Json,
            Self::Text | Self::Json | Self::Journald => self,
        }
    }
}

/// Whether standard error is the stream that systemd has named: it may lead elsewhere since.
fn goes_to_journal() -> bool {
    let stderr = rustix::fs::fstat(io::stderr()).ok();
    let stream = stderr.map(|stat| (stat.st_dev, stat.st_ino));
    stream.is_some() && environment::journal_stream() == stream
}

/// What a level means: this program's messages from there on, and of libraries only what they have
/// to complain of: from the AWS SDK's crates, whose names all begin so, errors only, since they warn
/// of the same thing with every call and the state of the stream says it once. Anything but a level is taken for a filter as it is.
///
/// # Errors
/// Where it is neither.
pub fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let is_level = level.parse::<Level>().is_ok() || level == "off";
    let directives =
        if is_level { format!("warn,standpipe={level},aws=error") } else { level.to_owned() };
    directives.parse().with_context(|| {
        format!(
            "{level:?} is neither a level (error, warn, info, debug, trace, off) nor a filter like \
             \"warn,standpipe::router=debug\""
        )
    })
}

/// How the filter is changed while running.
static RUNNING: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log. To be called once, before any thread is started.
///
/// # Errors
/// Where the level makes no sense, or something logs already.
pub fn start(format: Format, level: &str) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let to_stderr = layer().with_writer(io::stderr).with_target(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format.chosen() {
        Format::Json => to_stderr.json().flatten_event(true).with_current_span(false).boxed(),
        Format::Journald => to_stderr.event_format(Journald).with_ansi(false).boxed(),
        Format::Text | Format::Auto => {
            let colors = io::stderr().is_terminal() && !environment::no_color();
            to_stderr.with_ansi(colors).boxed()
        }
    };
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.context("begin to log")?;
    let _first = RUNNING.set(handle).is_ok();
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Changes what is logged from now on. Returns the filter that holds.
///
/// # Errors
/// Where it makes no sense, or nothing is logged at all.
pub fn set_filter(level: &str) -> anyhow::Result<String> {
    let filter = filter(level)?;
    let holds = filter.to_string();
    let running = RUNNING.get().context("this process does not log")?;
    running.reload(filter).context("change the filter")?;
    tracing::info!(filter = holds, "what is logged was changed");
    Ok(holds)
}

/// Text for journald: the priority in front, as `sd-daemon(3)` has it, and no time.
struct Journald;

impl<S, N> FormatEvent<S, N> for Journald
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        let text = format::format().without_time().with_level(false).with_target(false);
        text.with_ansi(false).format_event(context, writer, event)
    }
}

/// `SD_ERR`, `SD_WARNING`, `SD_INFO`, `SD_DEBUG`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_level_is_ours_and_libraries_stay_quiet() {
        let debug = filter("debug").unwrap().to_string();
        assert!(debug.contains("standpipe=debug") && debug.contains("warn"), "{debug}");
        assert_eq!(filter("h2=trace").unwrap().to_string(), "h2=trace");
        let error = format!("{:#}", filter("standpipe=loud").unwrap_err());
        assert!(error.contains("error, warn, info"), "{error}");
    }

    /// What was logged, for a test that looks at it.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let written = Written::default();
        let copy = written.clone();
        let lines = layer().with_writer(move || copy.clone()).event_format(Journald);
        let subscriber = tracing_subscriber::registry().with(lines.with_ansi(false));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(stream = "orders", "bad");
            tracing::warn!("odd");
            tracing::info!("fine");
        });
        assert_eq!(written.text(), "<3>bad stream=\"orders\"\n<4>odd\n<6>fine\n");
    }
}
