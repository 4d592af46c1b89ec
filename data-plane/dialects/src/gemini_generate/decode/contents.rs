//! `contents` → messages: what streamed in pieces is one turn again, and every result finds its call.

use gateway_ir::chat::{Content, Document, Media, Message, Part, ReasoningPart, Role, Source, ToolCall, ToolResult};
use gateway_ir::extra::Extra;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::{SELF, object};
use crate::call_id::call_id;
use crate::fields::{self, Fields, Path};
use crate::gemini_generate::signature::{self, Signature};
use crate::{media, signed_id};

/// What has been read so far.
struct Conversation<'m> {
    messages: &'m mut Vec<Message>,
    /// Calls without a result yet, by id and name.
    open: Vec<(String, String)>,
    n_calls: usize,
}

/// Parts of one content, by who says them.
#[derive(Default)]
struct Turn {
    parts: Vec<Part>,
    results: Vec<Part>,
}

pub(super) fn read(top: &mut Fields<'_, '_>, messages: &mut Vec<Message>) -> Result<(), Box<Failure>> {
    let Some(raw) = top.take("contents") else { return Err(top.missing("contents")) };
    let path = top.path().name("contents");
    let mut conversation = Conversation { messages, open: Vec::new(), n_calls: 0 };
    for (index, raw) in list(Some(raw), &path)?.into_iter().enumerate() {
        conversation.content(raw, &path.index(index))?;
    }
    Ok(())
}

/// The elements of a repeated field, which may be written as its only element.
pub(super) fn list<'a>(raw: Option<&'a RawValue>, path: &Path<'_>) -> Result<Vec<&'a RawValue>, Box<Failure>> {
    match raw {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('{') => Ok(vec![raw]),
        Some(raw) => fields::array(raw, path),
    }
}

// === impl Conversation ===

impl Conversation<'_> {
    fn content(&mut self, raw: &RawValue, path: &Path<'_>) -> Result<(), Box<Failure>> {
        let mut content = object(raw, path)?;
        let is_model = match content.string("role")?.as_deref() {
            None | Some("" | "user" | "function") => false,
            Some("model") => true,
            Some(_) => return Err(path.name("role").must_be("`user` or `model`")),
        };
        let parts_path = path.name("parts");
        let mut turn = Turn::default();
        for (index, raw) in list(content.take("parts"), &parts_path)?.into_iter().enumerate() {
            self.part(raw, &parts_path.index(index), &mut turn)?;
        }
        // Results first: they answer the turn before.
        self.add(Role::Tool, turn.results, true);
        self.add(if is_model { Role::Assistant } else { Role::User }, turn.parts, is_model);
        Ok(())
    }

    /// A client's history holds a streamed turn as many contents; `joins` makes them one again.
    fn add(&mut self, role: Role, parts: Vec<Part>, joins: bool) {
        match self.messages.last_mut() {
            _ if parts.is_empty() => {}
            Some(last) if joins && last.role == role => parts.into_iter().for_each(|part| join(&mut last.parts, part)),
            _ => {
                let mut message = Message::new(role, Vec::with_capacity(parts.len()));
                match joins {
                    true => parts.into_iter().for_each(|part| join(&mut message.parts, part)),
                    false => message.parts = parts,
                }
                self.messages.push(message);
            }
        }
    }

    fn part(&mut self, raw: &RawValue, path: &Path<'_>, turn: &mut Turn) -> Result<(), Box<Failure>> {
        let mut part = object(raw, path)?;
        let is_thought = part.boolean("thought")?.unwrap_or(false);
        let raw_signature = part.peek("thoughtSignature");
        let signature = part.string("thoughtSignature")?;
        if let Some(call) = part.take("functionCall") {
            let call = self.call(call, &path.name("functionCall"), signature.as_deref())?;
            turn.parts.push(Part::new(Content::ToolCall(call)));
            return Ok(());
        }
        if let Some(response) = part.take("functionResponse") {
            let result = self.result(response, &path.name("functionResponse"))?;
            turn.results.push(Part::new(Content::ToolResult(result)));
            return Ok(());
        }
        let content = if let Some(text) = part.string("text")? {
            match is_thought {
                true => Content::Reasoning(thought(&text, signature.as_deref())),
                false if text.is_empty() && signature.is_none() => return Ok(()),
                false => Content::Text(text.into_owned()),
            }
        } else if let Some(raw) = part.take("inlineData") {
            inline(raw, &path.name("inlineData"))?
        } else if let Some(raw) = part.take("fileData") {
            file(raw, &path.name("fileData"))?
        } else {
            let Some((kind, _)) = part.rest().find(|(_, raw)| raw.get() != "null") else {
                return Err(path.must_be("a part that says something, such as `{\"text\": …}`"));
            };
            turn.parts.push(Part::new(Content::Opaque { kind, json: raw.to_owned(), dialect: SELF }));
            return Ok(());
        };
        let mut kept: Vec<_> = part.rest().filter(|(_, raw)| raw.get() != "null").collect();
        if let (Some(raw), false) = (raw_signature, is_thought) {
            kept.push(("thoughtSignature".to_owned(), raw.to_owned()));
        }
        turn.parts.push(Part { extra: Extra::new(SELF, kept), ..Part::new(content) });
        Ok(())
    }

    /// Clients may leave out the id, which Google's API itself mostly does.
    fn call(&mut self, raw: &RawValue, path: &Path<'_>, signature: Option<&str>) -> Result<ToolCall, Box<Failure>> {
        let mut call = object(raw, path)?;
        let name = call.required_string("name")?.into_owned();
        let arguments = call.take("args").map_or("{}", RawValue::get);
        if !arguments.starts_with('{') {
            return Err(path.name("args").must_be("an object"));
        }
        let given = call.string("id")?.filter(|id| !id.is_empty());
        let id = given.map_or_else(|| call_id(&["contents", &self.n_calls.to_string(), &name]), Into::into);
        self.n_calls += 1;
        self.open.push((id.clone(), name.clone()));
        let id = signature.map_or_else(|| id.clone(), |signature| signed_id::join(&id, signature));
        Ok(ToolCall { id, name, arguments: arguments.to_owned() })
    }

    /// By id, else the oldest call of that function that has no result yet.
    fn result(&mut self, raw: &RawValue, path: &Path<'_>) -> Result<ToolResult, Box<Failure>> {
        let mut response = object(raw, path)?;
        let name = response.required_string("name")?.into_owned();
        let given = response.string("id")?.filter(|id| !id.is_empty());
        let by_id = given.as_deref().and_then(|given| self.open.iter().position(|(id, _)| id == given));
        let by_name = || self.open.iter().position(|(_, open)| *open == name);
        let call_id = match (by_id.or_else(by_name), given) {
            (Some(at), _) => self.open.remove(at).0,
            (None, Some(given)) => given.into_owned(),
            (None, None) => {
                let message = format!("`{path}` is the result of `{name}`, which has not been called before it");
                return Err(Box::new(Failure::invalid(message).at(path.to_string())));
            }
        };
        let (mut parts, is_error) = answer(response.take("response"), &path.name("response"))?;
        let media_path = path.name("parts");
        for (index, raw) in list(response.take("parts"), &media_path)?.into_iter().enumerate() {
            let path = media_path.index(index);
            let mut part = object(raw, &path)?;
            let content = match (part.take("inlineData"), part.take("fileData")) {
                (Some(raw), _) => inline(raw, &path.name("inlineData"))?,
                (None, Some(raw)) => file(raw, &path.name("fileData"))?,
                (None, None) => return Err(path.must_be("`inlineData` or `fileData`")),
            };
            parts.push(Part::new(content));
        }
        Ok(ToolResult { call_id, parts, is_error })
    }
}

/// Pieces of one text or one thought are one; a signature ends a thought.
fn join(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), &part.content) {
        (Some(Part { content: Content::Text(whole), extra, .. }), Content::Text(text))
            if extra.is_empty() && part.extra.is_empty() =>
        {
            whole.push_str(text);
        }
        (Some(Part { content: Content::Reasoning(whole), .. }), Content::Reasoning(piece))
            if whole.signature.is_none() && whole.redacted.is_none() && piece.redacted.is_none() =>
        {
            whole.text.push_str(&piece.text);
            whole.signature.clone_from(&piece.signature);
        }
        _ => parts.push(part),
    }
}

/// Google's own signatures are for Google alone, and a translated request does not go there.
fn thought(text: &str, given: Option<&str>) -> ReasoningPart {
    let text = text.to_owned();
    match given.map(signature::read) {
        None | Some(Signature::Own(_)) => ReasoningPart { text, ..ReasoningPart::default() },
        Some(Signature::Foreign(signature)) => ReasoningPart { text, signature: Some(signature), redacted: None },
        Some(Signature::Redacted(data)) => ReasoningPart { text: String::new(), signature: None, redacted: Some(data) },
    }
}

/// `output` and `error` are Google's names for a function's words; any other object is the answer itself.
fn answer(raw: Option<&RawValue>, path: &Path<'_>) -> Result<(Vec<Part>, Option<bool>), Box<Failure>> {
    let Some(raw) = raw else { return Ok((vec![Part::text("{}")], None)) };
    let mut members: Vec<_> = Fields::read(raw, path)?.rest().collect();
    if let [(name, value)] = members.as_mut_slice()
        && let Ok(text) = fields::string(value, path)
        && (name == "output" || name == "error")
    {
        return Ok((vec![Part::text(text)], (name == "error").then_some(true)));
    }
    Ok((vec![Part::text(raw.get())], None))
}

fn inline(raw: &RawValue, path: &Path<'_>) -> Result<Content, Box<Failure>> {
    let mut inline = object(raw, path)?;
    let media_type = inline.required_string("mimeType")?.into_owned();
    let data = inline.required_string("data")?.into_owned();
    let is_text = media_type.starts_with("text/");
    let text = is_text.then(|| String::from_utf8(signature::decoded(&data)?).ok()).flatten();
    let source = text.map_or(Source::Base64(data), Source::Text);
    Ok(by_type(source, media_type, inline.string("displayName")?.map(Into::into)))
}

fn file(raw: &RawValue, path: &Path<'_>) -> Result<Content, Box<Failure>> {
    let mut file = object(raw, path)?;
    let media_type = file.string("mimeType")?.unwrap_or_default().into_owned();
    let source = Source::Url(file.required_string("fileUri")?.into_owned());
    Ok(by_type(source, media_type, file.string("displayName")?.map(Into::into)))
}

fn by_type(source: Source, media_type: String, title: Option<String>) -> Content {
    let kind = media_type.split('/').next().unwrap_or_default().to_owned();
    let media = Media { media_type, ..media::of(source) };
    match kind.as_str() {
        "image" => Content::Image(media),
        "audio" => Content::Audio(media),
        _ => Content::Document(Document { media, title, context: None, citations: None }),
    }
}
