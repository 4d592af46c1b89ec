//! Requests that belong together because their clients said so: the sums of each session, added to in the transaction that stores its
//! records. A list of sessions reads as many rows as it shows, whatever is in them, and no record.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::db::{Condition, Db, Rows, Tx, Value, line, short_key, signed, text, unsigned};
use crate::error::Error;
use crate::store::Store;
use crate::traffic::Sample;
use crate::usage::Cursor;

/// The requests of a session, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSession {
    pub id: String,
    /// When the first and the last of them began.
    pub first_ms: i64,
    pub last_ms: i64,
    pub requests: u64,
    pub failed: u64,
    pub refused: u64,
    pub input: u64,
    pub output: u64,
    pub cost_nano_usd: i64,
    /// Requests whose cost nobody knows; the sum is without them.
    pub unpriced: u64,
    pub models: Names,
    pub keys: Names,
    pub users: Names,
}

/// Under which names requests went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub total: u64,
    /// Those of most requests, with their number.
    pub most: Vec<(String, u64)>,
}

/// What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    pub id: Option<String>,
    /// How the id begins.
    pub starts: Option<String>,
    pub key: Option<String>,
    pub user: Option<String>,
    pub model: Option<String>,
    /// Of the last request.
    pub since_ms: Option<i64>,
    /// Not itself.
    pub until_ms: Option<i64>,
}

/// One request, as it counts for its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) session: &'a str,
    pub(crate) started_ms: i64,
    pub(crate) key: &'a str,
    pub(crate) user: &'a str,
    pub(crate) model: &'a str,
    pub(crate) sample: &'a Sample,
}

/// Columns of `log_session` and of `log_session_name`.
const N_COLUMNS: usize = 11;
const N_NAME: usize = 5;
/// Names of a kind that are counted of a session in one batch, and that are shown of it.
const MAX_NAMES: usize = 32;
const MAX_SHOWN: i64 = 8;
/// Of one request; far more than is real.
const MAX_COST: i64 = 1_000_000 * 1_000_000_000;
const MAX_TOKENS: u64 = 1 << 40;

const KEY: &str = "key";
const USER: &str = "user";
const MODEL: &str = "model";

#[derive(Clone, Debug, Default)]
struct Added {
    first_ms: i64,
    last_ms: i64,
    requests: i64,
    failed: i64,
    refused: i64,
    input: u64,
    output: u64,
    cost_nano_usd: i64,
    unpriced: i64,
    names: BTreeMap<(&'static str, String), i64>,
}

// === impl Store ===

impl Store {
    /// Up to `limit` sessions after the cursor, those first that were used last.
    pub async fn log_sessions(
        &self,
        filter: &SessionFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<LogSession>, Error> {
        let top = after.map_or((i64::MAX, ""), |after| (after.started_ms, after.id.as_str()));
        let values = vec![
            Value::Number(top.0),
            Value::Text(text(top.1)),
            Value::Number(filter.since_ms.unwrap_or(i64::MIN)),
            Value::Number(filter.until_ms.unwrap_or(i64::MAX)),
        ];
        let mut condition = Condition::after(self.db.engine(), values);
        let mut named = String::new();
        for (field, name) in [(KEY, &filter.key), (USER, &filter.user), (MODEL, &filter.model)] {
            let Some(name) = name else { continue };
            let mark = condition.mark(Value::Text(short_key(name)));
            named.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM log_session_name WHERE session = log_session.id AND field = '{field}' AND name = {mark})"
            ));
        }
        if let Some(id) = &filter.id {
            condition.and("id = ", Value::Text(line(id)));
        }
        if let Some(starts) = &filter.starts {
            let starts = line(starts);
            condition.and("id >= ", Value::Text(starts.clone()));
            // Greater than whatever begins like it.
            condition.and("id < ", Value::Text(format!("{starts}\u{10ffff}")));
        }
        let mark = condition.mark(Value::Number(signed(limit as u64)));
        let (and, values) = condition.into_parts();
        let statement = format!(
            "SELECT id, first_ms, last_ms, requests, failed, refused, input, output, cost_nano_usd, unpriced FROM log_session \
             WHERE (last_ms, id) < ($1, $2) AND last_ms >= $3 AND last_ms < $4{and}{named} \
             ORDER BY last_ms DESC, id DESC LIMIT {mark}"
        );
        let found = self.asked(statement, values).await?;
        let mut sessions = found.iter().map(LogSession::read).collect::<Result<Vec<_>, _>>()?;
        self.name(&mut sessions).await?;
        Ok(sessions)
    }

    /// Fills in under which names they went.
    async fn name(&self, sessions: &mut [LogSession]) -> Result<(), Error> {
        if sessions.is_empty() {
            return Ok(());
        }
        let mut condition = Condition::after(self.db.engine(), Vec::new());
        let marks: Vec<String> =
            sessions.iter().map(|session| condition.mark(Value::Text(session.id.clone()))).collect();
        let statement = format!(
            "SELECT session, field, name, requests, total FROM (SELECT session, field, name, requests, \
             ROW_NUMBER() OVER (PARTITION BY session, field ORDER BY requests DESC, name) AS place, \
             COUNT(*) OVER (PARTITION BY session, field) AS total \
             FROM log_session_name WHERE session IN ({})) AS placed WHERE place <= {MAX_SHOWN} ORDER BY session, field, place",
            marks.join(", ")
        );
        let (_, values) = condition.into_parts();
        let at: BTreeMap<String, usize> =
            sessions.iter().enumerate().map(|(at, session)| (session.id.clone(), at)).collect();
        for row in self.asked(statement, values).await? {
            let (id, field): (String, String) = (row.try_get("session")?, row.try_get("field")?);
            let Some(session) = at.get(&id).and_then(|at| sessions.get_mut(*at)) else { continue };
            let names = match field.as_str() {
                KEY => &mut session.keys,
                USER => &mut session.users,
                _ => &mut session.models,
            };
            names.total = unsigned(&row, "total")?;
            names.most.push((row.try_get("name")?, unsigned(&row, "requests")?));
        }
        Ok(())
    }

    /// Looks for as long as a search may.
    async fn asked(&self, statement: String, values: Vec<Value>) -> Result<Vec<AnyRow>, Error> {
        let mut query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
        for value in values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        let mut tx = self.db.begin_search().await?;
        let rows = query.fetch_all(&mut *tx).await.map_err(Error::from);
        let rows = rows.map_err(|error| if matches!(error, Error::Locked) { Error::Slow } else { error })?;
        tx.commit().await?;
        Ok(rows)
    }
}

/// Adds requests. By our own clock `now_ms`: one that says it starts later would stand before all others.
pub(crate) async fn count<'a>(
    db: &Db,
    tx: &mut Tx,
    entries: impl Iterator<Item = Entry<'a>>,
    now_ms: i64,
) -> Result<(), Error> {
    let mut sessions: BTreeMap<String, Added> = BTreeMap::new();
    for entry in entries {
        sessions.entry(line(entry.session)).or_default().add(&entry, now_ms);
    }
    // In one order, whoever writes: two who write the same rows wait for each other and not in a circle.
    let sessions: Vec<(String, Added)> = sessions.into_iter().collect();
    let mut values = Rows::of(N_COLUMNS);
    for (id, added) in &sessions {
        values.put(id.as_str()).put(added.first_ms).put(added.last_ms).put(added.requests).put(added.failed);
        values
            .put(added.refused)
            .put(signed(added.input))
            .put(signed(added.output))
            .put(added.cost_nano_usd)
            .put(added.unpriced)
            .put(now_ms);
    }
    let before = "INSERT INTO log_session (id, first_ms, last_ms, requests, failed, refused, input, output, cost_nano_usd, unpriced, stored_ms)";
    let after = "ON CONFLICT (id) DO UPDATE SET \
         first_ms = CASE WHEN excluded.first_ms < log_session.first_ms THEN excluded.first_ms ELSE log_session.first_ms END, \
         last_ms = CASE WHEN excluded.last_ms > log_session.last_ms THEN excluded.last_ms ELSE log_session.last_ms END, \
         requests = log_session.requests + excluded.requests, failed = log_session.failed + excluded.failed, \
         refused = log_session.refused + excluded.refused, input = log_session.input + excluded.input, \
         output = log_session.output + excluded.output, \
         cost_nano_usd = log_session.cost_nano_usd + excluded.cost_nano_usd, \
         unpriced = log_session.unpriced + excluded.unpriced, stored_ms = excluded.stored_ms";
    values.execute(db, tx, before, after).await?;
    count_names(db, tx, &sessions, now_ms).await
}

async fn count_names(db: &Db, tx: &mut Tx, sessions: &[(String, Added)], now_ms: i64) -> Result<(), Error> {
    let mut values = Rows::of(N_NAME);
    for (id, added) in sessions {
        for ((field, name), n) in &added.names {
            values.put(id.as_str()).put(*field).put(name.as_str()).put(*n).put(now_ms);
        }
    }
    let before = "INSERT INTO log_session_name (session, field, name, requests, stored_ms)";
    let after = "ON CONFLICT (session, field, name) DO UPDATE SET \
         requests = log_session_name.requests + excluded.requests, stored_ms = excluded.stored_ms";
    values.execute(db, tx, before, after).await.map(drop)
}

/// Forgets sessions, and names of sessions, that nothing was stored of since then.
pub(crate) async fn prune(tx: &mut Tx, older_than_ms: i64) -> Result<(), Error> {
    for gone in ["DELETE FROM log_session WHERE stored_ms < $1", "DELETE FROM log_session_name WHERE stored_ms < $1"] {
        sqlx::query(gone).bind(older_than_ms).execute(&mut **tx).await?;
    }
    Ok(())
}

// === impl Added ===

impl Added {
    fn add(&mut self, entry: &Entry<'_>, now_ms: i64) {
        let Entry { sample, .. } = entry;
        let started_ms = entry.started_ms.clamp(0, now_ms.max(0));
        self.first_ms = if self.requests == 0 { started_ms } else { self.first_ms.min(started_ms) };
        self.last_ms = self.last_ms.max(started_ms);
        self.requests += 1;
        self.failed += i64::from(sample.failed);
        self.refused += i64::from(sample.refused);
        self.input = self.input.saturating_add(sample.input.min(MAX_TOKENS));
        self.output = self.output.saturating_add(sample.output.min(MAX_TOKENS));
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(sample.cost_nano_usd.clamp(0, MAX_COST));
        self.unpriced += i64::from(sample.unpriced);
        for (field, name) in [(KEY, entry.key), (USER, entry.user), (MODEL, entry.model)] {
            let n_names = self.names.keys().filter(|(known, _)| *known == field).count();
            let name = (field, short_key(name));
            if !name.1.is_empty() && (n_names < MAX_NAMES || self.names.contains_key(&name)) {
                *self.names.entry(name).or_default() += 1;
            }
        }
    }
}

// === impl LogSession ===

impl LogSession {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            first_ms: row.try_get("first_ms")?,
            last_ms: row.try_get("last_ms")?,
            requests: unsigned(row, "requests")?,
            failed: unsigned(row, "failed")?,
            refused: unsigned(row, "refused")?,
            input: unsigned(row, "input")?,
            output: unsigned(row, "output")?,
            cost_nano_usd: row.try_get("cost_nano_usd")?,
            unpriced: unsigned(row, "unpriced")?,
            ..Self::default()
        })
    }
}
