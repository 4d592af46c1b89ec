//! A conversation as one prompt, for servers that know no roles.
//!
//! One user's text is the prompt as it stands. Anything else is written turn by turn under the names of the roles, and the model
//! is left to go on as the assistant:
//!
//! ```text
//! System: Be terse.
//!
//! User: What is the capital of France?
//!
//! Assistant:
//! ```
//!
//! The next user's turn is not the model's to write, so its heading ends the answer. A conversation that ends with the assistant
//! ends without a new heading: the model continues what stands there. What is no text is refused: left out, the model would answer
//! another question.

use gateway_ir::chat::{Content, Document, Media, Message, Part, Role, Source};
use gateway_ir::failure::{Code, Failure};

use crate::dropped::Dropped;

/// What the heading of the next user's turn looks like in an answer.
const NEXT_TURN: &str = "\n\nUser:";

/// A prompt, and what ends the answer to it beside the client's own stop sequences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) text: String,
    pub(super) stop: Option<&'static str>,
}

pub(super) fn render(messages: &[Message], dropped: &mut Dropped) -> Result<Prompt, Box<Failure>> {
    if let [Message { role: Role::User, parts, .. }] = messages {
        return Ok(Prompt { text: text(parts, 0, dropped)?, stop: None });
    }
    let mut whole = String::new();
    for (index, message) in messages.iter().enumerate() {
        dropped.note_if(message.name.is_some(), "messages[].name");
        let heading = match message.role {
            Role::System | Role::Developer => "System",
            Role::User => "User",
            Role::Assistant => "Assistant",
            Role::Tool => return Err(unsayable(format!("messages[{index}]"), "the result of a tool")),
        };
        let text = text(&message.parts, index, dropped)?;
        let between = if whole.is_empty() { "" } else { "\n\n" };
        whole.push_str(&format!("{between}{heading}: {text}"));
    }
    if messages.last().is_none_or(|last| last.role != Role::Assistant) {
        whole.push_str("\n\nAssistant:");
    }
    Ok(Prompt { text: whole, stop: Some(NEXT_TURN) })
}

fn text(parts: &[Part], index: usize, dropped: &mut Dropped) -> Result<String, Box<Failure>> {
    let mut texts = Vec::with_capacity(parts.len());
    for (position, part) in parts.iter().enumerate() {
        dropped.note_if(part.cache.is_some(), "cache_control");
        let what = match &part.content {
            Content::Text(text) | Content::Refusal(text) => {
                texts.push(text.as_str());
                continue;
            }
            Content::Document(Document { media: Media { source: Source::Text(text), .. }, .. }) => {
                texts.push(text);
                continue;
            }
            // Thoughts of earlier turns are nothing that was said.
            Content::Reasoning(_) => continue,
            Content::Opaque { kind, .. } => {
                dropped.note(format!("messages.content.{kind}"));
                continue;
            }
            Content::Image(_) => "an image",
            Content::Audio(_) => "audio",
            Content::Document(_) => "a document",
            Content::ToolCall(_) => "a tool call",
            Content::ToolResult(_) => "the result of a tool",
        };
        return Err(unsayable(format!("messages[{index}].content[{position}]"), what));
    }
    Ok(texts.join("\n\n"))
}

fn unsayable(param: String, what: &str) -> Box<Failure> {
    let message = format!("the upstream completes text and knows nothing else, and `{param}` is {what}");
    Box::new(Failure::new(Code::UnsupportedParameter, message).at(param))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[(Role, &str)], text: &str, stop: Option<&'static str>) {
        let messages: Vec<_> =
            messages.iter().map(|(role, text)| Message::new(*role, vec![Part::text(*text)])).collect();
        let rendered = render(&messages, &mut Dropped::default()).expect("only text");
        assert_eq!(rendered, Prompt { text: text.to_owned(), stop });
    }

    #[test]
    fn conversations_become_prompts() {
        check(&[(Role::User, "Once upon")], "Once upon", None);
        check(
            &[(Role::Developer, "Be terse."), (Role::User, "Hi"), (Role::Assistant, "Yo"), (Role::User, "Who?")],
            "System: Be terse.\n\nUser: Hi\n\nAssistant: Yo\n\nUser: Who?\n\nAssistant:",
            Some(NEXT_TURN),
        );
        check(&[(Role::User, "Hi"), (Role::Assistant, "I am")], "User: Hi\n\nAssistant: I am", Some(NEXT_TURN));
    }
}
