//! Messages as input items.

use gateway_ir::chat::{Content, Media, Message, Part, Role, Source};

use super::super::decode::SELF;
use crate::dropped::Dropped;
use crate::signed_id;
use crate::writer::{Array, Object};

/// What a message says becomes one item; its calls and results are items of their own.
pub(super) fn write(message: &Message, input: &mut Array<'_>, dropped: &mut Dropped) {
    dropped.note_if(message.name.is_some(), "messages[].name");
    dropped.note_if(message.parts.iter().any(|part| part.cache.is_some()), "cache_control");
    // What only this dialect knows is an item of its own where the model said it, else a part of the message.
    let is_own_part = |content: &Content| {
        let is_own = matches!(content, Content::Opaque { dialect, .. } if *dialect == SELF);
        is_own && message.role != Role::Assistant
    };
    let is_in_message = |part: &&Part| is_said(&part.content) || is_own_part(&part.content);
    let said: Vec<&Part> = message.parts.iter().filter(is_in_message).collect();
    if !said.is_empty() {
        let role = match message.role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        input.object(|item| {
            item.string("type", "message");
            item.string("role", role);
            item.array("content", |content| {
                said.iter().for_each(|part| match &part.content {
                    Content::Opaque { json, .. } => content.raw(json.get()),
                    said => content.object(|object| write_part(said, role, object)),
                });
            });
        });
    }
    for part in &message.parts {
        match &part.content {
            Content::ToolCall(call) => input.object(|item| {
                item.string("type", "function_call");
                item.string("call_id", signed_id::plain(&call.id));
                item.string("name", &call.name);
                item.string("arguments", if call.arguments.is_empty() { "{}" } else { &call.arguments });
            }),
            Content::ToolResult(result) => input.object(|item| {
                dropped.note_if(result.is_error == Some(true), "messages.is_error");
                item.string("type", "function_call_output");
                item.string("call_id", signed_id::plain(&result.call_id));
                let is_text = |part: &Part| matches!(part.content, Content::Text(_) | Content::Refusal(_));
                if result.parts.iter().all(is_text) {
                    let texts: Vec<&str> = result.parts.iter().filter_map(|part| text(&part.content)).collect();
                    item.string("output", &texts.join("\n"));
                } else {
                    item.array("output", |output| {
                        for part in result.parts.iter().filter(|part| is_said(&part.content)) {
                            output.object(|object| write_part(&part.content, "user", object));
                        }
                    });
                }
            }),
            own if is_own_part(own) => {}
            Content::Opaque { json, dialect, .. } if *dialect == SELF => input.raw(json.get()),
            Content::Opaque { kind, .. } => dropped.note(format!("messages[].content ({kind})")),
            _ => {}
        }
    }
}

fn text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) | Content::Refusal(text) => Some(text),
        _ => None,
    }
}

fn is_said(content: &Content) -> bool {
    match content {
        Content::Text(text) | Content::Refusal(text) => !text.is_empty(),
        Content::Image(_) | Content::Audio(_) | Content::Document(_) => true,
        _ => false,
    }
}

fn write_part(content: &Content, role: &str, object: &mut Object<'_>) {
    match content {
        Content::Text(text) => {
            object.string("type", if role == "assistant" { "output_text" } else { "input_text" });
            object.string("text", text);
        }
        Content::Refusal(text) => {
            object.string("type", "refusal");
            object.string("refusal", text);
        }
        Content::Image(image) => {
            object.string("type", "input_image");
            match &image.source {
                Source::FileId(id) => object.string("file_id", id),
                _ => object.string("image_url", &url(image, "image/jpeg")),
            }
            object.string("detail", image.detail.as_deref().unwrap_or("auto"));
        }
        Content::Document(document) => {
            object.string("type", "input_file");
            match &document.media.source {
                Source::FileId(id) => object.string("file_id", id),
                Source::Url(url) => object.string("file_url", url),
                _ => {
                    object.string("filename", document.title.as_deref().unwrap_or("document.pdf"));
                    object.string("file_data", &url(&document.media, "application/pdf"));
                }
            }
        }
        Content::Audio(audio) => {
            object.string("type", "input_audio");
            object.object("input_audio", |object| {
                if let Source::Base64(data) = &audio.source {
                    object.string("data", data);
                }
                object.string("format", audio.media_type.strip_prefix("audio/").unwrap_or("wav"));
            });
        }
        _ => {}
    }
}

fn url(media: &Media, fallback: &str) -> String {
    let kind = if media.media_type.is_empty() { fallback } else { &media.media_type };
    match &media.source {
        Source::Base64(data) => format!("data:{kind};base64,{data}"),
        Source::Url(url) | Source::FileId(url) | Source::Text(url) => url.clone(),
    }
}
