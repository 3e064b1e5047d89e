//! `standpipe wal …`: looks into the log without being able to write to it. `repair` alone writes.

mod cat;
mod export;
pub(super) mod look;
mod ls;
mod progress;
mod read;
mod repair;
mod seen;
pub(super) mod stat;
mod verify;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Stat(stat::Args),
    Ls(ls::Args),
    Verify(verify::Args),
    Cat(cat::Args),
    Export(export::Args),
    Repair(repair::Args),
}

/// Runs one, and returns the exit code.
pub(super) fn run(command: &Command) -> anyhow::Result<u8> {
    match command {
        Command::Stat(args) => stat::run(args).map(|()| super::EXIT_OK),
        Command::Ls(args) => ls::run(args).map(|()| super::EXIT_OK),
        Command::Verify(args) => verify::run(args),
        Command::Cat(args) => cat::run(args),
        Command::Export(args) => export::run(args),
        Command::Repair(args) => repair::run(args),
    }
}
