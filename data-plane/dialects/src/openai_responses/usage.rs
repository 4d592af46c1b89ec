//! The `usage` object of responses, to and from disjoint classes.

use gateway_ir::json;
use gateway_ir::usage::{Tier, Usage};
use serde_json::value::RawValue;

use crate::reading::{members_of, unsigned};
use crate::writer::Object;

pub(super) fn read(raw: &RawValue) -> Option<Usage> {
    let (mut input, mut output, mut cached, mut written, mut reasoning) = (None, None, 0, 0, 0);
    members_of(raw, |name, value| match name {
        "input_tokens" => input = unsigned(value),
        "output_tokens" => output = unsigned(value),
        "input_tokens_details" => members_of(value, |name, value| match name {
            "cached_tokens" => cached = unsigned(value).unwrap_or(0),
            "cache_write_tokens" => written = unsigned(value).unwrap_or(0),
            _ => {}
        }),
        "output_tokens_details" => members_of(value, |name, value| {
            if name == "reasoning_tokens" {
                reasoning = unsigned(value).unwrap_or(0);
            }
        }),
        _ => {}
    });
    if input.is_none() && output.is_none() {
        return None;
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let cache_read = cached.min(input);
    let cache_write = written.min(input - cache_read);
    let reasoning = reasoning.min(output);
    Some(Usage {
        input: input - cache_read - cache_write,
        cache_read,
        cache_write,
        output,
        reasoning,
        ..Usage::default()
    })
}

/// Of a passing reply: one scan of the top level, nothing built.
pub(super) fn in_reply(body: &[u8]) -> Option<Usage> {
    let (mut found, mut tier) = (None, None);
    json::scan_object(body, |member| {
        if member.is("usage") {
            found = Some(member.value);
        } else if member.is("service_tier") {
            tier = Some(member.value);
        }
    })
    .ok()?;
    let tier = tier.and_then(|tier| serde_json::from_slice::<&str>(&body[tier]).ok());
    let usage = read(serde_json::from_slice(&body[found?]).ok()?)?;
    Some(Usage { tier: tier.map(Tier::parse).unwrap_or_default(), ..usage })
}

pub(super) fn write(usage: &Usage, object: &mut Object<'_>) {
    object.unsigned("input_tokens", usage.prompt());
    object.object("input_tokens_details", |details| {
        details.unsigned("cached_tokens", usage.cache_read);
        // Beside the other it is no optional field: typed clients miss it.
        details.unsigned("cache_write_tokens", usage.cache_write.saturating_add(usage.cache_write_1h));
    });
    object.unsigned("output_tokens", usage.output);
    object.object("output_tokens_details", |details| details.unsigned("reasoning_tokens", usage.reasoning));
    object.unsigned("total_tokens", usage.total());
}
