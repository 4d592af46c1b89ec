//! Which records: one shape for a list, for what somebody missed, and for what arrives while they look.

use std::ops::RangeInclusive;

use super::LogRow;
use super::terms::{term, words};
use crate::db::{Condition, Engine, HEAD, Value, Wanted, signed, text};

/// What is `None` or empty does not matter; the rest has to hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Name or id.
    pub key: Option<String>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub status: Option<RangeInclusive<u32>>,
    /// Names and values of [`super::Terms::put`].
    pub terms: Vec<(String, String)>,
    /// Each word begins one of the record's; the whole may also be one of its [`NUMBERS`].
    pub texts: Vec<String>,
    /// How the request id begins.
    pub id: Option<String>,
    pub since_ms: Option<i64>,
    /// Not itself.
    pub until_ms: Option<i64>,
    pub min_total_us: Option<u64>,
    pub min_cost_nano_usd: Option<i64>,
}

/// Terms whose values people have in hand and paste without saying what they are.
const NUMBERS: [&str; 2] = ["session", "trace"];

const TOTAL_US: &str = "total_us";
const COST_NANO_USD: &str = "cost_nano_usd";

// === impl Filter ===

impl Filter {
    /// Whether records have to be looked at, and not only counted off in their order.
    pub(super) fn is_search(&self) -> bool {
        let timed = Self { since_ms: self.since_ms, until_ms: self.until_ms, ..Self::default() };
        *self != timed
    }

    /// The same as its condition, for a record with its terms.
    pub fn matches(&self, row: &LogRow) -> bool {
        self.wanted().iter().all(|wanted| has(row, wanted))
            && self.id.as_ref().is_none_or(|id| row.id.starts_with(id))
            && self.since_ms.is_none_or(|since| row.started_ms >= since)
            && self.until_ms.is_none_or(|until| row.started_ms < until)
    }

    /// What follows `values` in a statement, but for the times.
    pub(super) fn condition(&self, engine: Engine, values: Vec<Value>) -> Condition {
        let mut condition = Condition::after(engine, values);
        condition.and_all(&self.wanted());
        if let Some(id) = &self.id {
            condition.and("id >= ", Value::Text(text(id)));
            // Greater than whatever begins like it.
            condition.and("id < ", Value::Text(format!("{}\u{10ffff}", text(id))));
        }
        condition
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let columns = [("key", &self.key), ("model", &self.model), ("provider", &self.provider)];
        let columns = columns.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let mut wanted: Vec<Wanted> = columns.map(|(name, value)| Wanted::Column(name, head(value))).collect();
        wanted.extend(self.status.clone().map(Wanted::Status));
        wanted.extend(self.terms.iter().map(|(field, value)| Wanted::Term(term(field, value))));
        wanted.extend(self.min_total_us.map(|least| Wanted::AtLeast(TOTAL_US, signed(least))));
        wanted.extend(self.min_cost_nano_usd.map(|least| Wanted::AtLeast(COST_NANO_USD, least)));
        for text in &self.texts {
            let mut either: Vec<Wanted> = NUMBERS.iter().map(|field| Wanted::Term(term(field, text))).collect();
            let all: Vec<Wanted> = words(text).map(Wanted::Word).collect();
            if !all.is_empty() {
                either.push(Wanted::All(all));
            }
            wanted.push(Wanted::Any(either));
        }
        wanted
    }
}

fn has(row: &LogRow, wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Column("key", value) => head(&row.key_id) == *value || head(&row.key_name) == *value,
        Wanted::Column("model", value) => head(&row.model) == *value,
        Wanted::Column(_, value) => head(&row.provider) == *value,
        Wanted::Status(range) => range.contains(&row.status),
        Wanted::AtLeast(TOTAL_US, least) => signed(row.total_us) >= *least,
        Wanted::AtLeast(_, least) => row.cost_nano_usd >= *least,
        Wanted::Term(term) => row.terms.lines().any(|line| line == term),
        Wanted::Word(word) => {
            row.terms.lines().any(|line| line.strip_prefix('~').is_some_and(|had| had.starts_with(word.as_str())))
        }
        Wanted::All(parts) => parts.iter().all(|part| has(row, part)),
        Wanted::Any(parts) => parts.iter().any(|part| has(row, part)),
    }
}

/// As much of a column as counts.
fn head(value: &str) -> String {
    text(value).chars().take(HEAD).collect()
}
