//! Usage × price = cost, in integers: nano-dollars, rounded up once per request.

use gateway_ir::usage::Usage;
use gateway_model::kind;

/// Prices are per this many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What a target charges, in nano-dollars per million tokens, with no class left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub cache_write_1h: u64,
}

// === impl Price ===

impl Price {
    /// Cache classes that the document leaves open are charged like input.
    pub fn compile(price: &kind::price::Price) -> Self {
        // The validator refuses negative prices; nothing is ever paid back here in any case.
        let nano = |price: gateway_model::unit::UsdPerMillion| u64::try_from(price.0).unwrap_or_default();
        let input = nano(price.input_per_1m);
        Self {
            input,
            output: nano(price.output_per_1m),
            cache_read: price.cache_read_per_1m.map_or(input, nano),
            cache_write: price.cache_write_per_1m.map_or(input, nano),
            cache_write_1h: price.cache_write_1h_per_1m.map_or(input, nano),
        }
    }
}

/// Cost in nano-dollars, rounded up, so that no request with a price is free. Exact up to `i64::MAX`, which it never exceeds.
///
/// Reasoning and audio tokens are parts of the classes that are charged and are not charged again.
pub fn cost(usage: &Usage, price: &Price) -> i64 {
    let classes = [
        (usage.input, price.input),
        (usage.output, price.output),
        (usage.cache_read, price.cache_read),
        (usage.cache_write, price.cache_write),
        (usage.cache_write_1h, price.cache_write_1h),
    ];
    let products = classes.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price));
    let sum = products.fold(0_u128, u128::saturating_add);
    i64::try_from(sum.div_ceil(TOKENS_PER_PRICE)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use gateway_model::unit::UsdPerMillion;
    use proptest::prelude::*;

    use super::*;

    fn price(input: u64, output: u64) -> Price {
        Price { input, output, cache_read: input / 10, cache_write: input, cache_write_1h: 2 * input }
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
        let tiny = |input, output| Price { input, output, cache_read: 0, cache_write: 0, cache_write_1h: 0 };
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
        let expected = Price { input: 7, output: 9, cache_read: 7, cache_write: 8, cache_write_1h: 7 };
        assert_eq!(Price::compile(&document), expected);
    }

    proptest! {
        /// Against long multiplication on decimal digits, which cannot overflow.
        #[test]
        fn exact_for_any_usage(tokens: [u64; 5], prices: [u64; 5]) {
            let usage = Usage { input: tokens[0], output: tokens[1], cache_read: tokens[2], cache_write: tokens[3],
                cache_write_1h: tokens[4], ..Usage::default() };
            let price = Price { input: prices[0], output: prices[1], cache_read: prices[2], cache_write: prices[3],
                cache_write_1h: prices[4] };
            prop_assert_eq!(cost(&usage, &price), oracle(&tokens, &prices));
        }

        #[test]
        fn exact_for_everyday_usage(tokens: [u32; 5], prices: [u32; 5]) {
            let usage = Usage { input: tokens[0].into(), output: tokens[1].into(), cache_read: tokens[2].into(),
                cache_write: tokens[3].into(), cache_write_1h: tokens[4].into(), ..Usage::default() };
            let price = Price { input: prices[0].into(), output: prices[1].into(), cache_read: prices[2].into(),
                cache_write: prices[3].into(), cache_write_1h: prices[4].into() };
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
