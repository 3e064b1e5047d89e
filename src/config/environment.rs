//! The environment, read here and nowhere else.
//!
//! `STANDPIPE_` and a key's path in capitals, with `__` between its levels, lays a value over the
//! file: `STANDPIPE_DATA_DIR`, `STANDPIPE_WAL__SYNC`, `STANDPIPE_SINK__FIREHOSE__REGION`,
//! `STANDPIPE_SOURCE__0__LISTEN` (the first source). The name of a stream or a sink matches one in
//! the file whatever its case, with `_` for `.` and `-`; a new one is taken in small letters. The
//! value is read as TOML where it is TOML (`true`, `"\n"`), else as text.

use std::ffi::OsString;
use std::time::Duration;

use super::document::Document;
use super::problem::{KeyPath, Step};

/// What their names begin with.
pub(super) const PREFIX: &str = "STANDPIPE_";

/// Variables that commands read for their own options; they are no configuration keys.
pub const COMMAND_VARIABLES: &[&str] =
    &["STANDPIPE_CONFIG", "STANDPIPE_LOG", "STANDPIPE_LOG_FORMAT", "STANDPIPE_TO"];

/// Variables of this process that are meant for the configuration, sorted by name.
pub(super) fn variables() -> Vec<(String, String)> {
    let mut variables: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let meant = name.starts_with(PREFIX) && !COMMAND_VARIABLES.contains(&name.as_str());
            meant.then(|| (name, value.to_string_lossy().into_owned()))
        })
        .collect();
    variables.sort();
    variables
}

/// What the service manager that started this process says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceManager {
    /// Where it wants to be told how the process fares.
    pub notify_socket: Option<OsString>,
    /// How long it waits for a sign of life.
    pub watchdog: Option<Duration>,
}

/// Reads what systemd sets (`sd_notify(3)`, `sd_watchdog_enabled(3)`).
pub fn service_manager() -> ServiceManager {
    let number = |name| std::env::var_os(name)?.into_string().ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let watchdog = number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0);
    ServiceManager {
        notify_socket: std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
        watchdog: watchdog.map(Duration::from_micros),
    }
}

/// Whether the user asked for plain text (<https://no-color.org>).
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Where systemd says that what is written goes to the journal: the device and inode of that stream.
pub fn journal_stream() -> Option<(u64, u64)> {
    let value = std::env::var_os("JOURNAL_STREAM")?.into_string().ok()?;
    let (device, inode) = value.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// Lays the variables over the document.
pub(super) fn apply<'t>(document: &mut Document<'t>, variables: &'t [(String, String)]) {
    for (name, value) in variables {
        let path = path(document, name.strip_prefix(PREFIX).unwrap_or(name));
        document.add_variable(name, &path, value);
    }
}

fn path(document: &Document<'_>, name: &str) -> KeyPath {
    let mut steps: Vec<Step> = Vec::new();
    for part in name.split("__") {
        let lower = part.to_ascii_lowercase();
        let step = match (steps.as_slice(), part.parse()) {
            ([Step::Key(section)], Ok(index)) if section == "source" => Step::Index(index),
            ([Step::Key(section)], _) if section == "stream" || section == "sink" => {
                let same = |name: &String| fold(name) == fold(part);
                Step::Key(document.names(section).into_iter().find(same).unwrap_or(lower))
            }
            _ => Step::Key(lower),
        };
        steps.push(step);
    }
    KeyPath(steps)
}

/// What a name looks like in the name of a variable.
fn fold(name: &str) -> String {
    name.to_ascii_uppercase().replace(['.', '-'], "_")
}
