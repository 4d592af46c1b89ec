//! Messages and their blocks → canonical parts. A block that only Anthropic knows stays verbatim.
//!
//! One Anthropic user message may hold tool results and text; canonically these are messages of their own, in the same order.

use gateway_ir::chat::{Content, Document, Media, Message, Part, ReasoningPart, Role, Source, ToolCall, ToolResult};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::cache_mark;
use crate::fields::{self, Fields, Path};

/// The top-level `system`: a string or text blocks. None when it is empty.
pub(super) fn system(raw: &RawValue, path: &Path<'_>) -> Result<Option<Message>, Box<Failure>> {
    let parts = read_parts(raw, path)?;
    Ok((!parts.is_empty()).then(|| Message::new(Role::System, parts)))
}

/// Appends one element of `messages`.
pub(super) fn message(raw: &RawValue, path: &Path<'_>, messages: &mut Vec<Message>) -> Result<(), Box<Failure>> {
    let mut fields = Fields::read(raw, path)?;
    let role = match fields.required_string("role")?.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(path.name("role").must_be("`user`, `assistant` or `system`")),
    };
    let content = fields.take("content").ok_or_else(|| fields.missing("content"))?;
    let parts = read_parts(content, &path.name("content"))?;
    let mut kept: Vec<_> = fields.rest().collect();
    if role == Role::System {
        // Told apart from the top-level `system`, which stands before the conversation: this one keeps its place.
        let role = RawValue::from_string("\"system\"".to_owned()).expect("a JSON string");
        kept.push(("role".to_owned(), role));
    }
    let first = messages.len();
    for part in parts {
        let role = match part.content {
            Content::ToolResult(_) if role == Role::User => Role::Tool,
            _ => role,
        };
        match messages[first..].last_mut() {
            Some(last) if last.role == role => last.parts.push(part),
            _ => messages.push(Message::new(role, vec![part])),
        }
    }
    if messages.len() == first {
        messages.push(Message::new(role, Vec::new()));
    }
    messages[first].extra = Extra::new(Dialect::AnthropicMessages, kept);
    Ok(())
}

/// Content is a string or an array of blocks.
fn read_parts(raw: &RawValue, path: &Path<'_>) -> Result<Vec<Part>, Box<Failure>> {
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            let text = fields::string(raw, path)?;
            Ok(if text.is_empty() { Vec::new() } else { vec![Part::text(text)] })
        }
        Some(b'[') => {
            let blocks = fields::array(raw, path)?.into_iter().enumerate();
            blocks.map(|(index, block)| read_block(block, &path.index(index))).collect()
        }
        _ => Err(path.must_be("a string or an array of content blocks")),
    }
}

fn read_block(raw: &RawValue, path: &Path<'_>) -> Result<Part, Box<Failure>> {
    let mut block = Fields::read(raw, path)?;
    let kind = block.required_string("type")?;
    let cache = cache_mark(&mut block);
    let content = match kind.as_ref() {
        "text" => Content::Text(block.required_string("text")?.into_owned()),
        "tool_use" => Content::ToolCall(ToolCall {
            id: block.required_string("id")?.into_owned(),
            name: block.required_string("name")?.into_owned(),
            arguments: block.take("input").map(|input| input.get().to_owned()).unwrap_or_default(),
        }),
        "tool_result" => Content::ToolResult(ToolResult {
            call_id: block.required_string("tool_use_id")?.into_owned(),
            parts: match block.take("content") {
                Some(content) => read_parts(content, &path.name("content"))?,
                None => Vec::new(),
            },
            is_error: block.boolean("is_error")?,
        }),
        "thinking" => Content::Reasoning(ReasoningPart {
            text: block.required_string("thinking")?.into_owned(),
            signature: block.string("signature")?.map(Into::into),
            redacted: None,
        }),
        "redacted_thinking" => Content::Reasoning(ReasoningPart {
            redacted: Some(block.required_string("data")?.into_owned()),
            ..ReasoningPart::default()
        }),
        "image" | "document" => {
            let source = block.take("source").ok_or_else(|| block.missing("source"))?;
            match read_source(source, &path.name("source"))? {
                Some(media) if kind == "image" => Content::Image(media),
                Some(media) => Content::Document(read_document(media, &mut block)?),
                None => return Ok(opaque(&kind, raw)),
            }
        }
        _ => return Ok(opaque(&kind, raw)),
    };
    Ok(Part { content, cache, extra: block.into_extra(Dialect::AnthropicMessages) })
}

/// A block we do not take apart. Its cache mark stays inside.
fn opaque(kind: &str, raw: &RawValue) -> Part {
    let dialect = Dialect::AnthropicMessages;
    Part::new(Content::Opaque { kind: kind.to_owned(), json: raw.to_owned(), dialect })
}

/// `None` for a kind of source that only Anthropic knows.
fn read_source(raw: &RawValue, path: &Path<'_>) -> Result<Option<Media>, Box<Failure>> {
    let mut source = Fields::read(raw, path)?;
    let kind = source.required_string("type")?;
    let source_value = match kind.as_ref() {
        "base64" => Source::Base64(source.required_string("data")?.into_owned()),
        "text" => Source::Text(source.required_string("data")?.into_owned()),
        "url" => Source::Url(source.required_string("url")?.into_owned()),
        "file" => Source::FileId(source.required_string("file_id")?.into_owned()),
        _ => return Ok(None),
    };
    let media_type = source.string("media_type")?.unwrap_or_default().into_owned();
    Ok(Some(Media { source: source_value, media_type, detail: None }))
}

fn read_document(media: Media, block: &mut Fields<'_, '_>) -> Result<Document, Box<Failure>> {
    let citations = match block.take("citations") {
        Some(raw) => {
            let path = block.path().name("citations");
            Fields::read(raw, &path)?.boolean("enabled")?
        }
        None => None,
    };
    let title = block.string("title")?.map(Into::into);
    Ok(Document { media, title, context: block.string("context")?.map(Into::into), citations })
}
