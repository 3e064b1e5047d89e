//! `standpipe log-level`: what a running agent logs, from now on.

use anyhow::Context as _;

use super::place::PlaceArgs;
use super::{EXIT_CODES, output};
use crate::admin::client;

/// Change what a running agent logs, until it is restarted
///
/// A level is one of error, warn, info, debug, trace and off, and holds for this program's own
/// messages; a filter like `warn,standpipe::router=debug` is taken as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// The level or filter
    level: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let place = args.place.place()?;
    let holds = client::set_log_level(&place.admin, &args.level)?;
    let holds = holds.with_context(|| {
        format!("no agent runs with {}: nobody listens there", place.admin.display())
    })?;
    output::print(&format!("the agent logs {holds}\n"))
}
