//! What makes a client's event stream legal, dialect by dialect: strict, and written from the vendors' documentation rather than
//! from the encoders. For tests and fuzzing; nothing of it runs in the product.

use gateway_ir::dialect::Dialect as Id;
use serde_json::Value;

use crate::framing::sse;

mod anthropic_messages;
mod gemini_generate;
mod openai_chat;
mod openai_completions;
mod openai_responses;

/// How a legal stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Finished,
    /// One error event and no terminal mark.
    Failed,
}

/// A legal stream.
#[derive(Clone, Debug)]
pub struct Told {
    pub events: Vec<Value>,
    pub ending: Ending,
}

/// One event as it came. `data` is null for `[DONE]`.
struct Raw {
    name: String,
    data: Value,
}

/// Reads a stream of a dialect that clients speak. `wants_usage`: the client asked for usage at the end. An error names the broken
/// rule and the event.
pub fn check(id: Id, stream: &[u8], wants_usage: bool) -> Result<Told, String> {
    let events = read(stream)?;
    let ending = match id {
        Id::OpenAiChat => openai_chat::check(&events, wants_usage),
        Id::OpenAiCompletions => openai_completions::check(&events, wants_usage),
        Id::OpenAiResponses => openai_responses::check(&events),
        Id::AnthropicMessages => anthropic_messages::check(&events),
        Id::GeminiGenerate => gemini_generate::check(&events, wants_usage),
        Id::CohereV2 | Id::OllamaChat | Id::BedrockConverse => {
            return Err(format!("clients do not speak {id}"));
        }
    };
    let events = events.into_iter().map(|event| event.data).filter(|data| !data.is_null()).collect();
    ending.map(|ending| Told { events, ending })
}

fn read(stream: &[u8]) -> Result<Vec<Raw>, String> {
    if !stream.is_empty() && !stream.ends_with(b"\n\n") && !stream.ends_with(b"\r\n\r\n") {
        return Err("the last event is not whole".to_owned());
    }
    let (mut events, mut broken) = (Vec::new(), None);
    let visit = |event: sse::Event<'_>| {
        let name = String::from_utf8_lossy(event.name).into_owned();
        match serde_json::from_slice(&event.data) {
            _ if event.data.as_ref() == b"[DONE]" => events.push(Raw { name, data: Value::Null }),
            Ok(data) => events.push(Raw { name, data }),
            Err(error) => broken = Some(format!("{error} in {}", String::from_utf8_lossy(&event.data))),
        }
        Ok(())
    };
    sse::Parser::default().push(stream, visit).map_err(|failure| failure.message.into_owned())?;
    broken.map_or(Ok(events), Err)
}

/// Whether a chunk is an error in OpenAI's shape.
fn is_openai_error(data: &Value) -> bool {
    data["error"]["message"].is_string() && data["error"].get("type").is_some() && data.get("choices").is_none()
}
