//! What was spent: sums of usage, by any of its dimensions together, over whole days. They were written with the events, so that
//! both agree whatever is read when.

use std::fmt::Write as _;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _};

use crate::db::{Tx, signed, text};
use crate::error::Error;
use crate::store::Store;
use crate::usage::Totals;

/// What to sum up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// UTC, as a count of days since 1970.
    Day,
    Organization,
    Team,
    User,
    /// By id.
    Key,
    Provider,
    /// As it was asked for.
    Model,
    /// A request with several tags is in the sum of each, one without is in that of the empty name.
    Tag,
}

/// Which sums. All of everything by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// None: everything in one sum.
    pub by: Vec<Dimension>,
    /// Days, both included.
    pub from_day: Option<i64>,
    pub to_day: Option<i64>,
    /// Only what has these names.
    pub only: Vec<(Dimension, String)>,
}

/// One group: its names in the order of [`Wanted::by`], a day as its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub names: Vec<String>,
    pub totals: Totals,
}

/// A page of sums, and the sum of all pages in which each request is counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    pub sums: Vec<Sum>,
    pub total: Totals,
}

const SUMS: [&str; 19] = [
    "requests",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "input_audio",
    "output_audio",
    "input_image",
    "output_image",
    "pictures_made",
    "pictures_read",
    "audio_ms",
    "characters",
    "searches",
    "cost_nano_usd",
    "unpriced",
    "saved_nano_usd",
];

// === impl Store ===

impl Store {
    /// Up to `limit` sums after the group `after`, in the order of their names, and the total. Costs a walk over the counters of
    /// the days that are asked for, which are far fewer than the requests.
    pub async fn spend(&self, wanted: &Wanted, after: Option<&[String]>, limit: usize) -> Result<Spend, Error> {
        let mut tx = self.db.begin_read().await?;
        let sums = sums(&mut tx, wanted, after, limit).await?;
        let whole = Wanted { by: Vec::new(), ..wanted.clone() };
        let total = self::sums(&mut tx, &whole, None, 1).await?.first().map(|sum| sum.totals);
        tx.commit().await?;
        Ok(Spend { sums, total: total.unwrap_or_default() })
    }
}

async fn sums(tx: &mut Tx, wanted: &Wanted, after: Option<&[String]>, limit: usize) -> Result<Vec<Sum>, Error> {
    let after = after.filter(|after| after.len() == wanted.by.len() && !after.is_empty());
    let statement = AssertSqlSafe(wanted.statement(after.is_some())).into_sql_str();
    let query = sqlx::query(statement).persistent(false);
    let mut query = query.bind(wanted.from_day.unwrap_or(i64::MIN)).bind(wanted.to_day.unwrap_or(i64::MAX));
    let last = wanted.by.iter().copied().zip(after.unwrap_or_default());
    for (dimension, name) in wanted.only.iter().map(|(dimension, name)| (*dimension, name)).chain(last) {
        query = match dimension {
            Dimension::Day => query.bind(name.parse::<i64>().unwrap_or(i64::MAX)),
            _ => query.bind(text(name)),
        };
    }
    let rows = query.bind(signed(limit as u64)).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| wanted.read(row)).collect()
}

// === impl Wanted ===

impl Wanted {
    /// Names of ours and numbers of parameters; what came from outside is bound, in this order: the first day, the last one, what
    /// is wanted only, the last group of the page before, the page's size.
    fn statement(&self, goes_on: bool) -> String {
        let columns: Vec<&str> = self.by.iter().map(|dimension| dimension.column()).collect();
        let mut statement = String::from("SELECT ");
        for column in &columns {
            let _ = write!(statement, "{column}, ");
        }
        for (position, column) in SUMS.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let _ = write!(statement, "{comma}CAST(COALESCE(SUM({column}), 0) AS BIGINT) AS {column}");
        }
        statement.push_str(" FROM spend_counter WHERE day >= $1 AND day <= $2");
        let mut n_bound = 2;
        for (dimension, _) in &self.only {
            n_bound += 1;
            let _ = write!(statement, " AND {} = ${n_bound}", dimension.column());
        }
        let looks_at_tags =
            self.by.contains(&Dimension::Tag) || self.only.iter().any(|(one, _)| *one == Dimension::Tag);
        if !looks_at_tags {
            statement.push_str(" AND is_first = 1");
        }
        let columns = columns.join(", ");
        if goes_on {
            let marks: Vec<String> = (1..=self.by.len()).map(|mark| format!("${}", n_bound + mark)).collect();
            let _ = write!(statement, " AND ({columns}) > ({})", marks.join(", "));
            n_bound += self.by.len();
        }
        if !columns.is_empty() {
            let _ = write!(statement, " GROUP BY {columns} ORDER BY {columns}");
        }
        let _ = write!(statement, " LIMIT ${}", n_bound + 1);
        statement
    }

    fn read(&self, row: &AnyRow) -> Result<Sum, Error> {
        let name = |dimension: &Dimension| {
            Ok(match dimension {
                Dimension::Day => row.try_get::<i64, _>("day")?.to_string(),
                _ => row.try_get(dimension.column())?,
            })
        };
        Ok(Sum { names: self.by.iter().map(name).collect::<Result<_, Error>>()?, totals: Totals::read(row)? })
    }
}

// === impl Dimension ===

impl Dimension {
    pub const ALL: [Self; 8] =
        [Self::Day, Self::Organization, Self::Team, Self::User, Self::Key, Self::Provider, Self::Model, Self::Tag];

    fn column(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Organization => "organization",
            Self::Team => "team",
            Self::User => "user_name",
            Self::Key => "key_id",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Tag => "tag",
        }
    }
}
