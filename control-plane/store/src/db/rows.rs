//! Many rows in one statement.
//!
//! Postgres takes a column at a time, as the text of an array: its statement is the same for any number of rows, so that each
//! connection reads and plans it once, and there are no thousands of parameters to be taken apart. SQLite has no arrays and reads
//! statements fast: it takes each value.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, SqlSafeStr as _};

use super::{Db, Engine, MAX_PARAMETERS, bulk};
use crate::error::Error;

/// Values row by row; those of a column are of one type.
pub(crate) struct Rows<'a> {
    n_columns: usize,
    cells: Vec<Cell<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Number(Option<i64>),
}

// === impl Rows ===

impl<'a> Rows<'a> {
    pub(crate) fn of(n_columns: usize) -> Self {
        Self { n_columns, cells: Vec::new() }
    }

    /// The next value.
    pub(crate) fn put(&mut self, cell: impl Into<Cell<'a>>) -> &mut Self {
        self.cells.push(cell.into());
        self
    }

    /// Between `before` and `after`; nothing where there are no rows. Returns how many rows it wrote.
    pub(crate) async fn execute(
        &self,
        db: &Db,
        connection: &mut AnyConnection,
        before: &str,
        after: &str,
    ) -> Result<u64, Error> {
        let mut n_rows = 0;
        for cells in self.statements(db) {
            n_rows += self.query(db, cells, before, after).execute(&mut *connection).await?.rows_affected();
        }
        Ok(n_rows)
    }

    /// The same, and what comes back.
    pub(crate) async fn fetch(
        &self,
        db: &Db,
        connection: &mut AnyConnection,
        before: &str,
        after: &str,
    ) -> Result<Vec<AnyRow>, Error> {
        let mut answer = Vec::new();
        for cells in self.statements(db) {
            answer.extend(self.query(db, cells, before, after).fetch_all(&mut *connection).await?);
        }
        Ok(answer)
    }

    /// The cells of each.
    fn statements(&self, db: &Db) -> impl Iterator<Item = &[Cell<'a>]> {
        let most = match db.engine {
            Engine::Sqlite => MAX_PARAMETERS / self.n_columns * self.n_columns,
            Engine::Postgres => self.cells.len().max(1),
        };
        self.cells.chunks(most)
    }

    fn query<'q>(&self, db: &Db, cells: &'q [Cell<'a>], before: &str, after: &str) -> Query<'q, Any, AnyArguments> {
        match db.engine {
            Engine::Sqlite => {
                let before = format!("{before} VALUES");
                let statement = bulk(Engine::Sqlite, &before, self.n_columns, cells.len() / self.n_columns, after);
                // Texts differ with the number of rows; keeping them prepared would push out the statements that repeat.
                let query = sqlx::query(statement).persistent(false);
                cells.iter().fold(query, |query, cell| match cell {
                    Cell::Text(text) => query.bind(*text),
                    Cell::Number(number) => query.bind(*number),
                })
            }
            Engine::Postgres => {
                let types: Vec<String> = cells[..self.n_columns]
                    .iter()
                    .enumerate()
                    .map(|(column, cell)| format!("CAST(${} AS {}[])", column + 1, cell.type_name()))
                    .collect();
                let statement = format!("{before} SELECT * FROM unnest({}) {after}", types.join(", "));
                // Texts and names of ours, and numbers of parameters.
                let query = sqlx::query(AssertSqlSafe(statement).into_sql_str());
                (0..self.n_columns)
                    .fold(query, |query, column| query.bind(array(cells.iter().skip(column).step_by(self.n_columns))))
            }
        }
    }
}

/// As Postgres reads arrays: any text in quotes.
fn array<'c>(cells: impl Iterator<Item = &'c Cell<'c>>) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("{");
    for (position, cell) in cells.enumerate() {
        if position > 0 {
            text.push(',');
        }
        match cell {
            // Writing to a string cannot fail.
            Cell::Number(Some(number)) => drop(write!(text, "{number}")),
            Cell::Number(None) => text.push_str("NULL"),
            Cell::Text(value) => {
                text.push('"');
                let mut rest = *value;
                while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\')) {
                    text.push_str(&rest[..at]);
                    text.push('\\');
                    text.push_str(&rest[at..=at]);
                    rest = &rest[at + 1..];
                }
                text.push_str(rest);
                text.push('"');
            }
        }
    }
    text.push('}');
    text
}

// === impl Cell ===

impl Cell<'_> {
    fn type_name(self) -> &'static str {
        match self {
            Self::Text(_) => "TEXT",
            Self::Number(_) => "BIGINT",
        }
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_written_as_postgres_reads_them() {
        let texts = ["", "a,b", r#"{"k":"\u0000"}"#, "NULL", "\\", "ü\""].map(Cell::Text);
        assert_eq!(array(texts.iter()), r#"{"","a,b","{\"k\":\"\\u0000\"}","NULL","\\","ü\""}"#);
        assert_eq!(array([Some(i64::MIN), None, Some(0)].map(Cell::Number).iter()), "{-9223372036854775808,NULL,0}");
        assert_eq!(array([].iter()), "{}");
    }
}
