//! `standpipe reload`: a running agent reads its configuration again.

use std::path::Path;

use anyhow::Context as _;

use super::place::PlaceArgs;
use super::{EXIT_CODES, output};
use crate::admin::client;
use crate::admin::reload::{PATH, Reloaded};

/// Have a running agent read its configuration again
///
/// Takes over streams, sinks, limits of the disk, the level of the log and prices, while events are
/// taken in. It is all or nothing: where the file is wrong, or a key differs that takes a restart,
/// nothing is changed, the reason is said, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let answer = match args.place.place() {
        Ok(place) => ask(&place.admin)?,
        // The file names the socket as well, so the agent cannot be asked. It would say the same.
        Err(error) => Reloaded::failed(format!("{error:#}")),
    };
    if args.json {
        output::print_json(&answer)?;
    } else if answer.reloaded {
        output::print(&report(&answer))?;
    }
    anyhow::ensure!(answer.reloaded, "not reloaded, nothing was changed: {}", reason(&answer));
    Ok(())
}

fn ask(socket: &Path) -> anyhow::Result<Reloaded> {
    client::post(socket, PATH)?.with_context(|| {
        format!(
            "not reloaded: nobody listens at {}; no agent runs, or `data_dir` or `admin.unix` is \
             another than when it was started, which takes a restart",
            socket.display()
        )
    })
}

fn report(answer: &Reloaded) -> String {
    if answer.changed.is_empty() {
        return "nothing differs from what holds already\n".to_owned();
    }
    let keys = answer.changed.join("\n  ");
    let streams = match answer.streams.as_slice() {
        [] => String::new(),
        streams => format!("delivered anew with it: {}\n", streams.join(", ")),
    };
    format!("taken over:\n  {keys}\n{streams}")
}

fn reason(answer: &Reloaded) -> String {
    match &answer.error {
        Some(error) => error.clone(),
        None => format!(
            "a restart is needed for {} (systemctl restart standpipe: it refuses no connection and \
             loses nothing)",
            answer.takes_restart.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_over_is_listed_and_what_was_not_has_a_reason() {
        let taken = Reloaded {
            reloaded: true,
            changed: vec!["stream.a.linger".into(), "wal.bytes_max".into()],
            streams: vec!["a".into()],
            ..Reloaded::default()
        };
        let shown = "taken over:\n  stream.a.linger\n  wal.bytes_max\ndelivered anew with it: a\n";
        assert_eq!(report(&taken), shown);
        assert_eq!(report(&Reloaded::default()), "nothing differs from what holds already\n");
        let refused = Reloaded { takes_restart: vec!["data_dir".into(), "source".into()], ..taken };
        assert!(reason(&refused).starts_with("a restart is needed for data_dir, source ("));
        assert_eq!(reason(&Reloaded::failed("line 3".into())), "line 3");
    }
}
