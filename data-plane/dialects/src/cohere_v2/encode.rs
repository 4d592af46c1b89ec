//! A request for a Cohere upstream. Members always stand in the same order, so that equal requests are equal bytes.

use bytes::BytesMut;
use gateway_ir::chat::{
    ChatRequest, Content, Document, Media, Message, Part, Reasoning, ResponseFormat, Role, Source, Tool, ToolChoice,
};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use serde_json::Number;

use crate::choices;
use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::signed_id;
use crate::writer::{Array, Object, object};

const SELF: Dialect = Dialect::CohereV2;

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    let mut dropped = Dropped::default();
    choices::only_one(request)?;
    let mut out = BytesMut::with_capacity(4096);
    object(&mut out, |body| {
        body.string("model", upstream.model);
        body.array("messages", |messages| {
            request.messages.iter().for_each(|message| write_message(message, messages, &mut dropped));
        });
        write_tools(request, body, &mut dropped);
        write_sampling(request, body, &mut dropped);
        write_format(request, body);
        write_thinking(request, body);
        if upstream.stream {
            body.boolean("stream", true);
        }
    });
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()), "metadata");
    dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
    for name in request.extra.lost_in(SELF) {
        dropped.note(name);
    }
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

fn write_message(message: &Message, messages: &mut Array<'_>, dropped: &mut Dropped) {
    dropped.note_if(message.name.is_some(), "messages[].name");
    dropped.note_if(message.parts.iter().any(|part| part.cache.is_some()), "cache_control");
    let results = message.parts.iter().filter_map(|part| match &part.content {
        Content::ToolResult(result) => Some(result),
        _ => None,
    });
    let mut n_results = 0;
    for result in results {
        n_results += 1;
        dropped.note_if(result.is_error == Some(true), "messages.is_error");
        messages.object(|object| {
            object.string("role", "tool");
            object.string("tool_call_id", signed_id::plain(&result.call_id));
            write_content(&result.parts, object, dropped);
        });
    }
    if n_results == message.parts.len() && n_results > 0 {
        return;
    }
    messages.object(|object| {
        object.string(
            "role",
            match message.role {
                Role::System | Role::Developer => "system",
                Role::User | Role::Tool => "user",
                Role::Assistant => "assistant",
            },
        );
        let calls: Vec<_> = message
            .parts
            .iter()
            .filter_map(|part| if let Content::ToolCall(call) = &part.content { Some(call) } else { None })
            .collect();
        if !calls.is_empty() {
            object.array("tool_calls", |array| {
                for call in &calls {
                    array.object(|object| {
                        object.string("id", signed_id::plain(&call.id));
                        object.string("type", "function");
                        object.object("function", |function| {
                            function.string("name", &call.name);
                            let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                            function.string("arguments", arguments);
                        });
                    });
                }
            });
        }
        // A turn that only calls has no content; any other must have some.
        if calls.is_empty() || message.parts.iter().any(|part| is_sayable(&part.content)) {
            write_content(&message.parts, object, dropped);
        }
    });
}

fn is_sayable(content: &Content) -> bool {
    match content {
        Content::Text(text) | Content::Refusal(text) => !text.is_empty(),
        Content::Image(_) | Content::Document(_) => true,
        _ => false,
    }
}

/// One string where that says it all, parts otherwise.
fn write_content(parts: &[Part], object: &mut Object<'_>, dropped: &mut Dropped) {
    let sayable: Vec<&Part> = parts.iter().filter(|part| is_sayable(&part.content)).collect();
    for part in parts {
        match &part.content {
            Content::Audio(_) => dropped.note("messages[].content (audio)"),
            Content::Opaque { kind, .. } => dropped.note(format!("messages[].content ({kind})")),
            _ => {}
        }
    }
    if let [] | [Part { content: Content::Text(_) | Content::Refusal(_), .. }] = sayable.as_slice() {
        let text = sayable.first().map_or("", |part| match &part.content {
            Content::Text(text) | Content::Refusal(text) => text,
            _ => "",
        });
        return object.string("content", text);
    }
    object.array("content", |array| {
        for part in sayable {
            match &part.content {
                Content::Text(text) | Content::Refusal(text) => array.object(|object| {
                    object.string("type", "text");
                    object.string("text", text);
                }),
                Content::Image(image) => write_image(image, array),
                Content::Document(document) => write_document(document, array, dropped),
                _ => {}
            }
        }
    });
}

fn write_image(image: &Media, array: &mut Array<'_>) {
    let url = match &image.source {
        Source::Base64(data) if image.media_type.is_empty() => format!("data:image/jpeg;base64,{data}"),
        Source::Base64(data) => format!("data:{};base64,{data}", image.media_type),
        Source::Url(url) | Source::FileId(url) | Source::Text(url) => url.clone(),
    };
    array.object(|object| {
        object.string("type", "image_url");
        object.object("image_url", |object| object.string("url", &url));
    });
}

/// Documents are texts here.
fn write_document(document: &Document, array: &mut Array<'_>, dropped: &mut Dropped) {
    let Source::Text(text) = &document.media.source else {
        return dropped.note("messages[].content (document that is no text)");
    };
    array.object(|object| {
        object.string("type", "document");
        object.object("document", |object| {
            object.object("data", |data| {
                if let Some(title) = &document.title {
                    data.string("title", title);
                }
                data.string("text", text);
            });
        });
    });
}

fn write_tools(request: &ChatRequest, body: &mut Object<'_>, dropped: &mut Dropped) {
    let named = match &request.tool_choice {
        Some(ToolChoice::Function(name)) => Some(name),
        _ => None,
    };
    let mut functions = Vec::with_capacity(request.tools.len());
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            // Cohere cannot be told which one: with only that one, `REQUIRED` says the same.
            Tool::Function(function) if named.is_none_or(|named| *named == function.name) => functions.push(function),
            Tool::Function(_) => {}
            Tool::Opaque { kind, .. } => dropped.note(format!("tools[{index}] ({kind})")),
        }
    }
    if functions.is_empty() {
        return dropped.note_if(request.tool_choice.is_some(), "tool_choice");
    }
    let is_strict = functions.iter().any(|function| function.strict == Some(true));
    body.array("tools", |array| {
        for function in functions {
            array.object(|object| {
                object.string("type", "function");
                object.object("function", |object| {
                    object.string("name", &function.name);
                    if let Some(description) = &function.description {
                        object.string("description", description);
                    }
                    let parameters = function.parameters.as_deref();
                    object
                        .raw("parameters", parameters.map_or(r#"{"type":"object","properties":{}}"#, |raw| raw.get()));
                });
            });
        }
    });
    if is_strict {
        body.boolean("strict_tools", true);
    }
    match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Function(_)) => body.string("tool_choice", "REQUIRED"),
        Some(ToolChoice::None) => body.string("tool_choice", "NONE"),
        Some(ToolChoice::Auto) | None => {}
    }
}

fn write_sampling(request: &ChatRequest, body: &mut Object<'_>, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    let number = |body: &mut Object<'_>, name: &str, value: &Option<Number>| {
        if let Some(value) = value {
            body.raw(name, &value.to_string());
        }
    };
    if let Some(max_tokens) = sampling.max_output_tokens {
        body.unsigned("max_tokens", max_tokens);
    }
    if !sampling.stop.is_empty() {
        body.array("stop_sequences", |array| sampling.stop.iter().for_each(|stop| array.string(stop)));
    }
    number(body, "temperature", &sampling.temperature);
    number(body, "p", &sampling.top_p);
    if let Some(top_k) = sampling.top_k {
        body.unsigned("k", top_k);
    }
    if let Some(seed) = sampling.seed {
        body.raw("seed", &seed.to_string());
    }
    number(body, "frequency_penalty", &sampling.frequency_penalty);
    number(body, "presence_penalty", &sampling.presence_penalty);
    // Its log probabilities are of pieces of text that no OpenAI client could read.
    dropped.note_if(sampling.logprobs == Some(true), "logprobs");
    dropped.note_if(sampling.top_logprobs.is_some_and(|count| count > 0), "top_logprobs");
}

fn write_format(request: &ChatRequest, body: &mut Object<'_>) {
    let schema = match &request.response_format {
        Some(ResponseFormat::JsonObject) => None,
        Some(ResponseFormat::JsonSchema { schema, .. }) => schema.as_deref(),
        Some(ResponseFormat::Text) | None => return,
    };
    body.object("response_format", |format| {
        format.string("type", "json_object");
        if let Some(schema) = schema {
            format.raw("json_schema", schema.get());
        }
    });
}

fn write_thinking(request: &ChatRequest, body: &mut Object<'_>) {
    let Some(reasoning) = &request.reasoning else { return };
    body.object("thinking", |thinking| match reasoning {
        Reasoning::Off => thinking.string("type", "disabled"),
        Reasoning::BudgetTokens(budget) => {
            thinking.string("type", "enabled");
            thinking.unsigned("token_budget", *budget);
        }
        Reasoning::Effort(_) | Reasoning::Adaptive => thinking.string("type", "enabled"),
    });
}
