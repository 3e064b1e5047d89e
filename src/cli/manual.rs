//! `standpipe manual`: the man pages, made from the same text as `--help`. For whoever builds a
//! package; hidden from everybody else.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;

use super::{EXIT_CODES, output};

/// What the first page says beside the help.
const FILES: &str = r".SH FILES
.TP
\fI/etc/standpipe/standpipe.toml\fR
The configuration. Every key is shown there with its default; \fBstandpipe check\fR says what holds.
.TP
\fI/var/lib/standpipe\fR
The log, the committed offsets and the admin socket.
.TP
\fI/run/standpipe/standpipe.sock\fR
Where programs write events: one line each, the stream's name, a space, the payload.
.SH SEE ALSO
\fBsystemctl\fR(1), \fBjournalctl\fR(1), \fBsystemd.socket\fR(5).
The documents below \fI/usr/share/doc/standpipe\fR tell how to operate it (OPERATIONS.md) and what
clients say to it (PROTOCOL.md).
";

/// Write the man pages into a directory
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = EXIT_CODES)]
pub(super) struct Args {
    /// Where to; it must exist
    dir: PathBuf,
}

pub(super) fn run(args: &Args, program: Command) -> anyhow::Result<()> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    for (page, text) in pages(&program, FILES)? {
        let path = args.dir.join(page);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        output::print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

/// The page of a command and of each of its visible subcommands: file name and text.
fn pages(command: &Command, more: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render(&mut text)?;
    text.extend_from_slice(more.as_bytes());
    let mut all = vec![(man.get_filename(), text)];
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        all.extend(pages(subcommand, "")?);
    }
    Ok(all)
}
