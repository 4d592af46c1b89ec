//! Records in a ClickHouse: what is written, and what is asked. Where something lies is asked first and of narrow columns; whole
//! records are read only of what is shown. A record that came twice is there twice until ClickHouse merges it, and read once here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::{Filter, LogRow};
use crate::clickhouse::{ClickHouse, TABLE, number, quoted, stored_day};
use crate::db::{HEAD, Wanted, columns, signed, text};
use crate::error::Error;
use crate::usage::{Cursor, Sender};

/// Records that are fetched at once.
const MOST_FETCHED: usize = 500;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// When it started, and its id: what records are sorted by where they lie.
type Key = (i64, String);

/// When the first and the last of some records started, and how many there are, copies among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) oldest: i64,
    pub(super) newest: i64,
    pub(super) n_records: u64,
}

/// Returns when they are there; where it fails they may be.
pub(super) async fn write(clickhouse: &ClickHouse, from: Sender<'_>, rows: &[LogRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows.iter().map(|row| object(from.node, row));
    Ok(clickhouse.write(from.at_ms, rows.collect()).await?)
}

/// As JSON without its end, which says when it was stored.
fn object(node: &str, row: &LogRow) -> String {
    let object = json!({
        "id": row.id,
        "node_id": text(node),
        "started_ms": row.started_ms,
        "key_id": row.key_id,
        "key_name": row.key_name,
        "model": row.model,
        "provider": row.provider,
        "status": row.status,
        "record": row.record,
        "terms": format!("\n{}\n", row.terms),
        "total_us": signed(row.total_us),
        "cost_nano_usd": row.cost_nano_usd,
    });
    let mut object = object.to_string();
    object.pop();
    object
}

/// A record by its id. Where that tells its time, as ours do, it is looked for there first: nothing but times has an index.
pub(super) async fn one(clickhouse: &ClickHouse, id: &str) -> Result<Option<LogRow>, Error> {
    let anywhere = String::new();
    let near = told_ms(id).map(|at_ms| {
        format!(" AND started_ms >= {} AND started_ms <= {}", number(at_ms - HOUR_MS), number(at_ms + HOUR_MS))
    });
    for times in near.into_iter().chain([anywhere]) {
        let question = format!(
            "SELECT id, started_ms FROM {TABLE} WHERE id = {}{times} ORDER BY stored_ms LIMIT 1 FORMAT JSONEachRow",
            quoted(id)
        );
        let keys = keys(clickhouse.ask(&question).await?)?;
        if let Some((_, row)) = records(clickhouse, &keys).await?.pop() {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The first 48 bits of a UUIDv7 are its milliseconds.
fn told_ms(id: &str) -> Option<i64> {
    let digits = format!("{}{}", id.get(..8)?, id.get(8..13)?.strip_prefix('-')?);
    let is_ours = id.len() == 36 && id.get(13..15)? == "-7";
    is_ours.then(|| i64::from_str_radix(&digits, 16).ok()).flatten()
}

/// Up to `limit` records before `top` and not before `bottom`, newest first.
pub(super) async fn stretch(
    clickhouse: &ClickHouse,
    filter: &Filter,
    top: &Cursor,
    bottom: &Cursor,
    limit: usize,
) -> Result<Vec<LogRow>, Error> {
    let (bottom, condition) = (not_before(bottom), condition(filter));
    let mut found: Vec<Key> = Vec::new();
    let mut top = top.clone();
    loop {
        let n_asked = limit - found.len();
        let question = format!(
            "SELECT id, started_ms FROM {TABLE} WHERE {} AND {bottom}{condition} ORDER BY started_ms DESC, id DESC \
             LIMIT {n_asked} FORMAT JSONEachRow",
            before(&top)
        );
        let more = keys(clickhouse.ask(&question).await?)?;
        let is_all = more.len() < n_asked;
        found.extend(more);
        // What came twice lies side by side.
        found.dedup();
        match found.last() {
            Some((started_ms, id)) if !is_all && found.len() < limit => {
                top = Cursor { started_ms: *started_ms, id: id.clone() };
            }
            _ => break,
        }
    }
    let records = records(clickhouse, &found).await?;
    Ok(records.into_iter().map(|(_, row)| row).collect())
}

/// Up to `limit` records after `after`, oldest first.
pub(super) async fn missed(
    clickhouse: &ClickHouse,
    filter: &Filter,
    after: &Cursor,
    limit: usize,
) -> Result<Vec<LogRow>, Error> {
    let at = number(after.started_ms);
    let mut times = format!("started_ms >= {at} AND (started_ms > {at} OR id > {})", quoted(&text(&after.id)));
    if let Some(since) = filter.since_ms {
        times.push_str(&format!(" AND started_ms >= {}", number(since)));
    }
    if let Some(until) = filter.until_ms {
        times.push_str(&format!(" AND started_ms < {}", number(until)));
    }
    let question = format!(
        "SELECT id, started_ms FROM {TABLE} WHERE {times}{} ORDER BY started_ms, id LIMIT 1 BY started_ms, id LIMIT {limit} \
         FORMAT JSONEachRow",
        condition(filter)
    );
    let records = records(clickhouse, &keys(clickhouse.ask(&question).await?)?).await?;
    Ok(records.into_iter().map(|(_, row)| row).collect())
}

/// Of the records that are before `top` and not before `floor`; `None` where there are none.
pub(super) async fn ends(clickhouse: &ClickHouse, top: &Cursor, floor: i64) -> Result<Option<Ends>, Error> {
    let question = format!(
        "SELECT min(started_ms) AS oldest, max(started_ms) AS newest, count() AS n FROM {TABLE} WHERE {} AND started_ms >= {} \
         FORMAT JSONEachRow",
        before(top),
        number(floor)
    );
    let answer = clickhouse.ask(&question).await?;
    let Some(row) = answer.first() else { return Ok(None) };
    let n_records = u64::try_from(whole(row, "n")?).unwrap_or_default();
    let ends = Ends { oldest: whole(row, "oldest")?, newest: whole(row, "newest")?, n_records };
    Ok(Some(ends).filter(|ends| ends.n_records > 0))
}

/// Up to `limit` records, and when they were stored, in the order in which they were: after a place, up to another, and before a
/// time. What came again later stands where it came first.
pub(crate) async fn stored_after(
    clickhouse: &ClickHouse,
    after: (i64, &str),
    until: (i64, &str),
    before_ms: i64,
    limit: usize,
) -> Result<Vec<(i64, LogRow)>, Error> {
    let mut after = (after.0, after.1.to_owned());
    loop {
        let question = format!(
            "SELECT id, started_ms, stored_ms FROM {TABLE} WHERE {} AND stored_ms < {} ORDER BY stored_ms, id LIMIT {limit} \
             FORMAT JSONEachRow",
            stored((after.0, &after.1), until),
            number(before_ms)
        );
        let answer = clickhouse.ask(&question).await?;
        let times = answer.iter().map(|row| whole(row, "stored_ms")).collect::<Result<Vec<_>, _>>()?;
        let keys = keys(answer)?;
        let places: BTreeSet<(i64, &str)> = times.into_iter().zip(keys.iter().map(|(_, id)| id.as_str())).collect();
        let mut rows = records(clickhouse, &keys).await?;
        rows.retain(|(stored_ms, row)| places.contains(&(*stored_ms, row.id.as_str())));
        rows.sort_by(|(at, row), (other_at, other)| (at, &row.id).cmp(&(other_at, &other.id)));
        match places.last() {
            // All of them had come before: whoever asks must not take it for the end.
            Some((at, id)) if rows.is_empty() && keys.len() >= limit => after = (*at, (*id).to_owned()),
            _ => return Ok(rows),
        }
    }
}

/// How many records were stored after a place and up to another, and when the first of them was.
pub(crate) async fn count_stored(
    clickhouse: &ClickHouse,
    after: (i64, &str),
    until: (i64, &str),
) -> Result<(u64, i64), Error> {
    let question = format!(
        "SELECT count() AS n, min(stored_ms) AS oldest FROM {TABLE} WHERE {} FORMAT JSONEachRow",
        stored(after, until)
    );
    let answer = clickhouse.ask(&question).await?;
    let Some(row) = answer.first() else { return Ok((0, 0)) };
    Ok((u64::try_from(whole(row, "n")?).unwrap_or_default(), whole(row, "oldest")?))
}

/// The days that have records, oldest first, and how many each has.
pub(crate) async fn days(clickhouse: &ClickHouse) -> Result<Vec<(i64, u64)>, Error> {
    let question = format!(
        "SELECT partition, sum(rows) AS n FROM system.parts WHERE database = currentDatabase() AND table = '{TABLE}' AND active = 1 \
         GROUP BY partition FORMAT JSONEachRow"
    );
    let mut days = Vec::new();
    for row in clickhouse.ask(&question).await? {
        let day = row["partition"].as_str().and_then(|day| day.parse().ok());
        let day = day.ok_or_else(|| unreadable("partition"))?;
        days.push((day, u64::try_from(whole(&row, "n")?).unwrap_or_default()));
    }
    days.sort_unstable();
    Ok(days)
}

/// Days that go: those that had ended by `older_than_ms`, and the oldest for as long as the others have `keep` records.
pub(crate) fn doomed(days: &[(i64, u64)], older_than_ms: i64, keep: Option<u64>) -> Vec<i64> {
    let mut n_left: u64 = days.iter().map(|(_, n_rows)| n_rows).sum();
    let mut doomed = Vec::new();
    for (day, n_rows) in days {
        n_left -= n_rows;
        if *day >= stored_day(older_than_ms) && keep.is_none_or(|keep| n_left < keep) {
            break;
        }
        doomed.push(*day);
    }
    doomed
}

/// With all that was stored on it.
pub(crate) async fn drop_day(clickhouse: &ClickHouse, day: i64) -> Result<(), Error> {
    Ok(clickhouse.alter(&format!("ALTER TABLE {TABLE} DROP PARTITION ID '{day}'")).await?)
}

/// Whole records, in the order of their keys, and when each was first stored; one that is gone meanwhile is left out.
async fn records(clickhouse: &ClickHouse, keys: &[Key]) -> Result<Vec<(i64, LogRow)>, Error> {
    let mut found: BTreeMap<String, (i64, LogRow)> = BTreeMap::new();
    for chunk in keys.chunks(MOST_FETCHED) {
        let times: Vec<String> = chunk.iter().map(|(started_ms, _)| number(*started_ms)).collect();
        let ids: Vec<String> = chunk.iter().map(|(_, id)| quoted(id)).collect();
        let question = format!(
            "SELECT id, started_ms, key_id, key_name, model, provider, status, record, stored_ms FROM {TABLE} \
             WHERE started_ms IN ({}) AND id IN ({}) FORMAT JSONEachRow",
            times.join(", "),
            ids.join(", ")
        );
        for mut row in clickhouse.ask(&question).await? {
            let stored_ms = whole(&row, "stored_ms")?;
            let row = LogRow::of_object(&mut row)?;
            let is_first = found.get(&row.id).is_none_or(|(first, _)| stored_ms < *first);
            if is_first {
                found.insert(row.id.clone(), (stored_ms, row));
            }
        }
    }
    Ok(keys.iter().filter_map(|(_, id)| found.remove(id)).collect())
}

fn keys(rows: Vec<Value>) -> Result<Vec<Key>, Error> {
    rows.into_iter().map(|mut row| Ok((whole(&row, "started_ms")?, taken(&mut row, "id")?))).collect()
}

fn before(top: &Cursor) -> String {
    let at = number(top.started_ms);
    if top.id.is_empty() {
        return format!("started_ms < {at}");
    }
    // The first part is for the index.
    format!("started_ms <= {at} AND (started_ms < {at} OR id < {})", quoted(&text(&top.id)))
}

fn not_before(bottom: &Cursor) -> String {
    let at = number(bottom.started_ms);
    if bottom.id.is_empty() {
        return format!("started_ms >= {at}");
    }
    format!("started_ms >= {at} AND (started_ms > {at} OR id >= {})", quoted(&text(&bottom.id)))
}

/// Between two places in the order in which records were stored.
fn stored((after_ms, after): (i64, &str), (until_ms, until): (i64, &str)) -> String {
    let (from, to) = (number(after_ms), number(until_ms));
    let (after, until) = (quoted(&text(after)), quoted(&text(until)));
    format!(
        "stored_ms >= {from} AND (stored_ms > {from} OR id > {after}) AND stored_ms <= {to} AND (stored_ms < {to} OR id <= {until})"
    )
}

/// What a filter asks but for the times; begins with ` AND` where it asks anything.
fn condition(filter: &Filter) -> String {
    let mut parts: Vec<String> = filter.wanted().iter().map(wants).collect();
    if let Some(id) = &filter.id {
        // Greater than whatever begins like it.
        parts.push(format!("id >= {} AND id < {}", quoted(&text(id)), quoted(&format!("{}\u{10ffff}", text(id)))));
    }
    parts.into_iter().map(|part| format!(" AND {part}")).collect()
}

fn wants(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Column(name, value) => {
            let columns = columns(name).iter().map(|column| heads(column, value));
            format!("({})", columns.collect::<Vec<_>>().join(" OR "))
        }
        Wanted::Status(range) => status(range),
        Wanted::AtLeast(column, least) => format!("{column} >= {}", number(*least)),
        Wanted::Term(term) => holds(&format!("\n{term}\n")),
        Wanted::Word(word) => holds(&format!("\n~{word}")),
        Wanted::All(parts) => joined(parts, " AND "),
        Wanted::Any(parts) => joined(parts, " OR "),
    }
}

/// As much of a column as counts is this: all of it, or its beginning where that is as long as what counts.
fn heads(column: &str, value: &str) -> String {
    if value.chars().count() < HEAD {
        return format!("{column} = {}", quoted(value));
    }
    format!("substring({column}, 1, {}) = {}", value.len(), quoted(value))
}

fn status(range: &RangeInclusive<u32>) -> String {
    format!("(status >= {} AND status <= {})", range.start(), range.end())
}

/// Letter by letter: nothing in it means anything.
fn holds(part: &str) -> String {
    format!("position(terms, {}) > 0", quoted(part))
}

fn joined(parts: &[Wanted], by: &str) -> String {
    format!("({})", parts.iter().map(wants).collect::<Vec<_>>().join(by))
}

fn whole(row: &Value, column: &str) -> Result<i64, Error> {
    row[column].as_i64().ok_or_else(|| unreadable(column))
}

fn taken(row: &mut Value, column: &str) -> Result<String, Error> {
    match row.get_mut(column).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(unreadable(column)),
    }
}

fn unreadable(column: &str) -> Error {
    Error::Unreadable(format!("a `{column}` of a record"))
}

// === impl LogRow ===

impl LogRow {
    fn of_object(row: &mut Value) -> Result<Self, Error> {
        Ok(Self {
            id: taken(row, "id")?,
            started_ms: whole(row, "started_ms")?,
            key_id: taken(row, "key_id")?,
            key_name: taken(row, "key_name")?,
            model: taken(row, "model")?,
            provider: taken(row, "provider")?,
            status: u32::try_from(whole(row, "status")?).unwrap_or(u32::MAX),
            record: taken(row, "record")?,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stands_in_quotes() {
        let filter = Filter {
            key: Some("k' OR 1=1 --".to_owned()),
            status: Some(500..=599),
            terms: vec![("tag".to_owned(), r"a\'b".to_owned())],
            texts: vec!["w".to_owned()],
            id: Some("'".to_owned()),
            ..Filter::default()
        };
        assert_eq!(
            condition(&filter),
            " AND (key_id = 'k\\' OR 1=1 --' OR key_name = 'k\\' OR 1=1 --') AND (status >= 500 AND status <= 599) \
             AND position(terms, '\\ntag=a\\\\\\'b\\n') > 0 AND (position(terms, '\\nsession=w\\n') > 0 \
             OR position(terms, '\\ntrace=w\\n') > 0 OR (position(terms, '\\n~w') > 0)) AND id >= '\\'' AND id < '\\'\u{10ffff}'"
        );
        assert_eq!(condition(&Filter::default()), "");
    }

    #[test]
    fn as_much_of_a_column_counts_as_elsewhere() {
        let long = "ü".repeat(HEAD);
        assert_eq!(heads("model", &long), format!("substring(model, 1, {}) = '{long}'", 2 * HEAD));
        assert_eq!(heads("model", "m"), "model = 'm'");
    }

    #[test]
    fn ids_of_ours_tell_their_time() {
        let at_ms = 1_800_000_000_123;
        let id = uuid::Builder::from_unix_timestamp_millis(at_ms, &[255; 10]).into_uuid().hyphenated().to_string();
        assert_eq!(told_ms(&id), i64::try_from(at_ms).ok());
        for other in
            ["", "r001", "01a31ecd-0c00-4000-8000-000000000000", "zzzzzzzz-zzzz-7000-8000-000000000000", "üüüüüüüüü"]
        {
            assert_eq!(told_ms(other), None, "{other}");
        }
    }

    #[test]
    fn whole_days_go() {
        const DAY_MS: i64 = 86_400_000;
        let days = [(10, 5), (11, 5), (12, 5)];
        for (older_than_ms, keep, expected) in [
            (12 * DAY_MS - 1, None, vec![10]),
            (12 * DAY_MS, None, vec![10, 11]),
            (0, None, vec![]),
            (0, Some(5), vec![10, 11]),
            (0, Some(6), vec![10]),
            (0, Some(0), vec![10, 11, 12]),
            (i64::MAX, Some(100), vec![10, 11, 12]),
        ] {
            assert_eq!(doomed(&days, older_than_ms, keep), expected, "{older_than_ms} {keep:?}");
        }
    }
}
