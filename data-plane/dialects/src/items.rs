//! `input` of the Responses dialect: a text, or items. What one turn of the model said in several items becomes one message.

use std::borrow::Cow;

use gateway_ir::chat::{Content, Document, Media, Message, Part, ReasoningPart, Role, Source, ToolCall, ToolResult};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::media;

const SELF: Dialect = Dialect::OpenAiResponses;

/// Takes `input` and appends its messages.
pub(crate) fn read(top: &mut Fields<'_, '_>, messages: &mut Vec<Message>) -> Result<(), Box<Failure>> {
    let Some(raw) = top.take("input") else { return Err(top.missing("input")) };
    let path = top.path().name("input");
    match raw.get().as_bytes()[0] {
        b'"' => messages.push(Message::new(Role::User, vec![Part::text(fields::string(raw, &path)?)])),
        b'[' => {
            for (index, raw) in fields::array(raw, &path)?.into_iter().enumerate() {
                item(raw, &path.index(index), messages)?;
            }
        }
        _ => return Err(path.must_be("a string or an array of items")),
    }
    Ok(())
}

fn item(raw: &RawValue, path: &Path<'_>, messages: &mut Vec<Message>) -> Result<(), Box<Failure>> {
    let mut item = Fields::read(raw, path)?;
    let kind = item.string("type")?;
    let content = match kind.as_deref() {
        None | Some("message") => return message(&mut item, messages),
        Some("function_call") => Content::ToolCall(ToolCall {
            id: item.required_string("call_id")?.into_owned(),
            name: item.required_string("name")?.into_owned(),
            arguments: item.string("arguments")?.unwrap_or_default().into_owned(),
        }),
        Some("function_call_output") => {
            let call_id = item.required_string("call_id")?.into_owned();
            let parts = match item.take("output") {
                None => Vec::new(),
                Some(raw) => parts(raw, &item.path().name("output"))?,
            };
            let result = Content::ToolResult(ToolResult { call_id, parts, is_error: None });
            push(messages, Role::Tool, Part::new(result));
            return Ok(());
        }
        Some("reasoning") => match reasoning(&mut item)? {
            Some(reasoning) => Content::Reasoning(reasoning),
            None => return Ok(()),
        },
        Some(kind) => Content::Opaque { kind: kind.to_owned(), json: raw.to_owned(), dialect: SELF },
    };
    push(messages, Role::Assistant, Part::new(content));
    Ok(())
}

fn message(item: &mut Fields<'_, '_>, messages: &mut Vec<Message>) -> Result<(), Box<Failure>> {
    let role = match item.required_string("role")?.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        "developer" => Role::Developer,
        _ => return Err(item.path().name("role").must_be("user, assistant, system or developer")),
    };
    let Some(raw) = item.take("content") else { return Err(item.missing("content")) };
    let path = item.path().name("content");
    let parts = parts(raw, &path)?;
    if role != Role::Assistant {
        messages.push(Message::new(role, parts));
        return Ok(());
    }
    for (index, part) in parts.into_iter().enumerate() {
        // Beside its messages, what a model says that is its own becomes an item; a part that pretends to be one is refused.
        if matches!(part.content, Content::Opaque { .. }) {
            return Err(path
                .index(index)
                .name("type")
                .must_be("`output_text` or `refusal` in a message of the assistant"));
        }
        push(messages, role, part);
    }
    Ok(())
}

/// To the message before, if the same side is still speaking.
fn push(messages: &mut Vec<Message>, role: Role, part: Part) {
    match messages.last_mut() {
        Some(last) if last.role == role => last.parts.push(part),
        _ => messages.push(Message::new(role, vec![part])),
    }
}

/// A text, or parts.
fn parts(raw: &RawValue, path: &Path<'_>) -> Result<Vec<Part>, Box<Failure>> {
    if raw.get().starts_with('"') {
        return Ok(vec![Part::text(fields::string(raw, path)?)]);
    }
    if !raw.get().starts_with('[') {
        return Err(path.must_be("a string or an array of parts"));
    }
    let list = fields::array(raw, path)?.into_iter().enumerate();
    list.map(|(index, raw)| part(raw, &path.index(index))).collect()
}

fn part(raw: &RawValue, path: &Path<'_>) -> Result<Part, Box<Failure>> {
    let mut part = Fields::read(raw, path)?;
    let content = match part.required_string("type")?.as_ref() {
        "input_text" | "output_text" | "text" => Content::Text(part.required_string("text")?.into_owned()),
        "refusal" => Content::Refusal(part.required_string("refusal")?.into_owned()),
        "input_image" => {
            let detail = part.string("detail")?.map(Cow::into_owned);
            let media = match (part.string("image_url")?, part.string("file_id")?) {
                (Some(url), _) => media::by_url(&url),
                (None, Some(id)) => media::of(Source::FileId(id.into_owned())),
                (None, None) => return Err(part.missing("image_url")),
            };
            Content::Image(Media { detail, ..media })
        }
        "input_file" => Content::Document(file(&mut part)?),
        "input_audio" => {
            let path = part.path().name("input_audio");
            let Some(raw) = part.take("input_audio") else { return Err(part.missing("input_audio")) };
            let mut audio = Fields::read(raw, &path)?;
            let format = audio.string("format")?.map(|format| format!("audio/{format}"));
            let source = Source::Base64(audio.required_string("data")?.into_owned());
            Content::Audio(Media { media_type: format.unwrap_or_default(), ..media::of(source) })
        }
        kind => Content::Opaque { kind: kind.to_owned(), json: raw.to_owned(), dialect: SELF },
    };
    Ok(Part::new(content))
}

fn file(part: &mut Fields<'_, '_>) -> Result<Document, Box<Failure>> {
    let title = part.string("filename")?.map(Into::into);
    let media = match (part.string("file_data")?, part.string("file_id")?, part.string("file_url")?) {
        (Some(data), _, _) => media::data_url(&data).unwrap_or_else(|| media::of(Source::Base64(data.into_owned()))),
        (None, Some(id), _) => media::of(Source::FileId(id.into_owned())),
        (None, None, Some(url)) => media::of(Source::Url(url.into_owned())),
        (None, None, None) => return Err(part.missing("file_data")),
    };
    Ok(Document { media, title, context: None, citations: None })
}

/// Its text, and what is encrypted. `None` where it says neither.
fn reasoning(item: &mut Fields<'_, '_>) -> Result<Option<ReasoningPart>, Box<Failure>> {
    let mut text = String::new();
    for name in ["content", "summary"] {
        let path = item.path().name(name);
        for (index, raw) in item.array(name)?.unwrap_or_default().into_iter().enumerate() {
            let path = path.index(index);
            let mut piece = Fields::read(raw, &path)?;
            if let Some(said) = piece.string("text")? {
                text.push_str(&said);
            }
        }
        if !text.is_empty() {
            break;
        }
    }
    // What we have encrypted nothing of ourselves cannot be read by another vendor either.
    item.take("encrypted_content");
    Ok((!text.is_empty()).then(|| ReasoningPart { text, ..ReasoningPart::default() }))
}
