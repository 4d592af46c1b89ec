//! OpenAI chat: <https://platform.openai.com/docs/api-reference/chat-streaming>, and what official clients rely on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Ending, Raw, is_openai_error};

#[derive(Default)]
struct Choice {
    n_deltas: usize,
    n_calls: u64,
    is_finished: bool,
}

/// Constant id, model and time; a choice's first delta, and no other, has the role; calls are numbered from 0 and named once;
/// one finish and nothing after it; usage once, in the last chunk, if asked for; `[DONE]` last, or an error last.
pub(super) fn check(events: &[Raw], wants_usage: bool) -> Result<Ending, String> {
    let mut choices = BTreeMap::<u64, Choice>::new();
    let (mut n_usages, mut constant) = (0, None);
    for (at, Raw { data, .. }) in events.iter().enumerate() {
        let is_last = at + 1 == events.len();
        let broken = |rule: &str| format!("{rule} at {data}");
        if data.is_null() {
            let is_whole = !choices.is_empty() && choices.values().all(|choice| choice.is_finished);
            return match (is_last, is_whole, n_usages == usize::from(wants_usage)) {
                (true, true, true) => Ok(Ending::Finished),
                (false, ..) => Err(broken("something after [DONE]")),
                (_, false, _) => Err(broken("[DONE] though not every choice has finished")),
                (.., false) => Err(broken("usage is not told as it was asked for")),
            };
        }
        if is_openai_error(data) {
            return if is_last { Ok(Ending::Failed) } else { Err(broken("something after an error")) };
        }
        let named = [&data["id"], &data["model"], &data["created"], &data["object"]];
        if named.iter().any(|value| value.is_null()) || *constant.get_or_insert(named) != named {
            return Err(broken("id, model, created and object are there and constant"));
        }
        if n_usages > 0 {
            return Err(broken("something after the usage"));
        }
        if !data["usage"].is_null() {
            n_usages += 1;
            if data["choices"] != json!([]) {
                return Err(broken("usage stands alone"));
            }
        }
        for choice in data["choices"].as_array().ok_or("a chunk without choices")? {
            let known = choices.entry(choice["index"].as_u64().ok_or("a choice without an index")?).or_default();
            step(known, choice).map_err(broken)?;
        }
    }
    Err("the stream does not end".to_owned())
}

fn step(known: &mut Choice, choice: &Value) -> Result<(), &'static str> {
    let delta = &choice["delta"];
    if known.is_finished {
        return Err("something after a finish");
    }
    if (delta["role"] == "assistant") != (known.n_deltas == 0) {
        return Err("the first delta, and no other, has the role");
    }
    known.n_deltas += 1;
    if choice.get("finish_reason").is_none() || choice.get("logprobs").is_none() {
        return Err("every choice has finish_reason and logprobs");
    }
    known.is_finished = !choice["finish_reason"].is_null();
    for call in delta["tool_calls"].as_array().into_iter().flatten() {
        let index = call["index"].as_u64().ok_or("a call without an index")?;
        let is_named = call["id"].is_string() && call["function"]["name"].is_string() && call["type"] == "function";
        let is_named = is_named || call["type"] == "custom";
        match index.cmp(&known.n_calls) {
            std::cmp::Ordering::Equal if is_named => known.n_calls += 1,
            std::cmp::Ordering::Less if !is_named => {}
            _ => return Err("calls count from 0 and are named once"),
        }
    }
    Ok(())
}
