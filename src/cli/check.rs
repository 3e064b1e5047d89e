//! `standpipe check`: whether the configuration is right, and what it comes to.

use anyhow::Context as _;
use serde::Serialize;

use super::{ConfigArgs, output};
use crate::config::load::DEFAULT_FILE;
use crate::config::raw::Raw;

/// Show and check the configuration
///
/// Reads the configuration as `run` would, reports every mistake with its file, line and key, and
/// prints the configuration with all defaults filled in.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Print JSON for programs instead of TOML
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// The file that was read; null where there is none.
    file: Option<&'a std::path::Path>,
    /// The configuration with all defaults filled in.
    config: &'a Raw,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let loaded = args.config.load()?;
    let (file, config) = (loaded.file.as_deref(), &loaded.resolved.effective);
    if args.json {
        return output::print_json(&Report { file, config });
    }
    let from = file.map_or_else(
        || format!("there is no {DEFAULT_FILE}; these are the built-in defaults"),
        |file| format!("{} is right; with all defaults it says", file.display()),
    );
    let config = toml::to_string(config).context("write the configuration as TOML")?;
    output::print(&format!("# {from}\n\n{config}"))
}
