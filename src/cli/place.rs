//! Which agent a command means.

use std::path::PathBuf;

use super::ConfigArgs;
use super::wal::look::Place;

/// The options of every command that looks at an agent.
#[derive(Debug, clap::Args)]
pub(super) struct PlaceArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// The data directory, instead of the one that the configuration names
    #[arg(long, value_name = "DIR", conflicts_with = "local")]
    data_dir: Option<PathBuf>,

    /// The directory that was given to `run --local`
    #[arg(long, value_name = "DIR")]
    local: Option<PathBuf>,
}

impl PlaceArgs {
    /// Where that agent's files and its socket are.
    pub(super) fn place(&self) -> anyhow::Result<Place> {
        match (&self.data_dir, &self.local) {
            (Some(dir), _) => Place::of_data_dir(dir),
            (None, Some(dir)) => Place::of_local(dir),
            (None, None) => Ok(Place::of_config(&self.config.load()?.resolved.config)),
        }
    }
}
