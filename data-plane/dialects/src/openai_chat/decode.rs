//! A client's request, strictly: a wrong type is refused with the field's path. What is not understood is kept for an upstream
//! of the same dialect.

use gateway_ir::chat::{ChatRequest, Message, Part, Reasoning, ResponseFormat, Role, Sampling};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::{items, repair};

mod tools;
mod content;
mod messages;

pub(crate) type Kept = Vec<(String, Box<RawValue>)>;

/// Reads a whole request body.
pub(super) fn request(document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
    if !document.get().starts_with('{') {
        return Err(Box::new(Failure::invalid("the request body must be a JSON object")));
    }
    let mut top = Fields::read(document, &Path::ROOT)?;
    let mut kept = Vec::new();
    let mut request = ChatRequest {
        origin: Some(Dialect::OpenAiChat),
        model: top.required_string("model")?.into_owned(),
        messages: conversation(&mut top)?,
        stream: top.boolean("stream")?,
        sampling: Sampling {
            logprobs: top.boolean("logprobs")?,
            top_logprobs: top.unsigned("top_logprobs")?,
            ..sampling(&mut top)?
        },
        parallel_tool_calls: top.boolean("parallel_tool_calls")?,
        user: top.string("user")?.map(Into::into),
        ..ChatRequest::default()
    };
    tools::read(&mut top, &mut request, &mut kept)?;
    request.include_usage = stream_options(&mut top, &mut kept)?;
    request.response_format = response_format(&mut top, &mut kept)?;
    request.reasoning = reasoning(&mut top, &mut kept)?;
    request.metadata = metadata(&mut top)?;
    kept.extend(top.rest());
    request.extra = Extra::new(Dialect::OpenAiChat, kept);
    repair::transcript(&mut request);
    Ok(request)
}

/// `messages`; or, from clients that send the body of a Responses request here, `instructions` and `input`.
fn conversation(top: &mut Fields<'_, '_>) -> Result<Vec<Message>, Box<Failure>> {
    if top.peek("messages").is_some() || top.peek("input").is_none() {
        return messages::read(top);
    }
    let instructions = top.string("instructions")?;
    let mut messages: Vec<Message> =
        instructions.map(|text| Message::new(Role::System, vec![Part::text(text)])).into_iter().collect();
    items::read(top, &mut messages)?;
    Ok(messages)
}

/// What says how to pick tokens, but for `logprobs`, which the legacy dialect writes in another form.
pub(crate) fn sampling(top: &mut Fields<'_, '_>) -> Result<Sampling, Box<Failure>> {
    // `max_completion_tokens` is the newer name and wins; the older one must still be sound.
    let newer = top.unsigned("max_completion_tokens")?;
    let older = top.unsigned("max_tokens")?;
    Ok(Sampling {
        max_output_tokens: newer.or(older),
        temperature: top.number("temperature")?,
        top_p: top.number("top_p")?,
        top_k: top_k(top)?,
        stop: stop(top)?,
        n: top.unsigned("n")?,
        seed: seed(top)?,
        presence_penalty: top.number("presence_penalty")?,
        frequency_penalty: top.number("frequency_penalty")?,
        ..Sampling::default()
    })
}

/// No member of OpenAI's own, but common beside it; -1 stands for "not limited".
fn top_k(top: &mut Fields<'_, '_>) -> Result<Option<u64>, Box<Failure>> {
    let number = top.number("top_k")?;
    match number {
        Some(number) if number.as_i64() == Some(-1) => Ok(None),
        Some(number) => match number.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(top.path().name("top_k").must_be("a whole number of at least 0")),
        },
        None => Ok(None),
    }
}

fn seed(top: &mut Fields<'_, '_>) -> Result<Option<i64>, Box<Failure>> {
    match top.number("seed")? {
        Some(number) => match number.as_i64() {
            Some(seed) => Ok(Some(seed)),
            None => Err(top.path().name("seed").must_be("a whole number of at most 64 bits")),
        },
        None => Ok(None),
    }
}

/// One text or a list of them.
fn stop(top: &mut Fields<'_, '_>) -> Result<Vec<String>, Box<Failure>> {
    let Some(raw) = top.take("stop") else { return Ok(Vec::new()) };
    let path = top.path().name("stop");
    if raw.get().starts_with('"') {
        return Ok(vec![fields::string(raw, &path)?.into_owned()]);
    }
    if !raw.get().starts_with('[') {
        return Err(path.must_be("a string or an array of strings"));
    }
    let texts = fields::array(raw, &path)?.into_iter().enumerate();
    texts.map(|(index, text)| fields::string(text, &path.index(index)).map(Into::into)).collect()
}

/// Whether usage is wanted in the stream. Other options are kept for an upstream that knows them.
pub(crate) fn stream_options(top: &mut Fields<'_, '_>, kept: &mut Kept) -> Result<bool, Box<Failure>> {
    let Some(raw) = top.take("stream_options") else { return Ok(false) };
    let path = top.path().name("stream_options");
    let mut options = Fields::read(raw, &path)?;
    let include_usage = options.boolean("include_usage")?.unwrap_or(false);
    if options.rest().next().is_some() {
        kept.push(("stream_options".to_owned(), raw.to_owned()));
    }
    Ok(include_usage)
}

fn response_format(top: &mut Fields<'_, '_>, kept: &mut Kept) -> Result<Option<ResponseFormat>, Box<Failure>> {
    let Some(raw) = top.take("response_format") else { return Ok(None) };
    let path = top.path().name("response_format");
    let mut format = Fields::read(raw, &path)?;
    match format.required_string("type")?.as_ref() {
        "text" => Ok(Some(ResponseFormat::Text)),
        "json_object" => Ok(Some(ResponseFormat::JsonObject)),
        "json_schema" => {
            let path = path.name("json_schema");
            let Some(raw) = format.take("json_schema") else { return Err(format.missing("json_schema")) };
            let mut schema = Fields::read(raw, &path)?;
            Ok(Some(ResponseFormat::JsonSchema {
                name: schema.string("name")?.map_or_else(|| "response".to_owned(), Into::into),
                description: schema.string("description")?.map(Into::into),
                schema: schema.take("schema").map(ToOwned::to_owned),
                strict: schema.boolean("strict")?,
            }))
        }
        // A form only some servers know (grammars); theirs to judge.
        _ => {
            kept.push(("response_format".to_owned(), raw.to_owned()));
            Ok(None)
        }
    }
}

/// `reasoning_effort`, or the object that OpenRouter made of it. Of both, the flat one is understood and both go on.
fn reasoning(top: &mut Fields<'_, '_>, kept: &mut Kept) -> Result<Option<Reasoning>, Box<Failure>> {
    let written = top.peek("reasoning_effort");
    let flat = top.string("reasoning_effort")?.map(|effort| effort_of(effort.into_owned()));
    let Some(raw) = top.take("reasoning") else { return Ok(flat) };
    let path = top.path().name("reasoning");
    let mut reasoning = Fields::read(raw, &path)?;
    let effort = reasoning.string("effort")?;
    let budget = reasoning.unsigned("max_tokens")?;
    let enabled = reasoning.boolean("enabled")?;
    if let (Some(flat), Some(written)) = (flat, written) {
        kept.push(("reasoning_effort".to_owned(), written.to_owned()));
        kept.push(("reasoning".to_owned(), raw.to_owned()));
        return Ok(Some(flat));
    }
    let has_more = reasoning.rest().next().is_some();
    if has_more || effort.is_none() {
        // What the flat form cannot say goes on as it is.
        kept.push(("reasoning".to_owned(), raw.to_owned()));
    }
    Ok(match (effort, budget, enabled) {
        (_, _, Some(false)) => Some(Reasoning::Off),
        (Some(effort), _, _) => Some(effort_of(effort.into_owned())),
        (None, Some(budget), _) => Some(Reasoning::BudgetTokens(budget)),
        (None, None, Some(true)) => Some(Reasoning::Adaptive),
        (None, None, None) => None,
    })
}

fn effort_of(effort: String) -> Reasoning {
    if effort == "none" { Reasoning::Off } else { Reasoning::Effort(effort) }
}

fn metadata(top: &mut Fields<'_, '_>) -> Result<Option<serde_json::Map<String, serde_json::Value>>, Box<Failure>> {
    let Some(raw) = top.take("metadata") else { return Ok(None) };
    serde_json::from_str(raw.get()).map(Some).map_err(|_| top.path().name("metadata").must_be("an object"))
}
