//! The commands, one file each. A command that looks never changes anything, and works whether an
//! agent runs or not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{self, Loaded};

mod check;
mod completions;
mod dead_letter;
mod demo;
mod doctor;
mod drain;
mod human;
mod log_level;
mod manual;
mod output;
mod place;
mod records;
mod reload;
mod run;
mod send;
mod status;
mod table;
mod wal;
mod watch;

/// Everything went as asked.
const EXIT_OK: u8 = 0;
/// It did not; standard error says why.
const EXIT_FAILURE: u8 = 1;

const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 1 it failed (standard error says why), 2 the command line is wrong.";

/// A durable host agent: events in over sockets, a write-ahead log, AWS Kinesis Firehose out.
#[derive(Debug, Parser)]
#[command(name = "standpipe", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    /// Send lines from standard input and wait until each is durable
    Send(send::Args),
    Demo(demo::Args),
    Check(check::Args),
    Status(status::Args),
    Drain(drain::Args),
    Doctor(doctor::Args),
    Reload(reload::Args),
    LogLevel(log_level::Args),
    /// Look into the log
    #[command(subcommand)]
    Wal(wal::Command),
    /// Look at events that a destination refuses for certain, replay or drop them
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    Completions(completions::Args),
    Manual(manual::Args),
}

/// Which configuration a command means.
#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration file [default: /etc/standpipe/standpipe.toml if it exists]
    #[arg(long, short, value_name = "FILE", env = "STANDPIPE_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Loaded> {
        config::load(&config::Request { file: self.config.as_deref(), ..Default::default() })
    }
}

/// Parses the command line, runs the command, and says once what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help and version come this way too. Whoever closed the pipe does not want them.
            let _closed = refusal.print().is_err();
            return ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(EXIT_FAILURE));
        }
    };
    match cli.command.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error);
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

impl Command {
    /// Runs the command, and returns the exit code where it could do what was asked.
    fn run(self) -> anyhow::Result<u8> {
        let done = match self {
            Self::Run(args) => run::run(&args),
            Self::Send(args) => send::run(&args),
            Self::Demo(args) => demo::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Status(args) => status::run(&args),
            Self::DeadLetter(command) => dead_letter::run(&command),
            Self::Drain(args) => drain::run(&args),
            Self::Doctor(args) => doctor::run(&args),
            Self::Reload(args) => reload::run(&args),
            Self::LogLevel(args) => log_level::run(&args),
            Self::Completions(args) => completions::run(&args, Cli::command()),
            Self::Manual(args) => manual::run(&args, Cli::command()),
            Self::Wal(command) => return wal::run(&command),
        };
        done.map(|()| EXIT_OK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
