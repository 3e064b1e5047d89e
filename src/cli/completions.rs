//! `standpipe completions`: what a shell needs to complete this program's commands.

use clap::Command;
use clap_complete::Shell;

use super::{EXIT_CODES, output};

/// Print the completions for a shell
///
/// The packages install them. Elsewhere, for bash: `standpipe completions bash >
/// ~/.local/share/bash-completion/completions/standpipe`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args, mut program: Command) -> anyhow::Result<()> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
