//! Tables for people: aligned columns, no lines, colours only where they are asked for.

use super::output::Style;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain }
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// A table that grows row by row.
#[derive(Debug)]
pub(super) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let heading = columns.iter().map(|(title, _)| Cell::styled(*title, Style::Heading));
        Self {
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            rows: vec![heading.collect()],
        }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as lines.
    pub(super) fn render(&self, colors: bool) -> String {
        self.render_within(colors, None)
    }

    /// The same, where the last cell of a row is cut so that no line is longer than this. A cell
    /// that has no room at all stays: nothing is hidden without a sign.
    pub(super) fn render_within(&self, colors: bool, columns: Option<usize>) -> String {
        let mut widths = vec![0; self.aligns.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let before_last: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(before_last));
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let cells = row.iter().zip(&self.aligns).zip(&widths).enumerate();
            for (position, ((cell, align), width)) in cells {
                if position > 0 {
                    line.push_str("  ");
                }
                let last = position + 1 == row.len();
                let shown = if last { cut(&cell.text, room) } else { cell.text.clone() };
                let padding = " ".repeat(width.saturating_sub(shown.chars().count()));
                let painted = if colors { cell.style.paint(&shown) } else { shown };
                match align {
                    Align::Left => line.extend([painted, padding]),
                    Align::Right => line.extend([padding, painted]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text of at most so many characters, with a sign where something is missing.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room || room == 0 {
        return text.to_owned();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table =
            Table::new(&[("NAME", Align::Left), ("N", Align::Right), ("", Align::Left)]);
        table.row([Cell::new("orders"), Cell::new("1,000"), Cell::styled("bad", Style::Bad)]);
        table.row([Cell::new("ü"), Cell::new("7"), Cell::default()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_where_they_end() {
        assert_eq!(table().render(false), "NAME        N\norders  1,000  bad\nü           7\n");
    }

    #[test]
    fn a_terminal_s_lines_do_not_wrap() {
        let narrow = table().render_within(false, Some(17));
        assert_eq!(narrow, "NAME        N\norders  1,000  b…\nü           7\n");
        assert_eq!(table().render_within(false, Some(18)), table().render(false));
    }

    #[test]
    fn colours_do_not_change_the_width() {
        let colored = table().render(true);
        assert!(colored.contains("\u{1b}[31mbad\u{1b}[0m"));
        let mut plain = colored;
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(
            plain.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n",
            table().render(false)
        );
    }
}
