//! Usage × price = cost, in integers: nano-dollars, rounded up once per request.

mod rates;

use gateway_ir::offer;
use gateway_ir::usage::{Units, Usage};
use gateway_model::catalog::models;
use gateway_model::kind;
use gateway_model::unit::UsdPerMillion;

use self::rates::{PARTS, Rates, UnitRates};

/// What a target charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    pub source: Source,
    base: Rates,
    /// For the whole of a request whose prompt has more tokens than this.
    long: Option<(u64, Rates)>,
    units: UnitRates,
    /// Of work in batches, where the configuration says so.
    pub(crate) batch_percent: Option<u16>,
}

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
        let long = price.long_prompt.as_ref().map(|long| (long.above_tokens, Rates::compile(&long_rates(long), base)));
        Self {
            source: Source::Configured,
            base,
            long,
            units: UnitRates::compile(units),
            batch_percent: price.batch_percent,
        }
    }

    /// The vendor's public price; `None` where it is not known.
    pub fn listed(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        let base = Rates::compile(&prices.base, Rates::default());
        let long = prices.long.map(|(above, rates)| (above, Rates::compile(&rates, base)));
        Some(Self { base, long, units: UnitRates::compile(prices.units), ..Self::nothing(Source::Catalogue) })
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
        Self { base: self.base.at_percent(percent), long: None, ..*self }
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
        Self { source, base: Rates::default(), long: None, units: UnitRates::default(), batch_percent: None }
    }

    /// Which row it is, for the record: a document of a revision, or a list as of a day.
    pub fn row(&self, revision: u64) -> String {
        match self.source {
            Source::Configured => format!("prices@{revision}"),
            Source::Offered => "offered".to_owned(),
            Source::Catalogue => format!("catalogue@{}", models::taken()),
        }
    }

    fn rates(&self, usage: &Usage) -> &Rates {
        match &self.long {
            Some((above, rates)) if usage.prompt() > *above => rates,
            _ => &self.base,
        }
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
