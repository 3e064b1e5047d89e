//! Standard output and standard error, for all commands.

use std::io::{self, IsTerminal, Write};

use anyhow::Context as _;
use serde::Serialize;

use crate::config::environment;
use crate::status::is_trouble;

/// Writes to standard output. Whoever closed the pipe has seen enough: that is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    print_while_read(text).map(|_is_read| ())
}

/// The same; says whether somebody still reads.
pub(super) fn print_while_read(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("write to standard output"),
    }
}

/// How many characters a line on standard output may have; none where it is no terminal.
pub(super) fn columns() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok());
    let columns = usize::from(size.flatten()?.ws_col);
    (columns > 0).then_some(columns)
}

/// Writes a value as JSON for programs.
pub(super) fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("write JSON")?;
    text.push('\n');
    print(&text)
}

/// Says what went wrong, with its causes, on standard error.
pub(super) fn error(error: &anyhow::Error) {
    let label =
        if has_colors(&io::stderr()) { Style::Bad.paint("error:") } else { "error:".into() };
    // There is nobody left to tell where this fails.
    let _unseen = writeln!(io::stderr().lock(), "{label} {error:#}").is_err();
}

/// Says something on standard error that whoever reads standard output should know.
pub(super) fn note(text: &str) {
    let label =
        if has_colors(&io::stderr()) { Style::Warning.paint("note:") } else { "note:".into() };
    // There is nobody left to tell where this fails.
    let _unseen = writeln!(io::stderr().lock(), "{label} {text}").is_err();
}

/// Whether standard output may be coloured.
pub(super) fn colors() -> bool {
    has_colors(&io::stdout())
}

fn has_colors(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !environment::no_color()
}

/// What a text means, where colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// As it should be.
    Good,
    /// To be watched.
    Warning,
    /// To be acted on.
    Bad,
}

impl Style {
    /// What a stream's state means.
    pub(super) fn of_state(state: &str) -> Self {
        match state {
            "ok" | "idle" => Self::Good,
            "stopped" => Self::Plain,
            trouble if is_trouble(trouble) => Self::Bad,
            _ => Self::Warning,
        }
    }

    /// The text in this style's colour.
    pub(super) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Heading => "1",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
