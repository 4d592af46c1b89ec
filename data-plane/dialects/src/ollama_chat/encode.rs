//! A request for an Ollama upstream. Members always stand in the same order, so that equal requests are equal bytes.

use std::collections::HashMap;

use bytes::BytesMut;
use gateway_ir::chat::{
    ChatRequest, Content, Message, Part, Reasoning, ResponseFormat, Role, Source, Tool, ToolChoice, ToolResult,
};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::json;
use serde_json::Number;

use crate::choices;
use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::signed_id;
use crate::writer::{Array, Object, object};

const SELF: Dialect = Dialect::OllamaChat;

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    choices::only_one(request)?;
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.string("model", upstream.model);
        // Results name the function that was called, because Ollama knows no ids.
        let mut names = HashMap::new();
        body.array("messages", |messages| {
            for message in &request.messages {
                write_message(message, messages, &mut names, &mut dropped)?;
            }
            Ok::<_, Box<Failure>>(())
        })?;
        write_tools(request, upstream, body, &mut dropped)?;
        match &request.response_format {
            Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) => body.raw("format", schema.get()),
            Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { .. }) => body.string("format", "json"),
            Some(ResponseFormat::Text) | None => {}
        }
        write_options(request, body);
        write_thinking(request, body);
        body.boolean("stream", upstream.stream);
        Ok::<_, Box<Failure>>(())
    })?;
    let sampling = &request.sampling;
    dropped.note_if(sampling.logprobs == Some(true), "logprobs");
    dropped.note_if(sampling.top_logprobs.is_some_and(|count| count > 0), "top_logprobs");
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()), "metadata");
    dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
    for name in request.extra.lost_in(SELF) {
        dropped.note(name);
    }
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

fn write_message<'r>(
    message: &'r Message,
    messages: &mut Array<'_>,
    names: &mut HashMap<&'r str, &'r str>,
    dropped: &mut Dropped,
) -> Result<(), Box<Failure>> {
    dropped.note_if(message.name.is_some(), "messages[].name");
    dropped.note_if(message.parts.iter().any(|part| part.cache.is_some()), "cache_control");
    let mut rest: Vec<&Part> = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match &part.content {
            Content::ToolResult(result) => write_result(result, messages, names, dropped)?,
            _ => rest.push(part),
        }
    }
    if rest.is_empty() && !message.parts.is_empty() {
        return Ok(());
    }
    messages.object(|object| {
        object.string(
            "role",
            match message.role {
                Role::System | Role::Developer => "system",
                Role::User | Role::Tool => "user",
                Role::Assistant => "assistant",
            },
        );
        write_content(&rest, object, dropped)?;
        write_calls(&rest, object, names);
        Ok(())
    })
}

/// Text is one string; pictures stand beside it, as base64.
fn write_content(parts: &[&Part], object: &mut Object<'_>, dropped: &mut Dropped) -> Result<(), Box<Failure>> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for part in parts {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => texts.push(text.as_str()),
            Content::Document(document) => match &document.media.source {
                Source::Text(text) => texts.push(text),
                _ => dropped.note("messages[].content (document that is no text)"),
            },
            Content::Image(image) => match &image.source {
                Source::Base64(data) => images.push(data.as_str()),
                _ => {
                    let message = "the upstream takes images inline only; send a `data:` URL";
                    return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at("messages")));
                }
            },
            Content::Audio(_) => dropped.note("messages[].content (audio)"),
            Content::Opaque { kind, .. } => dropped.note(format!("messages[].content ({kind})")),
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => {}
        }
    }
    object.string("content", &texts.join("\n\n"));
    if !images.is_empty() {
        object.array("images", |array| images.iter().for_each(|image| array.string(image)));
    }
    Ok(())
}

fn write_calls<'r>(parts: &[&'r Part], object: &mut Object<'_>, names: &mut HashMap<&'r str, &'r str>) {
    let calls: Vec<_> = parts
        .iter()
        .filter_map(|part| if let Content::ToolCall(call) = &part.content { Some(call) } else { None })
        .collect();
    if calls.is_empty() {
        return;
    }
    object.array("tool_calls", |array| {
        for call in calls {
            names.insert(signed_id::plain(&call.id), &call.name);
            array.object(|object| {
                object.object("function", |function| {
                    function.string("name", &call.name);
                    let is_object = json::scan_object(call.arguments.as_bytes(), |_| ()).is_ok();
                    function.raw("arguments", if is_object { call.arguments.trim() } else { "{}" });
                });
            });
        }
    });
}

fn write_result(
    result: &ToolResult,
    messages: &mut Array<'_>,
    names: &HashMap<&str, &str>,
    dropped: &mut Dropped,
) -> Result<(), Box<Failure>> {
    dropped.note_if(result.is_error == Some(true), "messages.is_error");
    messages.object(|object| {
        object.string("role", "tool");
        if let Some(name) = names.get(signed_id::plain(&result.call_id)) {
            object.string("tool_name", name);
        }
        let parts: Vec<&Part> = result.parts.iter().collect();
        write_content(&parts, object, dropped)
    })
}

/// Ollama knows no choice of tools: none of them is no tools, one of them is only that one. Whether it calls is the model's to say.
fn write_tools(
    request: &ChatRequest,
    upstream: &Upstream<'_>,
    body: &mut Object<'_>,
    dropped: &mut Dropped,
) -> Result<(), Box<Failure>> {
    let named = match &request.tool_choice {
        Some(ToolChoice::None) => return Ok(()),
        Some(ToolChoice::Function(name)) => Some(name),
        _ => None,
    };
    let mut functions = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function(function) if named.is_none_or(|named| *named == function.name) => functions.push(function),
            Tool::Function(_) => {}
            Tool::Opaque { kind, .. } => dropped.note(format!("tools[{index}] ({kind})")),
        }
    }
    if named.is_some() && functions.is_empty() {
        let message = "`tool_choice` names a function that `tools` does not have";
        return Err(Box::new(Failure::invalid(message).at("tool_choice")));
    }
    if functions.is_empty() || upstream.quirks.no_tools {
        dropped.note_if(!functions.is_empty(), "tools");
        return Ok(());
    }
    // A model that is shown one tool may still answer without it.
    let demands_one = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    dropped.note_if(demands_one, "tool_choice");
    dropped.note_if(functions.iter().any(|function| function.strict == Some(true)), "tools[].strict");
    body.array("tools", |array| {
        for function in functions {
            array.object(|object| {
                object.string("type", "function");
                object.object("function", |object| {
                    object.string("name", &function.name);
                    if let Some(description) = &function.description {
                        object.string("description", description);
                    }
                    let parameters = function.parameters.as_deref();
                    object
                        .raw("parameters", parameters.map_or(r#"{"type":"object","properties":{}}"#, |raw| raw.get()));
                });
            });
        }
    });
    Ok(())
}

fn write_options(request: &ChatRequest, body: &mut Object<'_>) {
    let sampling = &request.sampling;
    body.object("options", |options| {
        let number = |options: &mut Object<'_>, name: &str, value: &Option<Number>| {
            if let Some(value) = value {
                options.raw(name, &value.to_string());
            }
        };
        if let Some(max_tokens) = sampling.max_output_tokens {
            options.unsigned("num_predict", max_tokens);
        }
        number(options, "temperature", &sampling.temperature);
        number(options, "top_p", &sampling.top_p);
        if let Some(top_k) = sampling.top_k {
            options.unsigned("top_k", top_k);
        }
        if !sampling.stop.is_empty() {
            options.array("stop", |array| sampling.stop.iter().for_each(|stop| array.string(stop)));
        }
        if let Some(seed) = sampling.seed {
            options.raw("seed", &seed.to_string());
        }
        number(options, "presence_penalty", &sampling.presence_penalty);
        number(options, "frequency_penalty", &sampling.frequency_penalty);
    });
}

/// By word where a model takes words (it ignores them where it does not), else on or off.
fn write_thinking(request: &ChatRequest, body: &mut Object<'_>) {
    match &request.reasoning {
        None => {}
        Some(Reasoning::Off) => body.boolean("think", false),
        Some(Reasoning::Effort(word)) => match word.as_str() {
            "minimal" => body.string("think", "low"),
            "low" | "medium" | "high" => body.string("think", word),
            _ => body.boolean("think", true),
        },
        Some(Reasoning::Adaptive | Reasoning::BudgetTokens(_)) => body.boolean("think", true),
    }
}
