//! A request for a Bedrock upstream. Members always stand in the same order, so that equal requests are equal bytes.

use bytes::BytesMut;
use gateway_ir::chat::{ChatRequest, Content, Function, Reasoning, ResponseFormat, Tool, ToolChoice};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use serde_json::Number;

use crate::choices;
use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::writer::{Object, object};

mod blocks;
mod turns;

const SELF: Dialect = Dialect::BedrockConverse;

/// Tokens of thinking for OpenAI's words of effort.
const EFFORTS: [(&str, u64); 5] =
    [("minimal", 1024), ("low", 1024), ("medium", 8192), ("high", 24_576), ("xhigh", 32_768)];

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    choices::only_one(request)?;
    let mut dropped = Dropped::default();
    let conversation = turns::plan(request, &mut dropped)?;
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        turns::write(&conversation, body);
        write_inference(request, body);
        write_tools(request, upstream, body, &mut dropped)?;
        write_additional(request, upstream, body, &mut dropped);
        write_format(request, body, &mut dropped);
        for (name, raw) in request.extra.of(SELF) {
            body.raw(name, raw.get());
        }
        Ok::<_, Box<Failure>>(())
    })?;
    let sampling = &request.sampling;
    let is_set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
    dropped.note_if(sampling.seed.is_some(), "seed");
    dropped.note_if(is_set(&sampling.presence_penalty), "presence_penalty");
    dropped.note_if(is_set(&sampling.frequency_penalty), "frequency_penalty");
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

fn write_inference(request: &ChatRequest, body: &mut Object<'_>) {
    let sampling = &request.sampling;
    let stops: Vec<_> = sampling.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
    let says_nothing = sampling.max_output_tokens.is_none()
        && sampling.temperature.is_none()
        && sampling.top_p.is_none()
        && stops.is_empty();
    if says_nothing {
        return;
    }
    body.object("inferenceConfig", |config| {
        if let Some(max_tokens) = sampling.max_output_tokens {
            config.unsigned("maxTokens", max_tokens);
        }
        if let Some(temperature) = &sampling.temperature {
            config.raw("temperature", &temperature.to_string());
        }
        if let Some(top_p) = &sampling.top_p {
            config.raw("topP", &top_p.to_string());
        }
        if !stops.is_empty() {
            config.array("stopSequences", |array| stops.iter().for_each(|stop| array.string(stop)));
        }
    });
}

fn write_tools(
    request: &ChatRequest,
    upstream: &Upstream<'_>,
    body: &mut Object<'_>,
    dropped: &mut Dropped,
) -> Result<(), Box<Failure>> {
    let mut functions: Vec<&Function> = Vec::with_capacity(request.tools.len());
    let mut own = Vec::new();
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function(function) => functions.push(function),
            Tool::Opaque { json, dialect, .. } if *dialect == SELF => own.push(json),
            Tool::Opaque { kind, .. } => dropped.note(format!("tools[{index}] ({kind})")),
        }
    }
    let demands_one = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    if upstream.quirks.no_tools && !functions.is_empty() {
        if demands_one {
            let message = "the upstream knows no tools, and `tool_choice` demands one";
            return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at("tool_choice")));
        }
        dropped.note("tools");
        return Ok(());
    }
    // `none` has no word here. Without tools nothing is called, but a conversation that has calls must name them.
    let is_none = request.tool_choice == Some(ToolChoice::None);
    if functions.is_empty() && own.is_empty() || is_none && !has_calls(request) {
        return Ok(());
    }
    dropped.note_if(is_none, "tool_choice");
    body.object("toolConfig", |config| {
        config.array("tools", |tools| {
            for function in &functions {
                tools.object(|tool| tool.object("toolSpec", |spec| write_function(function, spec)));
                if function.cache.is_some() {
                    tools.raw(blocks::CACHE_POINT);
                }
            }
            own.iter().for_each(|json| tools.raw(json.get()));
        });
        match &request.tool_choice {
            Some(ToolChoice::Auto) => config.raw("toolChoice", r#"{"auto":{}}"#),
            Some(ToolChoice::Required) => config.raw("toolChoice", r#"{"any":{}}"#),
            Some(ToolChoice::Function(name)) => config.object("toolChoice", |choice| {
                choice.object("tool", |tool| tool.string("name", name));
            }),
            Some(ToolChoice::None) | None => {}
        }
    });
    Ok(())
}

fn has_calls(request: &ChatRequest) -> bool {
    let mut parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.any(|part| matches!(part.content, Content::ToolCall(_) | Content::ToolResult(_)))
}

fn write_function(function: &Function, spec: &mut Object<'_>) {
    spec.string("name", &function.name);
    if let Some(description) = function.description.as_ref().filter(|description| !description.is_empty()) {
        spec.string("description", description);
    }
    spec.object("inputSchema", |schema| {
        let parameters = function.parameters.as_deref();
        schema.raw("json", parameters.map_or(r#"{"type":"object","properties":{}}"#, |raw| raw.get()));
    });
    if function.strict == Some(true) {
        spec.boolean("strict", true);
    }
}

/// What is beside the common form is the model vendor's own. A model's id names its vendor.
fn write_additional(request: &ChatRequest, upstream: &Upstream<'_>, body: &mut Object<'_>, dropped: &mut Dropped) {
    let is_anthropic = upstream.model.contains("anthropic.");
    let budget = match &request.reasoning {
        Some(Reasoning::BudgetTokens(budget)) => Some(*budget),
        Some(Reasoning::Effort(word)) => EFFORTS.iter().find(|(known, _)| known == word).map(|(_, budget)| *budget),
        Some(Reasoning::Adaptive | Reasoning::Off) | None => None,
    };
    let top_k = request.sampling.top_k;
    if !is_anthropic {
        dropped.note_if(budget.is_some(), "reasoning_effort");
        dropped.note_if(top_k.is_some(), "top_k");
        return;
    }
    if budget.is_none() && top_k.is_none() {
        return;
    }
    body.object("additionalModelRequestFields", |fields| {
        if let Some(top_k) = top_k {
            fields.unsigned("top_k", top_k);
        }
        if let Some(budget) = budget {
            fields.object("thinking", |thinking| {
                thinking.string("type", "enabled");
                thinking.unsigned("budget_tokens", budget);
            });
        }
    });
}

/// Here a schema is a text that holds JSON.
fn write_format(request: &ChatRequest, body: &mut Object<'_>, dropped: &mut Dropped) {
    let (name, description, schema) = match &request.response_format {
        Some(ResponseFormat::JsonSchema { name, description, schema: Some(schema), .. }) => (name, description, schema),
        // Without a schema there is nothing to say it by.
        Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { .. }) => return dropped.note("response_format"),
        Some(ResponseFormat::Text) | None => return,
    };
    body.object("outputConfig", |config| {
        config.object("textFormat", |format| {
            format.string("type", "json_schema");
            format.object("structure", |structure| {
                structure.object("jsonSchema", |json_schema| {
                    json_schema.string("schema", schema.get());
                    json_schema.string("name", name);
                    if let Some(description) = description {
                        json_schema.string("description", description);
                    }
                });
            });
        });
    });
}
