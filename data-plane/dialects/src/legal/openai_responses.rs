//! OpenAI Responses: <https://platform.openai.com/docs/api-reference/responses-streaming>.

use serde_json::Value;

use super::{Ending, Raw};

#[derive(Default)]
struct State {
    /// The `response.` events seen: none, `created`, `in_progress`.
    n_openings: u8,
    item: Option<Item>,
    n_items: u64,
    done: Vec<Value>,
}

/// The item that is open, and its open part.
struct Item {
    id: Value,
    kind: String,
    n_parts: u64,
    part: Option<&'static str>,
    said: String,
}

/// `created` and `in_progress` first; items one after the other with rising indexes, parts inside; every delta inside its open part;
/// each `done` repeats what the deltas said; the terminal event repeats the items; numbers rise by one; or an error last.
pub(super) fn check(events: &[Raw]) -> Result<Ending, String> {
    let mut state = State::default();
    for (at, Raw { name, data }) in events.iter().enumerate() {
        let is_last = at + 1 == events.len();
        let broken = |rule: &str| format!("{rule} at {data}");
        if data["type"].as_str() != Some(name.as_str()) || data["sequence_number"].as_u64() != Some(at as u64) {
            return Err(broken("the event's name or number is wrong"));
        }
        match name.as_str() {
            "error" | "response.failed" if is_last => return Ok(Ending::Failed),
            "response.completed" | "response.incomplete"
                if is_last && state.item.is_none() && state.n_openings == 2 =>
            {
                let is_repeated = data["response"]["output"] == Value::Array(state.done);
                let is_repeated = is_repeated && name.ends_with(data["response"]["status"].as_str().unwrap_or("-"));
                return if is_repeated {
                    Ok(Ending::Finished)
                } else {
                    Err(broken("the end does not repeat the items"))
                };
            }
            _ => state.step(name, data).map_err(broken)?,
        }
    }
    Err("the stream does not end".to_owned())
}

// === impl State ===

impl State {
    fn step(&mut self, name: &str, data: &Value) -> Result<(), &'static str> {
        match (name, &mut self.item) {
            ("response.created", None) if self.n_openings == 0 => self.n_openings = 1,
            ("response.in_progress", None) if self.n_openings == 1 => self.n_openings = 2,
            _ if self.n_openings < 2 => return Err("something before the beginning"),
            ("response.output_item.added", None) => {
                let item = &data["item"];
                let kind = item["type"].as_str().ok_or("an item without a type")?.to_owned();
                // Reasoning has no status where OpenAI streams it.
                let is_begun = item["status"] == "in_progress" || (kind == "reasoning" && item.get("status").is_none());
                if data["output_index"].as_u64() != Some(self.n_items) || !is_begun {
                    return Err("items rise by one and begin in progress");
                }
                let part = (kind == "function_call").then_some("function_call_arguments");
                self.item = Some(Item { id: item["id"].clone(), kind, n_parts: 0, part, said: String::new() });
            }
            ("response.output_item.done", Some(item)) => {
                let is_same = data["item"]["id"] == item.id && data["output_index"].as_u64() == Some(self.n_items);
                if item.part.is_some() || !is_same {
                    return Err("an item is closed that is not the open one, or has an open part");
                }
                self.done.push(data["item"].clone());
                self.n_items += 1;
                self.item = None;
            }
            (_, Some(item)) if data["item_id"] == item.id && data["output_index"].as_u64() == Some(self.n_items) => {
                item.step(name, data)?;
            }
            _ => return Err("out of order"),
        }
        Ok(())
    }
}

// === impl Item ===

impl Item {
    fn step(&mut self, name: &str, data: &Value) -> Result<(), &'static str> {
        let index = data.get("content_index").or_else(|| data.get("summary_index")).and_then(Value::as_u64);
        let (part, verb) =
            name.strip_prefix("response.").and_then(|rest| rest.rsplit_once('.')).ok_or("no such event")?;
        let is_of_open_part = self.part == Some(part) && (index.is_none() || index == Some(self.n_parts));
        match (part, verb, self.kind.as_str()) {
            ("content_part", "added", "message") | ("reasoning_summary_part", "added", "reasoning")
                if self.part.is_none() && index == Some(self.n_parts) =>
            {
                self.said.clear();
                self.part = Some(match data["part"]["type"].as_str() {
                    Some("output_text") => "output_text",
                    Some("refusal") => "refusal",
                    Some("summary_text") => "reasoning_summary_text",
                    _ => return Err("a part of no known type"),
                });
            }
            (_, "delta", _) if is_of_open_part => {
                self.said.push_str(data["delta"].as_str().ok_or("a delta that is no text")?);
            }
            ("output_text.annotation", "added", "message") if self.part == Some("output_text") => {}
            (_, "done", _) if is_of_open_part => {
                let whole = ["text", "refusal", "arguments"].iter().find_map(|field| data[field].as_str());
                let is_same = whole == Some(self.said.as_str()) || (self.said.is_empty() && whole == Some("{}"));
                if !is_same {
                    return Err("what is done is not what was said");
                }
                self.part = (part != "function_call_arguments").then_some("closing");
            }
            ("content_part" | "reasoning_summary_part", "done", _) if self.part == Some("closing") => {
                self.part = None;
                self.n_parts += 1;
            }
            _ => return Err("out of order inside an item"),
        }
        Ok(())
    }
}
