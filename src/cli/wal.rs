//! `standpipe wal …`: looks into the log without being able to write to it.

pub(super) mod look;
pub(super) mod stat;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Stat(stat::Args),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Stat(args) => stat::run(args),
    }
}
