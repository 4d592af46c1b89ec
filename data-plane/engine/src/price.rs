//! Usage × price = cost, in integers: nano-dollars, rounded up once per request.

use gateway_ir::offer;
use gateway_ir::usage::{Units, Usage};
use gateway_model::catalog::models;
use gateway_model::kind;
use gateway_model::unit::{Usd, UsdPerMillion};

/// Everything is summed in this part of a nano-dollar: the least that a million, a minute's milliseconds and a thousand all divide.
const PARTS: u128 = 3_000_000;
const PARTS_PER_TOKEN: u128 = PARTS / 1_000_000;
const PARTS_PER_AUDIO_MS: u128 = PARTS / 60_000;
const PARTS_PER_SEARCH: u128 = PARTS / 1_000;

/// What a target charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    base: Rates,
    /// For the whole of a request whose prompt has more tokens than this.
    long: Option<(u64, Rates)>,
    units: UnitRates,
}

/// Nano-dollars per million tokens. A class without a rate has no price: it is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    input_audio: Option<u64>,
    output_audio: Option<u64>,
    input_image: Option<u64>,
    output_image: Option<u64>,
}

/// Nano-dollars per piece, minute, million characters and thousand searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UnitRates {
    image: Option<u64>,
    input_image: Option<u64>,
    minute: Option<u64>,
    characters: Option<u64>,
    searches: Option<u64>,
}

// === impl Price ===

impl Price {
    /// Cache classes that the document leaves open are charged like input, audio and images like text.
    pub fn compile(price: &kind::price::Price) -> Self {
        let base = models::Rates {
            input: price.input_per_1m,
            output: price.output_per_1m,
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
        Self { base: Rates::compile(&base, Rates::default()), long: None, units: UnitRates::compile(units) }
    }

    /// The vendor's public price; `None` where it is not known.
    pub fn listed(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        let base = Rates::compile(&prices.base, Rates::default());
        let long = prices.long.map(|(above, rates)| (above, Rates::compile(&rates, base)));
        Some(Self { base, long, units: UnitRates::compile(prices.units) })
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
        Self { base: Rates::compile(&base, Rates::default()), long: None, units: UnitRates::default() }
    }

    /// The vendor's public price of work in batches; `None` where its list has none.
    pub fn listed_in_batches(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        let base = Rates::compile(&prices.base, Rates::default());
        let units = UnitRates::compile(prices.units);
        Some(Self { base: Rates::compile(&prices.batch?, base), long: None, units })
    }

    /// The ordinary rates at so many percent, rounded up. A batch tells sums over many requests, of which nobody knows which
    /// were long, so that the rates of long prompts are left out.
    pub fn at_percent(&self, percent: u64) -> Self {
        Self { base: self.base.at_percent(percent), long: None, units: self.units }
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

    fn rates(&self, usage: &Usage) -> &Rates {
        match &self.long {
            Some((above, rates)) if usage.prompt() > *above => rates,
            _ => &self.base,
        }
    }
}

// === impl Rates ===

impl Rates {
    /// What is left open is as in `below`, else the caches are charged like input, audio and images like text.
    fn compile(rates: &models::Rates, below: Self) -> Self {
        let class = |price: Option<UsdPerMillion>, below: Option<u64>| price.map(|price| nano(price.0)).or(below);
        let input = class(rates.input, below.input);
        let output = class(rates.output, below.output);
        Self {
            input,
            output,
            cache_read: class(rates.cache_read, below.cache_read).or(input),
            cache_write: class(rates.cache_write, below.cache_write).or(input),
            cache_write_1h: class(rates.cache_write_1h, below.cache_write_1h).or(input),
            input_audio: class(rates.input_audio, below.input_audio).or(input),
            output_audio: class(rates.output_audio, below.output_audio).or(output),
            input_image: class(rates.input_image, below.input_image).or(input),
            output_image: class(rates.output_image, below.output_image).or(output),
        }
    }

    fn at_percent(self, percent: u64) -> Self {
        let part = |rate: u64| (u128::from(rate) * u128::from(percent)).div_ceil(100);
        let of = |rate: Option<u64>| rate.map(|rate| u64::try_from(part(rate)).unwrap_or(u64::MAX));
        let Self { input, output, cache_read, cache_write, cache_write_1h, .. } = self;
        Self {
            input: of(input),
            output: of(output),
            cache_read: of(cache_read),
            cache_write: of(cache_write),
            cache_write_1h: of(cache_write_1h),
            input_audio: of(self.input_audio),
            output_audio: of(self.output_audio),
            input_image: of(self.input_image),
            output_image: of(self.output_image),
        }
    }

    /// Some vendors tell what the tokens of a picture are worth and charge by the picture.
    fn is_by_tokens(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    /// In parts; `None` where a class that was used has no price.
    fn charge(&self, usage: &Usage) -> Option<u128> {
        let input_audio = usage.input_audio.min(usage.input);
        let input_image = usage.input_image.min(usage.input - input_audio);
        let output_audio = usage.output_audio.min(usage.output);
        let output_image = usage.output_image.min(usage.output - output_audio);
        let classes = [
            (usage.input - input_audio - input_image, self.input),
            (input_audio, self.input_audio),
            (input_image, self.input_image),
            (usage.output - output_audio - output_image, self.output),
            (output_audio, self.output_audio),
            (output_image, self.output_image),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
            (usage.cache_write_1h, self.cache_write_1h),
        ];
        let mut sum = 0_u128;
        for (n_tokens, rate) in classes {
            if n_tokens > 0 {
                sum = sum.saturating_add(u128::from(n_tokens) * u128::from(rate?));
            }
        }
        Some(sum.saturating_mul(PARTS_PER_TOKEN))
    }
}

// === impl UnitRates ===

impl UnitRates {
    fn compile(units: models::Units) -> Self {
        let piece = |price: Option<Usd>| price.map(|price| nano(price.0));
        Self {
            image: piece(units.image),
            input_image: piece(units.input_image),
            minute: piece(units.minute),
            characters: units.characters.map(|price| nano(price.0)),
            searches: piece(units.searches),
        }
    }

    /// In parts; `None` where what was used has no price, or was not measured.
    fn charge(&self, units: Units) -> Option<u128> {
        let (n_units, rate, parts) = match units {
            Units::None => return Some(0),
            Units::Unmeasured => return None,
            Units::PicturesMade(n_pictures) => (n_pictures, self.image, PARTS),
            Units::PicturesRead(n_pictures) => (n_pictures, self.input_image, PARTS),
            Units::AudioMs(n_ms) => (n_ms, self.minute, PARTS_PER_AUDIO_MS),
            Units::Characters(n_characters) => (n_characters, self.characters, PARTS_PER_TOKEN),
            Units::Searches(n_searches) => (n_searches, self.searches, PARTS_PER_SEARCH),
        };
        if n_units == 0 {
            return Some(0);
        }
        Some((u128::from(n_units) * u128::from(rate?)).saturating_mul(parts))
    }
}

/// The validator refuses negative prices; nothing is ever paid back here in any case.
fn nano(price: i64) -> u64 {
    u64::try_from(price).unwrap_or_default()
}

/// Cost in nano-dollars, rounded up, so that no request with a price is free. Exact up to `i64::MAX`, which it never exceeds. `None`
/// where something was used that has no price.
///
/// Vendors tell the same price by tokens and by the unit, and some replies count both. Tokens are what is charged where they were
/// counted and have a price. Reasoning tokens are a part of the output and are not charged again; audio and image tokens are taken
/// out of theirs.
pub fn cost(usage: &Usage, price: &Price) -> Option<i64> {
    let rates = price.rates(usage);
    let is_by_tokens = usage.total() > 0 && (rates.is_by_tokens() || usage.units == Units::None);
    let parts = if is_by_tokens { rates.charge(usage) } else { price.units.charge(usage.units) };
    Some(i64::try_from(parts?.div_ceil(PARTS)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// Rates of input, output, cache reads and both cache writes; audio and images are charged like text.
    fn of(rates: [u64; 5]) -> Price {
        let [input, output, cache_read, cache_write, cache_write_1h] = rates.map(Some);
        let base = Rates {
            input,
            output,
            cache_read,
            cache_write,
            cache_write_1h,
            input_audio: input,
            output_audio: output,
            input_image: input,
            output_image: output,
        };
        Price { base, long: None, units: UnitRates::default() }
    }

    fn price(input: u64, output: u64) -> Price {
        of([input, output, input / 10, input, 2 * input])
    }

    #[test]
    fn examples() {
        // 3 USD in, 15 USD out per million.
        let price = price(3_000_000_000, 15_000_000_000);
        let cases = [
            (Usage::default(), 0),
            (Usage { input: 1, ..Usage::default() }, 3_000),
            (Usage { input: 1_000_000, output: 1_000_000, ..Usage::default() }, 18_000_000_000),
            (Usage { cache_read: 1_000, cache_write_1h: 10, ..Usage::default() }, 300_000 + 60_000),
            (Usage { output: 10, reasoning: 10, output_audio: 10, ..Usage::default() }, 150_000),
        ];
        for (usage, expected) in cases {
            assert_eq!(cost(&usage, &price), Some(expected), "{usage:?}");
        }
    }

    #[test]
    fn rounds_up_once() {
        let usage = Usage { input: 1, output: 1, ..Usage::default() };
        // 0.6 + 0.6 nano-dollars are 2, not 1 + 1 by rounding each, and not 1 by rounding down.
        let tiny = |input, output| of([input, output, 0, 0, 0]);
        assert_eq!(cost(&usage, &tiny(600_000, 600_000)), Some(2));
        assert_eq!(cost(&usage, &tiny(400_000, 400_000)), Some(1));
        assert_eq!(cost(&usage, &tiny(1, 0)), Some(1));
    }

    #[test]
    fn open_cache_classes_cost_like_input() {
        let document = kind::price::Price {
            input_per_1m: Some(UsdPerMillion(7)),
            output_per_1m: Some(UsdPerMillion(9)),
            cache_write_per_1m: Some(UsdPerMillion(8)),
            ..kind::price::Price::default()
        };
        assert_eq!(Price::compile(&document), of([7, 9, 7, 8, 7]));
    }

    #[test]
    fn audio_and_long_prompts_have_rates_of_their_own() {
        let base =
            Rates { input_audio: Some(20), output_audio: Some(40), output_image: Some(50), ..price(10, 30).base };
        let long = Rates { input: Some(100), cache_read: Some(50), ..base };
        let price = Price { base, long: Some((1_000_000, long)), units: UnitRates::default() };
        let million = 1_000_000;
        let cases = [
            (Usage { input: million, input_audio: million / 2, ..Usage::default() }, 5 + 10),
            (Usage { output: million, output_audio: million, ..Usage::default() }, 40),
            (Usage { output: 2 * million, output_audio: million, output_image: million, ..Usage::default() }, 90),
            // Audio that was read from the cache is no part of the input.
            (Usage { input: 0, cache_read: million, input_audio: million, ..Usage::default() }, 1),
            (Usage { input: 2 * million, ..Usage::default() }, 200),
            (Usage { input: million, cache_read: million, ..Usage::default() }, 100 + 50),
        ];
        for (usage, expected) in cases {
            assert_eq!(cost(&usage, &price), Some(expected), "{usage:?}");
        }
    }

    #[test]
    fn public_prices_are_read_from_the_catalogue() {
        let sonnet = Price::listed("anthropic", "claude-sonnet-4-5").expect("a known model");
        let usage = Usage {
            input: 1_000,
            output: 100,
            cache_read: 1_000,
            cache_write: 1_000,
            cache_write_1h: 1_000,
            ..Usage::default()
        };
        // 3 + 1.5 + 0.3 + 3.75 + 6 dollars per thousand thousand.
        assert_eq!(cost(&usage, &sonnet), Some(3_000_000 + 1_500_000 + 300_000 + 3_750_000 + 6_000_000));
        let gemini = Price::listed("gemini", "gemini-2.5-pro").expect("a known model");
        assert_eq!(cost(&Usage { input: 200_000, ..Usage::default() }, &gemini), Some(250_000_000));
        assert_eq!(cost(&Usage { input: 300_000, ..Usage::default() }, &gemini), Some(750_000_000));
        for (kind, model) in [("openai", "no-such-model"), ("openai-compatible", "gpt-5"), ("demo", "chat")] {
            assert_eq!(Price::listed(kind, model), None, "{kind}/{model}");
        }
    }

    #[test]
    fn batches_have_their_own_price_or_a_part_of_the_ordinary_one() {
        let ordinary = Price { long: Some((1, price(1_000, 1_000).base)), ..price(5, 31) };
        let usage = Usage { input: 1_000_000, output: 1_000_000, ..Usage::default() };
        assert_eq!(cost(&usage, &ordinary.at_percent(50)), Some(3 + 16));
        assert_eq!(cost(&usage, &ordinary.at_percent(100)), Some(5 + 31), "long prompts cannot be told");
        let haiku = Price::listed_in_batches("anthropic", "claude-haiku-4-5").expect("a known model");
        assert_eq!(cost(&usage, &haiku), Some(3_000_000_000));
        assert_eq!(Price::listed_in_batches("openai", "no-such-model"), None);
    }

    /// A price by the unit, from its document.
    fn by_unit(document: &str) -> Price {
        let prices = format!("{}prices: [{{\"provider\":\"openai\",\"model\":\"m\",{document}}}]", testing::PROVIDERS);
        Price::compile(&testing::parsed(&prices).prices[0])
    }

    #[test]
    fn units_are_charged_exactly() {
        let max = i64::MAX;
        let cases = [
            (r#""per_image":"0.04""#, Units::PicturesMade(3), Some(120_000_000)),
            (r#""per_image":"0.04""#, Units::PicturesMade(0), Some(0)),
            (r#""per_image":0"#, Units::PicturesMade(7), Some(0)),
            (r#""per_image":"0.04""#, Units::PicturesMade(u64::MAX), Some(max)),
            (r#""per_input_image":"0.0001""#, Units::PicturesRead(2), Some(200_000)),
            // Six tenths of a cent a minute, to the millisecond.
            (r#""per_audio_minute":"0.006""#, Units::AudioMs(60_000), Some(6_000_000)),
            (r#""per_audio_minute":"0.006""#, Units::AudioMs(3_700), Some(370_000)),
            (r#""per_audio_minute":"0.000000001""#, Units::AudioMs(1), Some(1)),
            (r#""per_audio_minute":"0.000000001""#, Units::AudioMs(60_001), Some(2)),
            (r#""per_audio_minute":"0.006""#, Units::AudioMs(u64::MAX), Some(max)),
            (r#""per_1m_characters":15"#, Units::Characters(5), Some(75_000)),
            (r#""per_1m_characters":"0.000000001""#, Units::Characters(1), Some(1)),
            (r#""per_1m_characters":"0.000000001""#, Units::Characters(1_000_001), Some(2)),
            (r#""per_1k_searches":2"#, Units::Searches(1), Some(2_000_000)),
            (r#""per_1k_searches":"0.000000001""#, Units::Searches(1_001), Some(2)),
            // What has no price, or was not measured, is not free.
            (r#""per_1k_searches":2"#, Units::PicturesMade(1), None),
            (r#""per_audio_minute":"0.006""#, Units::Unmeasured, None),
            (r#""input_per_1m":5"#, Units::Characters(5), None),
        ];
        for (document, units, expected) in cases {
            assert_eq!(cost(&Usage::of_units(units), &by_unit(document)), expected, "{document} {units:?}");
        }
    }

    #[test]
    fn tokens_are_charged_where_both_are_known() {
        let usage = Usage { input: 1_000, output: 100, ..Usage::of_units(Units::AudioMs(60_000)) };
        let cases = [
            (r#""input_per_1m":1,"output_per_1m":10,"per_audio_minute":1"#, usage, Some(2_000_000)),
            (r#""per_audio_minute":1"#, usage, Some(1_000_000_000)),
            (r#""per_1k_searches":1"#, usage, None),
            (r#""input_per_1m":1"#, usage, None),
            (r#""input_per_1m":1"#, Usage { output: 0, ..usage }, Some(1_000_000)),
            (r#""per_audio_minute":1"#, Usage { units: Units::None, ..usage }, None),
            (r#""input_per_1m":1"#, Usage::default(), Some(0)),
            (r#""per_image":1"#, Usage::default(), Some(0)),
        ];
        for (document, usage, expected) in cases {
            assert_eq!(cost(&usage, &by_unit(document)), expected, "{document} {usage:?}");
        }
    }

    #[test]
    fn public_prices_by_the_unit_are_read_from_the_catalogue() {
        let drawn = Usage { output: 272, output_image: 272, input: 14, ..Usage::of_units(Units::PicturesMade(1)) };
        let cases = [
            ("openai", "whisper-1", Usage::of_units(Units::AudioMs(10_000)), Some(1_000_000)),
            ("openai", "tts-1", Usage::of_units(Units::Characters(1_000)), Some(15_000_000)),
            ("cohere", "rerank-v3.5", Usage::of_units(Units::Searches(1)), Some(2_000_000)),
            ("openai", "gpt-image-1.5", drawn, Some(14 * 5_000 + 272 * 32_000)),
            // Tokens of text that it does not make have no price.
            ("openai", "gpt-image-2", Usage { output_image: 0, ..drawn }, None),
        ];
        for (kind, model, usage, expected) in cases {
            let price = Price::listed(kind, model).expect("a known model");
            assert_eq!(cost(&usage, &price), expected, "{kind}/{model}");
        }
    }

    proptest! {
        /// Against long multiplication on decimal digits, which cannot overflow.
        #[test]
        fn exact_for_any_usage(tokens: [u64; 5], prices: [u64; 5]) {
            let usage = Usage { input: tokens[0], output: tokens[1], cache_read: tokens[2], cache_write: tokens[3],
                cache_write_1h: tokens[4], ..Usage::default() };
            let price = of(prices);
            prop_assert_eq!(cost(&usage, &price), Some(oracle(&tokens, &prices)));
        }

        #[test]
        fn exact_for_everyday_usage(tokens: [u32; 5], prices: [u32; 5]) {
            let usage = Usage { input: tokens[0].into(), output: tokens[1].into(), cache_read: tokens[2].into(),
                cache_write: tokens[3].into(), cache_write_1h: tokens[4].into(), ..Usage::default() };
            let price = of(prices.map(u64::from));
            let exact: i128 = (0..5).map(|class| i128::from(tokens[class]) * i128::from(prices[class])).sum();
            let ceiling = exact / 1_000_000 + i128::from(exact % 1_000_000 != 0);
            let cost = cost(&usage, &price).map(i128::from);
            prop_assert_eq!(cost, Some(ceiling.min(i128::from(i64::MAX))));
        }
    }

    /// Sum of products in base 10^6 "digits", least significant first; the lowest digit is what rounding looks at.
    fn oracle(tokens: &[u64; 5], prices: &[u64; 5]) -> i64 {
        const BASE: u128 = 1_000_000;
        let digits = |number: u64| {
            [
                u128::from(number) % BASE,
                u128::from(number) / BASE % BASE,
                u128::from(number) / BASE / BASE % BASE,
                u128::from(number) / BASE / BASE / BASE,
            ]
        };
        let mut sum = [0_u128; 8];
        for (tokens, price) in tokens.iter().zip(prices) {
            for (i, a) in digits(*tokens).iter().enumerate() {
                for (j, b) in digits(*price).iter().enumerate() {
                    sum[i + j] += a * b;
                }
            }
        }
        for i in 0..7 {
            sum[i + 1] += sum[i] / BASE;
            sum[i] %= BASE;
        }
        let whole = sum[1..].iter().rev().try_fold(0_u128, |whole, digit| whole.checked_mul(BASE)?.checked_add(*digit));
        let rounded = whole.map(|whole| whole + u128::from(sum[0] > 0));
        rounded.and_then(|cost| i64::try_from(cost).ok()).unwrap_or(i64::MAX)
    }
}
