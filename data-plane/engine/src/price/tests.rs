//! Prices by hand, by the catalogue, and against long arithmetic.

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
        reasoning: output,
    };
    Price { base, ..Price::nothing(Source::Configured) }
}

impl Price {
    fn with_long(self, above: u64, rates: Rates) -> Self {
        Self { more: More { long: [(above, rates)].into(), ..More::default() }.compiled(), ..self }
    }
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
    let base = Rates { input_audio: Some(20), output_audio: Some(40), output_image: Some(50), ..price(10, 30).base };
    let long = Rates { input: Some(100), cache_read: Some(50), ..base };
    let price = Price { base, ..of([0; 5]).with_long(1_000_000, long) };
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
    let ordinary = price(5, 31).with_long(1, price(1_000, 1_000).base);
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

#[test]
fn configured_prices_have_reasoning_and_a_tier_of_their_own() {
    let price = by_unit(
        r#""input_per_1m":1,"output_per_1m":4,"reasoning_per_1m":6,"cache_read_per_1m":"0.1","long_prompt":{"above_tokens":200000,"input_per_1m":2,"reasoning_per_1m":9}"#,
    );
    let cases = [
        (Usage { output: 1_000, reasoning: 400, ..Usage::default() }, 600 * 4_000 + 400 * 6_000),
        (Usage { input: 200_000, ..Usage::default() }, 200_000 * 1_000),
        // What the tier leaves open is as below it; the whole request is charged by it.
        (Usage { input: 200_001, output: 10, ..Usage::default() }, 200_001 * 2_000 + 10 * 4_000),
        (
            Usage { input: 1, cache_read: 200_000, reasoning: 5, output: 5, ..Usage::default() },
            2_000 + 20_000_000 + 45_000,
        ),
    ];
    for (usage, expected) in cases {
        assert_eq!(cost(&usage, &price), Some(expected), "{usage:?}");
    }
    assert_eq!(price.row(7), "prices@7");
    let listed = Price::listed("anthropic", "claude-sonnet-4-5").expect("a known model");
    assert!(listed.row(7).starts_with("catalogue@20"), "{}", listed.row(7));
}

#[test]
fn the_service_tier_that_the_reply_told_is_charged() {
    let price = by_unit(
        r#""input_per_1m":10,"output_per_1m":40,"long_prompts":[{"above_tokens":400000,"input_per_1m":30},{"above_tokens":200000,"input_per_1m":20}],
        "tiers":{"priority":{"input_per_1m":18,"long_prompts":[{"above_tokens":200000,"input_per_1m":36}]},"flex":{"percent":50}}"#,
    );
    let of = |tier: Tier, input: u64| Usage { input, output: 10, tier, ..Usage::default() };
    let cases = [
        (of(Tier::Standard, 100), 100 * 10_000 + 10 * 40_000),
        (of(Tier::Standard, 200_001), 200_001 * 20_000 + 10 * 40_000),
        (of(Tier::Standard, 400_001), 400_001 * 30_000 + 10 * 40_000),
        // What a tier leaves open is as in the ordinary one.
        (of(Tier::Priority, 100), 100 * 18_000 + 10 * 40_000),
        (of(Tier::Priority, 400_001), 400_001 * 36_000 + 10 * 40_000),
        (of(Tier::Flex, 100), 100 * 5_000 + 10 * 20_000),
        (of(Tier::Flex, 400_001), 400_001 * 15_000 + 10 * 20_000),
        // Its price is made by whoever knows that it is one.
        (of(Tier::Batch, 100), 100 * 10_000 + 10 * 40_000),
    ];
    for (usage, expected) in cases {
        assert_eq!(cost(&usage, &price), Some(expected), "{usage:?}");
    }
    // A tier that has no price of its own costs what the ordinary one does.
    let plain = by_unit(r#""input_per_1m":10,"output_per_1m":40"#);
    assert_eq!(cost(&of(Tier::Priority, 1), &plain), Some(410_000));
}
