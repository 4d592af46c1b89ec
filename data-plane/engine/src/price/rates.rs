//! What each class of tokens and each unit costs. Sums are exact, in parts of a nano-dollar.

use gateway_ir::usage::{Units, Usage};
use gateway_model::catalog::models;
use gateway_model::unit::{Usd, UsdPerMillion};

/// Everything is summed in this part of a nano-dollar: the least that a million, a minute's milliseconds and a thousand all divide.
pub(super) const PARTS: u128 = 3_000_000;
const PARTS_PER_TOKEN: u128 = PARTS / 1_000_000;
const PARTS_PER_AUDIO_MS: u128 = PARTS / 60_000;
const PARTS_PER_SEARCH: u128 = PARTS / 1_000;

/// Nano-dollars per million tokens. A class without a rate has no price: it is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    /// Of the output.
    pub(super) reasoning: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) cache_write_1h: Option<u64>,
    pub(super) input_audio: Option<u64>,
    pub(super) output_audio: Option<u64>,
    pub(super) input_image: Option<u64>,
    pub(super) output_image: Option<u64>,
}

/// Nano-dollars per piece, minute, million characters and thousand searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitRates {
    pub(super) image: Option<u64>,
    pub(super) input_image: Option<u64>,
    pub(super) minute: Option<u64>,
    pub(super) characters: Option<u64>,
    pub(super) searches: Option<u64>,
}

// === impl Rates ===

impl Rates {
    /// What is left open is as in `below`, else the caches are charged like input, audio and images like text.
    pub(super) fn compile(rates: &models::Rates, below: Self) -> Self {
        let class = |price: Option<UsdPerMillion>, below: Option<u64>| price.map(|price| nano(price.0)).or(below);
        let input = class(rates.input, below.input);
        let output = class(rates.output, below.output);
        Self {
            input,
            output,
            reasoning: class(rates.reasoning, below.reasoning).or(output),
            cache_read: class(rates.cache_read, below.cache_read).or(input),
            cache_write: class(rates.cache_write, below.cache_write).or(input),
            cache_write_1h: class(rates.cache_write_1h, below.cache_write_1h).or(input),
            input_audio: class(rates.input_audio, below.input_audio).or(input),
            output_audio: class(rates.output_audio, below.output_audio).or(output),
            input_image: class(rates.input_image, below.input_image).or(input),
            output_image: class(rates.output_image, below.output_image).or(output),
        }
    }

    pub(super) fn at_percent(self, percent: u64) -> Self {
        let part = |rate: u64| (u128::from(rate) * u128::from(percent)).div_ceil(100);
        let of = |rate: Option<u64>| rate.map(|rate| u64::try_from(part(rate)).unwrap_or(u64::MAX));
        let Self { input, output, cache_read, cache_write, cache_write_1h, .. } = self;
        Self {
            input: of(input),
            output: of(output),
            reasoning: of(self.reasoning),
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
    pub(super) fn is_by_tokens(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }

    /// In parts; `None` where a class that was used has no price.
    pub(super) fn charge(&self, usage: &Usage) -> Option<u128> {
        let input_audio = usage.input_audio.min(usage.input);
        let input_image = usage.input_image.min(usage.input - input_audio);
        let output_audio = usage.output_audio.min(usage.output);
        let output_image = usage.output_image.min(usage.output - output_audio);
        let written = usage.output - output_audio - output_image;
        let reasoning = usage.reasoning.min(written);
        let classes = [
            (usage.input - input_audio - input_image, self.input),
            (input_audio, self.input_audio),
            (input_image, self.input_image),
            (written - reasoning, self.output),
            (reasoning, self.reasoning),
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
    pub(super) fn compile(units: models::Units) -> Self {
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
    pub(super) fn charge(&self, units: Units) -> Option<u128> {
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
