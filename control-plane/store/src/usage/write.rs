//! The rows of a batch: events that were not there before, and what they add to the sums.

use std::collections::{BTreeMap, HashSet};

use sqlx::{AnyConnection, Row};

use super::{Sender, Totals, UsageRow};
use crate::db::{Db, Rows, short_key, signed};
use crate::error::Error;
use crate::last_used;
use crate::ledger::{self, Holder};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Columns of `usage_event` and of `spend_counter`.
const N_EVENT: usize = 36;
const N_COUNTER: usize = 28;
/// Tags of one request that are counted; those beyond are in its event alone.
const MAX_TAGS: usize = 64;

/// Which sums.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CounterKey<'a> {
    day: i64,
    /// Key, model, provider, user, team, organization.
    names: [&'a str; 6],
    tag: String,
    /// One of a request's sums holds it for those who do not look at tags.
    is_first: bool,
}

/// What is added to sums. A price that becomes known takes away of those without.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub(super) totals: Totals,
    pub(super) unpriced: i64,
}

pub(super) type Counters<'a> = BTreeMap<CounterKey<'a>, Added>;

/// Returns how many of them were not there before.
pub(super) async fn events(
    db: &Db,
    connection: &mut AnyConnection,
    from: Sender<'_>,
    rows: &[UsageRow],
) -> Result<u64, Error> {
    let mut rows: Vec<UsageRow> = rows.iter().map(UsageRow::storable).collect();
    // Two who write the same rows write them in one order, here and below, or they would wait for each other.
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut counters, mut charges) = (Counters::new(), Vec::new());
    let (mut used, mut n_new) = (BTreeMap::new(), 0);
    let mut inserted = insert(db, connection, from, &rows).await?;
    for row in &rows {
        // Taken out, so that one that is in the batch twice counts once.
        if inserted.remove(&row.id) {
            count(&mut counters, row);
            n_new += 1;
            // No later than now, whatever the node's clock says.
            let last = used.entry(row.key_id.as_str()).or_insert(0);
            *last = row.started_ms.min(from.at_ms).max(*last);
            charges.extend(&row.charges);
        }
    }
    last_used::note(db, connection, &used).await?;
    add_all(db, connection, counters).await?;
    let holder = Holder { node: from.node, boot: from.boot, at_ms: from.at_ms };
    ledger::book(db, connection, holder, charges.into_iter()).await?;
    Ok(n_new)
}

/// Returns the ids that were not there before.
async fn insert(
    db: &Db,
    connection: &mut AnyConnection,
    from: Sender<'_>,
    rows: &[UsageRow],
) -> Result<HashSet<String>, Error> {
    let mut values = Rows::of(N_EVENT);
    for row in rows {
        values
            .put(row.id.as_str())
            .put(from.node)
            .put(row.started_ms)
            .put(row.key_id.as_str())
            .put(row.model.as_str())
            .put(row.provider.as_str())
            .put(row.upstream_model.as_str())
            .put(row.route.as_str());
        for count in row.tokens.classes().into_iter().chain(row.units.kinds()) {
            values.put(signed(count));
        }
        values
            .put(row.settled_by.as_str())
            .put(row.cost_nano_usd)
            .put(i64::from(row.priced))
            .put(i64::from(row.status))
            .put(signed(row.topology_revision))
            .put(row.tags.as_str())
            .put(from.at_ms)
            .put(row.user.as_str())
            .put(row.team.as_str())
            .put(row.organization.as_str())
            .put(row.price.as_str())
            .put(row.tier.as_str())
            .put(row.baseline_nano_usd);
    }
    let statement = "INSERT INTO usage_event (id, node_id, started_ms, key_id, model, provider, upstream_model, route, input, \
         cache_read, cache_write, cache_write_1h, output, reasoning, input_audio, output_audio, input_image, output_image, \
         pictures_made, pictures_read, audio_ms, characters, searches, settled_by, cost_nano_usd, priced, status, \
         topology_revision, tags, stored_ms, user_name, team, organization, price, tier, baseline_nano_usd)";
    let inserted = values.fetch(db, connection, statement, "ON CONFLICT (id) DO NOTHING RETURNING id").await?;
    Ok(inserted.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

/// The sums that an event is in: one for each tag.
pub(super) fn keys(row: &UsageRow) -> impl Iterator<Item = CounterKey<'_>> {
    let mut tags: Vec<String> = serde_json::from_str::<Vec<String>>(&row.tags).unwrap_or_default();
    tags.truncate(MAX_TAGS);
    tags.iter_mut().for_each(|tag| *tag = short_key(tag));
    tags.sort_unstable();
    tags.dedup();
    if tags.is_empty() {
        tags.push(String::new());
    }
    let names = [&row.key_id, &row.model, &row.provider, &row.user, &row.team, &row.organization].map(String::as_str);
    let day = row.started_ms.div_euclid(DAY_MS);
    let tags = tags.into_iter().enumerate();
    tags.map(move |(position, tag)| CounterKey { day, names, tag, is_first: position == 0 })
}

fn count<'a>(counters: &mut Counters<'a>, row: &'a UsageRow) {
    for key in keys(row) {
        let Added { totals, unpriced } = counters.entry(key).or_default();
        totals.requests += 1;
        totals.tokens.add(&row.tokens);
        totals.units.add(&row.units);
        if row.priced {
            totals.cost_nano_usd = totals.cost_nano_usd.saturating_add(row.cost_nano_usd);
        } else {
            *unpriced += 1;
        }
        totals.saved_nano_usd = totals.saved_nano_usd.saturating_add(row.saved_nano_usd().unwrap_or(0));
    }
}

/// In the order of their keys, as everybody does who writes several.
pub(super) async fn add_all(db: &Db, connection: &mut AnyConnection, counters: Counters<'_>) -> Result<(), Error> {
    let mut values = Rows::of(N_COUNTER);
    for (CounterKey { day, names, tag, is_first }, Added { totals, unpriced }) in &counters {
        values.put(*day);
        for name in names {
            values.put(*name);
        }
        values.put(tag.as_str()).put(i64::from(*is_first)).put(signed(totals.requests));
        for count in totals.tokens.classes().into_iter().chain(totals.units.kinds()) {
            values.put(signed(count));
        }
        values.put(totals.cost_nano_usd).put(*unpriced).put(totals.saved_nano_usd);
    }
    let before = "INSERT INTO spend_counter (day, key_id, model, provider, user_name, team, organization, tag, is_first, requests, \
         input, cache_read, cache_write, cache_write_1h, output, reasoning, input_audio, output_audio, input_image, output_image, \
         pictures_made, pictures_read, audio_ms, characters, searches, cost_nano_usd, unpriced, saved_nano_usd)";
    let after = "ON CONFLICT (day, key_id, model, provider, user_name, team, organization, tag, is_first) DO UPDATE SET \
         requests = spend_counter.requests + excluded.requests, \
         input = spend_counter.input + excluded.input, cache_read = spend_counter.cache_read + excluded.cache_read, \
         cache_write = spend_counter.cache_write + excluded.cache_write, \
         cache_write_1h = spend_counter.cache_write_1h + excluded.cache_write_1h, \
         output = spend_counter.output + excluded.output, reasoning = spend_counter.reasoning + excluded.reasoning, \
         input_audio = spend_counter.input_audio + excluded.input_audio, \
         output_audio = spend_counter.output_audio + excluded.output_audio, \
         input_image = spend_counter.input_image + excluded.input_image, \
         output_image = spend_counter.output_image + excluded.output_image, \
         pictures_made = spend_counter.pictures_made + excluded.pictures_made, \
         pictures_read = spend_counter.pictures_read + excluded.pictures_read, \
         audio_ms = spend_counter.audio_ms + excluded.audio_ms, \
         characters = spend_counter.characters + excluded.characters, searches = spend_counter.searches + excluded.searches, \
         cost_nano_usd = spend_counter.cost_nano_usd + excluded.cost_nano_usd, \
         unpriced = spend_counter.unpriced + excluded.unpriced, \
         saved_nano_usd = spend_counter.saved_nano_usd + excluded.saved_nano_usd";
    values.execute(db, connection, before, after).await.map(drop)
}
