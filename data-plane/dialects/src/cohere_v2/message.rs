//! What whole replies and streams have in common: reasons to stop, usage, citations.

use std::borrow::Cow;

use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::reading::{elements, members_of, text, unsigned};

/// `ERROR` and its like are no way to finish: they are told as what they are.
pub(super) fn finish_reason(said: &str) -> FinishReason {
    match said {
        "COMPLETE" => FinishReason::Stop,
        "STOP_SEQUENCE" => FinishReason::StopSequence,
        "MAX_TOKENS" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolCalls,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_ascii_lowercase()),
    }
}

/// `tokens` counts what the model worked on; `billed_units`, which leaves out what Cohere does not charge, stands in only where
/// there is nothing else.
pub(super) fn usage(raw: &RawValue) -> Usage {
    let (mut tokens, mut billed, mut cached, mut reasoning) = ((None, None), (None, None), 0, 0);
    let pair = |raw: &RawValue, reasoning: &mut u64| {
        let mut pair = (None, None);
        members_of(raw, |name, value| match name {
            "input_tokens" => pair.0 = unsigned(value),
            "output_tokens" => pair.1 = unsigned(value),
            "reasoning_tokens" => *reasoning = unsigned(value).unwrap_or(0),
            _ => {}
        });
        pair
    };
    members_of(raw, |name, value| match name {
        "tokens" => tokens = pair(value, &mut reasoning),
        "billed_units" => billed = pair(value, &mut 0),
        "cached_tokens" => cached = unsigned(value).unwrap_or(0),
        _ => {}
    });
    let prompt = tokens.0.or(billed.0).unwrap_or(0);
    let output = tokens.1.or(billed.1).unwrap_or(0);
    let cache_read = cached.min(prompt);
    Usage { input: prompt - cache_read, cache_read, output, reasoning: reasoning.min(output), ..Usage::default() }
}

/// Sources that have a URL; others are known to the client that sent them only.
pub(super) fn citations(raw: &RawValue, events: &mut Vec<Event>) {
    let one = |raw: &RawValue, events: &mut Vec<Event>| {
        members_of(raw, |name, sources| {
            if name == "sources" {
                elements(sources, |source| {
                    let (mut url, mut title) = (None, None);
                    members_of(source, |name, content| {
                        if matches!(name, "document" | "tool_output") {
                            members_of(content, |name, value| match name {
                                "url" => url = text(value),
                                "title" => title = text(value),
                                _ => {}
                            });
                        }
                    });
                    events.extend(url.and_then(|url| citation(url, title)));
                });
            }
        });
    };
    if raw.get().starts_with('[') { elements(raw, |raw| one(raw, events)) } else { one(raw, events) }
}

fn citation(url: Cow<'_, str>, title: Option<Cow<'_, str>>) -> Option<Event> {
    let source = serde_json::json!({"title": title.as_deref().unwrap_or(&url), "url": url});
    let json = serde_json::value::to_raw_value(&source).ok()?;
    Some(Event::Citation { choice: 0, kind: CitationKind::Source, json })
}
