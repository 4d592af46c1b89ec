//! The rows of a batch: events that were not there before, and what they add to the sums.

use std::collections::{BTreeMap, HashSet};

use sqlx::{AnyConnection, Row};

use super::{Sender, Totals, UsageRow};
use crate::db::{Db, MAX_PARAMETERS, signed};
use crate::error::Error;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Columns of `usage_event` and of `usage_counter`.
const N_EVENT: usize = 30;
const N_COUNTER: usize = 22;

/// Day, key, model, provider.
type CounterKey<'a> = (i64, &'a str, &'a str, &'a str);

pub(super) async fn events(
    db: &Db,
    connection: &mut AnyConnection,
    from: Sender<'_>,
    rows: &[UsageRow],
) -> Result<(), Error> {
    let mut rows: Vec<UsageRow> = rows.iter().map(UsageRow::storable).collect();
    // Two who write the same rows write them in one order, here and below, or they would wait for each other.
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    let mut counters = BTreeMap::new();
    for rows in rows.chunks(MAX_PARAMETERS / N_EVENT) {
        let mut inserted = insert(db, connection, from, rows).await?;
        for row in rows {
            // Taken out, so that one that is in the batch twice counts once.
            if inserted.remove(&row.id) {
                count(&mut counters, row);
            }
        }
    }
    let counters: Vec<(CounterKey<'_>, Totals)> = counters.into_iter().collect();
    for counters in counters.chunks(MAX_PARAMETERS / N_COUNTER) {
        add(db, connection, counters).await?;
    }
    Ok(())
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
         pictures_read, audio_ms, characters, searches, settled_by, cost_nano_usd, priced, status, topology_revision, tags, stored_ms) VALUES",
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
            .bind(from.at_ms);
    }
    let inserted = query.fetch_all(connection).await?;
    Ok(inserted.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

fn count<'a>(counters: &mut BTreeMap<CounterKey<'a>, Totals>, row: &'a UsageRow) {
    let key = (row.started_ms.div_euclid(DAY_MS), row.key_id.as_str(), row.model.as_str(), row.provider.as_str());
    let totals = counters.entry(key).or_default();
    totals.requests += 1;
    totals.tokens.add(&row.tokens);
    totals.units.add(&row.units);
    if row.priced {
        totals.cost_nano_usd = totals.cost_nano_usd.saturating_add(row.cost_nano_usd);
    } else {
        totals.unpriced += 1;
    }
}

async fn add(db: &Db, connection: &mut AnyConnection, counters: &[(CounterKey<'_>, Totals)]) -> Result<(), Error> {
    let statement = db.bulk(
        "INSERT INTO usage_counter (day, key_id, model, provider, requests, input, cache_read, cache_write, cache_write_1h, output, \
         reasoning, input_audio, output_audio, input_image, output_image, pictures_made, pictures_read, audio_ms, characters, searches, \
         cost_nano_usd, unpriced) VALUES",
        N_COUNTER,
        counters.len(),
        "ON CONFLICT (day, key_id, model, provider) DO UPDATE SET requests = usage_counter.requests + excluded.requests, \
         input = usage_counter.input + excluded.input, cache_read = usage_counter.cache_read + excluded.cache_read, \
         cache_write = usage_counter.cache_write + excluded.cache_write, \
         cache_write_1h = usage_counter.cache_write_1h + excluded.cache_write_1h, \
         output = usage_counter.output + excluded.output, reasoning = usage_counter.reasoning + excluded.reasoning, \
         input_audio = usage_counter.input_audio + excluded.input_audio, \
         output_audio = usage_counter.output_audio + excluded.output_audio, \
         input_image = usage_counter.input_image + excluded.input_image, \
         output_image = usage_counter.output_image + excluded.output_image, \
         pictures_made = usage_counter.pictures_made + excluded.pictures_made, \
         pictures_read = usage_counter.pictures_read + excluded.pictures_read, \
         audio_ms = usage_counter.audio_ms + excluded.audio_ms, \
         characters = usage_counter.characters + excluded.characters, searches = usage_counter.searches + excluded.searches, \
         cost_nano_usd = usage_counter.cost_nano_usd + excluded.cost_nano_usd, \
         unpriced = usage_counter.unpriced + excluded.unpriced",
    );
    let mut query = sqlx::query(statement).persistent(false);
    for ((day, key_id, model, provider), totals) in counters {
        query = query.bind(*day).bind(*key_id).bind(*model).bind(*provider).bind(signed(totals.requests));
        for count in totals.tokens.classes().into_iter().chain(totals.units.kinds()) {
            query = query.bind(signed(count));
        }
        query = query.bind(totals.cost_nano_usd).bind(signed(totals.unpriced));
    }
    query.execute(connection).await?;
    Ok(())
}
