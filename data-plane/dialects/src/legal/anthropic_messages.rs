//! Anthropic Messages: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

use serde_json::Value;

use super::{Ending, Raw};

/// One `message_start` first; blocks one after the other with indexes 0, 1, 2 …, deltas only inside and of the block's kind; one
/// `message_delta` and one `message_stop` last, or one `error` last.
pub(super) fn check(events: &[Raw]) -> Result<Ending, String> {
    let mut state = State::default();
    for Raw { name, data } in events {
        if data["type"].as_str() != Some(name.as_str()) {
            return Err(format!("the `event:` line does not name the type at {data}"));
        }
        state.step(data).map_err(|why| format!("{why} at {data}"))?;
    }
    match state.over {
        true if state.delta => Ok(Ending::Finished),
        true => Ok(Ending::Failed),
        false => Err("the stream does not end".to_owned()),
    }
}

#[derive(Default)]
struct State {
    started: bool,
    open: Option<String>,
    n_blocks: u64,
    delta: bool,
    over: bool,
}

// === impl State ===

impl State {
    fn step(&mut self, event: &Value) -> Result<(), &'static str> {
        let kind = event["type"].as_str().unwrap_or_default();
        let index = || event["index"].as_u64();
        match (kind, self.open.clone()) {
            _ if self.over => return Err("something after the end"),
            ("error", _) if event["error"]["type"].is_string() && event["error"]["message"].is_string() => {
                self.over = true
            }
            ("message_start", None) if !self.started => {
                let message = &event["message"];
                let shaped =
                    message["id"].is_string() && message["role"] == "assistant" && message["type"] == "message";
                let shaped =
                    shaped && message["content"] == Value::Array(Vec::new()) && message["stop_reason"].is_null();
                if !shaped || !message["usage"]["input_tokens"].is_u64() || !message["usage"]["output_tokens"].is_u64()
                {
                    return Err("a misshapen message");
                }
                self.started = true;
            }
            _ if !self.started => return Err("no message_start first"),
            _ if self.delta && kind != "message_stop" => {
                return Err("something between message_delta and message_stop");
            }
            ("content_block_start", None) if index() == Some(self.n_blocks) => {
                self.open = Some(event["content_block"]["type"].as_str().ok_or("a block without a type")?.to_owned());
                self.n_blocks += 1;
            }
            ("content_block_delta", Some(open)) if index() == self.n_blocks.checked_sub(1) => {
                let delta = event["delta"]["type"].as_str().unwrap_or_default();
                let fits = match delta {
                    "text_delta" => open == "text" && event["delta"]["text"].is_string(),
                    "citations_delta" => open == "text" && event["delta"]["citation"].is_object(),
                    "thinking_delta" => open == "thinking" && event["delta"]["thinking"].is_string(),
                    "signature_delta" => open == "thinking" && event["delta"]["signature"].is_string(),
                    "input_json_delta" => open == "tool_use" && event["delta"]["partial_json"].is_string(),
                    _ => false,
                };
                if !fits {
                    return Err("a delta that does not fit the block");
                }
            }
            ("content_block_stop", Some(_)) if index() == self.n_blocks.checked_sub(1) => self.open = None,
            ("message_delta", None) if event["delta"]["stop_reason"].is_string() => {
                if !event["usage"]["output_tokens"].is_u64() {
                    return Err("no usage beside the reason to stop");
                }
                self.delta = true;
            }
            ("message_stop", None) if self.delta => self.over = true,
            _ => return Err("out of order"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gateway_ir::dialect::Dialect as Id;
    use serde_json::Value;

    use crate::legal::check as legal;

    #[test]
    fn the_checker_refuses_what_is_not_legal() {
        let start = r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":0,"output_tokens":0}}}"#;
        let open = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
        let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
        let json = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"a"}}"#;
        let close = r#"{"type":"content_block_stop","index":0}"#;
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#;
        let stop = r#"{"type":"message_stop"}"#;
        let check = |events: &[&str], expected: bool| {
            let stream: String = events
                .iter()
                .map(|event| {
                    let kind =
                        serde_json::from_str::<Value>(event).expect("JSON")["type"].as_str().unwrap_or("").to_owned();
                    format!("event: {kind}\ndata: {event}\n\n")
                })
                .collect();
            assert_eq!(legal(Id::AnthropicMessages, stream.as_bytes(), true).is_ok(), expected, "{events:?}");
        };
        check(&[start, open, text, close, delta, stop], true);
        check(&[start, delta, stop], true);
        check(&[start, open, text, close, delta], false);
        check(&[start, open, text, delta, stop], false);
        check(&[start, open, json, close, delta, stop], false);
        check(&[start, open, close, open, close, delta, stop], false);
        check(&[start, text, delta, stop], false);
        check(&[start, start, delta, stop], false);
        check(&[open, close, delta, stop], false);
        check(&[start, delta, delta, stop], false);
        check(&[start, delta, stop, stop], false);
    }
}
