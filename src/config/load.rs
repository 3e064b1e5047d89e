//! Reads the configuration of this machine: the file, the environment, the disk.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::problem::Problems;
use super::resolve::{Inputs, Resolved, resolve};
use super::{defaults, environment};
use crate::{sink, source};

/// Where the configuration is looked for unless told otherwise.
pub const DEFAULT_FILE: &str = "/etc/standpipe/standpipe.toml";

/// What a command is told about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// The file; unless given, [`DEFAULT_FILE`] where it exists.
    pub file: Option<&'a Path>,
    /// Sources and sinks instead of the built-in ones.
    pub doors: Option<&'a str>,
    /// Laid over everything: its name in errors, and TOML.
    pub over: Option<(&'a str, &'a str)>,
}

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file; absent where there is none and the built-in defaults hold.
    pub file: Option<PathBuf>,
    /// What it means.
    pub resolved: Resolved,
}

/// Reads the file, the environment and the size of the disk.
pub fn load(request: &Request<'_>) -> anyhow::Result<Loaded> {
    let (file, text) = match request.file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            (Some(path), text.with_context(|| format!("read {}", path.display()))?)
        }
        // The embedded default brings its own doors and stays away from the machine's file.
        None if request.doors.is_some() => (None, String::new()),
        None => match std::fs::read_to_string(DEFAULT_FILE) {
            Ok(text) => (Some(Path::new(DEFAULT_FILE)), text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, String::new()),
            Err(error) => return Err(error).with_context(|| format!("read {DEFAULT_FILE}")),
        },
    };
    let name = file.map(|path| path.display().to_string());
    let variables = environment::variables();
    let resolved = resolve(&Inputs {
        doors: request.doors.unwrap_or(defaults::DOORS),
        file: name.as_deref().map(|name| (name, text.as_str())),
        variables: &variables,
        over: request.over,
        sources: source::KINDS,
        sinks: sink::KINDS,
        disk_bytes,
    })?;
    Ok(Loaded { file: file.map(Path::to_owned), resolved })
}

/// A configuration that is no file's and that the environment does not change: of a part that the
/// program itself starts. Defaults are filled in, but no source or sink.
pub fn from_text(name: &str, text: &str) -> Result<Resolved, Problems> {
    resolve(&Inputs {
        doors: "",
        file: Some((name, text)),
        variables: &[],
        over: None,
        sources: source::KINDS,
        sinks: sink::KINDS,
        disk_bytes,
    })
}

/// The size of the file system that holds `dir`, or would hold it once it is made.
fn disk_bytes(dir: &Path) -> io::Result<u64> {
    let mut missing = rustix::io::Errno::NOENT;
    for ancestor in dir.ancestors() {
        match rustix::fs::statvfs(ancestor) {
            Ok(found) => return Ok(found.f_blocks.saturating_mul(found.f_frsize)),
            Err(error @ rustix::io::Errno::NOENT) => missing = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(missing.into())
}
