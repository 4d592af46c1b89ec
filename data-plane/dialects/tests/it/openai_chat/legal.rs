//! The rules of an OpenAI chat stream, as a checker: what official clients rely on.

use std::collections::BTreeMap;

use gateway_dialects::framing::sse::Parser;
use serde_json::Value;

#[derive(Default)]
struct Choice {
    n_roles: usize,
    n_finishes: usize,
    is_first: bool,
}

/// Panics with the stream and the broken rule.
pub(crate) fn check_legal(stream: &[u8], wants_usage: bool) {
    let text = String::from_utf8(stream.to_vec()).expect("text");
    let broken = |rule: &str| panic!("{rule}:\n{text}");
    let mut data = Vec::new();
    let collect = |event: gateway_dialects::framing::sse::Event<'_>| {
        data.push(event.data.into_owned());
        Ok(())
    };
    Parser::default().push(stream, collect).expect("small events");
    if !text.ends_with("\n\n") || data.pop().as_deref() != Some(b"[DONE]") {
        broken("ends with [DONE]");
    }
    let chunks: Vec<Value> = data.iter().map(|data| serde_json::from_slice(data).expect("JSON")).collect();
    let mut choices = BTreeMap::<u64, Choice>::new();
    for chunk in &chunks {
        for constant in ["id", "model", "created"] {
            if chunk[constant].is_null() || chunk[constant] != chunks[0][constant] {
                broken("id, model and created are there and constant");
            }
        }
        if chunk["object"] != "chat.completion.chunk" {
            broken("object");
        }
        for choice in chunk["choices"].as_array().expect("choices") {
            let known = choices
                .entry(choice["index"].as_u64().expect("an index"))
                .or_insert_with(|| Choice { is_first: true, ..Choice::default() });
            let has_role = choice["delta"]["role"] == "assistant";
            known.n_roles += usize::from(has_role);
            if std::mem::take(&mut known.is_first) != has_role {
                broken("the first delta, and no other, has the role");
            }
            if known.n_finishes > 0 {
                broken("nothing follows a finish");
            }
            known.n_finishes += usize::from(!choice["finish_reason"].is_null());
            if choice.get("finish_reason").is_none() || choice.get("logprobs").is_none() {
                broken("every choice has finish_reason and logprobs");
            }
        }
    }
    if choices.values().any(|choice| choice.n_finishes != 1) {
        broken("one finish for each choice");
    }
    let with_usage: Vec<usize> = (0..chunks.len()).filter(|at| !chunks[*at]["usage"].is_null()).collect();
    match (wants_usage, with_usage.as_slice()) {
        (true, [only]) if only + 1 == chunks.len() && chunks[*only]["choices"] == serde_json::json!([]) => {}
        (true, _) => broken("one usage chunk, the last, without choices"),
        (false, []) => {}
        (false, _) => broken("usage was not asked for"),
    }
}
