//! A client's request → canonical. Owns the top level and the tools; `decode/content.rs` reads messages.
//!
//! Members of objects we take apart (`thinking`, `output_config`, `metadata`, `tool_choice`) that have no canonical place are
//! kept as top-level extras under a dotted name (`thinking.display`); `encode` puts them back.

mod content;

use gateway_ir::chat::{CacheMark, ChatRequest, Function, Reasoning, ResponseFormat, Sampling, Tool, ToolChoice};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::repair;

type Entries = Vec<(String, Box<RawValue>)>;

/// Reads a whole request body.
pub(super) fn request(document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
    let root = Path::ROOT;
    let mut top = Fields::read(document, &root)?;
    let mut request = ChatRequest { model: top.required_string("model")?.into_owned(), ..ChatRequest::default() };
    let mut kept = Entries::new();
    request.stream = top.boolean("stream")?;
    // Anthropic streams always carry usage.
    request.include_usage = true;
    request.sampling = sampling(&mut top)?;
    if let Some(system) = top.take("system") {
        request.messages.extend(content::system(system, &root.name("system"))?);
    }
    let messages = top.array("messages")?.ok_or_else(|| top.missing("messages"))?;
    for (index, message) in messages.into_iter().enumerate() {
        content::message(message, &root.name("messages").index(index), &mut request.messages)?;
    }
    for (index, tool) in top.array("tools")?.unwrap_or_default().into_iter().enumerate() {
        request.tools.push(read_tool(tool, &root.name("tools").index(index))?);
    }
    if let Some(choice) = top.take("tool_choice") {
        read_tool_choice(choice, &root.name("tool_choice"), &mut request, &mut kept)?;
    }
    if let Some(metadata) = top.take("metadata") {
        let path = root.name("metadata");
        let mut metadata = Fields::read(metadata, &path)?;
        request.user = metadata.string("user_id")?.map(Into::into);
        keep("metadata", metadata, &mut kept);
    }
    read_reasoning(&mut top, &mut request, &mut kept)?;
    kept.extend(top.rest());
    request.extra = Extra::new(Dialect::AnthropicMessages, kept);
    repair::transcript(&mut request);
    Ok(request)
}

/// The cache mark of a block or a tool.
fn cache_mark(fields: &mut Fields<'_, '_>) -> Option<CacheMark> {
    fields.take("cache_control").map(|raw| CacheMark(raw.to_owned()))
}

fn keep(object: &str, rest: Fields<'_, '_>, kept: &mut Entries) {
    kept.extend(rest.rest().map(|(name, raw)| (format!("{object}.{name}"), raw)));
}

fn sampling(top: &mut Fields<'_, '_>) -> Result<Sampling, Box<Failure>> {
    let mut sampling = Sampling {
        max_output_tokens: top.unsigned("max_tokens")?,
        temperature: top.number("temperature")?,
        top_p: top.number("top_p")?,
        top_k: top.unsigned("top_k")?,
        ..Sampling::default()
    };
    let path = top.path().name("stop_sequences");
    for (index, stop) in top.array("stop_sequences")?.unwrap_or_default().into_iter().enumerate() {
        sampling.stop.push(fields::string(stop, &path.index(index))?.into_owned());
    }
    Ok(sampling)
}

fn read_tool(raw: &RawValue, path: &Path<'_>) -> Result<Tool, Box<Failure>> {
    let mut tool = Fields::read(raw, path)?;
    match tool.string("type")? {
        Some(kind) if kind != "custom" => {
            return Ok(Tool::Opaque {
                kind: kind.into_owned(),
                json: raw.to_owned(),
                dialect: Dialect::AnthropicMessages,
            });
        }
        _ => {}
    }
    Ok(Tool::Function(Function {
        name: tool.required_string("name")?.into_owned(),
        description: tool.string("description")?.map(Into::into),
        parameters: tool.take("input_schema").map(ToOwned::to_owned),
        strict: tool.boolean("strict")?,
        cache: cache_mark(&mut tool),
        extra: tool.into_extra(Dialect::AnthropicMessages),
    }))
}

fn read_tool_choice(
    raw: &RawValue,
    path: &Path<'_>,
    request: &mut ChatRequest,
    kept: &mut Entries,
) -> Result<(), Box<Failure>> {
    let mut choice = Fields::read(raw, path)?;
    request.tool_choice = Some(match choice.required_string("type")?.as_ref() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Function(choice.required_string("name")?.into_owned()),
        _ => return Err(path.name("type").must_be("one of `auto`, `any`, `tool`, `none`")),
    });
    request.parallel_tool_calls = choice.boolean("disable_parallel_tool_use")?.map(|disabled| !disabled);
    keep("tool_choice", choice, kept);
    Ok(())
}

/// `thinking`, `output_config` and the older `output_format`. An effort is the better word for other dialects than "adaptive",
/// so it wins; what it hides is kept, see the module's head.
fn read_reasoning(top: &mut Fields<'_, '_>, request: &mut ChatRequest, kept: &mut Entries) -> Result<(), Box<Failure>> {
    let root = *top.path();
    let path = root.name("thinking");
    let mut adaptive = None;
    if let Some(raw) = top.take("thinking") {
        let mut thinking = Fields::read(raw, &path)?;
        let kind = thinking.take("type").ok_or_else(|| thinking.missing("type"))?;
        request.reasoning = Some(match fields::string(kind, &path.name("type"))?.as_ref() {
            "enabled" => {
                let budget = thinking.unsigned("budget_tokens")?;
                Reasoning::BudgetTokens(budget.ok_or_else(|| thinking.missing("budget_tokens"))?)
            }
            "disabled" => Reasoning::Off,
            "adaptive" => {
                adaptive = Some(kind);
                Reasoning::Adaptive
            }
            _ => return Err(path.name("type").must_be("one of `enabled`, `disabled`, `adaptive`")),
        });
        keep("thinking", thinking, kept);
    }
    let path = root.name("output_config");
    if let Some(raw) = top.take("output_config") {
        let mut config = Fields::read(raw, &path)?;
        if let Some(format) = config.take("format") {
            request.response_format = Some(read_format(format, &path.name("format"))?);
        }
        if let Some(raw) = config.take("effort") {
            let effort = fields::string(raw, &path.name("effort"))?.into_owned();
            match (&request.reasoning, adaptive) {
                (Some(Reasoning::Adaptive), Some(kind)) => kept.push(("thinking.type".to_owned(), kind.to_owned())),
                _ => kept.push(("output_config.effort".to_owned(), raw.to_owned())),
            }
            if matches!(request.reasoning, None | Some(Reasoning::Adaptive)) {
                request.reasoning = Some(Reasoning::Effort(effort));
            }
        }
        keep("output_config", config, kept);
    }
    if let Some(raw) = top.take("output_format") {
        request.response_format = Some(read_format(raw, &root.name("output_format"))?);
    }
    Ok(())
}

fn read_format(raw: &RawValue, path: &Path<'_>) -> Result<ResponseFormat, Box<Failure>> {
    let mut format = Fields::read(raw, path)?;
    match format.required_string("type")?.as_ref() {
        // Anthropic's schema has no name; other dialects demand one.
        "json_schema" => Ok(ResponseFormat::JsonSchema {
            name: format.string("name")?.unwrap_or("output".into()).into_owned(),
            description: None,
            schema: format.take("schema").map(ToOwned::to_owned),
            strict: None,
        }),
        _ => Err(path.name("type").must_be("`json_schema`")),
    }
}
