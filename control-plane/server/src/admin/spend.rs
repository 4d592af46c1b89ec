//! `GET /admin/spend`: what was spent, by any of key, team, user, organization, model, provider, tag and day together. As JSON, as CSV,
//! or in the columns of FOCUS for tools of finance.
//!
//! Sums are kept by days (UTC), so that bounds are days: both are included, a moment stands for its day, and the answer says which days
//! it is about.

mod csv;
mod focus;
pub(crate) mod reprice;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_model::kind::Kind;
use gateway_store::ItemKind;
use gateway_store::spend::{Dimension, Sum, Wanted};
use gateway_store::usage::Totals;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, page};
use super::scope;
use super::usage::{tokens, units};
use crate::app::App;
use crate::clock;
use crate::money;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpendParams {
    /// What to sum up by, separated by commas: `key`, `team`, `user`, `organization`, `model`, `provider`, `tag`, `day`. A request with
    /// several tags is in the row of each; the total counts it once. Default `model`.
    pub(crate) group_by: Option<String>,
    /// The first day, as a date, a moment in RFC 3339, or Unix milliseconds.
    pub(crate) from: Option<String>,
    /// The last day, included. A moment stands for its day; midnight for the day that it ends.
    pub(crate) to: Option<String>,
    /// Only this key, by name or id.
    pub(crate) key: Option<String>,
    pub(crate) team: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) organization: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) format: Option<Format>,
    /// Rows; CSV up to 10,000.
    #[schemars(range(min = 1, max = 10000))]
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<String>,
}

/// What the answer is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    Csv,
    /// CSV with the columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification), one row per day, account, key, provider and model.
    Focus,
}

/// Where the next page of a CSV is: what `after` takes.
const NEXT: HeaderName = HeaderName::from_static("x-gateway-next");
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const DEFAULT_ROWS: usize = 100;
const MAX_ROWS: usize = 500;
const MAX_CSV_ROWS: usize = 10_000;

/// A page of sums with what is needed to show them.
pub(crate) struct Page {
    pub(crate) by: Vec<Dimension>,
    pub(crate) from_day: Option<i64>,
    pub(crate) to_day: Option<i64>,
    pub(crate) sums: Vec<Sum>,
    pub(crate) total: Totals,
    pub(crate) next: Option<String>,
    /// Names of the keys among them that are still there, by id.
    pub(crate) keys: HashMap<String, String>,
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    headers: HeaderMap,
    Params(mut params): Params<SpendParams>,
) -> Result<Response, ApiError> {
    params.team = scope::team(&actor.grant, params.team.as_deref())?;
    let format = params.format.unwrap_or_else(|| preferred(&headers));
    let page = read(&app, &params, format).await?;
    Ok(match format {
        Format::Json => Json(page.json()).into_response(),
        Format::Csv => table(csv::write(&page), page.next),
        Format::Focus => table(focus::write(&page), page.next),
    })
}

/// The page that was asked for.
pub(crate) async fn read(app: &App, params: &SpendParams, format: Format) -> Result<Page, ApiError> {
    let by = match (format, params.group_by.as_deref()) {
        (Format::Focus, None) => focus::BY.to_vec(),
        (Format::Focus, Some(_)) => {
            return Err(ApiError::malformed("`format=focus` has rows of its own; leave `group_by` out"));
        }
        (_, groups) => dimensions(groups.unwrap_or("model"))?,
    };
    let max = if format == Format::Json { MAX_ROWS } else { MAX_CSV_ROWS };
    let limit = match params.limit {
        None => {
            if format == Format::Json {
                DEFAULT_ROWS
            } else {
                MAX_CSV_ROWS
            }
        }
        Some(limit) if (1..=max).contains(&limit) => limit,
        Some(_) => return Err(ApiError::malformed(format!("`limit` must be from 1 to {max}"))),
    };
    let (from_day, to_day) = days(params.from.as_deref(), params.to.as_deref())?;
    let after = params.after.as_deref().map(|after| cursor(after, by.len())).transpose()?;
    let wanted = Wanted { by, from_day, to_day, only: only(app, params).await? };
    let spend = app.store.spend(&wanted, after.as_deref(), limit + 1).await?;
    let (sums, next) = page(spend.sums, limit, |sum| json!(sum.names).to_string());
    let keys = key_names(app, &wanted.by, &sums).await?;
    Ok(Page { by: wanted.by, from_day, to_day, sums, total: spend.total, next, keys })
}

/// What a client takes that does not say it in the query.
fn preferred(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_csv = |part: &str| part.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/csv"));
    if accepted.flat_map(|value| value.split(',')).any(is_csv) { Format::Csv } else { Format::Json }
}

fn table(text: String, next: Option<String>) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], text).into_response();
    // A cursor is JSON in ASCII only where the names are; the others are escaped.
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&ascii(&next)).ok()) {
        response.headers_mut().insert(NEXT, next);
    }
    response
}

/// The same JSON without any letter that a header cannot hold.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

fn dimensions(groups: &str) -> Result<Vec<Dimension>, ApiError> {
    let mut by = Vec::new();
    for word in groups.split(',').map(str::trim) {
        let Some(dimension) = Dimension::ALL.into_iter().find(|dimension| self::word(*dimension) == word) else {
            let known = Dimension::ALL.map(self::word).join(", ");
            return Err(ApiError::malformed(format!("`group_by` does not know `{word}`; there is {known}")));
        };
        if by.contains(&dimension) {
            return Err(ApiError::malformed(format!("`group_by` names `{word}` twice")));
        }
        by.push(dimension);
    }
    Ok(by)
}

/// As the API calls it.
pub(crate) fn word(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Day => "day",
        Dimension::Organization => "organization",
        Dimension::Team => "team",
        Dimension::User => "user",
        Dimension::Key => "key",
        Dimension::Provider => "provider",
        Dimension::Model => "model",
        Dimension::Tag => "tag",
    }
}

/// Days since 1970, both included.
fn days(from: Option<&str>, to: Option<&str>) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let moment = |name: &str, text: &str| {
        let date = clock::parse_date(text);
        date.map(|day| (day, true)).or_else(|| clock::parse(text).map(|ms| (ms, false))).ok_or_else(|| {
            ApiError::malformed(format!(
                "`{name}` is not a time; write 2027-01-31, 2027-01-31T00:00:00Z or Unix milliseconds"
            ))
        })
    };
    let from_day = from.map(|text| moment("from", text)).transpose()?.map(|(at, is_day)| match is_day {
        true => at,
        false => at.div_euclid(DAY_MS),
    });
    let to_day = to.map(|text| moment("to", text)).transpose()?.map(|(at, is_day)| match is_day {
        true => at,
        false => at.saturating_sub(1).div_euclid(DAY_MS),
    });
    if let (Some(from), Some(to)) = (from_day, to_day)
        && from > to
    {
        return Err(ApiError::malformed("`to` is before `from`; both days are included"));
    }
    Ok((from_day, to_day))
}

fn cursor(text: &str, n_names: usize) -> Result<Vec<String>, ApiError> {
    let names: Option<Vec<String>> = serde_json::from_str(text).ok();
    names.filter(|names| names.len() == n_names).ok_or_else(|| {
        ApiError::malformed("`after` is not a cursor of this list; use what `next` of the page before says")
    })
}

/// What is left out, and a key that was named by its name by its id.
async fn only(app: &App, params: &SpendParams) -> Result<Vec<(Dimension, String)>, ApiError> {
    let mut only = Vec::new();
    for (dimension, name) in [
        (Dimension::Team, &params.team),
        (Dimension::User, &params.user),
        (Dimension::Organization, &params.organization),
        (Dimension::Model, &params.model),
        (Dimension::Provider, &params.provider),
        (Dimension::Tag, &params.tag),
    ] {
        only.extend(name.clone().map(|name| (dimension, name)));
    }
    if let Some(key) = &params.key {
        // One that is deleted is still known by its id.
        let item = app.store.item(ItemKind::Resource(Kind::Key), key).await?;
        only.push((Dimension::Key, item.map_or_else(|| key.clone(), |item| item.id)));
    }
    Ok(only)
}

async fn key_names(app: &App, by: &[Dimension], sums: &[Sum]) -> Result<HashMap<String, String>, ApiError> {
    let Some(position) = by.iter().position(|dimension| *dimension == Dimension::Key) else {
        return Ok(HashMap::new());
    };
    let ids: HashSet<&str> = sums.iter().map(|sum| sum.names[position].as_str()).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let items = app.store.items_by_id(ItemKind::Resource(Kind::Key), &ids).await?;
    Ok(items.into_iter().map(|item| (item.id, item.name)).collect())
}

// === impl Page ===

impl Page {
    /// The fields that say what a row is of. A key shows by name, with its id beside it; one that is gone by its id.
    pub(crate) fn names(&self, sum: &Sum) -> Vec<(&'static str, String)> {
        let mut fields = Vec::with_capacity(self.by.len() + 1);
        for (dimension, name) in self.by.iter().zip(&sum.names) {
            match dimension {
                Dimension::Day => fields.push(("day", clock::date(name.parse().unwrap_or_default()))),
                Dimension::Key => {
                    fields.push(("key", self.keys.get(name).unwrap_or(name).clone()));
                    fields.push(("key_id", name.clone()));
                }
                other => fields.push((word(*other), name.clone())),
            }
        }
        fields
    }

    pub(crate) fn json(&self) -> Value {
        let row = |sum: &Sum| {
            let mut row: Map<String, Value> =
                self.names(sum).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
            row.extend(figures(&sum.totals));
            Value::Object(row)
        };
        json!({
            "data": self.sums.iter().map(row).collect::<Vec<_>>(),
            "total": figures(&self.total),
            "group_by": self.by.iter().map(|dimension| word(*dimension)).collect::<Vec<_>>(),
            "from": self.from_day.map(clock::date),
            "to": self.to_day.map(clock::date),
            "next": self.next,
        })
    }
}

/// Money three times: exactly as an integer, exactly as text, and as the number that programs add up.
pub(crate) fn figures(totals: &Totals) -> Map<String, Value> {
    let figures = json!({
        "requests": totals.requests,
        "tokens": tokens(&totals.tokens),
        "units": units(&totals.units),
        "cost_nano_usd": totals.cost_nano_usd,
        "cost_usd": money::usd(totals.cost_nano_usd),
        "spend": money::number(totals.cost_nano_usd),
        "saved_nano_usd": totals.saved_nano_usd,
        "saved_usd": money::usd(totals.saved_nano_usd),
        "unpriced_requests": totals.unpriced,
    });
    let Value::Object(figures) = figures else { return Map::new() };
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_days() {
        const DAY: i64 = 20_833;
        for (from, to, expected) in [
            (None, None, Some((None, None))),
            (Some("2027-01-15"), Some("2027-01-15"), Some((Some(DAY), Some(DAY)))),
            (Some("2027-01-15T00:00:00Z"), Some("2027-01-16T00:00:00Z"), Some((Some(DAY), Some(DAY)))),
            (Some("2027-01-15T08:00:00Z"), Some("2027-01-16T08:00:00Z"), Some((Some(DAY), Some(DAY + 1)))),
            (Some("1800000000000"), None, Some((Some(DAY), None))),
            (Some("2027-01-16"), Some("2027-01-15"), None),
            (Some("2027-02-30"), None, None),
            (None, Some("soon"), None),
            (None, Some("-9223372036854775808"), None),
        ] {
            assert_eq!(days(from, to).ok(), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_cursor_survives_a_header() {
        let names = vec!["ü\u{1f600}\"\\".to_owned(), String::new()];
        let text = ascii(&json!(names).to_string());
        assert!(text.is_ascii());
        assert_eq!(cursor(&text, 2).expect("a cursor"), names);
        assert!(cursor(&text, 1).is_err() && cursor("x", 1).is_err());
    }
}
