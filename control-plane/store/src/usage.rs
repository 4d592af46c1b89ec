//! What was used: events that count exactly once however often they arrive. Their sums are read in `spend`.

mod write;
mod savings;
pub mod reprice;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _};

use crate::db::{key, short_key, signed, text, unsigned};
use crate::error::Error;
use crate::ledger::Charge;
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
    pub units: Units,
    /// `exact`, `estimated`, `nothing` or `recovery`.
    pub settled_by: String,
    pub cost_nano_usd: i64,
    /// False where no price was known.
    pub priced: bool,
    pub status: u32,
    pub topology_revision: u64,
    /// JSON list of texts.
    pub tags: String,
    /// What it adds to which budgets. Booked when the event is stored, and not read back with it.
    pub charges: Vec<Charge>,
    /// On whose account, by name; empty: nobody's in particular. So are the following.
    pub user: String,
    pub team: String,
    pub organization: String,
    /// The row of prices that it was charged by; empty where none was known.
    pub price: String,
    /// The service tier that the reply told: `priority`, `flex`, `batch`; empty for the ordinary one.
    pub tier: String,
    /// What it would have cost at the first target of the model that was asked for; `None` where nobody knows.
    pub baseline_nano_usd: Option<i64>,
}

/// Columns of an event as they are read.
const COLUMNS: &str = "id, node_id, started_ms, key_id, model, provider, upstream_model, route, input, cache_read, cache_write, \
    cache_write_1h, output, reasoning, input_audio, output_audio, input_image, output_image, pictures_made, pictures_read, audio_ms, \
    characters, searches, settled_by, cost_nano_usd, priced, status, topology_revision, tags, user_name, team, organization, price, tier, \
    baseline_nano_usd";

/// Disjoint classes of tokens; `reasoning`, audio and images are parts of `input` and `output`.
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
    pub input_image: u64,
    pub output_image: u64,
}

/// What is charged by something else than tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    pub pictures_made: u64,
    pub pictures_read: u64,
    /// Milliseconds of recordings that were read.
    pub audio_ms: u64,
    /// Characters of texts that were spoken.
    pub characters: u64,
    pub searches: u64,
}

/// Sums of many requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub requests: u64,
    pub tokens: Tokens,
    pub units: Units,
    pub cost_nano_usd: i64,
    /// What those whose baseline is known would have cost more; below zero where they would have cost less.
    pub saved_nano_usd: i64,
    /// Requests without a known price; `cost_nano_usd` is without them.
    pub unpriced: u64,
}

/// Of one request. Far more than is real, far less than what would overflow the sums.
const MAX_COUNT: u64 = 1 << 40;
/// A million dollars.
const MAX_COST: i64 = 1_000_000 * 1_000_000_000;

/// Who delivers a batch, and when.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub node: &'a str,
    pub boot: &'a str,
    /// By our own clock: what is kept and for how long goes by this, and not by what a node says.
    pub at_ms: i64,
}

/// Where a page of requests goes on: the last one's start and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub started_ms: i64,
    pub id: String,
}

// === impl Store ===

impl Store {
    /// Takes a batch of a lane whose events are numbered from `first_seq` on without gaps. Events, counters and watermark are
    /// written in one transaction; an event that is already there counts nothing. Returns the number up to which the lane
    /// is stored whole, which after a lost batch is less than what was sent.
    pub async fn ingest_usage(
        &self,
        from: Sender<'_>,
        lane: u32,
        first_seq: u64,
        rows: &[UsageRow],
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let stored = sqlx::query(
            "INSERT INTO usage_watermark (node_id, boot_id, lane, up_to_seq, newest_ms) VALUES ($1, $2, $3, 0, $4) \
             ON CONFLICT (node_id, boot_id, lane) DO UPDATE SET newest_ms = excluded.newest_ms RETURNING up_to_seq",
        )
        .bind(from.node)
        .bind(from.boot)
        .bind(i64::from(lane))
        .bind(from.at_ms)
        .fetch_one(&mut *tx)
        .await?;
        let stored = unsigned(&stored, "up_to_seq")?;
        let last = first_seq.saturating_add(rows.len() as u64).saturating_sub(1);
        let n_known = usize::try_from(stored.saturating_add(1).saturating_sub(first_seq)).unwrap_or(usize::MAX);
        let fresh = rows.get(n_known.min(rows.len())..).unwrap_or_default();
        let n_new = write::events(&self.db, &mut tx, from, fresh).await?;
        // A batch that comes before the one it follows is stored, but the lane is not whole up to its end.
        if first_seq <= stored.saturating_add(1) && last > stored {
            let up_to = sqlx::query(
                "UPDATE usage_watermark SET up_to_seq = $4 WHERE node_id = $1 AND boot_id = $2 AND lane = $3",
            );
            let up_to = up_to.bind(from.node).bind(from.boot).bind(i64::from(lane)).bind(signed(last));
            up_to.execute(&mut *tx).await?;
            tx.commit().await?;
            self.tally.usage(rows.len(), n_new);
            return Ok(last);
        }
        tx.commit().await?;
        self.tally.usage(rows.len(), n_new);
        Ok(stored)
    }

    /// Up to `limit` events, newest first, after the cursor.
    pub async fn usage(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<UsageRow>, Error> {
        self.usage_of("", after, limit).await
    }

    /// Those of which a further condition holds, by names of ours.
    async fn usage_of(&self, and: &str, after: Option<&Cursor>, limit: usize) -> Result<Vec<UsageRow>, Error> {
        let (started_ms, id) = after.map_or((i64::MAX, ""), |cursor| (cursor.started_ms, cursor.id.as_str()));
        let statement = format!(
            "SELECT {COLUMNS} FROM usage_event WHERE (started_ms, id) < ($1, $2){and} ORDER BY started_ms DESC, id DESC LIMIT $3"
        );
        // Names of ours only.
        let rows = sqlx::query(AssertSqlSafe(statement).into_sql_str())
            .bind(started_ms)
            .bind(text(id))
            .bind(signed(limit as u64))
            .fetch_all(self.db.readers())
            .await?;
        rows.iter().map(UsageRow::read).collect()
    }
}

// === impl UsageRow ===

impl UsageRow {
    /// The baseline less the cost, where both are known; below zero where it was dearer.
    pub fn saved_nano_usd(&self) -> Option<i64> {
        let cost = self.priced.then_some(self.cost_nano_usd);
        self.baseline_nano_usd.zip(cost).map(|(baseline, cost)| baseline.saturating_sub(cost))
    }

    /// As the columns take it. What a node tells may be anything, and one event that cannot be stored would hold up all after it.
    fn storable(&self) -> Self {
        Self {
            id: key(&self.id),
            key_id: short_key(&self.key_id),
            model: key(&self.model),
            provider: short_key(&self.provider),
            upstream_model: text(&self.upstream_model),
            route: text(&self.route),
            settled_by: text(&self.settled_by),
            tags: text(&self.tags),
            user: short_key(&self.user),
            team: short_key(&self.team),
            organization: short_key(&self.organization),
            price: text(&self.price),
            tier: short_key(&self.tier),
            tokens: self.tokens.bounded(),
            units: self.units.bounded(),
            cost_nano_usd: self.cost_nano_usd.clamp(-MAX_COST, MAX_COST),
            baseline_nano_usd: self.baseline_nano_usd.map(|baseline| baseline.clamp(-MAX_COST, MAX_COST)),
            charges: self.charges.iter().map(Charge::bounded).collect(),
            ..self.clone()
        }
    }

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
            units: Units::read(row)?,
            settled_by: row.try_get("settled_by")?,
            cost_nano_usd: row.try_get("cost_nano_usd")?,
            priced: row.try_get::<i64, _>("priced")? != 0,
            status: u32::try_from(unsigned(row, "status")?).unwrap_or(u32::MAX),
            topology_revision: unsigned(row, "topology_revision")?,
            tags: row.try_get("tags")?,
            charges: Vec::new(),
            user: row.try_get("user_name")?,
            team: row.try_get("team")?,
            organization: row.try_get("organization")?,
            price: row.try_get("price")?,
            tier: row.try_get("tier")?,
            baseline_nano_usd: row.try_get("baseline_nano_usd")?,
        })
    }
}

// === impl Charge ===

impl Charge {
    fn bounded(&self) -> Self {
        Self { nano_usd: self.nano_usd.clamp(0, MAX_COST), ..self.clone() }
    }
}

// === impl Tokens ===

impl Tokens {
    /// In the order of [`Self::of`].
    fn classes(&self) -> [u64; 10] {
        [
            self.input,
            self.cache_read,
            self.cache_write,
            self.cache_write_1h,
            self.output,
            self.reasoning,
            self.input_audio,
            self.output_audio,
            self.input_image,
            self.output_image,
        ]
    }

    fn of(classes: [u64; 10]) -> Self {
        let [input, cache_read, cache_write, cache_write_1h, output, reasoning, rest @ ..] = classes;
        let [input_audio, output_audio, input_image, output_image] = rest;
        Self {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            output,
            reasoning,
            input_audio,
            output_audio,
            input_image,
            output_image,
        }
    }

    /// No more than any request can have used.
    fn bounded(&self) -> Self {
        Self::of(self.classes().map(|class| class.min(MAX_COUNT)))
    }

    fn add(&mut self, other: &Self) {
        *self = Self::of(sums(self.classes(), other.classes()));
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
            input_image: unsigned(row, "input_image")?,
            output_image: unsigned(row, "output_image")?,
        })
    }
}

// === impl Units ===

impl Units {
    /// In the order of [`Self::of`].
    fn kinds(&self) -> [u64; 5] {
        [self.pictures_made, self.pictures_read, self.audio_ms, self.characters, self.searches]
    }

    fn of([pictures_made, pictures_read, audio_ms, characters, searches]: [u64; 5]) -> Self {
        Self { pictures_made, pictures_read, audio_ms, characters, searches }
    }

    /// No more than any request can have used.
    fn bounded(&self) -> Self {
        Self::of(self.kinds().map(|kind| kind.min(MAX_COUNT)))
    }

    fn add(&mut self, other: &Self) {
        *self = Self::of(sums(self.kinds(), other.kinds()));
    }

    fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            pictures_made: unsigned(row, "pictures_made")?,
            pictures_read: unsigned(row, "pictures_read")?,
            audio_ms: unsigned(row, "audio_ms")?,
            characters: unsigned(row, "characters")?,
            searches: unsigned(row, "searches")?,
        })
    }
}

fn sums<const N: usize>(one: [u64; N], other: [u64; N]) -> [u64; N] {
    std::array::from_fn(|at| one[at].saturating_add(other[at]))
}

// === impl Totals ===

impl Totals {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self {
            requests: unsigned(row, "requests")?,
            tokens: Tokens::read(row)?,
            units: Units::read(row)?,
            cost_nano_usd: row.try_get("cost_nano_usd")?,
            saved_nano_usd: row.try_get("saved_nano_usd")?,
            unpriced: unsigned(row, "unpriced")?,
        })
    }
}
