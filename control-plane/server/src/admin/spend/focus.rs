//! `format=focus`: the columns of FOCUS (FinOps Open Cost and Usage Specification, 1.2), one row per day, account, key, provider and
//! model. What has no column there is in columns of our own, which the specification wants to begin with `x_`. An empty cell is its null.

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

/// The version of the specification that the columns are of.
const VERSION: &str = "1.2";
/// Where a name is missing of which the specification allows no null: what nobody served, for one.
const UNKNOWN: &str = "unknown";

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
    ("ChargeDescription", |charge| format!("{} requests to {}", charge.totals.requests, charge.known("model"))),
    ("ChargeFrequency", |_| "Usage-Based".to_owned()),
    ("ChargePeriodStart", |charge| moment(charge.day)),
    ("ChargePeriodEnd", |charge| moment(charge.day + 1)),
    ("ConsumedQuantity", |charge| charge.quantity().0.to_string()),
    ("ConsumedUnit", |charge| charge.quantity().1.to_owned()),
    ("ContractedCost", |charge| charge.cost()),
    ("EffectiveCost", |charge| charge.cost()),
    ("InvoiceIssuerName", |charge| charge.known("provider")),
    ("ListCost", |charge| charge.cost()),
    ("PricingCategory", |_| "Standard".to_owned()),
    ("PricingQuantity", |charge| charge.quantity().0.to_string()),
    ("PricingUnit", |charge| charge.quantity().1.to_owned()),
    ("ProviderName", |charge| charge.known("provider")),
    ("PublisherName", |charge| charge.known("provider")),
    ("ResourceId", |charge| charge.name("key_id")),
    ("ResourceName", |charge| charge.of_resource(charge.name("key"))),
    ("ResourceType", |charge| charge.of_resource("Virtual key".to_owned())),
    ("ServiceCategory", |_| "AI and Machine Learning".to_owned()),
    ("ServiceName", |charge| charge.known("model")),
    ("ServiceSubcategory", |_| "Generative AI".to_owned()),
    ("SkuId", |charge| format!("{}/{}", charge.known("provider"), charge.known("model"))),
    ("SubAccountId", |charge| charge.name("team")),
    ("SubAccountName", |charge| charge.name("team")),
    ("x_FocusVersion", |_| VERSION.to_owned()),
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
    ("x_SavedCost", |charge| money::usd(charge.totals.saved_nano_usd)),
    ("x_SavedNanoUsd", |charge| charge.totals.saved_nano_usd.to_string()),
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

    fn known(&self, word: &str) -> String {
        let name = self.name(word);
        if name.is_empty() { UNKNOWN.to_owned() } else { name }
    }

    /// Null where there is no resource: of requests without a key.
    fn of_resource(&self, value: String) -> String {
        if self.name("key_id").is_empty() { String::new() } else { value }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(names: &[(&'static str, &str)], totals: &Totals) -> HashMap<&'static str, String> {
        let names = names.iter().map(|(word, name)| (*word, (*name).to_owned())).collect();
        let charge = Charge { day: 20_833, names, totals };
        COLUMNS.iter().map(|(name, value)| (*name, value(&charge))).collect()
    }

    /// Columns in which the specification allows no null, of a row that is neither a correction nor a tax.
    const NEVER_NULL: [&str; 24] = [
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeFrequency",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ConsumedQuantity",
        "ConsumedUnit",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingCategory",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
        "ServiceSubcategory",
        "SkuId",
    ];

    #[test]
    fn nulls_are_where_the_specification_allows_them() {
        // Somebody without a key asked for a model, and nobody served.
        let nobody = cells(&[], &Totals::default());
        let somebody = cells(
            &[
                ("key_id", "vk_1"),
                ("key", "ci"),
                ("provider", "p"),
                ("model", "m"),
                ("organization", "o"),
                ("team", "t"),
            ],
            &Totals { requests: 1, cost_nano_usd: 1, ..Totals::default() },
        );
        for row in [&nobody, &somebody] {
            for name in NEVER_NULL {
                assert!(!row[name].is_empty(), "{name}");
            }
            // Of corrections alone.
            assert_eq!(row["ChargeClass"], "");
            for (id, name) in
                [("ResourceId", "ResourceName"), ("ResourceId", "ResourceType"), ("SubAccountId", "SubAccountName")]
            {
                assert_eq!(row[id].is_empty(), row[name].is_empty(), "{name} is null where {id} is");
            }
        }
        assert_eq!((nobody["ProviderName"].as_str(), nobody["SkuId"].as_str()), ("unknown", "unknown/unknown"));
        assert_eq!((somebody["ResourceType"].as_str(), somebody["ResourceName"].as_str()), ("Virtual key", "ci"));
        assert_eq!((somebody["BilledCost"].as_str(), somebody["x_FocusVersion"].as_str()), ("0.000000001", "1.2"));
    }

    #[test]
    fn columns_are_named_as_the_specification_wants() {
        for (at, (name, _)) in COLUMNS.iter().enumerate() {
            assert!(COLUMNS[..at].iter().all(|(other, _)| other != name), "{name} twice");
            let rest = name.strip_prefix("x_").unwrap_or(name);
            assert!(rest.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
            assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}");
        }
    }
}
