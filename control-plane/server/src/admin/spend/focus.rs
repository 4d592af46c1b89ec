//! `format=focus`: the columns of FOCUS (FinOps Open Cost and Usage Specification, 1.1), one row per day, account, key, provider and
//! model. What has no column there is in columns of our own, which the specification wants to begin with `x_`.

use std::collections::HashMap;

use gateway_store::spend::Dimension;
use gateway_store::usage::Totals;

use super::Page;
use super::csv::{harmless, row};
use crate::clock;
use crate::money;

/// What its rows are of.
pub(super) const BY: [Dimension; 7] = [
    Dimension::Day,
    Dimension::Organization,
    Dimension::Team,
    Dimension::User,
    Dimension::Key,
    Dimension::Provider,
    Dimension::Model,
];

/// What a row is made of.
struct Charge<'a> {
    day: i64,
    names: HashMap<&'static str, String>,
    totals: &'a Totals,
}

type Column = (&'static str, fn(&Charge<'_>) -> String);

const COLUMNS: &[Column] = &[
    ("BilledCost", |charge| charge.cost()),
    ("BillingAccountId", |charge| charge.account()),
    ("BillingAccountName", |charge| charge.account()),
    ("BillingCurrency", |_| "USD".to_owned()),
    ("BillingPeriodStart", |charge| moment(clock::month(charge.day).0)),
    ("BillingPeriodEnd", |charge| moment(clock::month(charge.day).1)),
    ("ChargeCategory", |_| "Usage".to_owned()),
    ("ChargeClass", |_| String::new()),
    ("ChargeDescription", |charge| format!("{} requests to {}", charge.totals.requests, charge.name("model"))),
    ("ChargeFrequency", |_| "Usage-Based".to_owned()),
    ("ChargePeriodStart", |charge| moment(charge.day)),
    ("ChargePeriodEnd", |charge| moment(charge.day + 1)),
    ("ConsumedQuantity", |charge| charge.quantity().0.to_string()),
    ("ConsumedUnit", |charge| charge.quantity().1.to_owned()),
    ("ContractedCost", |charge| charge.cost()),
    ("EffectiveCost", |charge| charge.cost()),
    ("InvoiceIssuerName", |charge| charge.name("provider")),
    ("ListCost", |charge| charge.cost()),
    ("PricingCategory", |_| "Standard".to_owned()),
    ("PricingQuantity", |charge| charge.quantity().0.to_string()),
    ("PricingUnit", |charge| charge.quantity().1.to_owned()),
    ("ProviderName", |charge| charge.name("provider")),
    ("PublisherName", |charge| charge.name("provider")),
    ("ResourceId", |charge| charge.name("key_id")),
    ("ResourceName", |charge| charge.name("key")),
    ("ResourceType", |_| "Virtual key".to_owned()),
    ("ServiceCategory", |_| "AI and Machine Learning".to_owned()),
    ("ServiceName", |charge| charge.name("model")),
    ("ServiceSubcategory", |_| "Generative AI".to_owned()),
    ("SkuId", |charge| format!("{}/{}", charge.name("provider"), charge.name("model"))),
    ("SubAccountId", |charge| charge.name("team")),
    ("SubAccountName", |charge| charge.name("team")),
    ("x_User", |charge| charge.name("user")),
    ("x_Requests", |charge| charge.totals.requests.to_string()),
    ("x_UnpricedRequests", |charge| charge.totals.unpriced.to_string()),
    ("x_InputTokens", |charge| charge.totals.tokens.input.to_string()),
    ("x_CacheReadTokens", |charge| charge.totals.tokens.cache_read.to_string()),
    ("x_CacheWriteTokens", |charge| {
        charge.totals.tokens.cache_write.saturating_add(charge.totals.tokens.cache_write_1h).to_string()
    }),
    ("x_OutputTokens", |charge| charge.totals.tokens.output.to_string()),
    ("x_CostNanoUsd", |charge| charge.totals.cost_nano_usd.to_string()),
];

pub(super) fn write(page: &Page) -> String {
    let mut text = String::new();
    row(&mut text, COLUMNS.iter().map(|(name, _)| *name));
    for sum in &page.sums {
        let day = sum.names.first().and_then(|day| day.parse().ok()).unwrap_or_default();
        let names = page.names(sum).into_iter().map(|(word, name)| (word, harmless(name))).collect();
        let charge = Charge { day, names, totals: &sum.totals };
        row(&mut text, COLUMNS.iter().map(|(_, value)| value(&charge)));
    }
    text
}

/// Midnight at which a day begins.
fn moment(day: i64) -> String {
    format!("{}T00:00:00Z", clock::date(day))
}

// === impl Charge ===

impl Charge<'_> {
    fn name(&self, word: &str) -> String {
        self.names.get(word).cloned().unwrap_or_default()
    }

    /// The specification has no row without an account.
    fn account(&self) -> String {
        let account = self.name("organization");
        if account.is_empty() { "default".to_owned() } else { account }
    }

    /// The price that is told is the one that is charged: there is one.
    fn cost(&self) -> String {
        money::usd(self.totals.cost_nano_usd)
    }

    /// What was used, where it is not tokens what the model is charged by.
    fn quantity(&self) -> (u64, &'static str) {
        let units = &self.totals.units;
        let all = [
            (self.tokens(), "Tokens"),
            (units.pictures_made, "Images"),
            (units.pictures_read, "Images"),
            (units.audio_ms, "Milliseconds"),
            (units.characters, "Characters"),
            (units.searches, "Searches"),
        ];
        all.into_iter().find(|(count, _)| *count > 0).unwrap_or(all[0])
    }

    /// Classes are disjoint but for parts of `input` and `output`.
    fn tokens(&self) -> u64 {
        let tokens = &self.totals.tokens;
        let classes = [tokens.input, tokens.cache_read, tokens.cache_write, tokens.cache_write_1h, tokens.output];
        classes.into_iter().fold(0, u64::saturating_add)
    }
}
