//! A client's request, strictly: a wrong type is refused with the field's path. What is not understood is kept for an upstream
//! of the same dialect.

use gateway_ir::chat::{
    ChatRequest, Function, Message, Part, Reasoning, ResponseFormat, Role, Sampling, Tool, ToolChoice,
};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::{Code, Failure};
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::{items, repair};

pub(super) const SELF: Dialect = Dialect::OpenAiResponses;

/// Reads a whole request body.
pub(super) fn request(document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
    if !document.get().starts_with('{') {
        return Err(Box::new(Failure::invalid("the request body must be a JSON object")));
    }
    let mut top = Fields::read(document, &Path::ROOT)?;
    let mut kept = Vec::new();
    refuse_state(&mut top)?;
    let mut request = ChatRequest {
        origin: Some(SELF),
        model: top.required_string("model")?.into_owned(),
        stream: top.boolean("stream")?,
        include_usage: true,
        sampling: Sampling {
            max_output_tokens: top.unsigned("max_output_tokens")?,
            temperature: top.number("temperature")?,
            top_p: top.number("top_p")?,
            top_logprobs: top.unsigned("top_logprobs")?.filter(|count| *count > 0),
            ..Sampling::default()
        },
        parallel_tool_calls: top.boolean("parallel_tool_calls")?,
        user: top.string("user")?.map(Into::into),
        ..ChatRequest::default()
    };
    request.sampling.logprobs = request.sampling.top_logprobs.map(|_| true);
    if let Some(instructions) = top.string("instructions")? {
        request.messages.push(Message::new(Role::System, vec![Part::text(instructions)]));
    }
    items::read(&mut top, &mut request.messages)?;
    request.tools = tools(&mut top)?;
    request.tool_choice = tool_choice(&mut top, &mut kept)?;
    request.reasoning = reasoning(&mut top, &mut kept)?;
    request.response_format = text(&mut top, &mut kept)?;
    if let Some(raw) = top.take("metadata") {
        let metadata = serde_json::from_str(raw.get());
        request.metadata = metadata.map_err(|_| top.path().name("metadata").must_be("an object"))?;
    }
    // The gateway keeps a translated reply itself, and `include` asks for details that only the vendor's own tools have.
    top.take("store");
    top.take("include");
    kept.extend(top.rest());
    request.extra = Extra::new(SELF, kept);
    repair::transcript(&mut request);
    Ok(request)
}

/// State that the vendor keeps is not there where another vendor answers: leaving it out would answer another question.
fn refuse_state(top: &mut Fields<'_, '_>) -> Result<(), Box<Failure>> {
    for name in ["previous_response_id", "conversation", "prompt"] {
        if top.take(name).is_some() {
            let message = format!(
                "`{name}` names what its own provider has stored, and this model is served by a provider that speaks another \
                 API; send the whole conversation in `input`"
            );
            return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at(name)));
        }
    }
    if top.boolean("background")? == Some(true) {
        let message = "`background` needs a provider that speaks the Responses API itself; leave it out";
        return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at("background")));
    }
    Ok(())
}

fn tools(top: &mut Fields<'_, '_>) -> Result<Vec<Tool>, Box<Failure>> {
    let path = top.path().name("tools");
    let Some(list) = top.array("tools")? else { return Ok(Vec::new()) };
    list.into_iter().enumerate().map(|(index, raw)| tool(raw, &path.index(index))).collect()
}

/// Functions are flat here.
fn tool(raw: &RawValue, path: &Path<'_>) -> Result<Tool, Box<Failure>> {
    let mut tool = Fields::read(raw, path)?;
    let kind = tool.required_string("type")?;
    if kind != "function" {
        return Ok(Tool::Opaque { kind: kind.into_owned(), json: raw.to_owned(), dialect: SELF });
    }
    Ok(Tool::Function(Function {
        name: tool.required_string("name")?.into_owned(),
        description: tool.string("description")?.map(Into::into),
        parameters: tool.take("parameters").map(ToOwned::to_owned),
        strict: tool.boolean("strict")?,
        cache: None,
        extra: tool.into_extra(SELF),
    }))
}

fn tool_choice(
    top: &mut Fields<'_, '_>,
    kept: &mut Vec<(String, Box<RawValue>)>,
) -> Result<Option<ToolChoice>, Box<Failure>> {
    let Some(raw) = top.take("tool_choice") else { return Ok(None) };
    let path = top.path().name("tool_choice");
    if raw.get().starts_with('"') {
        return match fields::string(raw, &path)?.as_ref() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" => Ok(Some(ToolChoice::Required)),
            _ => Err(path.must_be("auto, none, required or an object")),
        };
    }
    let mut choice = Fields::read(raw, &path)?;
    if choice.required_string("type")? == "function" {
        return Ok(Some(ToolChoice::Function(choice.required_string("name")?.into_owned())));
    }
    kept.push(("tool_choice".to_owned(), raw.to_owned()));
    Ok(None)
}

fn reasoning(
    top: &mut Fields<'_, '_>,
    kept: &mut Vec<(String, Box<RawValue>)>,
) -> Result<Option<Reasoning>, Box<Failure>> {
    let Some(raw) = top.take("reasoning") else { return Ok(None) };
    let path = top.path().name("reasoning");
    let mut reasoning = Fields::read(raw, &path)?;
    let effort = reasoning.string("effort")?.map(|effort| effort.into_owned());
    // How to summarise is asked of the vendor's own summaries only.
    for name in ["summary", "generate_summary"] {
        reasoning.take(name);
    }
    kept.extend(reasoning.rest().map(|(name, json)| (format!("reasoning.{name}"), json)));
    Ok(effort.map(|effort| if effort == "none" { Reasoning::Off } else { Reasoning::Effort(effort) }))
}

/// `text.format`; its `verbosity` is for the vendor.
fn text(
    top: &mut Fields<'_, '_>,
    kept: &mut Vec<(String, Box<RawValue>)>,
) -> Result<Option<ResponseFormat>, Box<Failure>> {
    let Some(raw) = top.take("text") else { return Ok(None) };
    let path = top.path().name("text");
    let mut text = Fields::read(raw, &path)?;
    let format = text.take("format");
    kept.extend(text.rest().map(|(name, json)| (format!("text.{name}"), json)));
    let Some(raw) = format else { return Ok(None) };
    let path = path.name("format");
    let mut format = Fields::read(raw, &path)?;
    match format.required_string("type")?.as_ref() {
        "text" => Ok(Some(ResponseFormat::Text)),
        "json_object" => Ok(Some(ResponseFormat::JsonObject)),
        "json_schema" => Ok(Some(ResponseFormat::JsonSchema {
            name: format.string("name")?.map_or_else(|| "response".to_owned(), Into::into),
            description: format.string("description")?.map(Into::into),
            schema: format.take("schema").map(ToOwned::to_owned),
            strict: format.boolean("strict")?,
        })),
        _ => Err(path.name("type").must_be("text, json_object or json_schema")),
    }
}
