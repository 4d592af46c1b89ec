//! Tables for people: no borders, numbers to the right, headers that scripts can skip.
//!
//! A table is never wider than the terminal: spare columns go first, then each row becomes a block of lines. A pipe gets one
//! line per row, with all columns.

use unicode_width::UnicodeWidthStr;

/// Blanks between columns.
const GAP: usize = 2;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
    /// Left out where the terminal is too narrow for it beside those before it.
    Spare(&'static str),
    SpareNumber(&'static str),
}

/// Rows of a table under `columns`, ending in a newline. `width` is the terminal's, `None` where there is no limit.
pub(crate) fn render(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>, width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(visible).collect()).collect();
    let widths: Vec<usize> = columns.iter().enumerate().map(|(index, column)| column.width(index, &rows)).collect();
    let needed = columns.iter().zip(&widths).filter(|(column, _)| !column.is_spare()).map(|(_, width)| width + GAP);
    // The last column has no gap behind it.
    let room = width.map_or(usize::MAX, |width| width + GAP);
    let Some(mut left) = room.checked_sub(needed.sum()) else {
        return blocks(columns, &rows);
    };
    let mut kept = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let fits = left.checked_sub(widths[index] + GAP);
        match (column.is_spare(), fits) {
            (false, _) => kept.push(index),
            (true, Some(rest)) => {
                kept.push(index);
                left = rest;
            }
            (true, None) => {}
        }
    }
    let titles: Vec<String> = columns.iter().map(|column| column.title().to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&titles).chain(&rows) {
        let cells = kept.iter().map(|index| {
            let cell = row.get(*index).map_or("", String::as_str);
            columns[*index].pad(cell, widths[*index])
        });
        text.push_str(cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end());
        text.push('\n');
    }
    let left_out: Vec<&str> =
        (0..columns.len()).filter(|index| !kept.contains(index)).map(|index| columns[index].title()).collect();
    if !left_out.is_empty() {
        text.push_str(&format!("(left out: {}; -o wide shows all)\n", left_out.join(", ")));
    }
    text
}

/// Each row as a block of `title: value` lines.
fn blocks(columns: &[Column], rows: &[Vec<String>]) -> String {
    let blocks = rows.iter().map(|row| {
        let fields = columns.iter().zip(row).filter(|(column, _)| !column.title().is_empty());
        pairs(&fields.map(|(column, cell)| (column.title(), cell.clone())).collect::<Vec<_>>())
    });
    blocks.collect::<Vec<_>>().join("\n")
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
pub(crate) fn visible(text: String) -> String {
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
            Self::Text(title) | Self::Number(title) | Self::Spare(title) | Self::SpareNumber(title) => title,
        }
    }

    fn is_spare(self) -> bool {
        matches!(self, Self::Spare(_) | Self::SpareNumber(_))
    }

    /// Terminal columns that its widest cell takes.
    fn width(self, index: usize, rows: &[Vec<String>]) -> usize {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|cell| cell.width()).max().unwrap_or(0).max(self.title().width())
    }

    fn pad(self, cell: &str, width: usize) -> String {
        let blanks = " ".repeat(width.saturating_sub(cell.width()));
        match self {
            Self::Text(_) | Self::Spare(_) => format!("{cell}{blanks}"),
            Self::Number(_) | Self::SpareNumber(_) => format!("{blanks}{cell}"),
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
            render(&columns, rows, None),
            "NAME       TOKENS  STATE\na               7  ok\nlong-name   12345  x [2J\n"
        );
        assert_eq!(render(&columns[..1], [vec!["日本".into()], vec!["abcde".into()]], None), "NAME\n日本\nabcde\n");
    }

    #[test]
    fn a_narrow_terminal_loses_spare_columns_first_and_then_the_table() {
        let columns =
            [Column::Text("NAME"), Column::Spare("NOTE"), Column::Number("TOKENS"), Column::SpareNumber("AGE")];
        let rows = || [vec!["a".to_owned(), "b".to_owned(), "7".to_owned(), "12".to_owned()]];
        let told = "; -o wide shows all)\n";
        for (width, expected) in [
            (23, "NAME  NOTE  TOKENS  AGE\na     b          7   12\n".to_owned()),
            (22, format!("NAME  NOTE  TOKENS\na     b          7\n(left out: AGE{told}")),
            (17, format!("NAME  TOKENS  AGE\na          7   12\n(left out: NOTE{told}")),
            (16, format!("NAME  TOKENS\na          7\n(left out: NOTE, AGE{told}")),
            (11, "NAME:    a\nNOTE:    b\nTOKENS:  7\nAGE:     12\n".to_owned()),
        ] {
            assert_eq!(render(&columns, rows(), Some(width)), expected, "{width}");
        }
    }

    #[test]
    fn pairs_leave_out_what_is_not_there() {
        assert_eq!(
            pairs(&[("Name", "x".into()), ("Owner", String::new()), ("Revision", "3".into())]),
            "Name:      x\nRevision:  3\n"
        );
    }
}
