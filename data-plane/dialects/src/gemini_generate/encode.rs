//! A request for a Gemini upstream. Members always stand in the same order, so that equal requests are equal bytes.

use bytes::BytesMut;
use gateway_ir::chat::{ChatRequest, Function, Reasoning, ResponseFormat, Tool, ToolChoice};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::writer::{Object, object};

mod media;
mod contents;

const SELF: Dialect = Dialect::GeminiGenerate;

/// Tokens of thinking for OpenAI's words of effort; the model's own limit is below the last.
const EFFORTS: [(&str, u64); 5] =
    [("minimal", 512), ("low", 1024), ("medium", 8192), ("high", 24_576), ("xhigh", 24_576)];
/// Google takes as many stop sequences.
const MAX_STOPS: usize = 5;

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    let conversation = contents::plan(request, &mut dropped)?;
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        contents::write(&conversation, body);
        write_tools(request, upstream, body, &mut dropped)?;
        write_config(request, body, &mut dropped);
        for (name, raw) in request.extra.of(SELF).iter().filter(|(name, _)| !name.contains('.')) {
            body.raw(name, raw.get());
        }
        Ok::<_, Box<Failure>>(())
    })?;
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()), "metadata");
    dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
    for name in request.extra.lost_in(SELF) {
        dropped.note(name);
    }
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

fn write_tools(
    request: &ChatRequest,
    upstream: &Upstream<'_>,
    body: &mut Object<'_>,
    dropped: &mut Dropped,
) -> Result<(), Box<Failure>> {
    if upstream.quirks.no_tools && !request.tools.is_empty() {
        if let Some(ToolChoice::Required | ToolChoice::Function(_)) = request.tool_choice {
            let message = "the upstream knows no tools, and `tool_choice` demands one";
            return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at("tool_choice")));
        }
        dropped.note("tools");
        return Ok(());
    }
    let functions: Vec<&Function> = request.tools.iter().filter_map(function).collect();
    let own: Vec<&RawValue> = request.tools.iter().filter_map(own).collect();
    for (index, tool) in request.tools.iter().enumerate() {
        if let Tool::Opaque { kind, dialect, .. } = tool
            && *dialect != SELF
        {
            dropped.note(format!("tools[{index}] ({kind})"));
        }
    }
    if functions.is_empty() && own.is_empty() {
        dropped.note_if(request.tool_choice.is_some(), "tool_choice");
        return Ok(());
    }
    body.array("tools", |tools| {
        if !functions.is_empty() {
            tools.object(|tool| {
                tool.array("functionDeclarations", |array| {
                    for function in &functions {
                        array.object(|object| write_function(function, object, dropped));
                    }
                });
            });
        }
        own.iter().for_each(|json| tools.raw(json.get()));
    });
    let is_said = request.extra.of(SELF).iter().any(|(name, _)| name == "toolConfig");
    if !functions.is_empty() && !is_said {
        write_tool_choice(request, body);
    }
    Ok(())
}

fn function(tool: &Tool) -> Option<&Function> {
    match tool {
        Tool::Function(function) => Some(function),
        Tool::Opaque { .. } => None,
    }
}

fn own(tool: &Tool) -> Option<&RawValue> {
    match tool {
        Tool::Opaque { json, dialect, .. } if *dialect == SELF => Some(json),
        _ => None,
    }
}

/// The schema goes as it is: `parametersJsonSchema` takes JSON Schema, `parameters` only a part of it.
fn write_function(function: &Function, object: &mut Object<'_>, dropped: &mut Dropped) {
    object.string("name", &function.name);
    if let Some(description) = &function.description {
        object.string("description", description);
    }
    if let Some(parameters) = &function.parameters {
        object.raw("parametersJsonSchema", parameters.get());
    }
    dropped.note_if(function.strict == Some(true), "tools[].strict");
    for name in function.extra.lost_in(SELF) {
        dropped.note(format!("tools[].{name}"));
    }
    for (name, raw) in function.extra.of(SELF) {
        object.raw(name, raw.get());
    }
}

fn write_tool_choice(request: &ChatRequest, body: &mut Object<'_>) {
    let (mode, name) = match &request.tool_choice {
        Some(ToolChoice::Auto) => ("AUTO", None),
        Some(ToolChoice::None) => ("NONE", None),
        Some(ToolChoice::Required) => ("ANY", None),
        Some(ToolChoice::Function(name)) => ("ANY", Some(name)),
        None => return,
    };
    body.object("toolConfig", |config| {
        config.object("functionCallingConfig", |calling| {
            calling.string("mode", mode);
            if let Some(name) = name {
                calling.array("allowedFunctionNames", |names| names.string(name));
            }
        });
    });
}

fn write_config(request: &ChatRequest, body: &mut Object<'_>, dropped: &mut Dropped) {
    let own: Vec<(&str, &RawValue)> = kept(request, "generationConfig.").collect();
    let sampling = &request.sampling;
    let stops: Vec<&String> = sampling.stop.iter().filter(|stop| !stop.is_empty()).collect();
    dropped.note_if(stops.len() > MAX_STOPS, "stop");
    body.object("generationConfig", |config| {
        let number = |config: &mut Object<'_>, name: &str, value: &Option<Number>| {
            if let Some(value) = value {
                config.raw(name, &value.to_string());
            }
        };
        let unsigned = |config: &mut Object<'_>, name: &str, value: Option<u64>| {
            if let Some(value) = value {
                config.unsigned(name, value);
            }
        };
        unsigned(config, "maxOutputTokens", sampling.max_output_tokens);
        number(config, "temperature", &sampling.temperature);
        number(config, "topP", &sampling.top_p);
        unsigned(config, "topK", sampling.top_k);
        if !stops.is_empty() {
            config.array("stopSequences", |array| stops.iter().take(MAX_STOPS).for_each(|stop| array.string(stop)));
        }
        unsigned(config, "candidateCount", sampling.n.filter(|n| *n != 1));
        if let Some(seed) = sampling.seed {
            config.raw("seed", &seed.to_string());
        }
        number(config, "presencePenalty", &sampling.presence_penalty);
        number(config, "frequencyPenalty", &sampling.frequency_penalty);
        if sampling.logprobs == Some(true) {
            config.boolean("responseLogprobs", true);
            unsigned(config, "logprobs", sampling.top_logprobs.filter(|count| *count > 0));
        }
        write_format(request, config);
        if !own.iter().any(|(name, _)| *name == "thinkingConfig") {
            write_thinking(request, config);
        }
        own.iter().for_each(|(name, raw)| config.raw(name, raw.get()));
    });
}

fn write_format(request: &ChatRequest, config: &mut Object<'_>) {
    match &request.response_format {
        Some(ResponseFormat::JsonObject) => config.string("responseMimeType", "application/json"),
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            config.string("responseMimeType", "application/json");
            if let Some(schema) = schema {
                config.raw("responseJsonSchema", schema.get());
            }
        }
        Some(ResponseFormat::Text) | None => {}
    }
}

/// By budget: every thinking model takes one. Who asks for thinking wants to see it.
fn write_thinking(request: &ChatRequest, config: &mut Object<'_>) {
    let budget = match &request.reasoning {
        None => return,
        Some(Reasoning::Off) => Some(0),
        Some(Reasoning::Adaptive) => None,
        Some(Reasoning::BudgetTokens(budget)) => Some(*budget),
        Some(Reasoning::Effort(word)) => EFFORTS.iter().find(|(known, _)| known == word).map(|(_, budget)| *budget),
    };
    config.object("thinkingConfig", |thinking| {
        if budget != Some(0) {
            thinking.boolean("includeThoughts", true);
        }
        match budget {
            Some(budget) => thinking.unsigned("thinkingBudget", budget),
            // The model decides.
            None => thinking.raw("thinkingBudget", "-1"),
        }
    });
}

/// Extras of a Gemini client that belong under `prefix`, without it.
fn kept<'r>(request: &'r ChatRequest, prefix: &'static str) -> impl Iterator<Item = (&'r str, &'r RawValue)> {
    let entries = request.extra.of(SELF).iter();
    entries.filter_map(move |(name, raw)| Some((name.strip_prefix(prefix)?, raw.as_ref())))
}
