//! A request for an upstream of this dialect. Members always stand in the same order, so that equal requests are equal bytes.

use bytes::BytesMut;
use gateway_ir::chat::{ChatRequest, Reasoning, ResponseFormat, Tool, ToolChoice};
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::decode::SELF;
use crate::choices;
use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::writer::{Object, object};

mod items;

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    choices::only_one(request)?;
    let mut dropped = Dropped::default();
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.string("model", upstream.model);
        body.array("input", |input| {
            request.messages.iter().for_each(|message| items::write(message, input, &mut dropped));
        });
        write_tools(request, body, &mut dropped);
        write_sampling(request, body, &mut dropped);
        write_text(request, body);
        write_reasoning(request, body);
        if let Some(user) = &request.user {
            body.string("user", user);
        }
        if let Some(metadata) = &request.metadata {
            body.raw("metadata", &serde_json::Value::Object(metadata.clone()).to_string());
        }
        for (name, raw) in request.extra.of(SELF).iter().filter(|(name, _)| !name.contains('.')) {
            body.raw(name, raw.get());
        }
        // The conversation is the client's to keep.
        body.boolean("store", false);
        if upstream.stream {
            body.boolean("stream", true);
        }
    });
    for name in request.extra.lost_in(SELF) {
        dropped.note(name);
    }
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

fn write_tools(request: &ChatRequest, body: &mut Object<'_>, dropped: &mut Dropped) {
    let mut sayable = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Opaque { kind, dialect, .. } if *dialect != SELF => dropped.note(format!("tools[{index}] ({kind})")),
            tool => sayable.push(tool),
        }
    }
    if sayable.is_empty() {
        return dropped.note_if(request.tool_choice.is_some(), "tool_choice");
    }
    body.array("tools", |array| {
        for tool in sayable {
            match tool {
                Tool::Opaque { json, .. } => array.raw(json.get()),
                Tool::Function(function) => array.object(|object| {
                    object.string("type", "function");
                    object.string("name", &function.name);
                    if let Some(description) = &function.description {
                        object.string("description", description);
                    }
                    let parameters = function.parameters.as_deref();
                    object.raw("parameters", parameters.map_or(r#"{"type":"object","properties":{}}"#, RawValue::get));
                    // Absent means strict here, and not strict where the request comes from.
                    object.boolean("strict", function.strict.unwrap_or(false));
                }),
            }
        }
    });
    match &request.tool_choice {
        Some(ToolChoice::Auto) => body.string("tool_choice", "auto"),
        Some(ToolChoice::None) => body.string("tool_choice", "none"),
        Some(ToolChoice::Required) => body.string("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => body.object("tool_choice", |choice| {
            choice.string("type", "function");
            choice.string("name", name);
        }),
        None => {}
    }
    if let Some(parallel) = request.parallel_tool_calls {
        body.boolean("parallel_tool_calls", parallel);
    }
}

fn write_sampling(request: &ChatRequest, body: &mut Object<'_>, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    if let Some(max_tokens) = sampling.max_output_tokens {
        body.unsigned("max_output_tokens", max_tokens);
    }
    for (name, value) in [("temperature", &sampling.temperature), ("top_p", &sampling.top_p)] {
        if let Some(value) = value {
            body.raw(name, &value.to_string());
        }
    }
    if let Some(count) = sampling.top_logprobs {
        body.unsigned("top_logprobs", count);
    }
    let is_set = |number: &Option<serde_json::Number>| number.as_ref().is_some_and(|it| it.as_f64() != Some(0.0));
    dropped.note_if(!sampling.stop.is_empty(), "stop");
    dropped.note_if(sampling.seed.is_some(), "seed");
    dropped.note_if(sampling.top_k.is_some(), "top_k");
    dropped.note_if(is_set(&sampling.presence_penalty), "presence_penalty");
    dropped.note_if(is_set(&sampling.frequency_penalty), "frequency_penalty");
}

fn write_text(request: &ChatRequest, body: &mut Object<'_>) {
    let own: Vec<_> = request.extra.of(SELF).iter().filter(|(name, _)| name.starts_with("text.")).collect();
    if request.response_format.is_none() && own.is_empty() {
        return;
    }
    body.object("text", |text| {
        match &request.response_format {
            Some(ResponseFormat::Text) => text.raw("format", r#"{"type":"text"}"#),
            Some(ResponseFormat::JsonObject) => text.raw("format", r#"{"type":"json_object"}"#),
            Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => text.object("format", |format| {
                format.string("type", "json_schema");
                format.string("name", name);
                if let Some(description) = description {
                    format.string("description", description);
                }
                format.raw("schema", schema.as_deref().map_or(r#"{"type":"object"}"#, RawValue::get));
                if let Some(strict) = strict {
                    format.boolean("strict", *strict);
                }
            }),
            None => {}
        }
        own.iter().for_each(|(name, raw)| text.raw(name.trim_start_matches("text."), raw.get()));
    });
}

fn write_reasoning(request: &ChatRequest, body: &mut Object<'_>) {
    let effort = match &request.reasoning {
        Some(Reasoning::Effort(word)) => word.as_str(),
        Some(Reasoning::Off) => "none",
        Some(Reasoning::BudgetTokens(budget)) if *budget <= 4096 => "low",
        Some(Reasoning::BudgetTokens(budget)) if *budget <= 16_384 => "medium",
        Some(Reasoning::BudgetTokens(_)) => "high",
        Some(Reasoning::Adaptive) | None => return,
    };
    body.object("reasoning", |reasoning| {
        reasoning.string("effort", effort);
        if effort != "none" {
            // Who asks for thinking wants to see it.
            reasoning.string("summary", "auto");
        }
    });
}
