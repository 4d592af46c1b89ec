//! Content blocks: which block says a canonical part, and how it is written.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_ir::chat::{
    CacheMark, Content, Document, Function, Media, Part, ReasoningPart, Source, ToolCall, ToolResult,
};
use gateway_ir::failure::Failure;
use gateway_ir::json;
use serde_json::value::RawValue;

use super::{SELF, refused};
use crate::dropped::Dropped;
use crate::signed_id;
use crate::writer::{Array, Object};

/// One block, ready to be written.
#[derive(Clone)]
pub(super) struct Block<'r> {
    pub(super) kind: Kind<'r>,
    pub(super) cache: Option<&'r CacheMark>,
    pub(super) extra: &'r [(String, Box<RawValue>)],
}

#[derive(Clone)]
pub(super) enum Kind<'r> {
    Text(Cow<'r, str>),
    Image(&'r Media),
    Document(&'r Document),
    ToolUse { id: Cow<'r, str>, call: &'r ToolCall },
    ToolResult { id: Cow<'r, str>, is_error: Option<bool>, blocks: Vec<Block<'r>> },
    Thinking(&'r ReasoningPart),
    RedactedThinking(&'r str),
    Verbatim(&'r RawValue),
}

/// The block for a part, appended to `blocks`. Parts that Anthropic refuses or cannot take leave none; a cache mark that
/// stood on one moves to the block before, so that the same prefix stays cached.
pub(super) fn push<'r>(blocks: &mut Vec<Block<'r>>, part: &'r Part, dropped: &mut Dropped) -> Result<(), Box<Failure>> {
    for name in part.extra.lost_in(SELF) {
        dropped.note(format!("messages[].content[].{name}"));
    }
    match kind_of(part, dropped)? {
        Some(kind) => blocks.push(Block { kind, cache: part.cache.as_ref(), extra: part.extra.of(SELF) }),
        None => {
            if let (Some(mark), Some(last)) = (&part.cache, blocks.last_mut()) {
                last.cache.get_or_insert(mark);
            }
        }
    }
    Ok(())
}

fn kind_of<'r>(part: &'r Part, dropped: &mut Dropped) -> Result<Option<Kind<'r>>, Box<Failure>> {
    Ok(match &part.content {
        // Whitespace alone is refused by Anthropic.
        Content::Text(text) | Content::Refusal(text) => {
            (!text.trim().is_empty()).then_some(Kind::Text(Cow::Borrowed(text)))
        }
        Content::Image(media) => Some(Kind::Image(media)),
        Content::Document(document) => Some(Kind::Document(document)),
        Content::Audio(_) => {
            let message = "audio cannot be sent to an Anthropic model; send text, or choose a model that hears";
            return Err(refused("messages", message.to_owned()));
        }
        Content::ToolCall(call) => Some(Kind::ToolUse { id: tool_id(&call.id), call }),
        Content::ToolResult(result) => Some(tool_result(result, dropped)?),
        Content::Reasoning(ReasoningPart { redacted: Some(data), .. }) => Some(Kind::RedactedThinking(data)),
        Content::Reasoning(reasoning)
            if reasoning.signature.as_ref().is_some_and(|signature| !signature.is_empty()) =>
        {
            Some(Kind::Thinking(reasoning))
        }
        // Anthropic refuses thinking that it did not sign: another provider's, whose turn a client now continues here.
        Content::Reasoning(_) => {
            dropped.note("messages[].reasoning_content");
            None
        }
        Content::Opaque { json, dialect, .. } if *dialect == SELF => Some(Kind::Verbatim(json)),
        Content::Opaque { kind, .. } => {
            dropped.note(format!("messages[].content[] ({kind})"));
            None
        }
    })
}

fn tool_result<'r>(result: &'r ToolResult, dropped: &mut Dropped) -> Result<Kind<'r>, Box<Failure>> {
    let mut blocks = Vec::with_capacity(result.parts.len());
    for part in &result.parts {
        push(&mut blocks, part, dropped)?;
    }
    Ok(Kind::ToolResult { id: tool_id(&result.call_id), is_error: result.is_error, blocks })
}

/// Anthropic takes letters, digits, `_` and `-` in ids of calls. Others are replaced, and a hash keeps different ids apart;
/// call and result are changed alike, since the same id gives the same text.
fn tool_id(id: &str) -> Cow<'_, str> {
    let id = signed_id::plain(id);
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !id.is_empty() && id.chars().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let plain: String = id.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    Cow::Owned(format!("{plain}_{hash:08x}"))
}

/// The blocks as one string, if they are all plain text.
pub(super) fn as_text<'b>(blocks: &'b [Block<'_>]) -> Option<Cow<'b, str>> {
    let plain = |block: &'b Block<'_>| match &block.kind {
        Kind::Text(text) if block.cache.is_none() && block.extra.is_empty() => Some(text.as_ref()),
        _ => None,
    };
    match blocks {
        [block] => plain(block).map(Cow::Borrowed),
        blocks => blocks.iter().map(plain).collect::<Option<Vec<_>>>().map(|texts| Cow::Owned(texts.join("\n\n"))),
    }
}

pub(super) fn write(array: &mut Array<'_>, block: &Block<'_>) {
    if let Kind::Verbatim(json) = &block.kind {
        return array.raw(json.get());
    }
    array.object(|object| {
        write_kind(object, &block.kind);
        for (name, raw) in block.extra {
            object.raw(name, raw.get());
        }
        if let Some(CacheMark(mark)) = block.cache {
            object.raw("cache_control", mark.get());
        }
    });
}

fn write_kind(object: &mut Object<'_>, kind: &Kind<'_>) {
    match kind {
        Kind::Text(text) => {
            object.string("type", "text");
            object.string("text", text);
        }
        Kind::Image(media) => {
            object.string("type", "image");
            object.object("source", |source| write_source(source, media));
        }
        Kind::Document(document) => write_document(object, document),
        Kind::ToolUse { id, call } => {
            object.string("type", "tool_use");
            object.string("id", id);
            object.string("name", &call.name);
            let is_object = json::scan_object(call.arguments.as_bytes(), |_| ()).is_ok();
            object.raw("input", if is_object { call.arguments.trim() } else { "{}" });
        }
        Kind::ToolResult { id, is_error, blocks } => {
            object.string("type", "tool_result");
            object.string("tool_use_id", id);
            if let [block] = blocks.as_slice()
                && let Some(text) = as_text(std::slice::from_ref(block))
            {
                object.string("content", &text);
            } else if !blocks.is_empty() {
                object.array("content", |array| blocks.iter().for_each(|block| write(array, block)));
            }
            if let Some(is_error) = is_error {
                object.boolean("is_error", *is_error);
            }
        }
        Kind::Thinking(reasoning) => {
            object.string("type", "thinking");
            object.string("thinking", &reasoning.text);
            object.string("signature", reasoning.signature.as_deref().unwrap_or_default());
        }
        Kind::RedactedThinking(data) => {
            object.string("type", "redacted_thinking");
            object.string("data", data);
        }
        Kind::Verbatim(_) => {}
    }
}

fn write_document(object: &mut Object<'_>, document: &Document) {
    object.string("type", "document");
    object.object("source", |source| write_source(source, &document.media));
    if let Some(title) = &document.title {
        object.string("title", title);
    }
    if let Some(context) = &document.context {
        object.string("context", context);
    }
    if let Some(enabled) = document.citations {
        object.object("citations", |citations| citations.boolean("enabled", enabled));
    }
}

fn write_source(object: &mut Object<'_>, media: &Media) {
    match &media.source {
        Source::Base64(data) => write_inline(object, &media.media_type, data),
        Source::Text(text) => write_text_source(object, text),
        // Some clients put an address where OpenAI has only an id.
        Source::FileId(id) if !is_address(id) => {
            object.string("type", "file");
            object.string("file_id", id);
        }
        Source::FileId(url) | Source::Url(url) => match data_url(url) {
            Some((media_type, data)) => write_inline(object, media_type, data),
            None => {
                object.string("type", "url");
                object.string("url", url);
            }
        },
    }
}

fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Anthropic wants text as text; only images and PDFs go as base64.
fn write_inline(object: &mut Object<'_>, media_type: &str, data: &str) {
    if media_type.starts_with("text/")
        && let Some(text) = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    {
        return write_text_source(object, &text);
    }
    object.string("type", "base64");
    object.string("media_type", if media_type.is_empty() { sniffed(data) } else { media_type });
    object.string("data", data);
}

fn write_text_source(object: &mut Object<'_>, text: &str) {
    object.string("type", "text");
    object.string("media_type", "text/plain");
    object.string("data", text);
}

/// Media type and base64 of `data:image/png;base64,…`.
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    Some((media_type.split(';').next().unwrap_or(media_type), data))
}

/// The kind of file by how its base64 begins.
fn sniffed(data: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 5] = [
        ("/9j/", "image/jpeg"),
        ("iVBOR", "image/png"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
        ("JVBERi", "application/pdf"),
    ];
    BEGINNINGS.iter().find(|(beginning, _)| data.starts_with(beginning)).map_or("image/png", |(_, kind)| kind)
}

pub(super) fn write_function(object: &mut Object<'_>, function: &Function) {
    object.string("name", &function.name);
    if let Some(description) = &function.description {
        object.string("description", description);
    }
    object.raw("input_schema", &input_schema(function.parameters.as_deref()));
    // `false` is what Anthropic does anyway, and not every model knows the word.
    if function.strict == Some(true) {
        object.boolean("strict", true);
    }
    for (name, raw) in function.extra.of(SELF) {
        object.raw(name, raw.get());
    }
    if let Some(CacheMark(mark)) = &function.cache {
        object.raw("cache_control", mark.get());
    }
}

/// Anthropic demands the schema of an object, and its `type` said.
fn input_schema(parameters: Option<&RawValue>) -> Cow<'_, str> {
    let Some(raw) = parameters else { return Cow::Borrowed(r#"{"type":"object","properties":{}}"#) };
    let (mut has_type, mut is_empty) = (false, true);
    let is_object = json::scan_object(raw.get().as_bytes(), |member| {
        has_type |= member.is("type");
        is_empty = false;
    });
    match raw.get().strip_prefix('{') {
        Some(_) if is_empty => Cow::Borrowed(r#"{"type":"object","properties":{}}"#),
        Some(members) if is_object.is_ok() && !has_type => Cow::Owned(format!(r#"{{"type":"object",{members}"#)),
        _ => Cow::Borrowed(raw.get()),
    }
}

// === impl Block ===

impl Block<'_> {
    /// Whether the block needs a file from the provider's own store.
    pub(super) fn uses_files(&self) -> bool {
        let is_file = |media: &Media| matches!(&media.source, Source::FileId(id) if !is_address(id));
        match &self.kind {
            Kind::Image(media) => is_file(media),
            Kind::Document(document) => is_file(&document.media),
            Kind::ToolResult { blocks, .. } => blocks.iter().any(Block::uses_files),
            _ => false,
        }
    }

    /// Whether text may be joined to this block without moving a mark or losing a field.
    pub(super) fn is_open_text(&self) -> bool {
        matches!(self.kind, Kind::Text(_)) && self.cache.is_none() && self.extra.is_empty()
    }

    /// The id of the call this block is.
    pub(super) fn calls(&self) -> Option<&str> {
        if let Kind::ToolUse { id, .. } = &self.kind { Some(id) } else { None }
    }

    /// The id of the call this block answers.
    pub(super) fn answers(&self) -> Option<&str> {
        if let Kind::ToolResult { id, .. } = &self.kind { Some(id) } else { None }
    }
}
