//! Tables, lists and paragraphs for a terminal of a given width.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use crate::cli::clean;

/// Columns separated by two spaces. A table that is wider than the terminal becomes a list, as PowerShell prints one.
pub fn table(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = plain();
    table.set_header(header.iter().copied());
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| clean::line(cell)).collect()).collect();
    table.add_rows(rows.iter().map(Vec::as_slice));
    let lines = lines_of(&mut table);
    let widest = lines.iter().map(|line| columns(line)).max().unwrap_or_default();
    if width.is_some_and(|width| widest > width) { list(header, &rows) } else { joined(&lines) }
}

/// One line for each value, and an empty line between rows.
fn list(header: &[&str], rows: &[Vec<String>]) -> String {
    let longest = header.iter().map(|title| columns(title)).max().unwrap_or_default();
    let blocks = rows.iter().map(|row| {
        let line = |(title, value): (&&str, &String)| {
            format!("{title}{} : {value}", " ".repeat(longest - columns(title))).trim_end().to_owned()
        };
        joined(&header.iter().zip(row).map(line).collect::<Vec<_>>())
    });
    blocks.collect::<Vec<_>>().join("\n")
}

/// True for a text of [`table`] that was too wide for the terminal.
pub fn is_list(text: &str) -> bool {
    text.lines().next().is_some_and(|first| first.contains(" : "))
}

/// A paragraph with an indent, wrapped at the width of the terminal.
pub fn paragraph(text: &str, indent: usize, width: Option<usize>) -> String {
    let (margin, text) = (" ".repeat(indent), clean::line(text));
    let Some(width) = width else { return format!("{margin}{text}\n") };
    let mut table = plain();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width.saturating_sub(indent).max(20)).unwrap_or(u16::MAX));
    table.add_row([text]);
    joined(&lines_of(&mut table).iter().map(|line| format!("{margin}{line}")).collect::<Vec<_>>())
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}

fn lines_of(table: &mut Table) -> Vec<String> {
    table.discover_columns();
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The columns of a terminal that a text needs.
fn columns(text: &str) -> usize {
    let mut table = plain();
    table.add_row([text]);
    table.column_max_content_widths().first().copied().map(usize::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn sample(width: Option<usize>) -> String {
        let rows = [["rtcxds", "Principal"], ["\u{6771}\u{4eac}", "Mirror"], ["lis", ""]];
        table(&["DatabaseName", "State"], &rows.map(|row| row.map(str::to_owned).to_vec()), width)
    }

    #[test]
    fn table_aligns_wide_characters_by_their_columns() {
        let wide = expect![[r#"
            DatabaseName  State
            rtcxds        Principal
            東京          Mirror
            lis
        "#]];
        wide.assert_eq(&sample(None));
        wide.assert_eq(&sample(Some(23)));
    }

    #[test]
    fn table_that_is_wider_than_the_terminal_is_a_list() {
        expect![[r#"
            DatabaseName : rtcxds
            State        : Principal

            DatabaseName : 東京
            State        : Mirror

            DatabaseName : lis
            State        :
        "#]]
        .assert_eq(&sample(Some(22)));
    }

    #[test]
    fn paragraph_wraps_at_words() {
        let text = "The principal of User is on the mirror SQL-B\\RTC.";
        assert_eq!(paragraph(text, 2, Some(22)), "  The principal of\n  User is on the\n  mirror SQL-B\\RTC.\n");
        assert_eq!(paragraph(text, 2, None), format!("  {text}\n"));
    }
}
