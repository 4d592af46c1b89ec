//! `POST /admin/spend/reprice`: what the requests of a past window cost by the prices of now, or of an earlier revision. Told first, and
//! written only where that is asked for.
//!
//! A call does one piece of the window in one transaction, with an entry of its own in the audit log; `next` says where to go on. A piece
//! that is done again changes nothing. Budgets keep what they were charged: what was let through by them has been let through.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_engine::price::list::PriceList;
use gateway_engine::price::{self, Tier, Usage};
use gateway_model::kind::price::Price as PriceDocument;
use gateway_model::kind::{Class, Kind};
use gateway_store::usage::reprice::{Cost, Piece, Sums, Window};
use gateway_store::usage::{Cursor, UsageRow};
use gateway_store::{ItemKind, StoredItem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DAY_MS;
use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::extract::{Payload, parse_time_cursor, time_cursor, typed};
use crate::app::App;
use crate::members::audit;
use crate::{clock, money};

/// A window, and what to do with it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reprice {
    /// A date, a moment in RFC 3339, or Unix milliseconds.
    from: String,
    /// A date, included, or a moment that is no longer part of it.
    to: String,
    /// Only what this provider served.
    #[serde(default)]
    provider: String,
    /// Only what was asked for by this name.
    #[serde(default)]
    model: String,
    /// Only what the provider calls this.
    #[serde(default)]
    upstream_model: String,
    /// The revision of topology whose prices hold. Absent: that of now.
    revision: Option<u64>,
    /// Whether the difference is only told. Write `false` to have it written.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Requests of this call.
    #[schemars(range(min = 1, max = 10000))]
    limit: Option<usize>,
    after: Option<String>,
}

/// What came of a piece of the window.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Repriced {
    dry_run: bool,
    /// Of topology, whose prices were used.
    revision: u64,
    requests: u64,
    /// Whose cost is another now.
    changed: u64,
    /// Whose price nobody here can tell: answers out of the cache, prices that a provider tells its nodes, what nobody has measured.
    kept: u64,
    before: Charged,
    after: Charged,
    difference_nano_usd: i64,
    difference_usd: String,
    /// What this does to budgets.
    budgets: &'static str,
    /// `after` of the next piece; null at the end of the window.
    next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RepricedSum")]
struct Charged {
    cost_nano_usd: i64,
    cost_usd: String,
    unpriced_requests: u64,
}

const DEFAULT_PIECE: usize = 5_000;
const MAX_PIECE: usize = 10_000;
/// What came out of the cache, and what a node was told by its provider.
const NO_ROW: &str = "";
const OFFERED: &str = "offered";
/// How a request was settled that used nothing.
const NOTHING: &str = "nothing";

fn yes() -> bool {
    true
}

pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Payload(body): Payload,
) -> Result<Json<Repriced>, ApiError> {
    let asked: Reprice = typed(body)?;
    let window = asked.window()?;
    let limit = match asked.limit {
        None => DEFAULT_PIECE,
        Some(limit @ 1..=MAX_PIECE) => limit,
        Some(_) => return Err(ApiError::malformed(format!("`limit` must be from 1 to {MAX_PIECE}"))),
    };
    let after = parse_time_cursor(asked.after.as_deref())?;
    let revision = match asked.revision {
        Some(revision) => revision,
        None => app.store.heads().await?.topology,
    };
    let prices = Prices::read(&app.store.items_at(Class::Topology, revision).await?, revision)?;
    let price = |row: &UsageRow| prices.cost(row);
    if asked.dry_run {
        let piece = app.store.reprice_dry(&window, after.as_ref(), limit, price).await?;
        return Ok(Json(Repriced::new(&piece, revision, true)));
    }
    let now_ms = clock::unix_ms();
    let entry = |piece: &Piece| {
        let told = told(&window, after.as_ref(), piece, revision);
        audit(&actor, "reprice", "usage", &named(&window), &told, now_ms)
    };
    let piece = app.store.reprice(&window, after.as_ref(), limit, price, entry).await?;
    tracing::info!(
        actor = actor.name,
        revision,
        requests = piece.n_requests,
        changed = piece.n_changed,
        "usage was priced anew"
    );
    Ok(Json(Repriced::new(&piece, revision, false)))
}

fn named(window: &Window) -> String {
    format!("{} to {}", clock::rfc3339(window.from_ms), clock::rfc3339(window.to_ms))
}

/// For the audit log.
fn told(window: &Window, after: Option<&Cursor>, piece: &Piece, revision: u64) -> Value {
    json!({
        "provider": window.provider,
        "model": window.model,
        "upstream_model": window.upstream_model,
        "prices_of_revision": revision,
        "after": after.map(|cursor| time_cursor(cursor.started_ms, &cursor.id)),
        "requests": piece.n_requests,
        "changed": piece.n_changed,
        "before_nano_usd": piece.before.cost_nano_usd,
        "after_nano_usd": piece.after.cost_nano_usd,
    })
}

/// What every provider charged at one revision.
struct Prices {
    revision: u64,
    by_provider: HashMap<String, PriceList>,
}

// === impl Prices ===

impl Prices {
    /// Of all of topology as it was.
    fn read(items: &[StoredItem], revision: u64) -> Result<Self, ApiError> {
        let of_kind = |kind: Kind| items.iter().filter(move |item| item.kind == ItemKind::Resource(kind));
        let mut documents: HashMap<String, Vec<PriceDocument>> = HashMap::new();
        for item in of_kind(Kind::Price) {
            let price: PriceDocument = serde_json::from_str(&item.document).map_err(|_| unreadable(item, revision))?;
            documents.entry(price.provider.clone()).or_default().push(price);
        }
        let mut by_provider = HashMap::new();
        for item in of_kind(Kind::Provider) {
            let provider: Value = serde_json::from_str(&item.document).map_err(|_| unreadable(item, revision))?;
            let own = documents.remove(&item.name).unwrap_or_default();
            let kind = provider["kind"].as_str().unwrap_or_default();
            by_provider.insert(item.name.clone(), PriceList::compile(kind, own.iter()));
        }
        Ok(Self { revision, by_provider })
    }

    /// `None`: it is not for us to say.
    fn cost(&self, row: &UsageRow) -> Option<Cost> {
        let list = self.by_provider.get(&row.provider)?;
        let usage = usage(row);
        let used_nothing = usage == Usage { tier: usage.tier, ..Usage::default() };
        // An answer out of the cache has a cost of its own and no price; of what nobody has measured there is nothing to charge.
        let is_recalled = row.priced && row.price == NO_ROW && row.cost_nano_usd == 0;
        if is_recalled || !row.priced && used_nothing && row.settled_by != NOTHING {
            return None;
        }
        let model = row.upstream_model.as_str();
        let price = match usage.tier {
            Tier::Batch => list.in_batches(model),
            _ if row.price == OFFERED => Some(list.own(model)?),
            _ => list.known(model),
        };
        let nano_usd = price.as_ref().and_then(|price| price::cost(&usage, price));
        let row = price.filter(|_| nano_usd.is_some()).map(|price| price.row(self.revision));
        Some(Cost { nano_usd, price: row.unwrap_or_default().into_owned() })
    }
}

/// An event as it was when it was charged.
fn usage(row: &UsageRow) -> Usage {
    use price::Units;
    let (tokens, units) = (&row.tokens, &row.units);
    let units = [
        (units.pictures_made, Units::PicturesMade as fn(u64) -> Units),
        (units.pictures_read, Units::PicturesRead),
        (units.audio_ms, Units::AudioMs),
        (units.characters, Units::Characters),
        (units.searches, Units::Searches),
    ];
    let units = units.into_iter().find(|(count, _)| *count > 0).map_or(Units::None, |(count, units)| units(count));
    Usage {
        input: tokens.input,
        cache_read: tokens.cache_read,
        cache_write: tokens.cache_write,
        cache_write_1h: tokens.cache_write_1h,
        output: tokens.output,
        reasoning: tokens.reasoning,
        input_audio: tokens.input_audio,
        output_audio: tokens.output_audio,
        input_image: tokens.input_image,
        output_image: tokens.output_image,
        units,
        tier: Tier::parse(&row.tier),
    }
}

fn unreadable(item: &StoredItem, revision: u64) -> ApiError {
    ApiError::conflict(format!(
        "`{}` of revision {revision} cannot be read by this version; name a later one",
        item.name
    ))
}

// === impl Reprice ===

impl Reprice {
    fn window(&self) -> Result<Window, ApiError> {
        let moment = |name: &str, text: &str, days: i64| {
            let date = clock::parse_date(text).map(|day| day.saturating_add(days).saturating_mul(DAY_MS));
            date.or_else(|| clock::parse(text)).ok_or_else(|| {
                ApiError::malformed(format!(
                    "`{name}` is not a time; write 2027-01-31, 2027-01-31T00:00:00Z or Unix milliseconds"
                ))
            })
        };
        let (from_ms, to_ms) = (moment("from", &self.from, 0)?, moment("to", &self.to, 1)?);
        if from_ms >= to_ms {
            return Err(ApiError::malformed("the window ends before it begins; `to` must be after `from`"));
        }
        let Self { provider, model, upstream_model, .. } = self;
        let [provider, model, upstream_model] = [provider, model, upstream_model].map(String::clone);
        Ok(Window { from_ms, to_ms, provider, model, upstream_model })
    }
}

// === impl Repriced ===

impl Repriced {
    fn new(piece: &Piece, revision: u64, dry_run: bool) -> Self {
        let difference = piece.after.cost_nano_usd.saturating_sub(piece.before.cost_nano_usd);
        Self {
            dry_run,
            revision,
            requests: piece.n_requests,
            changed: piece.n_changed,
            kept: piece.n_kept,
            before: Charged::new(piece.before),
            after: Charged::new(piece.after),
            difference_nano_usd: difference,
            difference_usd: money::usd(difference),
            budgets: "unchanged: they keep what they were charged when the requests ran, those of the current window too",
            next: piece.next.as_ref().map(|cursor| time_cursor(cursor.started_ms, &cursor.id)),
        }
    }
}

// === impl Charged ===

impl Charged {
    fn new(sums: Sums) -> Self {
        Self {
            cost_nano_usd: sums.cost_nano_usd,
            cost_usd: money::usd(sums.cost_nano_usd),
            unpriced_requests: sums.unpriced,
        }
    }
}
