//! What went through, by the minute, the quarter of an hour and the hour: counts, sums, and how long requests took. Charts are drawn
//! from these and never from records: a look at days reads as many rows as one at an hour.
//!
//! Times are counted in bands of their size, eight to each doubling, so that a percentile is right within a tenth however much is
//! added up, and a minute takes a few dozen rows whatever its traffic.

use std::collections::BTreeMap;

use sqlx::Row;

use crate::db::{Db, Rows, Tx, key, unsigned};
use crate::error::Error;
use crate::store::Store;

/// What one request adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The gateway or its upstream failed on it.
    pub failed: bool,
    /// The caller was told no: a limit, a key, a mistake in the request.
    pub refused: bool,
    /// Tokens in, those from a cache of the provider's among them.
    pub input: u64,
    pub output: u64,
    pub cost_nano_usd: i64,
    /// It used something that has no price: what it cost is not known.
    pub unpriced: bool,
    /// 0 where no upstream was asked.
    pub first_byte_us: u64,
    /// 0 where no upstream was asked.
    pub total_us: u64,
    /// Each time that a provider was asked.
    pub attempts: Vec<Try>,
}

/// One time that a provider was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Try {
    pub provider: String,
    pub failed: bool,
    pub refused: bool,
    pub total_us: u64,
}

/// Sums of a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    pub failed: u64,
    pub refused: u64,
    pub input: u64,
    pub output: u64,
    pub cost_nano_usd: i64,
    pub first_byte: Spread,
    pub total: Spread,
}

/// How many times fell into which band.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(BTreeMap<u32, u64>);

/// Steps that are kept, in minutes. What is asked for in other steps is added up from the longest that fits.
const STEPS: [i64; 3] = [60, 15, 1];
const N_COLUMNS: usize = 6;
const MINUTE_MS: i64 = 60_000;
/// Scope of everything.
const ALL: &str = "";
/// Of one request; far more than is real.
const MAX_COST: i64 = 1_000_000 * 1_000_000_000;
/// Bands to a doubling, as a power of two.
const BITS: u32 = 3;

type Cells = BTreeMap<(i64, i64, String, &'static str, u32), i64>;

// === impl Store ===

impl Store {
    /// Sums by stretches of `step` minutes since `since_ms`, oldest first; of one provider, or of everything.
    pub async fn traffic(
        &self,
        scope: Option<&str>,
        since_ms: i64,
        step: u32,
    ) -> Result<BTreeMap<i64, Traffic>, Error> {
        let rows = sqlx::query(
            "SELECT minute / $1 AS slot, measure, bucket, CAST(SUM(n) AS BIGINT) AS n FROM traffic \
             WHERE step = $2 AND minute >= $3 AND scope = $4 GROUP BY 1, measure, bucket",
        )
        .bind(i64::from(step.max(1)))
        .bind(kept(step))
        .bind(since_ms / MINUTE_MS)
        .bind(key(scope.unwrap_or(ALL)))
        .fetch_all(self.db.readers())
        .await?;
        let mut slots: BTreeMap<i64, Traffic> = BTreeMap::new();
        for row in &rows {
            let slot: i64 = row.try_get("slot")?;
            let at_ms = slot * i64::from(step.max(1)) * MINUTE_MS;
            let traffic = slots.entry(at_ms).or_default();
            traffic.add(row.try_get("measure")?, unsigned(row, "bucket")?, row.try_get("n")?);
        }
        Ok(slots)
    }

    /// Sums since `since_ms`, which begins a stretch of `step` minutes, of each provider.
    pub async fn traffic_of_providers(&self, since_ms: i64, step: u32) -> Result<BTreeMap<String, Traffic>, Error> {
        let rows = sqlx::query(
            "SELECT scope, measure, bucket, CAST(SUM(n) AS BIGINT) AS n FROM traffic \
             WHERE step = $1 AND minute >= $2 AND scope <> '' GROUP BY scope, measure, bucket",
        )
        .bind(kept(step))
        .bind(since_ms / MINUTE_MS)
        .fetch_all(self.db.readers())
        .await?;
        let mut providers: BTreeMap<String, Traffic> = BTreeMap::new();
        for row in &rows {
            let traffic = providers.entry(row.try_get("scope")?).or_default();
            traffic.add(row.try_get("measure")?, unsigned(row, "bucket")?, row.try_get("n")?);
        }
        Ok(providers)
    }

    /// Forgets the minutes before. Returns how many rows went.
    pub async fn prune_traffic(&self, older_than_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let deleted = sqlx::query("DELETE FROM traffic WHERE minute < $1").bind(older_than_ms / MINUTE_MS);
        let n_rows = deleted.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(n_rows)
    }
}

/// Adds samples, each with its start and its provider (empty where none was asked). By our own clock `now_ms`: a start that lies in
/// the future, or longer ago than minutes are kept, would stand where nobody looks.
pub(crate) async fn count<'a>(
    db: &Db,
    tx: &mut Tx,
    samples: impl Iterator<Item = (i64, &'a str, &'a Sample)>,
    now_ms: i64,
) -> Result<(), Error> {
    let mut cells = Cells::new();
    for (started_ms, provider, sample) in samples {
        let minute = started_ms.clamp(now_ms - 60 * MINUTE_MS, now_ms) / MINUTE_MS;
        let mut put = |scope: &str, measure, bucket, n| {
            for step in STEPS.into_iter().filter(|_| n > 0) {
                *cells.entry((step, minute / step * step, scope.to_owned(), measure, bucket)).or_default() += n;
            }
        };
        sample.count_request(|measure, bucket, n| put(ALL, measure, bucket, n));
        for one in &sample.attempts {
            one.count(|measure, bucket, n| put(&key(&one.provider), measure, bucket, n));
        }
        if !provider.is_empty() {
            sample.count_use(|measure, bucket, n| put(&key(provider), measure, bucket, n));
        }
    }
    // In one order, whoever writes: two who write the same cells wait for each other and not in a circle.
    let mut values = Rows::of(N_COLUMNS);
    for ((step, minute, scope, measure, bucket), n) in &cells {
        values.put(*step).put(*minute).put(scope.as_str()).put(*measure).put(i64::from(*bucket)).put(*n);
    }
    let before = "INSERT INTO traffic (step, minute, scope, measure, bucket, n)";
    let after = "ON CONFLICT (step, minute, scope, measure, bucket) DO UPDATE SET n = traffic.n + excluded.n";
    values.execute(db, tx, before, after).await.map(drop)
}

/// The longest kept step of which `step` is a multiple.
fn kept(step: u32) -> i64 {
    STEPS.into_iter().find(|kept| i64::from(step.max(1)) % kept == 0).unwrap_or(1)
}

/// The band of a time.
fn band(us: u64) -> u32 {
    let magnitude = us.max(1).ilog2();
    let fraction = if magnitude >= BITS { (us >> (magnitude - BITS)) & ((1 << BITS) - 1) } else { 0 };
    (magnitude << BITS) | u32::try_from(fraction).unwrap_or_default()
}

/// A time in the middle of a band.
fn middle(band: u32) -> u64 {
    let (magnitude, fraction) = (band >> BITS, u64::from(band & ((1 << BITS) - 1)));
    let low = (1_u64 << magnitude.min(62)) + ((fraction << magnitude.min(62)) >> BITS);
    low + ((1_u64 << magnitude.min(62)) >> (BITS + 1))
}

// === impl Sample ===

impl Sample {
    fn count_request(&self, mut put: impl FnMut(&'static str, u32, i64)) {
        put("requests", 0, 1);
        put("failed", 0, i64::from(self.failed));
        put("refused", 0, i64::from(self.refused));
        put("total", band(self.total_us), i64::from(self.total_us > 0));
        self.count_use(put);
    }

    /// What counts for the provider that served it as well.
    fn count_use(&self, mut put: impl FnMut(&'static str, u32, i64)) {
        let count = |number: u64| i64::try_from(number.min(1 << 40)).unwrap_or_default();
        put("input", 0, count(self.input));
        put("output", 0, count(self.output));
        put("cost", 0, self.cost_nano_usd.clamp(0, MAX_COST));
        put("first_byte", band(self.first_byte_us), i64::from(self.first_byte_us > 0));
    }
}

// === impl Try ===

impl Try {
    fn count(&self, mut put: impl FnMut(&'static str, u32, i64)) {
        put("requests", 0, 1);
        put("failed", 0, i64::from(self.failed));
        put("refused", 0, i64::from(self.refused));
        put("total", band(self.total_us), i64::from(self.total_us > 0));
    }
}

// === impl Traffic ===

impl Traffic {
    fn add(&mut self, measure: &str, bucket: u64, n: i64) {
        let count = u64::try_from(n).unwrap_or_default();
        match measure {
            "requests" => self.requests += count,
            "failed" => self.failed += count,
            "refused" => self.refused += count,
            "input" => self.input += count,
            "output" => self.output += count,
            "cost" => self.cost_nano_usd += n,
            "first_byte" => self.first_byte.add(bucket, count),
            "total" => self.total.add(bucket, count),
            // A later version counts more.
            _ => {}
        }
    }

    /// Takes in another stretch.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.refused += other.refused;
        self.input += other.input;
        self.output += other.output;
        self.cost_nano_usd += other.cost_nano_usd;
        for (mine, theirs) in [(&mut self.first_byte, &other.first_byte), (&mut self.total, &other.total)] {
            theirs.0.iter().for_each(|(band, n)| *mine.0.entry(*band).or_default() += n);
        }
    }
}

// === impl Spread ===

impl Spread {
    fn add(&mut self, bucket: u64, n: u64) {
        *self.0.entry(u32::try_from(bucket).unwrap_or(u32::MAX)).or_default() += n;
    }

    /// In microseconds, right within a tenth; `None` where nothing was measured. `share` is from 0 to 1.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        let n_all: u64 = self.0.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "a count below 2^52")]
        let wanted = n_all as f64 * share;
        let mut n_seen = 0;
        for (band, n) in &self.0 {
            n_seen += n;
            #[expect(clippy::cast_precision_loss, reason = "a count below 2^52")]
            if n_seen as f64 >= wanted {
                return Some(middle(*band));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_right_within_a_tenth() {
        for us in [8, 100, 999, 12_345, 1_000_000, 61_234_567, 3_600_000_000] {
            let mut spread = Spread::default();
            spread.add(u64::from(band(us)), 1);
            let told = spread.percentile(0.5).expect("one was measured");
            assert!(told.abs_diff(us) * 10 <= us, "{us} is told as {told}");
        }
        assert_eq!(Spread::default().percentile(0.5), None);
    }

    #[test]
    fn percentiles_stand_in_order() {
        let mut spread = Spread::default();
        (1..=100_u64).for_each(|ms| spread.add(u64::from(band(ms * 1000)), 1));
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| spread.percentile(share).expect("measured"));
        assert!(45_000 < p50 && p50 < 56_000 && p50 < p95 && p95 <= p99 && p99 < 110_000, "{p50} {p95} {p99}");
    }
}
