//! What was used: events that count exactly once however often they arrive, and their sums per day, key, model and provider.

use std::collections::{BTreeMap, HashSet};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::db::{Db, MAX_PARAMETERS, signed, unsigned};
use crate::error::Error;
use crate::store::Store;

/// One admitted request. `id` is its request id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    pub id: String,
    pub node_id: String,
    pub started_ms: i64,
    pub key_id: String,
    pub model: String,
    pub provider: String,
    pub upstream_model: String,
    pub route: String,
    pub tokens: Tokens,
    /// `exact`, `estimated`, `nothing` or `recovery`.
    pub settled_by: String,
    pub cost_nano_usd: i64,
    /// False where no price was known.
    pub priced: bool,
    pub status: u32,
    pub topology_revision: u64,
    /// JSON list of texts.
    pub tags: String,
}

/// Disjoint classes of tokens; `reasoning` is a part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub cache_write_1h: u64,
    pub output: u64,
    pub reasoning: u64,
    pub input_audio: u64,
    pub output_audio: u64,
}

/// Sums of many requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub requests: u64,
    pub tokens: Tokens,
    pub cost_nano_usd: i64,
    /// Requests without a known price; `cost_nano_usd` is without them.
    pub unpriced: u64,
}

/// What to sum up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Key,
    Model,
    Provider,
    /// UTC, as a count of days since 1970.
    Day,
}

/// Where a page of requests goes on: the last one's start and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub started_ms: i64,
    pub id: String,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const N_COLUMNS: usize = 22;

// === impl Store ===

impl Store {
    /// Takes a batch of a lane whose events are numbered from `first_seq` on without gaps. Events, counters and watermark are
    /// written in one transaction; an event that is already there counts nothing. Returns the number up to which the lane
    /// is stored whole, which after a lost batch is less than what was sent.
    pub async fn ingest_usage(
        &self,
        node: &str,
        boot: &str,
        lane: u32,
        first_seq: u64,
        rows: &[UsageRow],
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let stored = sqlx::query(
            "INSERT INTO usage_watermark (node_id, boot_id, lane, up_to_seq, newest_ms) VALUES ($1, $2, $3, 0, 0) \
             ON CONFLICT (node_id, boot_id, lane) DO UPDATE SET up_to_seq = usage_watermark.up_to_seq RETURNING up_to_seq",
        )
        .bind(node)
        .bind(boot)
        .bind(i64::from(lane))
        .fetch_one(&mut *tx)
        .await?;
        let stored = unsigned(&stored, "up_to_seq")?;
        let last = first_seq.saturating_add(rows.len() as u64).saturating_sub(1);
        let n_known = usize::try_from(stored.saturating_add(1).saturating_sub(first_seq)).unwrap_or(usize::MAX);
        let mut counters = BTreeMap::new();
        for chunk in rows.get(n_known.min(rows.len())..).unwrap_or_default().chunks(MAX_PARAMETERS / N_COLUMNS) {
            let inserted = insert(&self.db, &mut tx, node, chunk).await?;
            for row in chunk.iter().filter(|row| inserted.contains(&row.id)) {
                count(&mut counters, row);
            }
        }
        for (key, totals) in &counters {
            add(&mut tx, key, totals).await?;
        }
        // A batch that comes before the one it follows is stored, but the lane is not whole up to its end.
        let up_to = if first_seq <= stored.saturating_add(1) { stored.max(last) } else { stored };
        sqlx::query(
            "UPDATE usage_watermark SET up_to_seq = $4, newest_ms = CASE WHEN newest_ms < $5 THEN $5 ELSE newest_ms END \
             WHERE node_id = $1 AND boot_id = $2 AND lane = $3",
        )
        .bind(node)
        .bind(boot)
        .bind(i64::from(lane))
        .bind(signed(up_to))
        .bind(rows.iter().map(|row| row.started_ms).max().unwrap_or(0))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(up_to)
    }

    /// Up to `limit` events, newest first, after the cursor.
    pub async fn usage(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<UsageRow>, Error> {
        let (started_ms, id) = after.map_or((i64::MAX, ""), |cursor| (cursor.started_ms, cursor.id.as_str()));
        let rows = sqlx::query(
            "SELECT id, node_id, started_ms, key_id, model, provider, upstream_model, route, input, cache_read, cache_write, cache_write_1h, \
             output, reasoning, input_audio, output_audio, settled_by, cost_nano_usd, priced, status, topology_revision, tags \
             FROM usage_event WHERE (started_ms, id) < ($1, $2) ORDER BY started_ms DESC, id DESC LIMIT $3",
        )
        .bind(started_ms)
        .bind(id)
        .bind(signed(limit as u64))
        .fetch_all(self.db.readers())
        .await?;
        rows.iter().map(UsageRow::read).collect()
    }

    /// Sums by group, in the groups' order, after the group `after`.
    pub async fn usage_summary(
        &self,
        group: Group,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Totals)>, Error> {
        let query = sqlx::query(group.statement());
        let query = match group {
            Group::Day => query.bind(after.and_then(|after| after.parse::<i64>().ok()).unwrap_or(i64::MIN)),
            // The empty name (no route, no key) is a group too, so the first page cannot begin after it.
            Group::Key | Group::Model | Group::Provider => query.bind(after.map(str::to_owned)),
        };
        let rows = query.bind(signed(limit as u64)).fetch_all(self.db.readers()).await?;
        rows.iter()
            .map(|row| {
                let name = match group {
                    Group::Day => row.try_get::<i64, _>("name")?.to_string(),
                    Group::Key | Group::Model | Group::Provider => row.try_get("name")?,
                };
                Ok((name, Totals::read(row)?))
            })
            .collect()
    }

    /// Deletes events that began before. The sums stay. Returns how many.
    pub async fn prune_usage(&self, older_than_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let deleted = sqlx::query("DELETE FROM usage_event WHERE started_ms < $1").bind(older_than_ms);
        let deleted = deleted.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(deleted)
    }
}

/// Returns the ids that were not there before.
async fn insert(
    db: &Db,
    connection: &mut AnyConnection,
    node: &str,
    rows: &[UsageRow],
) -> Result<HashSet<String>, Error> {
    let statement = db.bulk(
        "INSERT INTO usage_event (id, node_id, started_ms, key_id, model, provider, upstream_model, route, input, cache_read, cache_write, \
         cache_write_1h, output, reasoning, input_audio, output_audio, settled_by, cost_nano_usd, priced, status, topology_revision, tags) \
         VALUES",
        N_COLUMNS,
        rows.len(),
        "ON CONFLICT (id) DO NOTHING RETURNING id",
    );
    // Texts differ with the number of rows; keeping them prepared would push out the statements that repeat.
    let mut query = sqlx::query(statement).persistent(false);
    for row in rows {
        query = query
            .bind(row.id.as_str())
            .bind(node)
            .bind(row.started_ms)
            .bind(row.key_id.as_str())
            .bind(row.model.as_str())
            .bind(row.provider.as_str())
            .bind(row.upstream_model.as_str())
            .bind(row.route.as_str());
        for count in row.tokens.classes() {
            query = query.bind(signed(count));
        }
        query = query
            .bind(row.settled_by.as_str())
            .bind(row.cost_nano_usd)
            .bind(i64::from(row.priced))
            .bind(i64::from(row.status))
            .bind(signed(row.topology_revision))
            .bind(row.tags.as_str());
    }
    let inserted = query.fetch_all(connection).await?;
    Ok(inserted.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

type CounterKey<'a> = (i64, &'a str, &'a str, &'a str);

fn count<'a>(counters: &mut BTreeMap<CounterKey<'a>, Totals>, row: &'a UsageRow) {
    let key = (row.started_ms.div_euclid(DAY_MS), row.key_id.as_str(), row.model.as_str(), row.provider.as_str());
    let totals = counters.entry(key).or_default();
    totals.requests += 1;
    totals.tokens.add(&row.tokens);
    if row.priced {
        totals.cost_nano_usd = totals.cost_nano_usd.saturating_add(row.cost_nano_usd);
    } else {
        totals.unpriced += 1;
    }
}

async fn add(connection: &mut AnyConnection, key: &CounterKey<'_>, totals: &Totals) -> Result<(), Error> {
    let query = sqlx::query(
        "INSERT INTO usage_counter (day, key_id, model, provider, requests, input, cache_read, cache_write, cache_write_1h, output, \
         reasoning, input_audio, output_audio, cost_nano_usd, unpriced) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (day, key_id, model, provider) DO UPDATE SET requests = usage_counter.requests + excluded.requests, \
         input = usage_counter.input + excluded.input, cache_read = usage_counter.cache_read + excluded.cache_read, \
         cache_write = usage_counter.cache_write + excluded.cache_write, \
         cache_write_1h = usage_counter.cache_write_1h + excluded.cache_write_1h, \
         output = usage_counter.output + excluded.output, reasoning = usage_counter.reasoning + excluded.reasoning, \
         input_audio = usage_counter.input_audio + excluded.input_audio, \
         output_audio = usage_counter.output_audio + excluded.output_audio, \
         cost_nano_usd = usage_counter.cost_nano_usd + excluded.cost_nano_usd, unpriced = usage_counter.unpriced + excluded.unpriced",
    );
    let mut query = query.bind(key.0).bind(key.1).bind(key.2).bind(key.3).bind(signed(totals.requests));
    for count in totals.tokens.classes() {
        query = query.bind(signed(count));
    }
    query.bind(totals.cost_nano_usd).bind(signed(totals.unpriced)).execute(connection).await?;
    Ok(())
}

// === impl UsageRow ===

impl UsageRow {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.try_get("id")?,
            node_id: row.try_get("node_id")?,
            started_ms: row.try_get("started_ms")?,
            key_id: row.try_get("key_id")?,
            model: row.try_get("model")?,
            provider: row.try_get("provider")?,
            upstream_model: row.try_get("upstream_model")?,
            route: row.try_get("route")?,
            tokens: Tokens::read(row)?,
            settled_by: row.try_get("settled_by")?,
            cost_nano_usd: row.try_get("cost_nano_usd")?,
            priced: row.try_get::<i64, _>("priced")? != 0,
            status: u32::try_from(unsigned(row, "status")?).unwrap_or(u32::MAX),
            topology_revision: unsigned(row, "topology_revision")?,
            tags: row.try_get("tags")?,
        })
    }
}

// === impl Tokens ===

impl Tokens {
    /// In the order of the columns.
    fn classes(&self) -> [u64; 8] {
        [
            self.input,
            self.cache_read,
            self.cache_write,
            self.cache_write_1h,
            self.output,
            self.reasoning,
            self.input_audio,
            self.output_audio,
        ]
    }

    fn add(&mut self, other: &Self) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.cache_write_1h = self.cache_write_1h.saturating_add(other.cache_write_1h);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.input_audio = self.input_audio.saturating_add(other.input_audio);
        self.output_audio = self.output_audio.saturating_add(other.output_audio);
    }

    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            input: unsigned(row, "input")?,
            cache_read: unsigned(row, "cache_read")?,
            cache_write: unsigned(row, "cache_write")?,
            cache_write_1h: unsigned(row, "cache_write_1h")?,
            output: unsigned(row, "output")?,
            reasoning: unsigned(row, "reasoning")?,
            input_audio: unsigned(row, "input_audio")?,
            output_audio: unsigned(row, "output_audio")?,
        })
    }
}

// === impl Totals ===

impl Totals {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            requests: unsigned(row, "requests")?,
            tokens: Tokens::read(row)?,
            cost_nano_usd: row.try_get("cost_nano_usd")?,
            unpriced: unsigned(row, "unpriced")?,
        })
    }
}

/// A summary's statement; only the column it groups by and the condition of its paging differ.
macro_rules! summary {
    ($column:literal, $condition:literal) => {
        concat!(
            "SELECT ", $column, " AS name, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(input) AS BIGINT) AS input, \
             CAST(SUM(cache_read) AS BIGINT) AS cache_read, CAST(SUM(cache_write) AS BIGINT) AS cache_write, \
             CAST(SUM(cache_write_1h) AS BIGINT) AS cache_write_1h, CAST(SUM(output) AS BIGINT) AS output, \
             CAST(SUM(reasoning) AS BIGINT) AS reasoning, CAST(SUM(input_audio) AS BIGINT) AS input_audio, \
             CAST(SUM(output_audio) AS BIGINT) AS output_audio, CAST(SUM(cost_nano_usd) AS BIGINT) AS cost_nano_usd, \
             CAST(SUM(unpriced) AS BIGINT) AS unpriced FROM usage_counter WHERE ", $condition, " GROUP BY ", $column, " ORDER BY ",
            $column, " LIMIT $2"
        )
    };
}

// === impl Group ===

impl Group {
    fn statement(self) -> &'static str {
        match self {
            Self::Key => summary!("key_id", "($1 IS NULL OR key_id > $1)"),
            Self::Model => summary!("model", "($1 IS NULL OR model > $1)"),
            Self::Provider => summary!("provider", "($1 IS NULL OR provider > $1)"),
            Self::Day => summary!("day", "day > $1"),
        }
    }
}
