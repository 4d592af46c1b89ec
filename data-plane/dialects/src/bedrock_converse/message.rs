//! What whole replies and streams have in common: reasons to stop, usage, citations.

use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::usage::{Tier, Usage};
use serde_json::value::RawValue;

use crate::reading::{elements, members_of, text, unsigned};

pub(super) fn finish_reason(said: &str) -> FinishReason {
    match said {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" => FinishReason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// `{"type": "priority"}`, which stands beside the usage.
pub(super) fn tier(raw: Option<&RawValue>) -> Tier {
    let mut tier = Tier::default();
    let Some(raw) = raw else { return tier };
    members_of(raw, |name, value| {
        if name == "type" {
            tier = text(value).map(|word| Tier::parse(&word)).unwrap_or_default();
        }
    });
    tier
}

/// Cache reads and writes stand outside `inputTokens`.
pub(super) fn usage(raw: &RawValue) -> Usage {
    let mut usage = Usage::default();
    let mut written = 0;
    members_of(raw, |name, value| {
        let count = || unsigned(value).unwrap_or(0);
        match name {
            "inputTokens" => usage.input = count(),
            "outputTokens" => usage.output = count(),
            "cacheReadInputTokens" => usage.cache_read = count(),
            "cacheWriteInputTokens" => written = count(),
            "cacheDetails" => usage.cache_write_1h = long_lived(value),
            _ => {}
        }
    });
    usage.cache_write_1h = usage.cache_write_1h.min(written);
    usage.cache_write = written - usage.cache_write_1h;
    usage
}

/// Tokens written for an hour, in `[{"ttl": "1h", "inputTokens": 3}, …]`.
fn long_lived(details: &RawValue) -> u64 {
    let mut total = 0_u64;
    elements(details, |detail| {
        let (mut is_long, mut count) = (false, 0);
        members_of(detail, |name, value| match name {
            "ttl" => is_long = text(value).as_deref() == Some("1h"),
            "inputTokens" => count = unsigned(value).unwrap_or(0),
            _ => {}
        });
        total = total.saturating_add(if is_long { count } else { 0 });
    });
    total
}

/// A citation that stands on a page of the web; others are known to the client that sent them only.
pub(super) fn citation(raw: &RawValue, events: &mut Vec<Event>) {
    let (mut url, mut title) = (None, None);
    members_of(raw, |name, value| match name {
        "title" => title = text(value),
        "location" => members_of(value, |name, value| {
            if name == "web" {
                members_of(value, |name, value| url = if name == "url" { text(value) } else { url.take() });
            }
        }),
        _ => {}
    });
    let source = url.map(|url| serde_json::json!({"title": title.as_deref().unwrap_or(&url), "url": url}));
    let json = source.and_then(|source| serde_json::value::to_raw_value(&source).ok());
    events.extend(json.map(|json| Event::Citation { choice: 0, kind: CitationKind::Source, json }));
}
