//! A screen that is drawn again and again, until the user ends it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::output;

/// Between two drawings, unless told.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// To the upper left corner. What was there is overwritten and not erased first: no flicker.
const HOME: &str = "\u{1b}[H";
/// Erases the rest of a line.
const ERASE_LINE: &str = "\u{1b}[K";
/// Erases everything below.
const ERASE_BELOW: &str = "\u{1b}[J";

/// Draws until the process is ended or nobody reads any more. On a terminal each screen takes the place of the one before,
/// elsewhere they follow each other, an empty line between them.
pub(super) fn draw_for_ever(
    interval: Duration,
    draw: impl Fn() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let terminal = io::stdout().is_terminal();
    if terminal {
        output::print("\u{1b}[2J")?;
    }
    loop {
        let screen = draw()?;
        if !output::print_while_read(&if terminal { over(&screen) } else { screen + "\n" })? {
            return Ok(());
        }
        std::thread::sleep(interval);
    }
}

/// Prints one after the other until the process is ended or nobody reads any more.
pub(super) fn repeat(
    interval: Duration,
    print: impl Fn() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    while output::print_while_read(&print()?)? {
        std::thread::sleep(interval);
    }
    Ok(())
}

fn over(screen: &str) -> String {
    let lines = screen.lines().map(|line| format!("{line}{ERASE_LINE}\n"));
    format!("{HOME}{}{ERASE_BELOW}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_leaves_nothing_of_the_one_before() {
        assert_eq!(over("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }
}
