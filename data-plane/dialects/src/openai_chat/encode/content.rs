//! The content of a message for an upstream: one string where that says it all, parts otherwise.

use gateway_ir::chat::{Content, Document, Media, Part, Source};
use gateway_ir::failure::Failure;

use super::{Context, foreign_name, unsupported};
use crate::writer::{Array, Object};

/// Writes `content`. `index` is the message's, for errors.
pub(super) fn write(
    parts: &[&Part],
    index: usize,
    object: &mut Object<'_>,
    context: &mut Context<'_>,
) -> Result<(), Box<Failure>> {
    let mut sayable = Vec::with_capacity(parts.len());
    for part in parts {
        match foreign_name(&part.content) {
            Some(name) => context.drop(&format!("messages.content.{name}")),
            None => sayable.push(*part),
        }
    }
    if context.upstream.quirks.no_content_arrays {
        object.string("content", &flattened(&sayable, index)?);
        return Ok(());
    }
    match sayable.as_slice() {
        [] => object.string("content", ""),
        [part] if is_bare(part, context) => object.string("content", text_of(&part.content).unwrap_or_default()),
        parts => object.array("content", |array| {
            let mut numbered = parts.iter().enumerate();
            numbered.try_for_each(|(position, part)| {
                write_part(part, &format!("messages[{index}].content[{position}]"), array, context)
            })
        })?,
    }
    Ok(())
}

/// Whether a part is a text and nothing more, so that the short form says it.
fn is_bare(part: &Part, context: &Context<'_>) -> bool {
    matches!(part.content, Content::Text(_)) && part.extra.is_empty() && (part.cache.is_none() || !context.is_native)
}

/// One string for servers that know no parts. What is no text cannot be said there.
fn flattened(parts: &[&Part], index: usize) -> Result<String, Box<Failure>> {
    let mut texts = Vec::with_capacity(parts.len());
    for (position, part) in parts.iter().enumerate() {
        match text_of(&part.content) {
            Some(text) => texts.push(text),
            None => {
                let param = format!("messages[{index}].content[{position}]");
                return Err(unsupported(
                    format!("the upstream takes only text, and `{param}` is something else"),
                    param,
                ));
            }
        }
    }
    Ok(texts.join("\n\n"))
}

fn text_of(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) | Content::Refusal(text) => Some(text),
        Content::Document(Document { media: Media { source: Source::Text(text), .. }, .. }) => Some(text),
        _ => None,
    }
}

fn write_part(part: &Part, path: &str, array: &mut Array<'_>, context: &mut Context<'_>) -> Result<(), Box<Failure>> {
    if let Content::Opaque { json, .. } = &part.content {
        array.raw(json.get());
        return Ok(());
    }
    array.object(|object| {
        match &part.content {
            Content::Text(text) => write_text(text, object),
            Content::Refusal(text) => {
                object.string("type", "refusal");
                object.string("refusal", text);
            }
            Content::Image(media) => write_image(media, path, object)?,
            Content::Audio(media) => write_audio(media, path, object)?,
            Content::Document(document) => write_document(document, object),
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) | Content::Opaque { .. } => {
                return Err(unsupported(format!("`{path}` cannot stand in a message of this role"), path));
            }
        }
        context.cache(part.cache.as_ref(), object);
        context.extra(&part.extra, "messages.content", object);
        Ok(())
    })
}

fn write_text(text: &str, object: &mut Object<'_>) {
    object.string("type", "text");
    object.string("text", text);
}

fn write_image(media: &Media, path: &str, object: &mut Object<'_>) -> Result<(), Box<Failure>> {
    let url = match &media.source {
        Source::Url(url) => url.clone(),
        Source::Base64(data) => data_url(media, data, "image/png"),
        Source::FileId(_) | Source::Text(_) => {
            return Err(unsupported(
                format!("`{path}` is an image by file id, which the upstream cannot be given"),
                path,
            ));
        }
    };
    object.string("type", "image_url");
    object.object("image_url", |image| {
        image.string("url", &url);
        if let Some(detail) = &media.detail {
            image.string("detail", detail);
        }
    });
    Ok(())
}

fn write_audio(media: &Media, path: &str, object: &mut Object<'_>) -> Result<(), Box<Failure>> {
    let Source::Base64(data) = &media.source else {
        return Err(unsupported(format!("`{path}` is audio by reference, which the upstream cannot be given"), path));
    };
    object.string("type", "input_audio");
    object.object("input_audio", |audio| {
        audio.string("data", data);
        match media.media_type.strip_prefix("audio/") {
            Some("mpeg") => audio.string("format", "mp3"),
            Some("x-wav" | "wave") => audio.string("format", "wav"),
            Some(format) => audio.string("format", format),
            None => {}
        }
    });
    Ok(())
}

/// Text documents become text; others a file. OpenAI takes no URL there, servers like OpenRouter do, and the others say so.
fn write_document(document: &Document, object: &mut Object<'_>) {
    let media = &document.media;
    if let Source::Text(text) = &media.source {
        let head = [document.title.as_deref(), document.context.as_deref()].into_iter().flatten();
        let lines: Vec<&str> = head.chain([text.as_str()]).collect();
        return write_text(&lines.join("\n\n"), object);
    }
    object.string("type", "file");
    object.object("file", |file| match &media.source {
        Source::FileId(id) => file.string("file_id", id),
        Source::Url(url) | Source::Text(url) => write_file_data(url, document, file),
        // Bytes whose kind the client did not name go on as they came.
        Source::Base64(data) if media.media_type.is_empty() => write_file_data(data, document, file),
        Source::Base64(data) => write_file_data(&data_url(media, data, ""), document, file),
    });
}

fn write_file_data(data: &str, document: &Document, file: &mut Object<'_>) {
    file.string("filename", document.title.as_deref().unwrap_or("document.pdf"));
    file.string("file_data", data);
}

fn data_url(media: &Media, data: &str, otherwise: &str) -> String {
    let media_type = if media.media_type.is_empty() { otherwise } else { &media.media_type };
    format!("data:{media_type};base64,{data}")
}
