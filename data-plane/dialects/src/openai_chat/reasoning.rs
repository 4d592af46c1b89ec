//! Signed and encrypted thinking in this dialect: `reasoning_details`, the form OpenRouter gave it. OpenAI itself has none.
//!
//! A client that sends the details back with the next turn lets the provider that made them go on thinking.

use gateway_ir::chat::ReasoningPart;
use gateway_ir::fold::Block;
use serde_json::value::RawValue;

use crate::reading::{elements, members_of, text};
use crate::writer::{Array, Object};

/// Who signs; others have formats of their own, which are passed on but not understood.
const FORMAT: &str = "anthropic-claude-v1";

/// Writes the member `reasoning_details` if any thinking is signed or encrypted.
pub(super) fn write_details(blocks: &[Block], message: &mut Object<'_>) {
    let is_sealed =
        |block: &Block| matches!(block, Block::Reasoning { signature: Some(_), .. } | Block::RedactedReasoning { .. });
    if !blocks.iter().any(is_sealed) {
        return;
    }
    message.array("reasoning_details", |array| {
        let thinking =
            blocks.iter().filter(|block| matches!(block, Block::Reasoning { .. } | Block::RedactedReasoning { .. }));
        for (index, block) in thinking.enumerate() {
            match block {
                Block::Reasoning { text, signature } => write_signed(index as u64, text, signature.as_deref(), array),
                Block::RedactedReasoning { data } => write_encrypted(index as u64, data, array),
                _ => {}
            }
        }
    });
}

/// One entry for signed thinking. In a stream the text has gone out as it came and is left out here.
pub(super) fn write_signed(index: u64, text: &str, signature: Option<&str>, array: &mut Array<'_>) {
    array.object(|detail| {
        detail.string("type", "reasoning.text");
        if !text.is_empty() {
            detail.string("text", text);
        }
        if let Some(signature) = signature {
            detail.string("signature", signature);
        }
        detail.string("format", FORMAT);
        detail.unsigned("index", index);
    });
}

pub(super) fn write_encrypted(index: u64, data: &str, array: &mut Array<'_>) {
    array.object(|detail| {
        detail.string("type", "reasoning.encrypted");
        detail.string("data", data);
        detail.string("format", FORMAT);
        detail.unsigned("index", index);
    });
}

/// Reads an earlier turn's details. Entries that follow each other with the same index, as a client collects them from a
/// stream, are one. `plain` is the text beside them (`reasoning_content`), which a lone signature stands for.
pub(super) fn read_details(raw: &RawValue, plain: Option<&str>) -> Vec<ReasoningPart> {
    let mut parts: Vec<(String, ReasoningPart)> = Vec::new();
    elements(raw, |detail| {
        let (mut kind, mut format, mut index, mut part) = (None, None, String::new(), ReasoningPart::default());
        members_of(detail, |name, value| match name {
            "type" => kind = text(value),
            "format" => format = text(value),
            "index" => value.get().clone_into(&mut index),
            "text" => part.text = text(value).unwrap_or_default().into_owned(),
            "signature" => part.signature = text(value).map(Into::into),
            "data" => part.redacted = text(value).map(Into::into),
            _ => {}
        });
        if format.is_some_and(|format| format != FORMAT) {
            return;
        }
        match (kind.as_deref(), parts.last_mut()) {
            (Some("reasoning.encrypted"), _) => parts.push((index, part)),
            (Some("reasoning.text"), Some((known, last)))
                if *known == index && !index.is_empty() && last.signature.is_none() && last.redacted.is_none() =>
            {
                last.text.push_str(&part.text);
                last.signature = part.signature;
            }
            (Some("reasoning.text"), _) => parts.push((index, part)),
            _ => {}
        }
    });
    let mut parts: Vec<ReasoningPart> = parts.into_iter().map(|(_, part)| part).collect();
    if let (Some(plain), [only]) = (plain, parts.as_mut_slice())
        && only.text.is_empty()
        && only.redacted.is_none()
    {
        plain.clone_into(&mut only.text);
    }
    // A signature without the text it stands for is of no use to anybody.
    parts.retain(|part| part.redacted.is_some() || (part.signature.is_some() && !part.text.is_empty()));
    parts
}
