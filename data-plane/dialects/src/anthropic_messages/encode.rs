//! Canonical → an upstream's request. Owns the top level; `encode/` holds the turns, the blocks and the thinking decision.
//!
//! The order of members is fixed, so that the same conversation is the same bytes and the provider's prompt cache hits.

mod blocks;
mod turns;
mod thinking;

use bytes::BytesMut;
use gateway_ir::chat::{ChatRequest, ResponseFormat, Tool, ToolChoice};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use serde_json::Number;
use serde_json::value::RawValue;

use self::blocks::Block;
use self::thinking::Thinking;
use self::turns::{Conversation, Turn};
use crate::choices;
use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::writer::{self, Object};

const SELF: Dialect = Dialect::AnthropicMessages;

/// What to send where neither the client nor the catalogue says how long an answer may be.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The beta that makes `file` sources known.
const FILES_BETA: &str = "files-api-2025-04-14";

/// Writes the request. Refuses what would change its meaning if it were left out; names the rest in `dropped`.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    choices::only_one(request)?;
    let mut dropped = Dropped::default();
    let conversation = turns::plan(request, &mut dropped)?;
    let default_max_tokens = upstream.quirks.default_max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    let thinking = thinking::decide(request, &conversation, default_max_tokens, &mut dropped);
    name_unsayable(request, &mut dropped);

    let mut out = BytesMut::with_capacity(4096);
    writer::object(&mut out, |body| {
        body.string("model", upstream.model);
        body.unsigned("max_tokens", thinking.max_tokens);
        if upstream.stream {
            body.boolean("stream", true);
        }
        write_sampling(body, request, &thinking, &mut dropped);
        write_user(body, request);
        write_thinking(body, request, &thinking);
        write_output_config(body, request, &thinking, &mut dropped);
        if upstream.quirks.no_tools {
            dropped.note_if(!request.tools.is_empty(), "tools");
        } else {
            write_tools(body, request, &mut dropped);
        }
        write_conversation(body, &conversation, upstream.quirks.no_content_arrays);
        // Dotted names were given back by the objects they belong to.
        for (name, raw) in request.extra.of(SELF).iter().filter(|(name, _)| !name.contains('.')) {
            body.raw(name, raw.get());
        }
    });
    let uses_files = conversation.turns.iter().flat_map(|turn| &turn.blocks).any(Block::uses_files);
    let beta = uses_files.then(|| ("anthropic-beta", FILES_BETA.to_owned()));
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: beta.into_iter().collect() })
}

fn refused(param: &str, message: String) -> Box<Failure> {
    Box::new(Failure::new(Code::UnsupportedParameter, message).at(param))
}

/// What Anthropic has no word for and the answer can do without.
fn name_unsayable(request: &ChatRequest, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    let is_set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
    dropped.note_if(sampling.seed.is_some(), "seed");
    dropped.note_if(is_set(&sampling.presence_penalty), "presence_penalty");
    dropped.note_if(is_set(&sampling.frequency_penalty), "frequency_penalty");
    dropped.note_if(sampling.logprobs == Some(true), "logprobs");
    dropped.note_if(sampling.top_logprobs.is_some_and(|count| count > 0), "top_logprobs");
    dropped.note_if(request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()), "metadata");
    for name in request.extra.lost_in(SELF) {
        dropped.note(name);
    }
}

fn write_sampling(body: &mut Object<'_>, request: &ChatRequest, thinking: &Thinking<'_>, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    // Thinking allows no other way of picking tokens; a client that asked for thinking by itself is told so by the upstream.
    let free = !thinking.forbids_sampling;
    if let Some(temperature) = &sampling.temperature {
        let wanted = temperature.as_f64().unwrap_or(1.0);
        // Other vendors go to 2. What no vendor takes is for the upstream to refuse.
        let is_capped = wanted > 1.0 && wanted <= 2.0;
        dropped.note_if(is_capped || !free && wanted != 1.0, "temperature");
        match free {
            false => {}
            true if is_capped => body.raw("temperature", "1"),
            true => body.raw("temperature", &temperature.to_string()),
        }
    }
    if let Some(top_p) = &sampling.top_p {
        match free || top_p.as_f64().is_some_and(|top_p| (0.95..=1.0).contains(&top_p)) {
            true => body.raw("top_p", &top_p.to_string()),
            false => dropped.note("top_p"),
        }
    }
    match sampling.top_k {
        Some(top_k) if free => body.unsigned("top_k", top_k),
        Some(_) => dropped.note("top_k"),
        None => {}
    }
    let stops: Vec<_> = sampling.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
    dropped.note_if(stops.len() < sampling.stop.len(), "stop");
    if !stops.is_empty() {
        body.array("stop_sequences", |array| stops.into_iter().for_each(|stop| array.string(stop)));
    }
}

fn write_user(body: &mut Object<'_>, request: &ChatRequest) {
    let rest = kept(request, "metadata");
    if request.user.is_none() && rest.is_empty() {
        return;
    }
    body.object("metadata", |metadata| {
        if let Some(user) = &request.user {
            metadata.string("user_id", user);
        }
        give_back(metadata, &rest);
    });
}

fn write_thinking(body: &mut Object<'_>, request: &ChatRequest, thinking: &Thinking<'_>) {
    let Some(kind) = thinking.kind else { return };
    body.object("thinking", |object| {
        object.string("type", kind);
        if let Some(budget) = thinking.budget_tokens {
            object.unsigned("budget_tokens", budget);
        }
        let rest = kept(request, "thinking");
        give_back(object, rest.iter().filter(|(name, _)| *name != "type"));
    });
}

/// Structured output is the provider's own (`output_config.format`), not a forced tool: the text stays text.
fn write_output_config(body: &mut Object<'_>, request: &ChatRequest, thinking: &Thinking<'_>, dropped: &mut Dropped) {
    let schema = match &request.response_format {
        Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) => Some(schema),
        // Without a schema there is nothing to enforce. OpenAI demands that such a prompt asks for JSON in words too, and
        // the words go on.
        Some(ResponseFormat::JsonSchema { schema: None, .. } | ResponseFormat::JsonObject) => {
            dropped.note("response_format");
            None
        }
        Some(ResponseFormat::Text) | None => None,
    };
    let rest = kept(request, "output_config");
    let effort = thinking.effort.as_deref();
    if schema.is_none() && effort.is_none() && rest.is_empty() {
        return;
    }
    body.object("output_config", |config| {
        if let Some(schema) = schema {
            config.object("format", |format| {
                format.string("type", "json_schema");
                format.raw("schema", schema.get());
            });
        }
        if let Some(effort) = effort {
            config.string("effort", effort);
        }
        give_back(config, &rest);
    });
}

fn write_tools(body: &mut Object<'_>, request: &ChatRequest, dropped: &mut Dropped) {
    let mut sayable = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Opaque { kind, dialect, .. } if *dialect != SELF => dropped.note(format!("tools[{index}] ({kind})")),
            tool => sayable.push(tool),
        }
    }
    if sayable.is_empty() {
        dropped.note_if(!request.tools.is_empty() && request.tool_choice.is_some(), "tool_choice");
        return;
    }
    body.array("tools", |tools| {
        for tool in sayable {
            match tool {
                Tool::Opaque { json, .. } => tools.raw(json.get()),
                Tool::Function(function) => tools.object(|object| {
                    blocks::write_function(object, function);
                    for name in function.extra.lost_in(SELF) {
                        dropped.note(format!("tools[].{name}"));
                    }
                }),
            }
        }
    });
    write_tool_choice(body, request);
}

fn write_tool_choice(body: &mut Object<'_>, request: &ChatRequest) {
    let one_call = request.parallel_tool_calls == Some(false);
    let (kind, name) = match &request.tool_choice {
        Some(ToolChoice::Auto) => ("auto", None),
        Some(ToolChoice::Required) => ("any", None),
        Some(ToolChoice::Function(name)) => ("tool", Some(name)),
        Some(ToolChoice::None) => ("none", None),
        None if one_call => ("auto", None),
        None => return,
    };
    body.object("tool_choice", |choice| {
        choice.string("type", kind);
        if let Some(name) = name {
            choice.string("name", name);
        }
        if one_call && kind != "none" {
            choice.boolean("disable_parallel_tool_use", true);
        }
        give_back(choice, &kept(request, "tool_choice"));
    });
}

fn write_conversation(body: &mut Object<'_>, conversation: &Conversation<'_>, as_strings: bool) {
    if !conversation.system.is_empty() {
        write_content(body, "system", &conversation.system, as_strings);
    }
    body.array("messages", |messages| {
        for Turn { role, blocks, extra } in &conversation.turns {
            messages.object(|message| {
                message.string("role", role);
                write_content(message, "content", blocks, as_strings);
                for (name, raw) in extra.iter().filter(|(name, _)| name != "role") {
                    message.raw(name, raw.get());
                }
            });
        }
    });
}

fn write_content(object: &mut Object<'_>, name: &str, blocks: &[Block<'_>], as_string: bool) {
    match blocks::as_text(blocks).filter(|_| as_string) {
        Some(text) => object.string(name, &text),
        None => object.array(name, |array| blocks.iter().for_each(|block| blocks::write(array, block))),
    }
}

/// The extras that belong to `object`, without its name.
fn kept<'r>(request: &'r ChatRequest, object: &str) -> Vec<(&'r str, &'r RawValue)> {
    let entries = request.extra.of(SELF).iter();
    entries.filter_map(|(name, raw)| Some((name.strip_prefix(object)?.strip_prefix('.')?, raw.as_ref()))).collect()
}

fn give_back<'r>(object: &mut Object<'_>, rest: impl IntoIterator<Item = &'r (&'r str, &'r RawValue)>) {
    for (name, raw) in rest {
        object.raw(name, raw.get());
    }
}
