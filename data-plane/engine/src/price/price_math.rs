//! A million prices and usages, against sums in integers that cannot overflow, by the rules as they are written down and not as they
//! are compiled.

use gateway_model::kind::price::{LongPrompt, Price as Document, TierPrice, Tiers};
use gateway_model::unit::Usd;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Of each of the four tests, which run at once.
const CASES: u32 = 250_000;

/// A natural number without bounds: digits in base 2^32, the lowest first.
#[derive(Clone, Debug, Default)]
struct Natural(Vec<u32>);

impl Natural {
    fn add_product(&mut self, factors: [u64; 3]) {
        let mut product = vec![1_u32];
        for factor in factors {
            let (low, high) = (times(&product, factor as u32), times(&product, (factor >> 32) as u32));
            product = low;
            add(&mut product, &high, 1);
        }
        add(&mut self.0, &product, 0);
    }

    /// Divided and rounded up.
    fn div_ceil(mut self, divisor: u32) -> Self {
        let mut rest = 0_u64;
        for digit in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*digit);
            *digit = (value / u64::from(divisor)) as u32;
            rest = value % u64::from(divisor);
        }
        if rest > 0 {
            add(&mut self.0, &[1], 0);
        }
        self
    }

    fn capped(&self) -> i64 {
        if self.0.iter().skip(2).any(|digit| *digit > 0) {
            return i64::MAX;
        }
        let digit = |at: usize| u64::from(self.0.get(at).copied().unwrap_or(0));
        i64::try_from(digit(1) << 32 | digit(0)).unwrap_or(i64::MAX)
    }
}

fn times(digits: &[u32], factor: u32) -> Vec<u32> {
    let mut carry = 0_u64;
    let mut product: Vec<u32> = digits
        .iter()
        .map(|digit| {
            carry += u64::from(*digit) * u64::from(factor);
            let low = carry as u32;
            carry >>= 32;
            low
        })
        .collect();
    product.push(carry as u32);
    product
}

/// `shift` digits higher.
fn add(sum: &mut Vec<u32>, digits: &[u32], shift: usize) {
    let mut carry = 0_u64;
    for (at, digit) in (shift..).zip(digits.iter().copied().chain(std::iter::repeat(0))) {
        if at - shift >= digits.len() && carry == 0 {
            break;
        }
        if sum.len() <= at {
            sum.resize(at + 1, 0);
        }
        carry += u64::from(sum[at]) + u64::from(digit);
        sum[at] = carry as u32;
        carry >>= 32;
    }
}

#[test]
fn naturals_are_what_they_say() {
    for (factors, divisor, expected) in [
        ([0, 5, 7], 3, 0),
        ([1 << 40, 1 << 20, 1], 1 << 30, 1 << 30),
        ([u64::MAX, 1, 1], 2, i64::MAX),
        ([u64::MAX, u64::MAX, 3], 7, i64::MAX),
        ([1_000_003, 999_999_937, 3], 3_000_000, 1_000_002_938),
    ] {
        let mut sum = Natural::default();
        sum.add_product(factors);
        let exact = factors[0] as f64 * factors[1] as f64 * factors[2] as f64 / f64::from(divisor);
        let found = sum.div_ceil(divisor).capped();
        assert!(expected == found || (exact - found as f64).abs() < 1.0, "{factors:?}: {found}");
    }
}

/// A number of any magnitude, or none.
fn some(random: u64) -> Option<u64> {
    (random & 3 != 0).then(|| number(random >> 2))
}

fn number(random: u64) -> u64 {
    (random >> 6) >> (random & 63).min(56)
}

fn price(random: u64) -> Option<UsdPerMillion> {
    some(random).map(|price| UsdPerMillion(i64::try_from(price).unwrap_or(i64::MAX)))
}

fn piece(random: u64) -> Option<Usd> {
    price(random).map(|price| Usd(price.0))
}

fn long(random: &[u64]) -> LongPrompt {
    LongPrompt {
        above_tokens: (random[0] % 1_000_000) & !1,
        input_per_1m: price(random[1]),
        output_per_1m: price(random[2]),
        reasoning_per_1m: price(random[3]),
        cache_read_per_1m: price(random[4]),
        cache_write_per_1m: price(random[5]),
        cache_write_1h_per_1m: price(random[6]),
    }
}

fn document(random: &[u64; 32]) -> Document {
    // Each bound has one price.
    let mut another = long(&random[22..29]);
    another.above_tokens |= 1;
    Document {
        input_per_1m: price(random[0]),
        output_per_1m: price(random[1]),
        reasoning_per_1m: price(random[2]),
        cache_read_per_1m: price(random[3]),
        cache_write_per_1m: price(random[4]),
        cache_write_1h_per_1m: price(random[5]),
        input_audio_per_1m: price(random[6]),
        output_audio_per_1m: price(random[7]),
        input_image_per_1m: price(random[8]),
        output_image_per_1m: price(random[9]),
        per_image: piece(random[10]),
        per_input_image: piece(random[11]),
        per_audio_minute: piece(random[12]),
        per_1m_characters: price(random[13]),
        per_1k_searches: piece(random[14]),
        long_prompt: (random[15] & 1 == 0).then(|| long(&random[15..22])),
        long_prompts: if random[22] & 1 == 0 { vec![another] } else { Vec::new() },
        tiers: (random[29] & 1 == 0).then(|| Tiers {
            priority: (random[29] & 2 == 0).then(|| TierPrice {
                input_per_1m: price(random[30]),
                output_per_1m: price(random[31]),
                ..TierPrice::default()
            }),
            flex: (random[29] & 4 == 0)
                .then(|| TierPrice { percent: Some((random[29] >> 8) as u16 % 1_001), ..TierPrice::default() }),
        }),
        ..Document::default()
    }
}

fn usage(random: &[u64; 12], units: Units) -> Usage {
    let output = number(random[4]);
    Usage {
        input: number(random[0]),
        cache_read: number(random[1]),
        cache_write: number(random[2]),
        cache_write_1h: number(random[3]),
        output,
        reasoning: number(random[5]),
        input_audio: number(random[6]),
        output_audio: number(random[7]),
        input_image: number(random[8]),
        output_image: number(random[9]),
        units,
        tier: [Tier::Standard, Tier::Priority, Tier::Flex, Tier::Batch][random[10] as usize % 4],
    }
}

/// The rates of a request, in nano-dollars a million: input, output, reasoning, cache read and written, audio and pictures in and out.
fn rates(document: &Document, usage: &Usage) -> [Option<u64>; 10] {
    let nano = |price: Option<UsdPerMillion>| price.map(|price| price.0 as u64);
    let (input, output) = (nano(document.input_per_1m), nano(document.output_per_1m));
    let ordinary = [
        input,
        output,
        nano(document.reasoning_per_1m).or(output),
        nano(document.cache_read_per_1m).or(input),
        nano(document.cache_write_per_1m).or(input),
        nano(document.cache_write_1h_per_1m).or(input),
        nano(document.input_audio_per_1m).or(input),
        nano(document.output_audio_per_1m).or(output),
        nano(document.input_image_per_1m).or(input),
        nano(document.output_image_per_1m).or(output),
    ];
    let prompt: u128 =
        [usage.input, usage.cache_read, usage.cache_write, usage.cache_write_1h].map(u128::from).into_iter().sum();
    let above = |base: [Option<u64>; 10]| {
        let longs = document.long_prompt.iter().chain(&document.long_prompts);
        let holding = longs.filter(|long| prompt > u128::from(long.above_tokens));
        let Some(long) = holding.max_by_key(|long| long.above_tokens) else { return base };
        let told = [
            long.input_per_1m,
            long.output_per_1m,
            long.reasoning_per_1m,
            long.cache_read_per_1m,
            long.cache_write_per_1m,
            long.cache_write_1h_per_1m,
        ];
        over(base, &told.map(nano))
    };
    let tiers = document.tiers.as_ref();
    match usage.tier {
        Tier::Priority if tiers.is_some_and(|tiers| tiers.priority.is_some()) => {
            let tier = tiers.and_then(|tiers| tiers.priority.as_ref()).expect("there");
            over(ordinary, &[nano(tier.input_per_1m), nano(tier.output_per_1m)])
        }
        Tier::Flex if tiers.is_some_and(|tiers| tiers.flex.is_some()) => {
            let tier = tiers.and_then(|tiers| tiers.flex.as_ref()).expect("there");
            let percent = u128::from(tier.percent.expect("by percent"));
            let part = |rate: u64| u64::try_from((u128::from(rate) * percent).div_ceil(100)).unwrap_or(u64::MAX);
            above(ordinary).map(|rate| rate.map(part))
        }
        _ => above(ordinary),
    }
}

/// What is told in place of what was there. A class that had no rate and follows input or output follows the new one.
fn over(base: [Option<u64>; 10], told: &[Option<u64>]) -> [Option<u64>; 10] {
    let mut rates = base;
    for (rate, told) in rates.iter_mut().zip(told) {
        *rate = told.or(*rate);
    }
    let (input, output) = (rates[0], rates[1]);
    for (class, rate) in rates.iter_mut().enumerate() {
        let followed = if matches!(class, 1 | 2 | 7 | 9) { output } else { input };
        *rate = rate.or(followed);
    }
    rates
}

fn expected(document: &Document, usage: &Usage) -> Option<i64> {
    let rates = rates(document, usage);
    let all = [usage.input, usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.output];
    let has_tokens = all.iter().any(|count| *count > 0);
    let mut sum = Natural::default();
    let is_by_tokens = has_tokens && (rates[0].is_some() || rates[1].is_some() || usage.units == Units::None);
    if is_by_tokens {
        let input_audio = usage.input_audio.min(usage.input);
        let input_image = usage.input_image.min(usage.input - input_audio);
        let output_audio = usage.output_audio.min(usage.output);
        let output_image = usage.output_image.min(usage.output - output_audio);
        let reasoning = usage.reasoning.min(usage.output - output_audio - output_image);
        let counts = [
            usage.input - input_audio - input_image,
            usage.output - output_audio - output_image - reasoning,
            reasoning,
            usage.cache_read,
            usage.cache_write,
            usage.cache_write_1h,
            input_audio,
            output_audio,
            input_image,
            output_image,
        ];
        for (count, rate) in counts.into_iter().zip(rates).filter(|(count, _)| *count > 0) {
            sum.add_product([count, rate?, 1]);
        }
        return Some(sum.div_ceil(1_000_000).capped());
    }
    let nano = |price: Option<Usd>| price.map(|price| price.0 as u64);
    // Milliseconds of a minute, and so on: what a rate is for.
    let (count, rate, per) = match usage.units {
        Units::None => return Some(0),
        Units::Unmeasured => return None,
        Units::PicturesMade(count) => (count, nano(document.per_image), 1),
        Units::PicturesRead(count) => (count, nano(document.per_input_image), 1),
        Units::AudioMs(count) => (count, nano(document.per_audio_minute), 60_000),
        Units::Characters(count) => (count, document.per_1m_characters.map(|price| price.0 as u64), 1_000_000),
        Units::Searches(count) => (count, nano(document.per_1k_searches), 1_000),
    };
    if count == 0 {
        return Some(0);
    }
    sum.add_product([count, rate?, 1]);
    Some(sum.div_ceil(per).capped())
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn check(units: fn(u64) -> Units, narrowed: fn(&mut Document, &mut Usage)) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    // One number per case, which the others come of: a million cases are seconds so.
    TestRunner::new(config)
        .run(&any::<u64>(), |seed| {
            let mut state = seed;
            let prices: [u64; 32] = std::array::from_fn(|_| next(&mut state));
            let counts: [u64; 12] = std::array::from_fn(|_| next(&mut state));
            let (mut document, mut usage) = (document(&prices), usage(&counts, units(counts[11])));
            narrowed(&mut document, &mut usage);
            prop_assert_eq!(cost(&usage, &Price::compile(&document)), expected(&document, &usage));
            Ok(())
        })
        .unwrap();
}

fn any_units(random: u64) -> Units {
    let count = number(random >> 3);
    match random & 7 {
        0 => Units::PicturesMade(count),
        1 => Units::PicturesRead(count),
        2 => Units::AudioMs(count),
        3 => Units::Characters(count),
        4 => Units::Searches(count),
        5 => Units::Unmeasured,
        _ => Units::None,
    }
}

#[test]
fn tokens_of_every_class_and_tier() {
    check(|_| Units::None, |_, _| {});
}

#[test]
fn tokens_or_units_or_both() {
    check(any_units, |_, _| {});
}

#[test]
fn units_alone() {
    check(any_units, |document, usage| {
        *usage = Usage { tier: usage.tier, ..Usage::of_units(usage.units) };
        document.tiers = None;
    });
}

/// Where all that is used has a price, and amounts are those of every day: the least rounding shows.
#[test]
fn everyday_amounts() {
    check(
        |_| Units::None,
        |document, usage| {
            let of =
                |price: Option<UsdPerMillion>| Some(UsdPerMillion(price.map_or(1, |price| price.0 % 100_000_000_000)));
            document.input_per_1m = of(document.input_per_1m);
            document.output_per_1m = of(document.output_per_1m);
            for count in [&mut usage.input, &mut usage.output, &mut usage.cache_read, &mut usage.cache_write] {
                *count %= 300_000;
            }
        },
    );
}
