//! The rows of a batch: events that were not there before, and what they add to the sums.

use std::collections::{BTreeMap, HashSet};

use sqlx::{AnyConnection, Row};

use super::{Sender, Totals, UsageRow};
use crate::db::{Db, MAX_PARAMETERS, short_key, signed};
use crate::error::Error;
use crate::last_used;
use crate::ledger::{self, Holder};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Columns of `usage_event` and of `spend_counter`.
const N_EVENT: usize = 35;
const N_COUNTER: usize = 27;
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
    for rows in rows.chunks(MAX_PARAMETERS / N_EVENT) {
        let mut inserted = insert(db, connection, from, rows).await?;
        for row in rows {
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
    let statement = db.bulk(
        "INSERT INTO usage_event (id, node_id, started_ms, key_id, model, provider, upstream_model, route, input, cache_read, \
         cache_write, cache_write_1h, output, reasoning, input_audio, output_audio, input_image, output_image, pictures_made, \
         pictures_read, audio_ms, characters, searches, settled_by, cost_nano_usd, priced, status, topology_revision, tags, stored_ms, \
         user_name, team, organization, price, tier) VALUES",
        N_EVENT,
        rows.len(),
        "ON CONFLICT (id) DO NOTHING RETURNING id",
    );
    // Texts differ with the number of rows; keeping them prepared would push out the statements that repeat.
    let mut query = sqlx::query(statement).persistent(false);
    for row in rows {
        query = query
            .bind(row.id.as_str())
            .bind(from.node)
            .bind(row.started_ms)
            .bind(row.key_id.as_str())
            .bind(row.model.as_str())
            .bind(row.provider.as_str())
            .bind(row.upstream_model.as_str())
            .bind(row.route.as_str());
        for count in row.tokens.classes().into_iter().chain(row.units.kinds()) {
            query = query.bind(signed(count));
        }
        query = query
            .bind(row.settled_by.as_str())
            .bind(row.cost_nano_usd)
            .bind(i64::from(row.priced))
            .bind(i64::from(row.status))
            .bind(signed(row.topology_revision))
            .bind(row.tags.as_str())
            .bind(from.at_ms)
            .bind(row.user.as_str())
            .bind(row.team.as_str())
            .bind(row.organization.as_str())
            .bind(row.price.as_str())
            .bind(row.tier.as_str());
    }
    let inserted = query.fetch_all(connection).await?;
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
    }
}

/// In the order of their keys, as everybody does who writes several.
pub(super) async fn add_all(db: &Db, connection: &mut AnyConnection, counters: Counters<'_>) -> Result<(), Error> {
    let counters: Vec<(CounterKey<'_>, Added)> = counters.into_iter().collect();
    for counters in counters.chunks(MAX_PARAMETERS / N_COUNTER) {
        add(db, connection, counters).await?;
    }
    Ok(())
}

async fn add(db: &Db, connection: &mut AnyConnection, counters: &[(CounterKey<'_>, Added)]) -> Result<(), Error> {
    let statement = db.bulk(
        "INSERT INTO spend_counter (day, key_id, model, provider, user_name, team, organization, tag, is_first, requests, input, cache_read, cache_write, cache_write_1h, output, \
         reasoning, input_audio, output_audio, input_image, output_image, pictures_made, pictures_read, audio_ms, characters, searches, \
         cost_nano_usd, unpriced) VALUES",
        N_COUNTER,
        counters.len(),
        "ON CONFLICT (day, key_id, model, provider, user_name, team, organization, tag, is_first) DO UPDATE SET requests = spend_counter.requests + excluded.requests, \
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
         unpriced = spend_counter.unpriced + excluded.unpriced",
    );
    let mut query = sqlx::query(statement).persistent(false);
    for (CounterKey { day, names, tag, is_first }, Added { totals, unpriced }) in counters {
        query = query.bind(*day);
        for name in names {
            query = query.bind(*name);
        }
        query = query.bind(tag.as_str()).bind(i64::from(*is_first)).bind(signed(totals.requests));
        for count in totals.tokens.classes().into_iter().chain(totals.units.kinds()) {
            query = query.bind(signed(count));
        }
        query = query.bind(totals.cost_nano_usd).bind(*unpriced);
    }
    query.execute(connection).await?;
    Ok(())
}
