//! The conversation. Older forms (`function_call`, role `function`, calls without ids) become today's.

use std::borrow::Cow;
use std::collections::VecDeque;

use gateway_ir::chat::{Content, Message, Part, ReasoningPart, Role, ToolCall, ToolResult};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::content;
use crate::call_id::call_id;
use crate::fields::{self, Fields, Path};
use crate::openai_chat::reasoning;

/// Calls whose result has not come yet, so that a result without an id finds its call.
#[derive(Default)]
struct Unanswered(VecDeque<Call>);

struct Call {
    id: String,
    name: String,
}

pub(super) fn read(top: &mut Fields<'_, '_>) -> Result<Vec<Message>, Box<Failure>> {
    let Some(list) = top.array("messages")? else { return Err(top.missing("messages")) };
    let path = top.path().name("messages");
    let mut unanswered = Unanswered::default();
    let messages =
        list.into_iter().enumerate().map(|(index, raw)| message(raw, index, &path.index(index), &mut unanswered));
    messages.collect()
}

fn message(
    raw: &RawValue,
    index: usize,
    path: &Path<'_>,
    unanswered: &mut Unanswered,
) -> Result<Message, Box<Failure>> {
    let mut fields = Fields::read(raw, path)?;
    let role = fields.required_string("role")?;
    let name = fields.string("name")?;
    let (role, parts, name) = match role.as_ref() {
        "system" => (Role::System, content::parts(&mut fields)?, name),
        "developer" => (Role::Developer, content::parts(&mut fields)?, name),
        "user" => (Role::User, content::parts(&mut fields)?, name),
        "assistant" => {
            let mut parts = thinking(&mut fields)?;
            parts.append(&mut assistant(&mut fields, index, unanswered)?);
            (Role::Assistant, parts, name)
        }
        "tool" => {
            let call_id = fields.string("tool_call_id")?;
            let id = unanswered.answer(call_id, name.as_deref(), index);
            (Role::Tool, result(&mut fields, id)?, name)
        }
        // The name was the whole link to the call.
        "function" => {
            let id = unanswered.answer(None, name.as_deref(), index);
            (Role::Tool, result(&mut fields, id)?, None)
        }
        _ => return Err(path.name("role").must_be("`system`, `developer`, `user`, `assistant`, `tool` or `function`")),
    };
    Ok(Message { role, parts, name: name.map(Into::into), extra: fields.into_extra(Dialect::OpenAiChat) })
}

fn result(fields: &mut Fields<'_, '_>, call_id: String) -> Result<Vec<Part>, Box<Failure>> {
    let parts = content::parts(fields)?;
    Ok(vec![Part::new(Content::ToolResult(ToolResult { call_id, parts, is_error: None }))])
}

fn assistant(
    fields: &mut Fields<'_, '_>,
    index: usize,
    unanswered: &mut Unanswered,
) -> Result<Vec<Part>, Box<Failure>> {
    let mut parts = content::parts(fields)?;
    if let Some(refusal) = fields.string("refusal")? {
        parts.push(Part::new(Content::Refusal(refusal.into_owned())));
    }
    let path = fields.path().name("tool_calls");
    let mut n_calls = 0;
    let mut begin = |name: &str, id: Option<String>| {
        let made = || call_id(&[&index.to_string(), &n_calls.to_string(), name]);
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(made);
        n_calls += 1;
        unanswered.0.push_back(Call { id: id.clone(), name: name.to_owned() });
        id
    };
    for (position, raw) in fields.array("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
        parts.push(Part::new(tool_call(raw, &path.index(position), &mut begin)?));
    }
    if let Some(raw) = fields.take("function_call") {
        let (name, arguments) = called(raw, &fields.path().name("function_call"))?;
        let id = begin(&name, None);
        parts.push(Part::new(Content::ToolCall(ToolCall { id, name, arguments })));
    }
    Ok(parts)
}

/// Thinking of an earlier turn: signed where the client kept the details, plain otherwise. The details stay among the unknown
/// members too, so that an upstream of this dialect gets them as they are.
fn thinking(fields: &mut Fields<'_, '_>) -> Result<Vec<Part>, Box<Failure>> {
    let plain = fields.string("reasoning_content")?;
    let details = fields.peek("reasoning_details");
    let signed = details.map(|details| reasoning::read_details(details, plain.as_deref())).unwrap_or_default();
    if !signed.is_empty() {
        return Ok(signed.into_iter().map(|part| Part::new(Content::Reasoning(part))).collect());
    }
    let part = |text: Cow<'_, str>| Content::Reasoning(ReasoningPart { text: text.into_owned(), ..Default::default() });
    Ok(plain.filter(|text| !text.is_empty()).map(|text| Part::new(part(text))).into_iter().collect())
}

fn tool_call(
    raw: &RawValue,
    path: &Path<'_>,
    begin: &mut impl FnMut(&str, Option<String>) -> String,
) -> Result<Content, Box<Failure>> {
    let mut call = Fields::read(raw, path)?;
    let kind = call.string("type")?.unwrap_or("function".into());
    let id = call.string("id")?.map(Cow::into_owned);
    if kind != "function" {
        begin("", id);
        return Ok(Content::Opaque {
            kind: "tool_calls".to_owned(),
            json: raw.to_owned(),
            dialect: Dialect::OpenAiChat,
        });
    }
    let Some(function) = call.take("function") else { return Err(call.missing("function")) };
    let (name, arguments) = called(function, &path.name("function"))?;
    Ok(Content::ToolCall(ToolCall { id: begin(&name, id), name, arguments }))
}

/// Name and arguments of a call; arguments are JSON in a text, here also accepted bare.
fn called(raw: &RawValue, path: &Path<'_>) -> Result<(String, String), Box<Failure>> {
    let mut function = Fields::read(raw, path)?;
    let name = function.required_string("name")?.into_owned();
    let arguments = match function.take("arguments") {
        None => String::new(),
        Some(raw) if raw.get().starts_with('{') => raw.get().to_owned(),
        Some(raw) => fields::string(raw, &path.name("arguments"))?.into_owned(),
    };
    Ok((name, arguments))
}

// === impl Unanswered ===

impl Unanswered {
    /// The id of the call that a result answers: as said, else by name, else the oldest open one.
    fn answer(&mut self, call_id_said: Option<Cow<'_, str>>, name: Option<&str>, index: usize) -> String {
        let said = call_id_said.filter(|id| !id.is_empty());
        let position = match &said {
            Some(id) => self.0.iter().position(|call| call.id == *id),
            None => match name.and_then(|name| self.0.iter().position(|call| call.name == name)) {
                Some(position) => Some(position),
                None => (!self.0.is_empty()).then_some(0),
            },
        };
        let found = position.and_then(|position| self.0.remove(position)).map(|call| call.id);
        match said {
            Some(id) => id.into_owned(),
            None => found.unwrap_or_else(|| call_id(&[&index.to_string(), name.unwrap_or_default()])),
        }
    }
}
