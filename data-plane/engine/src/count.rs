//! A count of tokens where the upstream gave none. An estimate, marked as such wherever it is shown.

use gateway_ir::chat::{ChatRequest, Content, Part, ResponseFormat, Source, Tool};
use gateway_ir::usage::Usage;

/// Bytes of English text per token in the vocabularies that are common today. Other scripts have fewer bytes per token in
/// new vocabularies and more tokens per byte in old ones, and the JSON around the text counts in full, so the estimate is
/// rather too high than too low for a request and about right for a reply's text.
const BYTES_PER_TOKEN: u64 = 4;

/// What vendors add around each message, each part of another kind than text, and each tool.
const TOKENS_PER_ITEM: u64 = 4;
/// A picture in full detail, about the most that vendors count for one.
const TOKENS_PER_IMAGE: u64 = 1600;
/// Of recordings and documents: bytes as sent say little of what is in them, and nothing where they are only named.
const TOKENS_PER_FILE: u64 = 3000;

/// Tokens of a request body and of a reply's content by their bytes, each rounded up. All of the prompt counts as uncached.
pub fn estimate(n_input_bytes: u64, n_output_bytes: u64) -> Usage {
    Usage {
        input: n_input_bytes.div_ceil(BYTES_PER_TOKEN),
        output: n_output_bytes.div_ceil(BYTES_PER_TOKEN),
        ..Usage::default()
    }
}

/// Tokens of a whole request, by its texts and not by its JSON: media count by the piece, not by their bytes.
pub fn prompt(request: &ChatRequest) -> u64 {
    let parts = request.messages.iter().map(|message| TOKENS_PER_ITEM + parts(&message.parts));
    let tools = request.tools.iter().map(tool);
    let format = match &request.response_format {
        Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) => text(schema.get()),
        _ => 0,
    };
    parts.chain(tools).fold(format, u64::saturating_add)
}

fn parts(parts: &[Part]) -> u64 {
    parts.iter().map(part).fold(0, u64::saturating_add)
}

fn part(part: &Part) -> u64 {
    match &part.content {
        Content::Text(said) | Content::Refusal(said) => text(said),
        Content::Reasoning(thinking) => text(&thinking.text),
        Content::Image(_) => TOKENS_PER_IMAGE,
        Content::Audio(_) => TOKENS_PER_FILE,
        Content::Document(document) => match &document.media.source {
            Source::Text(said) => text(said),
            Source::Base64(_) | Source::Url(_) | Source::FileId(_) => TOKENS_PER_FILE,
        },
        Content::ToolCall(call) => TOKENS_PER_ITEM + text(&call.name) + text(&call.arguments),
        Content::ToolResult(result) => TOKENS_PER_ITEM + parts(&result.parts),
        Content::Opaque { json, .. } => text(json.get()),
    }
}

fn tool(tool: &Tool) -> u64 {
    match tool {
        Tool::Function(function) => {
            let description = function.description.as_deref().map_or(0, text);
            let parameters = function.parameters.as_deref().map_or(0, |schema| text(schema.get()));
            TOKENS_PER_ITEM + text(&function.name) + description + parameters
        }
        Tool::Opaque { json, .. } => text(json.get()),
    }
}

fn text(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use gateway_ir::chat::{Media, Message, Role};

    use super::*;

    #[test]
    fn a_prompt_is_counted_by_its_texts() {
        let image = Media { source: Source::Base64("A".repeat(1 << 20)), media_type: String::new(), detail: None };
        let cases = [
            (vec![], 0),
            (vec![Part::text("twelve bytes")], 4 + 3),
            (vec![Part::text("a"), Part::new(Content::Image(image))], 4 + 1 + 1600),
        ];
        for (parts, tokens) in cases {
            let messages = if parts.is_empty() { Vec::new() } else { vec![Message::new(Role::User, parts)] };
            assert_eq!(prompt(&ChatRequest { messages, ..ChatRequest::default() }), tokens);
        }
    }

    #[test]
    fn rounds_up_and_never_overflows() {
        for (n_bytes, tokens) in [(0, 0), (1, 1), (4, 1), (5, 2), (u64::MAX, 1 << 62)] {
            let usage = estimate(n_bytes, n_bytes);
            assert_eq!((usage.input, usage.output, usage.total()), (tokens, tokens, 2 * tokens));
        }
    }
}
