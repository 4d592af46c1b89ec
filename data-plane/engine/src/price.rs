//! Usage × price = cost, in integers: nano-dollars, rounded up once per request.

use gateway_ir::offer;
use gateway_ir::usage::Usage;
use gateway_model::catalog::models;
use gateway_model::kind;
use gateway_model::unit::UsdPerMillion;

/// Prices are per this many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What a target charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    base: Rates,
    /// For the whole of a request whose prompt has more tokens than this.
    long: Option<(u64, Rates)>,
}

/// Nano-dollars per million tokens, with no class left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_1h: u64,
    input_audio: u64,
    output_audio: u64,
}

// === impl Price ===

impl Price {
    /// Cache classes that the document leaves open are charged like input.
    pub fn compile(price: &kind::price::Price) -> Self {
        let base = models::Rates {
            input: Some(price.input_per_1m),
            output: Some(price.output_per_1m),
            cache_read: price.cache_read_per_1m,
            cache_write: price.cache_write_per_1m,
            cache_write_1h: price.cache_write_1h_per_1m,
            ..models::Rates::default()
        };
        Self { base: Rates::compile(&base, None), long: None }
    }

    /// The vendor's public price; `None` where it is not by tokens, or not known.
    pub fn listed(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        prices.base.input.or(prices.base.output)?;
        let base = Rates::compile(&prices.base, None);
        Some(Self { base, long: prices.long.map(|(above, rates)| (above, Rates::compile(&rates, Some(base)))) })
    }

    /// What a provider says in its list of models. Caches that it does not name are charged like input.
    pub fn offered(rates: &offer::Rates) -> Self {
        let cache = |rate: Option<u64>| rate.unwrap_or(rates.input);
        let base = Rates {
            input: rates.input,
            output: rates.output,
            cache_read: cache(rates.cache_read),
            cache_write: cache(rates.cache_write),
            cache_write_1h: cache(rates.cache_write),
            input_audio: rates.input,
            output_audio: rates.output,
        };
        Self { base, long: None }
    }

    /// The vendor's public price of work in batches; `None` where its list has none.
    pub fn listed_in_batches(kind: &str, model: &str) -> Option<Self> {
        let prices = models::model(kind, model)?.prices?;
        let base = Rates::compile(&prices.base, None);
        Some(Self { base: Rates::compile(&prices.batch?, Some(base)), long: None })
    }

    /// The ordinary rates at so many percent, rounded up. A batch tells sums over many requests, of which nobody knows which
    /// were long, so that the rates of long prompts are left out.
    pub fn at_percent(&self, percent: u64) -> Self {
        Self { base: self.base.at_percent(percent), long: None }
    }

    /// What people are told of it: the rates of an ordinary request.
    pub fn told(&self) -> offer::Rates {
        offer::Rates {
            input: self.base.input,
            output: self.base.output,
            cache_read: Some(self.base.cache_read),
            cache_write: Some(self.base.cache_write),
        }
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
    /// What is left open is as in `below`, else the caches and audio are charged like text.
    fn compile(rates: &models::Rates, below: Option<Self>) -> Self {
        // The validator refuses negative prices; nothing is ever paid back here in any case.
        let nano = |price: UsdPerMillion| u64::try_from(price.0).unwrap_or_default();
        let class =
            |price: Option<UsdPerMillion>, below: Option<u64>, usual: u64| price.map(nano).or(below).unwrap_or(usual);
        let input = class(rates.input, below.map(|below| below.input), 0);
        let output = class(rates.output, below.map(|below| below.output), 0);
        Self {
            input,
            output,
            cache_read: class(rates.cache_read, below.map(|below| below.cache_read), input),
            cache_write: class(rates.cache_write, below.map(|below| below.cache_write), input),
            cache_write_1h: class(rates.cache_write_1h, below.map(|below| below.cache_write_1h), input),
            input_audio: class(rates.input_audio, below.map(|below| below.input_audio), input),
            output_audio: class(rates.output_audio, below.map(|below| below.output_audio), output),
        }
    }

    fn at_percent(self, percent: u64) -> Self {
        let of = |rate: u64| u64::try_from((u128::from(rate) * u128::from(percent)).div_ceil(100)).unwrap_or(u64::MAX);
        let Self { input, output, cache_read, cache_write, cache_write_1h, input_audio, output_audio } = self;
        Self {
            input: of(input),
            output: of(output),
            cache_read: of(cache_read),
            cache_write: of(cache_write),
            cache_write_1h: of(cache_write_1h),
            input_audio: of(input_audio),
            output_audio: of(output_audio),
        }
    }
}

/// Cost in nano-dollars, rounded up, so that no request with a price is free. Exact up to `i64::MAX`, which it never exceeds.
///
/// Reasoning tokens are a part of the output and are not charged again; audio tokens are taken out of theirs.
pub fn cost(usage: &Usage, price: &Price) -> i64 {
    let rates = price.rates(usage);
    let input_audio = usage.input_audio.min(usage.input);
    let output_audio = usage.output_audio.min(usage.output);
    let classes = [
        (usage.input - input_audio, rates.input),
        (input_audio, rates.input_audio),
        (usage.output - output_audio, rates.output),
        (output_audio, rates.output_audio),
        (usage.cache_read, rates.cache_read),
        (usage.cache_write, rates.cache_write),
        (usage.cache_write_1h, rates.cache_write_1h),
    ];
    let products = classes.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price));
    let sum = products.fold(0_u128, u128::saturating_add);
    i64::try_from(sum.div_ceil(TOKENS_PER_PRICE)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rates of input, output, cache reads and both cache writes; audio is charged like text.
    fn of(rates: [u64; 5]) -> Price {
        let [input, output, cache_read, cache_write, cache_write_1h] = rates;
        let audio = (input, output);
        let base = Rates {
            input,
            output,
            cache_read,
            cache_write,
            cache_write_1h,
            input_audio: audio.0,
            output_audio: audio.1,
        };
        Price { base, long: None }
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
            assert_eq!(cost(&usage, &price), expected, "{usage:?}");
        }
    }

    #[test]
    fn rounds_up_once() {
        let usage = Usage { input: 1, output: 1, ..Usage::default() };
        // 0.6 + 0.6 nano-dollars are 2, not 1 + 1 by rounding each, and not 1 by rounding down.
        let tiny = |input, output| of([input, output, 0, 0, 0]);
        assert_eq!(cost(&usage, &tiny(600_000, 600_000)), 2);
        assert_eq!(cost(&usage, &tiny(400_000, 400_000)), 1);
        assert_eq!(cost(&usage, &tiny(1, 0)), 1);
    }

    #[test]
    fn open_cache_classes_cost_like_input() {
        let document = kind::price::Price {
            name: String::new(),
            provider: "p".to_owned(),
            model: "m".to_owned(),
            input_per_1m: UsdPerMillion(7),
            output_per_1m: UsdPerMillion(9),
            cache_read_per_1m: None,
            cache_write_per_1m: Some(UsdPerMillion(8)),
            cache_write_1h_per_1m: None,
        };
        assert_eq!(Price::compile(&document), of([7, 9, 7, 8, 7]));
    }

    #[test]
    fn audio_and_long_prompts_have_rates_of_their_own() {
        let base = Rates { input_audio: 20, output_audio: 40, ..price(10, 30).base };
        let long = Rates { input: 100, cache_read: 50, ..base };
        let price = Price { base, long: Some((1_000_000, long)) };
        let million = 1_000_000;
        let cases = [
            (Usage { input: million, input_audio: million / 2, ..Usage::default() }, 5 + 10),
            (Usage { output: million, output_audio: million, ..Usage::default() }, 40),
            // Audio that was read from the cache is no part of the input.
            (Usage { input: 0, cache_read: million, input_audio: million, ..Usage::default() }, 1),
            (Usage { input: 2 * million, ..Usage::default() }, 200),
            (Usage { input: million, cache_read: million, ..Usage::default() }, 100 + 50),
        ];
        for (usage, expected) in cases {
            assert_eq!(cost(&usage, &price), expected, "{usage:?}");
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
        assert_eq!(cost(&usage, &sonnet), 3_000_000 + 1_500_000 + 300_000 + 3_750_000 + 6_000_000);
        let gemini = Price::listed("gemini", "gemini-2.5-pro").expect("a known model");
        assert_eq!(cost(&Usage { input: 200_000, ..Usage::default() }, &gemini), 250_000_000);
        assert_eq!(cost(&Usage { input: 300_000, ..Usage::default() }, &gemini), 750_000_000);
        for (kind, model) in [("openai", "no-such-model"), ("openai-compatible", "gpt-5"), ("demo", "chat")] {
            assert_eq!(Price::listed(kind, model), None, "{kind}/{model}");
        }
    }

    #[test]
    fn batches_have_their_own_price_or_a_part_of_the_ordinary_one() {
        let ordinary = Price { long: Some((1, price(1_000, 1_000).base)), ..price(5, 31) };
        let usage = Usage { input: 1_000_000, output: 1_000_000, ..Usage::default() };
        assert_eq!(cost(&usage, &ordinary.at_percent(50)), 3 + 16);
        assert_eq!(cost(&usage, &ordinary.at_percent(100)), 5 + 31, "long prompts cannot be told");
        let haiku = Price::listed_in_batches("anthropic", "claude-haiku-4-5").expect("a known model");
        assert_eq!(cost(&usage, &haiku), 3_000_000_000);
        assert_eq!(Price::listed_in_batches("openai", "no-such-model"), None);
    }

    proptest! {
        /// Against long multiplication on decimal digits, which cannot overflow.
        #[test]
        fn exact_for_any_usage(tokens: [u64; 5], prices: [u64; 5]) {
            let usage = Usage { input: tokens[0], output: tokens[1], cache_read: tokens[2], cache_write: tokens[3],
                cache_write_1h: tokens[4], ..Usage::default() };
            let price = of(prices);
            prop_assert_eq!(cost(&usage, &price), oracle(&tokens, &prices));
        }

        #[test]
        fn exact_for_everyday_usage(tokens: [u32; 5], prices: [u32; 5]) {
            let usage = Usage { input: tokens[0].into(), output: tokens[1].into(), cache_read: tokens[2].into(),
                cache_write: tokens[3].into(), cache_write_1h: tokens[4].into(), ..Usage::default() };
            let price = of(prices.map(u64::from));
            let exact: i128 = (0..5).map(|class| i128::from(tokens[class]) * i128::from(prices[class])).sum();
            let ceiling = exact / 1_000_000 + i128::from(exact % 1_000_000 != 0);
            prop_assert_eq!(i128::from(cost(&usage, &price)), ceiling.min(i128::from(i64::MAX)));
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
