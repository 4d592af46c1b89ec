//! Usage × price = cost, in integers: nano-dollars, rounded up once per request.

mod rates;
pub mod list;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use gateway_ir::offer;
pub use gateway_ir::usage::{Tier, Units, Usage};
use gateway_model::catalog::models;
use gateway_model::kind;
use gateway_model::unit::UsdPerMillion;

use self::rates::{PARTS, Rates, UnitRates};

/// What a target charges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub source: Source,
    base: Rates,
    /// What is not the same for every request; few models have any.
    more: Option<Arc<More>>,
    units: UnitRates,
    /// Of work in batches, where the configuration says so.
    pub(crate) batch_percent: Option<u16>,
}

/// For the whole of a request whose prompt has more tokens than this; from the lowest bound to the highest.
type Long = Box<[(u64, Rates)]>;

/// Rates of some requests only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    long: Long,
    flex: Option<(Rates, Long)>,
    priority: Option<(Rates, Long)>,
}

static CATALOGUE: LazyLock<String> = LazyLock::new(|| format!("catalogue@{}", models::taken()));

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A document of the configuration, which a revision has.
    Configured,
    /// The provider's own list of models.
    Offered,
    /// The vendor's public list, as the catalogue has it.
    Catalogue,
}

// === impl Price ===

impl Price {
    /// Cache classes that the document leaves open are charged like input, audio and images like text.
    pub fn compile(price: &kind::price::Price) -> Self {
        let base = models::Rates {
            input: price.input_per_1m,
            output: price.output_per_1m,
            reasoning: price.reasoning_per_1m,
            cache_read: price.cache_read_per_1m,
            cache_write: price.cache_write_per_1m,
            cache_write_1h: price.cache_write_1h_per_1m,
            input_audio: price.input_audio_per_1m,
            output_audio: price.output_audio_per_1m,
            input_image: price.input_image_per_1m,
            output_image: price.output_image_per_1m,
        };
        let units = models::Units {
            image: price.per_image,
            input_image: price.per_input_image,
            minute: price.per_audio_minute,
            characters: price.per_1m_characters,
            searches: price.per_1k_searches,
        };
        let base = Rates::compile(&base, Rates::default());
        let long = long(price.all_long_prompts(), base);
        let tiers = price.tiers.as_ref();
        let of = |tier: Option<&kind::price::TierPrice>| tier.map(|tier| of_tier(tier, base, &long));
        let more = More {
            flex: of(tiers.and_then(|tiers| tiers.flex.as_ref())),
            priority: of(tiers.and_then(|tiers| tiers.priority.as_ref())),
            long,
        };
        Self {
            source: Source::Configured,
            base,
            more: more.compiled(),
            units: UnitRates::compile(units),
            batch_percent: price.batch_percent,
        }
    }

    /// The vendor's public price; `None` where it is not known.
    pub fn listed(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        let base = Rates::compile(&prices.base, Rates::default());
        let long = |long: &[(u64, models::Rates)], base: Rates| -> Long {
            long.iter().map(|(above, rates)| (*above, Rates::compile(rates, base))).collect()
        };
        let tier = |scale: &models::Scale| {
            let of_tier = Rates::compile(&scale.base, base);
            (of_tier, long(&scale.long, of_tier))
        };
        let more = More {
            long: long(&prices.long, base),
            flex: prices.flex.as_ref().map(tier),
            priority: prices.priority.as_ref().map(tier),
        };
        let units = UnitRates::compile(prices.units);
        Some(Self { base, more: more.compiled(), units, ..Self::nothing(Source::Catalogue) })
    }

    /// What a provider says in its list of models. Caches that it does not name are charged like input.
    pub fn offered(rates: &offer::Rates) -> Self {
        let price = |nano: u64| Some(UsdPerMillion(i64::try_from(nano).unwrap_or(i64::MAX)));
        let base = models::Rates {
            input: price(rates.input),
            output: price(rates.output),
            cache_read: rates.cache_read.and_then(price),
            cache_write: rates.cache_write.and_then(price),
            cache_write_1h: rates.cache_write.and_then(price),
            ..models::Rates::default()
        };
        let base = Rates::compile(&base, Rates::default());
        Self { base, ..Self::nothing(Source::Offered) }
    }

    /// The vendor's public price of work in batches; `None` where its list has none.
    pub fn listed_in_batches(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        let base = Rates::compile(&prices.base, Rates::default());
        let units = UnitRates::compile(prices.units);
        Some(Self { base: Rates::compile(&prices.batch?, base), units, ..Self::nothing(Source::Catalogue) })
    }

    /// The ordinary rates at so many percent, rounded up. A batch tells sums over many requests, of which nobody knows which
    /// were long, so that the rates of long prompts are left out.
    pub fn at_percent(&self, percent: u64) -> Self {
        Self { base: self.base.at_percent(percent), more: None, ..self.clone() }
    }

    /// What people are told of it: the rates of an ordinary request. `None` where it is not by tokens.
    pub fn told(&self) -> Option<offer::Rates> {
        self.base.is_by_tokens().then(|| offer::Rates {
            input: self.base.input.unwrap_or(0),
            output: self.base.output.unwrap_or(0),
            cache_read: self.base.cache_read,
            cache_write: self.base.cache_write,
        })
    }

    fn nothing(source: Source) -> Self {
        Self { source, base: Rates::default(), more: None, units: UnitRates::default(), batch_percent: None }
    }

    /// Which row it is, for the record: a document of a revision, or a list as of a day.
    pub fn row(&self, revision: u64) -> Cow<'static, str> {
        match self.source {
            Source::Configured => format!("prices@{revision}").into(),
            Source::Offered => "offered".into(),
            Source::Catalogue => CATALOGUE.as_str().into(),
        }
    }

    fn rates(&self, usage: &Usage) -> &Rates {
        let Some(more) = &self.more else { return &self.base };
        let tier = match usage.tier {
            Tier::Standard | Tier::Batch => None,
            Tier::Flex => more.flex.as_ref(),
            Tier::Priority => more.priority.as_ref(),
        };
        let (base, long) = tier.map_or((&self.base, &more.long), |(base, long)| (base, long));
        let prompt = usage.prompt();
        long.iter().rev().find(|(above, _)| prompt > *above).map_or(base, |(_, rates)| rates)
    }
}

fn long<'a>(written: impl Iterator<Item = &'a kind::price::LongPrompt>, base: Rates) -> Long {
    let mut long: Vec<_> = written.map(|long| (long.above_tokens, Rates::compile(&long_rates(long), base))).collect();
    long.sort_unstable_by_key(|(above, _)| *above);
    long.into()
}

fn of_tier(tier: &kind::price::TierPrice, base: Rates, ordinary: &[(u64, Rates)]) -> (Rates, Long) {
    if let Some(percent) = tier.percent {
        let part = |rates: Rates| rates.at_percent(percent.into());
        return (part(base), ordinary.iter().map(|(above, rates)| (*above, part(*rates))).collect());
    }
    let rates = models::Rates {
        input: tier.input_per_1m,
        output: tier.output_per_1m,
        reasoning: tier.reasoning_per_1m,
        cache_read: tier.cache_read_per_1m,
        cache_write: tier.cache_write_per_1m,
        cache_write_1h: tier.cache_write_1h_per_1m,
        input_audio: tier.input_audio_per_1m,
        output_audio: tier.output_audio_per_1m,
        ..models::Rates::default()
    };
    let of_tier = Rates::compile(&rates, base);
    (of_tier, long(tier.long_prompts.iter(), of_tier))
}

// === impl More ===

impl More {
    /// `None` where there is nothing in it.
    fn compiled(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

fn long_rates(long: &kind::price::LongPrompt) -> models::Rates {
    models::Rates {
        input: long.input_per_1m,
        output: long.output_per_1m,
        reasoning: long.reasoning_per_1m,
        cache_read: long.cache_read_per_1m,
        cache_write: long.cache_write_per_1m,
        cache_write_1h: long.cache_write_1h_per_1m,
        ..models::Rates::default()
    }
}

/// Cost in nano-dollars, rounded up, so that no request with a price is free. Exact up to `i64::MAX`, which it never exceeds. `None`
/// where something was used that has no price.
///
/// Vendors tell the same price by tokens and by the unit, and some replies count both. Tokens are what is charged where they were
/// counted and have a price. Reasoning tokens are a part of the output, charged like it where they have no price of their own; audio and image tokens are taken
/// out of theirs.
pub fn cost(usage: &Usage, price: &Price) -> Option<i64> {
    let rates = price.rates(usage);
    let is_by_tokens = usage.total() > 0 && (rates.is_by_tokens() || usage.units == Units::None);
    let parts = if is_by_tokens { rates.charge(usage) } else { price.units.charge(usage.units) };
    Some(i64::try_from(parts?.div_ceil(PARTS)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod price_math;
