//! Repair of what clients send: which bodies cannot pass as they are, and a conversation in which calls and results fit together.
//!
//! What else clients spell in older or other ways (parts, tools, roles, limits) the decoders read as they go.

use std::sync::LazyLock;

use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

use crate::reading::{elements, members_of};

mod transcript;

/// The end of `"input_text"` and of `"output_text"`, the types of text parts in the Responses dialect. Within a text a quote has a
/// backslash before it, so that what people write about them is not found.
static TEXT_OF_RESPONSES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"put_text\""));
/// The beginning of `"tool_calls"` and of `"tool_call_id"`.
static TOOL_TURN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"tool_call"));

/// Whether the bytes must be read and written again even where both sides speak the same dialect, because the vendor would refuse
/// what can be repaired. Only OpenAI chat has clients that send such; in the other dialects the vendor judges.
///
/// Costs two searches for a few bytes; where the conversation has tools, one pass over `messages` and `tools`.
pub fn is_needed(inbound: Dialect, facts: &Facts, body: &[u8]) -> bool {
    if inbound != Dialect::OpenAiChat {
        return false;
    }
    let is_of_responses = facts.has_input && facts.messages_at.is_none();
    // Few compatible servers know `functions`; beside `tools`, nobody does.
    if facts.has_functions || is_of_responses || facts.has_two_limits {
        return true;
    }
    let raw = |at: &std::ops::Range<usize>| serde_json::from_slice::<&RawValue>(&body[at.clone()]).ok();
    let has_flat_tool = || facts.tools_at.as_ref().and_then(raw).is_some_and(is_flat);
    let has_tool_turns = || TOOL_TURN.find(body).is_some();
    let is_broken = || has_tool_turns() && !facts.messages_at.as_ref().and_then(raw).is_some_and(is_sound);
    TEXT_OF_RESPONSES.find(body).is_some() || has_flat_tool() || is_broken()
}

/// Puts the results of calls behind their calls, and takes out calls and results that have no partner.
pub(crate) fn transcript(request: &mut ChatRequest) {
    transcript::repair(&mut request.messages, &mut request.repaired);
}

/// Whether a function among `tools` is written flat.
fn is_flat(tools: &RawValue) -> bool {
    let mut any = false;
    elements(tools, |tool| {
        let (mut is_function, mut has_name) = (false, false);
        members_of(tool, |name, value| match name {
            "type" => is_function = value.get() == "\"function\"",
            "name" => has_name = true,
            _ => {}
        });
        any |= is_function && has_name;
    });
    any
}

/// Whether each call in `messages` has an id and is answered once, right behind it. Ids are compared as they are written.
fn is_sound(messages: &RawValue) -> bool {
    let (mut open, mut is_sound): (Vec<&str>, bool) = (Vec::new(), true);
    elements(messages, |message| {
        let (mut answers, mut calls, mut is_result) = (None, None, false);
        members_of(message, |name, value| match name {
            "role" => is_result = value.get() == "\"tool\"",
            "tool_call_id" => answers = Some(value.get()),
            "tool_calls" => calls = Some(value),
            _ => {}
        });
        if is_result {
            let call = open.iter().position(|id| Some(*id) == answers);
            is_sound &= call.map(|call| open.swap_remove(call)).is_some();
            return;
        }
        is_sound &= open.is_empty();
        let Some(calls) = calls else { return };
        elements(calls, |call| {
            let mut id = None;
            members_of(call, |name, value| id = if name == "id" { Some(value.get()) } else { id });
            is_sound &= id.is_some_and(|id| id.len() > 2 && id.starts_with('"') && !open.contains(&id));
            open.extend(id);
        });
    });
    is_sound && open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: bool) {
        let facts = Facts::scan(&body.to_owned().into()).expect("a valid body");
        assert_eq!(is_needed(Dialect::OpenAiChat, &facts, body.as_bytes()), expected, "{body}");
        assert!(!is_needed(Dialect::AnthropicMessages, &facts, body.as_bytes()), "{body}");
    }

    fn messages(messages: &str) -> String {
        format!(r#"{{"model":"m","messages":[{messages}]}}"#)
    }

    #[test]
    fn what_a_vendor_would_refuse_does_not_pass() {
        let ask = r#"{"role":"user","content":"hi"}"#;
        check(&messages(ask), false);
        check(&messages(r#"{"role":"user","content":"say \"input_text\""}"#), false);
        check(&messages(r#"{"role":"user","content":[{"type":"input_text","text":"hi"}]}"#), true);
        check(r#"{"model":"m","input":"hi"}"#, true);
        check(r#"{"model":"m","messages":[],"input":"hi"}"#, false);
        check(r#"{"model":"m","messages":[],"functions":[]}"#, true);
        check(r#"{"model":"m","messages":[],"function_call":"auto","tool_choice":"auto"}"#, true);
        check(r#"{"model":"m","messages":[],"max_tokens":1,"max_completion_tokens":1}"#, true);
        let nested = r#"{"type":"function","function":{"name":"f"}}"#;
        check(&format!(r#"{{"model":"m","messages":[],"tools":[{nested}]}}"#), false);
        check(&format!(r#"{{"model":"m","messages":[],"tools":[{nested},{{"type":"function","name":"f"}}]}}"#), true);
    }

    #[test]
    fn calls_and_results_pass_in_pairs_only() {
        let call = |id: &str| {
            format!(r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"{id}","type":"function"}}]}}"#)
        };
        let result = |id: &str| format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"tool_calls"}}"#);
        let ask = r#"{"role":"user","content":"hi"}"#.to_owned();
        let both = r#"{"role":"assistant","tool_calls":[{"id":"a"},{"id":"b"}]}"#.to_owned();
        for (turns, is_sound) in [
            (vec![ask.clone(), call("a"), result("a"), ask.clone()], true),
            (vec![both.clone(), result("b"), result("a"), call("a"), result("a")], true),
            (vec![both, result("a")], false),
            (vec![call("a")], false),
            (
                vec![
                    r#"{"role":"assistant","tool_calls":[{"id":"a"},{"id":"a"}]}"#.to_owned(),
                    result("a"),
                    result("a"),
                ],
                false,
            ),
            (vec![call(""), result("")], false),
            (vec![result("a")], false),
            (vec![call("a"), result("b")], false),
            (vec![call("a"), result("a"), result("a")], false),
            (vec![call("a"), ask, result("a")], false),
        ] {
            check(&messages(&turns.join(",")), !is_sound);
        }
    }
}
