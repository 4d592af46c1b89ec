//! Parts as content blocks.

use gateway_ir::chat::{Content, Document, Media, Part, ReasoningPart, Source, ToolResult};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::json;

use super::SELF;
use crate::dropped::Dropped;
use crate::signed_id;
use crate::writer::{Array, Object};

/// Everything before it may be cached.
pub(super) const CACHE_POINT: &str = r#"{"cachePoint":{"type":"default"}}"#;

/// Document types by their media type.
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

/// Whether a part becomes a block. What is lost is named; what the answer would suffer from is refused.
pub(super) fn is_sayable(part: &Part, message: usize, dropped: &mut Dropped) -> Result<bool, Box<Failure>> {
    Ok(match &part.content {
        // Blank texts are refused by the upstream.
        Content::Text(text) | Content::Refusal(text) => !text.trim().is_empty(),
        Content::Image(image) => {
            must_be_inline(image, "image", message)?;
            true
        }
        Content::Document(document) => {
            must_be_inline(&document.media, "document", message)?;
            true
        }
        Content::Audio(_) => {
            dropped.note("messages[].content (audio)");
            false
        }
        Content::Opaque { kind, dialect, .. } => {
            dropped.note_if(*dialect != SELF, &format!("messages[].content ({kind})"));
            *dialect == SELF
        }
        // Thinking without its signature is of no use to the model that thought it.
        Content::Reasoning(reasoning) => reasoning.signature.is_some() || reasoning.redacted.is_some(),
        Content::ToolCall(_) | Content::ToolResult(_) => true,
    })
}

fn must_be_inline(media: &Media, what: &str, message: usize) -> Result<(), Box<Failure>> {
    match &media.source {
        Source::Base64(_) | Source::Text(_) => Ok(()),
        Source::Url(uri) if uri.starts_with("s3://") => Ok(()),
        Source::Url(_) | Source::FileId(_) => {
            let told = format!("the upstream takes a {what} inline or from S3 only; send it as a `data:` URL");
            Err(Box::new(Failure::new(Code::UnsupportedParameter, told).at(format!("messages[{message}].content"))))
        }
    }
}

pub(super) fn write(part: &Part, content: &mut Array<'_>) {
    if let Content::Opaque { json, .. } = &part.content {
        content.raw(json.get());
    } else {
        content.object(|block| write_block(&part.content, block));
    }
    if part.cache.is_some() {
        content.raw(CACHE_POINT);
    }
}

fn write_block(content: &Content, block: &mut Object<'_>) {
    match content {
        Content::Text(text) | Content::Refusal(text) => block.string("text", text),
        Content::Image(image) => write_image(image, block),
        Content::Document(document) => write_document(document, block),
        Content::ToolCall(call) => block.object("toolUse", |tool_use| {
            tool_use.string("toolUseId", signed_id::plain(&call.id));
            tool_use.string("name", &call.name);
            let is_object = json::scan_object(call.arguments.as_bytes(), |_| ()).is_ok();
            tool_use.raw("input", if is_object { call.arguments.trim() } else { "{}" });
        }),
        Content::ToolResult(result) => write_result(result, block),
        Content::Reasoning(reasoning) => write_reasoning(reasoning, block),
        // The plan lets neither through.
        Content::Audio(_) | Content::Opaque { .. } => {}
    }
}

fn write_image(image: &Media, block: &mut Object<'_>) {
    let format = match image.media_type.as_str() {
        "image/png" => "png",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => "jpeg",
    };
    block.object("image", |object| {
        object.string("format", format);
        write_source(image, object);
    });
}

fn write_document(document: &Document, block: &mut Object<'_>) {
    let known = DOCUMENTS.iter().find(|(kind, _)| *kind == document.media.media_type);
    let format = match (known, &document.media.source) {
        (Some((_, format)), _) => format,
        (None, Source::Text(_)) => "txt",
        (None, _) => "pdf",
    };
    // Letters, digits, spaces, hyphens, parentheses and brackets are allowed in a name.
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || " -()[]".contains(letter) { letter } else { '-' }
    };
    let name: String = document.title.as_deref().unwrap_or("document").chars().map(plain).take(200).collect();
    block.object("document", |object| {
        object.string("format", format);
        object.string("name", if name.trim().is_empty() { "document" } else { &name });
        write_source(&document.media, object);
        if let Some(context) = &document.context {
            object.string("context", context);
        }
        if document.citations == Some(true) {
            object.raw("citations", r#"{"enabled":true}"#);
        }
    });
}

fn write_source(media: &Media, object: &mut Object<'_>) {
    object.object("source", |source| match &media.source {
        Source::Base64(data) => source.string("bytes", data),
        Source::Text(text) => source.string("text", text),
        Source::Url(uri) | Source::FileId(uri) => source.object("s3Location", |location| location.string("uri", uri)),
    });
}

fn write_result(result: &ToolResult, block: &mut Object<'_>) {
    block.object("toolResult", |object| {
        object.string("toolUseId", signed_id::plain(&result.call_id));
        object.array("content", |content| {
            let mut n_written = 0;
            for part in &result.parts {
                let is_inline = |media: &Media| matches!(media.source, Source::Base64(_) | Source::Text(_));
                match &part.content {
                    Content::Text(text) | Content::Refusal(text) => content.object(|block| block.string("text", text)),
                    Content::Image(image) if is_inline(image) => content.object(|block| write_image(image, block)),
                    Content::Document(document) if is_inline(&document.media) => {
                        content.object(|block| write_document(document, block));
                    }
                    _ => continue,
                }
                n_written += 1;
            }
            if n_written == 0 {
                content.object(|block| block.string("text", ""));
            }
        });
        if let Some(is_error) = result.is_error {
            object.string("status", if is_error { "error" } else { "success" });
        }
    });
}

fn write_reasoning(reasoning: &ReasoningPart, block: &mut Object<'_>) {
    block.object("reasoningContent", |object| {
        if let Some(redacted) = &reasoning.redacted {
            return object.string("redactedContent", redacted);
        }
        object.object("reasoningText", |text| {
            text.string("text", &reasoning.text);
            if let Some(signature) = &reasoning.signature {
                text.string("signature", signature);
            }
        });
    });
}
