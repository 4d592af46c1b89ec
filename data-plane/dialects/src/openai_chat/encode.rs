//! A request for an upstream of this dialect. Members always stand in the same order, so that equal requests are equal bytes.

use bytes::BytesMut;
use gateway_ir::chat::{ChatRequest, Content, Function, Reasoning, ResponseFormat, Sampling, Tool, ToolChoice};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use serde_json::value::RawValue;

use crate::dialect::{Encoded, Upstream};
use crate::reading::members_of;
use crate::writer::{Object, object};

mod content;
mod messages;

/// Budgets up to these many tokens are called low and medium; above, high.
const LOW_BUDGET: u64 = 4096;
const MEDIUM_BUDGET: u64 = 16384;

/// What the parts of the encoder need to know, and what they could not say.
struct Context<'a> {
    upstream: &'a Upstream<'a>,
    /// The client speaks this dialect too: it gets what only this dialect can say.
    is_native: bool,
    dropped: Vec<String>,
}

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    let is_native = request.origin == Some(Dialect::OpenAiChat);
    let mut context = Context { upstream, is_native, dropped: Vec::new() };
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| write(request, body, &mut context))?;
    Ok(Encoded { body: out.freeze(), dropped: context.dropped, headers: Vec::new() })
}

fn write(request: &ChatRequest, body: &mut Object<'_>, context: &mut Context<'_>) -> Result<(), Box<Failure>> {
    body.string("model", context.upstream.model);
    body.array("messages", |array| messages::write(&request.messages, array, context))?;
    write_tools(request, body, context)?;
    write_sampling(&request.sampling, body, context);
    if let Some(format) = &request.response_format {
        body.object("response_format", |object| write_format(format, object));
    }
    let extra = request.extra.of(Dialect::OpenAiChat);
    let has_own_reasoning = extra.iter().any(|(name, _)| name == "reasoning");
    if let Some(effort) = request.reasoning.as_ref().and_then(|reasoning| effort(reasoning, context.is_native))
        && !has_own_reasoning
    {
        body.string("reasoning_effort", effort);
    }
    if let Some(user) = &request.user {
        body.string("user", user);
    }
    if let Some(metadata) = &request.metadata {
        body.raw("metadata", &serde_json::Value::Object(metadata.clone()).to_string());
    }
    for name in request.extra.lost_in(Dialect::OpenAiChat) {
        context.drop(name);
    }
    let mut stream_options = None;
    for (name, json) in extra {
        if name == "stream_options" {
            stream_options = Some(json);
        } else {
            body.raw(name, json.get());
        }
    }
    write_stream(stream_options.map(AsRef::as_ref), body, context);
    Ok(())
}

fn write_stream(options: Option<&RawValue>, body: &mut Object<'_>, context: &Context<'_>) {
    if !context.upstream.stream {
        return;
    }
    body.raw("stream", "true");
    if !context.upstream.quirks.no_stream_options {
        body.object("stream_options", |object| {
            object.raw("include_usage", "true");
            if let Some(options) = options {
                members_of(options, |name, json| {
                    if name != "include_usage" {
                        object.raw(name, json.get());
                    }
                });
            }
        });
    }
}

fn write_tools(request: &ChatRequest, body: &mut Object<'_>, context: &mut Context<'_>) -> Result<(), Box<Failure>> {
    let choice = request.tool_choice.as_ref();
    if context.upstream.quirks.no_tools && !request.tools.is_empty() {
        if let Some(ToolChoice::Required | ToolChoice::Function(_)) = choice {
            return Err(unsupported("the upstream knows no tools, and `tool_choice` demands one", "tool_choice"));
        }
        context.drop("tools");
        return Ok(());
    }
    let mut sayable = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        match tool {
            Tool::Opaque { kind, dialect, .. } if *dialect != Dialect::OpenAiChat => {
                context.drop(&format!("tools.{kind}"))
            }
            tool => sayable.push(tool),
        }
    }
    if sayable.is_empty() {
        if choice.is_some() {
            context.drop("tool_choice");
        }
        return Ok(());
    }
    body.array("tools", |array| {
        for tool in sayable {
            match tool {
                Tool::Function(function) => array.object(|object| write_function(function, object, context)),
                Tool::Opaque { json, .. } => array.raw(json.get()),
            }
        }
    });
    match choice {
        Some(ToolChoice::Auto) => body.string("tool_choice", "auto"),
        Some(ToolChoice::None) => body.string("tool_choice", "none"),
        Some(ToolChoice::Required) => body.string("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => body.object("tool_choice", |object| {
            object.string("type", "function");
            object.object("function", |function| function.string("name", name));
        }),
        None => {}
    }
    if let Some(parallel) = request.parallel_tool_calls {
        body.raw("parallel_tool_calls", if parallel { "true" } else { "false" });
    }
    Ok(())
}

fn write_function(function: &Function, object: &mut Object<'_>, context: &mut Context<'_>) {
    object.string("type", "function");
    object.object("function", |inner| {
        inner.string("name", &function.name);
        if let Some(description) = &function.description {
            inner.string("description", description);
        }
        if let Some(parameters) = &function.parameters {
            inner.raw("parameters", parameters.get());
        }
        if let Some(strict) = function.strict {
            inner.raw("strict", if strict { "true" } else { "false" });
        }
        context.extra(&function.extra, "tools", inner);
    });
    context.cache(function.cache.as_ref(), object);
}

fn write_sampling(sampling: &Sampling, body: &mut Object<'_>, context: &mut Context<'_>) {
    let max_tokens = if context.upstream.quirks.max_tokens_name { "max_tokens" } else { "max_completion_tokens" };
    let mut unsigned = |name: &str, number: Option<u64>| {
        if let Some(number) = number {
            body.unsigned(name, number);
        }
    };
    unsigned(max_tokens, sampling.max_output_tokens);
    unsigned("n", sampling.n);
    unsigned("top_logprobs", sampling.top_logprobs);
    // OpenAI itself refuses it; who wrote it in this dialect knows the server.
    if context.is_native {
        unsigned("top_k", sampling.top_k);
    } else if sampling.top_k.is_some() {
        context.drop("top_k");
    }
    let numbers = [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("presence_penalty", &sampling.presence_penalty),
        ("frequency_penalty", &sampling.frequency_penalty),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            body.raw(name, &number.to_string());
        }
    }
    if !sampling.stop.is_empty() {
        body.array("stop", |array| sampling.stop.iter().for_each(|text| array.string(text)));
    }
    if let Some(seed) = sampling.seed {
        body.raw(if context.upstream.quirks.random_seed_name { "random_seed" } else { "seed" }, &seed.to_string());
    }
    if let Some(logprobs) = sampling.logprobs {
        body.raw("logprobs", if logprobs { "true" } else { "false" });
    }
}

fn write_format(format: &ResponseFormat, object: &mut Object<'_>) {
    match format {
        ResponseFormat::Text => object.string("type", "text"),
        ResponseFormat::JsonObject => object.string("type", "json_object"),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            object.string("type", "json_schema");
            object.object("json_schema", |object| {
                object.string("name", name);
                if let Some(description) = description {
                    object.string("description", description);
                }
                if let Some(schema) = schema {
                    object.raw("schema", schema.get());
                }
                if let Some(strict) = strict {
                    object.raw("strict", if *strict { "true" } else { "false" });
                }
            });
        }
    }
}

/// A budget becomes the nearest word. Leaving the choice to the model is the default and needs none; so does not thinking,
/// for which only newer models have a word (a client of this dialect that used it knows the model).
fn effort(reasoning: &Reasoning, is_native: bool) -> Option<&str> {
    match reasoning {
        Reasoning::Effort(effort) => Some(effort),
        Reasoning::BudgetTokens(0..=LOW_BUDGET) => Some("low"),
        Reasoning::BudgetTokens(..=MEDIUM_BUDGET) => Some("medium"),
        Reasoning::BudgetTokens(_) => Some("high"),
        Reasoning::Off => is_native.then_some("none"),
        Reasoning::Adaptive => None,
    }
}

fn unsupported(message: impl Into<std::borrow::Cow<'static, str>>, param: impl Into<String>) -> Box<Failure> {
    Box::new(Failure::new(Code::UnsupportedParameter, message).at(param))
}

// === impl Context ===

impl Context<'_> {
    /// Names what could not be said, once.
    fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// Unknown members go back to the dialect they came from; others are named behind `place`.
    fn extra(&mut self, extra: &gateway_ir::extra::Extra, place: &str, object: &mut Object<'_>) {
        for (name, json) in extra.of(Dialect::OpenAiChat) {
            object.raw(name, json.get());
        }
        for name in extra.lost_in(Dialect::OpenAiChat) {
            self.drop(&format!("{place}.{name}"));
        }
    }

    /// A cache mark is a hint that OpenAI refuses; it goes to servers whose client wrote it in this dialect.
    fn cache(&self, mark: Option<&gateway_ir::chat::CacheMark>, object: &mut Object<'_>) {
        if let Some(mark) = mark.filter(|_| self.is_native) {
            object.raw("cache_control", mark.0.get());
        }
    }
}

/// What a foreign block is called in a report.
fn foreign_name(content: &Content) -> Option<&str> {
    match content {
        Content::Opaque { kind, dialect, .. } if *dialect != Dialect::OpenAiChat => Some(kind),
        _ => None,
    }
}
