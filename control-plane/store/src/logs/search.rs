//! Looking for records, newest first. Never without an end: a search looks at a day and says where to go on, it stops when it has
//! taken too long, and says that too.

use std::time::{Duration, Instant};

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Filter, LogRow, clickhouse};
use crate::clickhouse::ClickHouse;
use crate::db::{Engine, Value, signed, text};
use crate::error::Error;
use crate::store::Store;
use crate::usage::Cursor;

/// A page of records, and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub rows: Vec<LogRow>,
    /// After what to go on. There may be one even where nothing was found: what is older has not been looked at.
    pub next: Option<Cursor>,
    /// How far back was looked, where records had to be looked at.
    pub since_ms: Option<i64>,
    /// Whether its time was up before it had looked at all it should.
    pub stopped: bool,
}

/// What is looked at in one go where nobody says from when.
const WINDOW_MS: i64 = 24 * HOUR_MS;
/// What is looked at if that takes too long.
const HOUR_MS: i64 = 60 * 60 * 1000;
/// Records that SQLite looks at before it is asked whether time is up: about a tenth of a second.
const SLICE: i64 = 20_000;
/// Records that Postgres walks through before it asks the index: what many have is among them.
const NEAR: i64 = 5_000;
/// How much further it looks then, where none of them was it.
const NEXT: i64 = 8;
const PATIENCE: Duration = Duration::from_secs(2);

/// How records come into their order.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Through the index of times, until there are enough.
    Walked,
    /// All that fit, by the index of terms. Said so because Postgres takes it for cheap to make a record's terms anew, and would
    /// walk through millions for a word that nobody says.
    Sorted,
}

/// How far is looked at once.
#[derive(Clone, Copy, Debug)]
struct Reach {
    first_ms: i64,
    /// By how much each is longer than the one before.
    factor: i64,
    /// Unless that took longer than this.
    quick: Duration,
}

/// Records that are looked at without taking them apart.
const FEW: u64 = 10_000;

// === impl Store ===

impl Store {
    /// Up to `limit` records, newest first, after the cursor.
    pub async fn search(
        &self,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
        now_ms: i64,
    ) -> Result<Found, Error> {
        let until = before(filter.until_ms.unwrap_or(i64::MAX));
        let top = after.filter(|after| after.started_ms < until.started_ms).unwrap_or(&until);
        let floor = filter.since_ms.unwrap_or(i64::MIN);
        if let Some(clickhouse) = &self.clickhouse {
            return self.in_clickhouse(clickhouse, filter, top, floor, limit, now_ms).await;
        }
        if !filter.is_search() {
            let rows = self.stretch(filter, top, &before(floor), Order::Walked, limit + 1).await?;
            return Ok(Found::default().filled(rows, limit));
        }
        // Where nothing was for a while, the day is one that has something.
        let Some(newest) = self.newest(top, floor).await? else { return Ok(Found::default()) };
        let from = begins(filter, newest, now_ms);
        let mut found = match self.db.engine() {
            Engine::Sqlite => self.by_slices(filter, top, from, limit).await?,
            Engine::Postgres => self.by_index(filter, top, newest, from, limit).await?,
        };
        let done = found.since_ms.unwrap_or(from);
        if found.next.is_none() && self.newest(&before(done), floor).await?.is_some() {
            found.next = Some(before(done));
        }
        Ok(found)
    }

    /// Up to `limit` records that follow the cursor in time, oldest first: what a reader missed who was away.
    pub async fn logs_since(&self, filter: &Filter, after: &Cursor, limit: usize) -> Result<Vec<LogRow>, Error> {
        if let Some(clickhouse) = &self.clickhouse {
            return clickhouse::missed(clickhouse, filter, after, limit).await;
        }
        let until = before(filter.until_ms.unwrap_or(i64::MAX));
        let since = filter.since_ms.unwrap_or(i64::MIN);
        let values = [Value::Number(after.started_ms), Value::Text(text(&after.id)), Value::Number(since)];
        let values = values.into_iter().chain([Value::Number(until.started_ms)]).collect();
        let times = "(started_ms, id) > ($1, $2) AND started_ms >= $3 AND started_ms < $4";
        let rows = self.read(filter, times, values, "ORDER BY started_ms, id", limit).await;
        rows.map_err(|error| if matches!(error, Error::Locked) { Error::Slow } else { error })
    }

    /// It walks through no index, so that a list is a search for anything.
    async fn in_clickhouse(
        &self,
        clickhouse: &ClickHouse,
        filter: &Filter,
        top: &Cursor,
        floor: i64,
        limit: usize,
        now_ms: i64,
    ) -> Result<Found, Error> {
        let Some(ends) = clickhouse::ends(clickhouse, top, floor).await? else { return Ok(Found::default()) };
        let top = top.clone().min(before(ends.newest.saturating_add(1)));
        let reach = if ends.n_records <= FEW { Reach::ALL } else { Reach::READ };
        if !filter.is_search() {
            let found = self.by_spans(filter, top, ends.oldest, limit, Vec::new(), reach).await?;
            return Ok(Found { since_ms: found.since_ms.filter(|_| found.stopped), ..found });
        }
        let from = begins(filter, ends.newest, now_ms);
        let mut found = self.by_spans(filter, top, from, limit, Vec::new(), reach).await?;
        if found.next.is_none() && ends.oldest < from {
            found.next = Some(before(from));
        }
        Ok(found)
    }

    /// In pieces that take a moment each, because SQLite does not stop in the middle.
    async fn by_slices(&self, filter: &Filter, top: &Cursor, from: i64, limit: usize) -> Result<Found, Error> {
        let began = Instant::now();
        let mut found = Found { since_ms: Some(from), ..Found::default() };
        let mut rows = Vec::new();
        let mut top = top.clone();
        loop {
            let end = self.after_slice(&top, from, SLICE).await?;
            let bottom = end.clone().unwrap_or_else(|| before(from));
            rows.extend(self.stretch(filter, &top, &bottom, Order::Walked, limit + 1 - rows.len()).await?);
            let Some(end) = end.filter(|_| rows.len() <= limit) else { return Ok(found.filled(rows, limit)) };
            if began.elapsed() > PATIENCE {
                found = Found { since_ms: Some(end.started_ms), next: Some(end), stopped: true, ..found };
                return Ok(Found { rows, ..found });
            }
            top = end;
        }
    }

    /// What is near first, then by the index.
    async fn by_index(
        &self,
        filter: &Filter,
        top: &Cursor,
        newest: i64,
        from: i64,
        limit: usize,
    ) -> Result<Found, Error> {
        let near = self.after_slice(top, from, NEAR).await?;
        let bottom = near.clone().unwrap_or_else(|| before(from));
        let rows = self.stretch(filter, top, &bottom, Order::Walked, limit + 1).await?;
        let Some(end) = near else {
            return Ok(Found { since_ms: Some(from), ..Found::default() }.filled(rows, limit));
        };
        let reach = Reach::after(newest.saturating_sub(end.started_ms), rows.len(), limit);
        self.by_spans(filter, end, from, limit, rows, reach).await
    }

    /// What follows `rows`: a span of time, then a longer one, so that what was found lately does not wait for what is old.
    async fn by_spans(
        &self,
        filter: &Filter,
        mut top: Cursor,
        from: i64,
        limit: usize,
        mut rows: Vec<LogRow>,
        reach: Reach,
    ) -> Result<Found, Error> {
        let began = Instant::now();
        let mut found = Found { since_ms: Some(from), ..Found::default() };
        let mut span_ms = if filter.id.is_some() { i64::MAX } else { reach.first_ms };
        while rows.len() <= limit && (top.started_ms, top.id.as_str()) > (from, "") {
            let bottom = before(top.started_ms.saturating_sub(span_ms).max(from));
            let asked = Instant::now();
            match self.stretch(filter, &top, &bottom, Order::Sorted, limit + 1 - rows.len()).await {
                Ok(more) => {
                    rows.extend(more);
                    top = bottom;
                    let factor = if asked.elapsed() < reach.quick { reach.factor } else { 1 };
                    span_ms = span_ms.saturating_mul(factor);
                }
                Err(Error::Locked | Error::Slow) if span_ms > HOUR_MS => span_ms = HOUR_MS,
                Err(Error::Locked | Error::Slow) => found.stopped = true,
                Err(error) => return Err(error),
            }
            let is_over = found.stopped || began.elapsed() > PATIENCE && top.started_ms > from;
            if is_over && rows.len() <= limit {
                return Ok(Found { rows, since_ms: Some(top.started_ms), next: Some(top), stopped: true });
            }
        }
        Ok(found.filled(rows, limit))
    }

    /// Records before `top` and not before `bottom`.
    async fn stretch(
        &self,
        filter: &Filter,
        top: &Cursor,
        bottom: &Cursor,
        order: Order,
        limit: usize,
    ) -> Result<Vec<LogRow>, Error> {
        if let Some(clickhouse) = &self.clickhouse {
            return clickhouse::stretch(clickhouse, filter, top, bottom, limit).await;
        }
        let values = [top, bottom].map(|cursor| [Value::Number(cursor.started_ms), Value::Text(text(&cursor.id))]);
        let times = "(started_ms, id) < ($1, $2) AND (started_ms, id) >= ($3, $4)";
        let order = match order {
            Order::Walked => "ORDER BY started_ms DESC, id DESC",
            Order::Sorted => "ORDER BY started_ms + 0 DESC, id DESC",
        };
        self.read(filter, times, values.into_iter().flatten().collect(), order, limit).await
    }

    /// `times` refers to `values`.
    async fn read(
        &self,
        filter: &Filter,
        times: &'static str,
        values: Vec<Value>,
        order: &'static str,
        limit: usize,
    ) -> Result<Vec<LogRow>, Error> {
        let mut condition = filter.condition(self.db.engine(), values);
        let mark = condition.mark(Value::Number(signed(limit as u64)));
        let (and, values) = condition.into_parts();
        let statement = format!(
            "SELECT id, started_ms, key_id, key_name, model, provider, status, record FROM log_record WHERE {times}{and} \
             {order} LIMIT {mark}"
        );
        // Planned for these values, and not kept: there are as many texts as there are questions.
        let mut query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
        for value in values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        let mut tx = self.db.begin_search().await?;
        let rows: Vec<AnyRow> = query.fetch_all(&mut *tx).await?;
        tx.commit().await?;
        rows.iter().map(LogRow::read).collect()
    }

    /// When the newest record started that is before `top` and not before `floor`.
    async fn newest(&self, top: &Cursor, floor: i64) -> Result<Option<i64>, Error> {
        let newest = sqlx::query(
            "SELECT started_ms FROM log_record WHERE (started_ms, id) < ($1, $2) AND started_ms >= $3 \
             ORDER BY started_ms DESC, id DESC LIMIT 1",
        );
        let newest = newest.bind(top.started_ms).bind(text(&top.id)).bind(floor);
        let row = newest.fetch_optional(self.db.readers()).await?;
        Ok(row.map(|row| row.try_get("started_ms")).transpose()?)
    }

    /// The record after so many before `top`, less one; `None` where there are fewer since `from`.
    async fn after_slice(&self, top: &Cursor, from: i64, n_records: i64) -> Result<Option<Cursor>, Error> {
        let last = sqlx::query(
            "SELECT started_ms, id FROM log_record WHERE (started_ms, id) < ($1, $2) AND started_ms >= $3 \
             ORDER BY started_ms DESC, id DESC LIMIT 1 OFFSET $4",
        );
        let last = last.bind(top.started_ms).bind(text(&top.id)).bind(from).bind(n_records);
        let Some(row) = last.fetch_optional(self.db.readers()).await? else { return Ok(None) };
        Ok(Some(Cursor { started_ms: row.try_get("started_ms")?, id: row.try_get("id")? }))
    }
}

/// From when on a search looks, where the newest record is one of `newest`.
fn begins(filter: &Filter, newest: i64, now_ms: i64) -> i64 {
    filter.since_ms.unwrap_or_else(|| match filter.id {
        // Few begin alike; who has one in hand does not know from when it is.
        Some(_) => 0,
        None => newest.min(now_ms).saturating_sub(WINDOW_MS),
    })
}

/// What is before it started earlier; what is not, then or later.
fn before(started_ms: i64) -> Cursor {
    Cursor { started_ms, id: String::new() }
}

// === impl Reach ===

impl Reach {
    /// What follows the nearest records, of so much time, among which so many were found: where there were some, as far as there
    /// should be enough, and no further than a day: any record may say it is from the far future.
    fn after(near_ms: i64, n_found: usize, limit: usize) -> Self {
        let n_missing = i64::try_from(limit + 1).unwrap_or(i64::MAX) * 2;
        let n_times = i64::try_from(n_found).ok().and_then(|n_found| n_missing.checked_div(n_found));
        let first_ms = near_ms.max(1).saturating_mul(n_times.unwrap_or(NEXT).max(1)).min(WINDOW_MS);
        Self { first_ms, factor: 4, quick: Duration::from_millis(250) }
    }

    /// A ClickHouse reads a span as a whole, whatever it finds at its end; each question costs it some milliseconds.
    const READ: Self = Self { first_ms: 4 * 60 * 1000, factor: 8, quick: Duration::MAX };
    const ALL: Self = Self { first_ms: i64::MAX, factor: 1, quick: Duration::MAX };
}

// === impl Found ===

impl Found {
    /// With these, which may be one more than there is room for.
    fn filled(mut self, mut rows: Vec<LogRow>, limit: usize) -> Self {
        if rows.len() > limit {
            rows.truncate(limit);
            self.next = rows.last().map(|last| Cursor { started_ms: last.started_ms, id: last.id.clone() });
        }
        Self { rows, ..self }
    }
}
