//! Tables for people: no borders, numbers to the right, headers that scripts can skip.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// Rows of a table under `columns`, ending in a newline. Fits the terminal by wrapping; a pipe gets one line per row.
pub(crate) fn render(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|column| column.title()));
    for row in rows {
        table.add_row(row.into_iter().map(visible));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            drawn.set_padding((0, 2));
            if matches!(column, Column::Number(_)) {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names and values under each other: `title  value`. Rows without a value are left out.
pub(crate) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (title, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("{:width$}  {}\n", format!("{title}:"), visible(value.clone()), width = width + 1));
    }
    text
}

/// Text from elsewhere may not steer the terminal.
fn visible(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
    } else {
        text
    }
}

// === impl Column ===

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) => title,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let columns = [Column::Text("NAME"), Column::Number("TOKENS"), Column::Text("STATE")];
        let rows =
            [vec!["a".into(), "7".into(), "ok".into()], vec!["long-name".into(), "12345".into(), "x\x1b[2J".into()]];
        assert_eq!(
            render(&columns, rows),
            "NAME       TOKENS  STATE\na               7  ok\nlong-name   12345  x [2J\n"
        );
    }

    #[test]
    fn pairs_leave_out_what_is_not_there() {
        assert_eq!(
            pairs(&[("Name", "x".into()), ("Owner", String::new()), ("Revision", "3".into())]),
            "Name:      x\nRevision:  3\n"
        );
    }
}
