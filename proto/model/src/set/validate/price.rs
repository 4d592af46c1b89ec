//! Prices.

use super::Findings;
use crate::kind::price::{LongPrompt, Price, TierPrice};
use crate::problem::Code;

/// Ten times the ordinary price is beyond what any vendor asks for a tier; a slip of the decimal point is not.
const MAX_PERCENT: u16 = 1_000;

pub(super) fn check(price: &Price, findings: &mut Findings<'_>) {
    if price.model.is_empty() {
        findings.error(Code::InvalidValue, "model", "must not be empty; `*` stands for every model");
    }
    if !price.is_by_tokens() && !price.is_by_units() {
        let message = "is missing, and so is every price by the unit; a price has `input_per_1m` and `output_per_1m`, or \
            one of `per_image`, `per_input_image`, `per_audio_minute`, `per_1m_characters`, `per_1k_searches`";
        findings.error(Code::MissingField, "input_per_1m", message);
    }
    if price.all_long_prompts().next().is_some() && !price.is_by_tokens() {
        let field = if price.long_prompt.is_some() { "long_prompt" } else { "long_prompts" };
        let message = "is for prices by tokens; give `input_per_1m` and `output_per_1m` of short prompts too";
        findings.error(Code::InvalidValue, field, message);
    }
    bounds("long_prompts", price.all_long_prompts(), findings);
    if price.batch_percent.is_some_and(|percent| percent > 100) {
        findings.error(Code::InvalidValue, "batch_percent", "must be at most 100");
    }
    for (name, tier) in price.tiers.iter().flat_map(|tiers| tiers.each()) {
        self::tier(name, tier, price, findings);
    }
}

/// One prompt has one price.
fn bounds<'a>(field: &str, prices: impl Iterator<Item = &'a LongPrompt>, findings: &mut Findings<'_>) {
    let mut bounds: Vec<u64> = prices.map(|long| long.above_tokens).collect();
    bounds.sort_unstable();
    if let Some(twice) = bounds.windows(2).find(|two| two[0] == two[1]) {
        let message = format!("names `above_tokens: {}` twice; each bound has one price", twice[0]);
        findings.error(Code::InvalidValue, field, message);
    }
}

fn tier(name: &str, tier: &TierPrice, price: &Price, findings: &mut Findings<'_>) {
    let field = format!("tiers.{name}");
    if !price.is_by_tokens() {
        let message = "is for prices by tokens; give `input_per_1m` and `output_per_1m` of the ordinary tier too";
        findings.error(Code::InvalidValue, &field, message);
    }
    match (tier.percent, tier.has_rates()) {
        (None, false) => {
            findings.error(
                Code::MissingField,
                &field,
                "has no price; give `percent` of the ordinary one, or rates of its own",
            );
        }
        (Some(_), true) => {
            let message = "has both `percent` and rates of its own; leave one of them out";
            findings.error(Code::InvalidValue, &field, message);
        }
        (Some(percent), false) if percent > MAX_PERCENT => {
            findings.error(Code::InvalidValue, &format!("{field}.percent"), format!("must be at most {MAX_PERCENT}"));
        }
        _ => {}
    }
    bounds(&format!("{field}.long_prompts"), tier.long_prompts.iter(), findings);
}
