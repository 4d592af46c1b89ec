//! `/admin/usage/budgets`: what is spent of each budget, what nodes hold of it, and how much it will be.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_model::kind::Kind;
use gateway_model::kind::budget::{Budget, OnExhausted, Window};
use gateway_store::ledger::Balance;
use gateway_store::{ItemKind, StoredItem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, limit, page};
use super::scope;
use crate::app::App;
use crate::clock;
use crate::leases::terms_in;

/// Whoever can have a budget, in the order in which they are listed.
const KINDS: [Kind; 5] = [Kind::Budget, Kind::Organization, Kind::Team, Kind::User, Kind::Key];
/// A forecast goes by this much at least: the first requests of a window say little.
const LEAST_MS: i64 = 60_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
}

/// Budgets of their own first, then those of organizations, teams, users and keys.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Spending {
    data: Vec<BudgetUse>,
    next: Option<String>,
}

/// What became of one budget in the window of this moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BudgetUse {
    kind: Kind,
    name: String,
    window: String,
    on_exhausted: OnExhausted,
    /// What may be spent now: of an override, where there is one.
    amount_nano_usd: i64,
    /// RFC 3339. Until then it is an override that says the amount.
    override_until: Option<String>,
    spent_nano_usd: i64,
    /// With nodes, not spent yet. Of a node that is gone it stays here until its usage has come or it is revoked.
    leased_nano_usd: i64,
    /// RFC 3339. What was spent since then counts.
    window_start: Option<String>,
    window_end: Option<String>,
    /// What will be spent when the window ends, if spending goes on like this. `null` where a window has no end.
    forecast_nano_usd: Option<i64>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Params(params): Params<BudgetParams>,
) -> Result<Json<Spending>, ApiError> {
    let limit = limit(params.limit)?;
    let after = params.after.as_deref().unwrap_or_default();
    let (first, mut name) = match after.split_once('/') {
        Some((kind, name)) => (KINDS.iter().position(|known| known.name() == kind), name),
        None => (Some(0), ""),
    };
    let Some(first) = first else { return Err(ApiError::malformed("`after` is no cursor of this list")) };
    let mut found = Vec::new();
    for kind in &KINDS[first..] {
        let items = app.store.budgeted(ItemKind::Resource(*kind), name, limit + 1 - found.len()).await?;
        // Pages of who sees a part only are shorter, and as many.
        found.extend(items.into_iter().map(|item| (*kind, item)));
        name = "";
        if found.len() > limit {
            break;
        }
    }
    let (found, next) = page(found, limit, |(kind, item)| format!("{kind}/{}", item.name));
    let now_ms = clock::unix_ms();
    let mut data = Vec::with_capacity(found.len());
    for (kind, item) in found.into_iter().filter(|(_, item)| scope::sees(&actor.grant, item)) {
        if let Some(terms) = terms_in(kind, &item.document) {
            let balance = app.store.balance(&ledger_name(kind, &item), terms.window.counted_from(now_ms)).await?;
            data.push(BudgetUse::new(kind, item.name, terms, balance, now_ms));
        }
    }
    Ok(Json(Spending { data, next }))
}

/// A key may be renamed and keeps what it has spent.
fn ledger_name(kind: Kind, item: &StoredItem) -> String {
    let name = if kind == Kind::Key { &item.id } else { &item.name };
    format!("{kind}/{name}")
}

/// From when on spending counts, and when it does not any more; `None` for ever.
fn span(window: Window, balance: Balance, now_ms: i64) -> Option<(i64, i64)> {
    let bounds = window.at(now_ms);
    match window {
        Window::Once => None,
        Window::Rolling(_) => {
            let from_ms = window.counted_from(now_ms);
            Some((from_ms, window.freed_at(balance.oldest_ms.unwrap_or(bounds.start_ms))?))
        }
        Window::Daily | Window::Weekly | Window::Monthly => Some((bounds.start_ms, bounds.end_ms)),
    }
}

/// As if it went on as it did since the window's start, or since something was spent first where the window rolls.
fn forecast(window: Window, balance: Balance, now_ms: i64) -> Option<i64> {
    let (from_ms, end_ms) = span(window, balance, now_ms)?;
    let from_ms = if matches!(window, Window::Rolling(_)) { balance.oldest_ms.unwrap_or(now_ms) } else { from_ms };
    let whole_ms = end_ms.saturating_sub(from_ms).max(LEAST_MS);
    let gone_ms = now_ms.saturating_sub(from_ms).max(LEAST_MS);
    let forecast = i128::from(balance.spent) * i128::from(whole_ms) / i128::from(gone_ms);
    Some(i64::try_from(forecast).unwrap_or(i64::MAX).max(balance.spent))
}

// === impl BudgetUse ===

impl BudgetUse {
    fn new(kind: Kind, name: String, terms: Budget, balance: Balance, now_ms: i64) -> Self {
        let span = span(terms.window, balance, now_ms);
        let exception = terms.exception.filter(|exception| now_ms < exception.expires_at.0);
        Self {
            kind,
            name,
            window: terms.window.to_string(),
            on_exhausted: terms.on_exhausted,
            amount_nano_usd: terms.amount_at(now_ms).0,
            override_until: exception.map(|exception| clock::rfc3339(exception.expires_at.0)),
            spent_nano_usd: balance.spent,
            leased_nano_usd: balance.leased,
            window_start: span.map(|(from_ms, _)| clock::rfc3339(from_ms)),
            window_end: span.map(|(_, end_ms)| clock::rfc3339(end_ms)),
            forecast_nano_usd: forecast(terms.window, balance, now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// A midnight, and the first of a week.
    const MONDAY: i64 = 1_800_230_400_000;

    #[test]
    fn forecasts_go_on_as_it_went() {
        let window = |text: &str| serde_json::from_value::<Window>(text.into()).expect("a window");
        let spent = |spent: i64, oldest_ms: i64| Balance { spent, leased: 0, oldest_ms: Some(oldest_ms) };
        for (text, now_ms, balance, expected) in [
            ("daily", MONDAY + 6 * HOUR, spent(100, MONDAY), Some(400)),
            ("daily", MONDAY + 24 * HOUR - 1, spent(100, MONDAY), Some(100)),
            ("daily", MONDAY, spent(1, MONDAY), Some(24 * 60)),
            ("weekly", MONDAY + 24 * HOUR, spent(100, MONDAY), Some(700)),
            ("once", MONDAY, spent(100, 0), None),
            ("48h", MONDAY + 25 * HOUR, spent(100, MONDAY), Some(195)),
            ("48h", MONDAY, Balance::default(), Some(0)),
        ] {
            assert_eq!(forecast(window(text), balance, now_ms), expected, "{text} {balance:?}");
        }
    }
}
