//! OpenAI's legacy completions: <https://platform.openai.com/docs/api-reference/completions>.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Ending, Raw, is_openai_error};

/// Constant id and model; every choice has a text until its one finish; usage once, in the last chunk, if asked for; `[DONE]` last,
/// or an error last.
pub(super) fn check(events: &[Raw], wants_usage: bool) -> Result<Ending, String> {
    let mut finished = BTreeMap::<u64, bool>::new();
    let (mut n_usages, mut constant) = (0, None);
    for (at, Raw { data, .. }) in events.iter().enumerate() {
        let is_last = at + 1 == events.len();
        let broken = |rule: &str| format!("{rule} at {data}");
        if data.is_null() {
            let is_whole = !finished.is_empty() && finished.values().all(|finished| *finished);
            return match is_last && is_whole && n_usages == usize::from(wants_usage) {
                true => Ok(Ending::Finished),
                false => Err(broken("[DONE] too early, or usage not as it was asked for")),
            };
        }
        if is_openai_error(data) {
            return if is_last { Ok(Ending::Failed) } else { Err(broken("something after an error")) };
        }
        let named = [&data["id"], &data["model"], &data["created"]];
        let is_named = data["object"] == "text_completion" && named.iter().all(|value| !value.is_null());
        if !is_named || *constant.get_or_insert(named) != named || n_usages > 0 {
            return Err(broken("a misshapen chunk, or one after the usage"));
        }
        n_usages += usize::from(!data["usage"].is_null());
        if n_usages > 0 && data["choices"] != json!([]) {
            return Err(broken("usage stands alone"));
        }
        for choice in data["choices"].as_array().ok_or("a chunk without choices")? {
            let index = choice["index"].as_u64().ok_or("a choice without an index")?;
            let is_finished = finished.entry(index).or_default();
            if *is_finished || !choice["text"].is_string() {
                return Err(broken("a choice without text, or after its finish"));
            }
            *is_finished = !choice["finish_reason"].is_null();
        }
    }
    Err("the stream does not end".to_owned())
}
