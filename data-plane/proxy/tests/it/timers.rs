//! How long an upstream is waited for between two pieces of its reply.

use std::time::Duration;

use bytes::Bytes;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, provider_at, read};

/// A stream that reasons, pauses for longer than `idle`, and answers.
struct Thinker {
    kind: &'static str,
    reasons: &'static [&'static str],
    answers: &'static [&'static str],
    ends: &'static [&'static str],
}

const OPENAI: Thinker = Thinker {
    kind: "openai-compatible",
    reasons: &[
        r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"x","choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"hm"},"finish_reason":null}]}"#,
    ],
    answers: &[
        r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"x","choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":null}]}"#,
    ],
    ends: &[
        r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ],
};

const ANTHROPIC: Thinker = Thinker {
    kind: "anthropic",
    reasons: &[
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
    ],
    answers: &[
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"yes"}}"#,
    ],
    ends: &[
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":3}}"#,
        r#"{"type":"message_stop"}"#,
    ],
};

const RESPONSES: Thinker = Thinker {
    kind: "openai",
    reasons: &[
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","created_at":1,"status":"in_progress","model":"x","output":[]}}"#,
        r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"rs","type":"reasoning","summary":[]}}"#,
        r#"{"type":"response.reasoning_summary_part.added","sequence_number":2,"item_id":"rs","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}"#,
        r#"{"type":"response.reasoning_summary_text.delta","sequence_number":3,"item_id":"rs","output_index":0,"summary_index":0,"delta":"hm"}"#,
    ],
    answers: &[
        r#"{"type":"response.output_item.added","sequence_number":4,"output_index":1,"item":{"id":"ms","type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
        r#"{"type":"response.content_part.added","sequence_number":5,"item_id":"ms","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}"#,
        r#"{"type":"response.output_text.delta","sequence_number":6,"item_id":"ms","output_index":1,"content_index":0,"delta":"yes"}"#,
    ],
    ends: &[
        r#"{"type":"response.completed","sequence_number":7,"response":{"id":"r","object":"response","created_at":1,"status":"completed","model":"x","output":[],"usage":{"input_tokens":1,"output_tokens":3,"total_tokens":4}}}"#,
    ],
};

const GEMINI: Thinker = Thinker {
    kind: "gemini",
    reasons: &[r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"hm","thought":true}]}}]}"#],
    answers: &[r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"yes"}]}}]}"#],
    ends: &[
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"!"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#,
    ],
};

/// Longer than `idle`, and shorter than `idle_reasoning`.
const THINKS: Duration = Duration::from_millis(900);
const TIMERS: &str = "timeouts: {idle: 300ms, idle_reasoning: 20s}, breaker: {enabled: false}";

// === impl Thinker ===

impl Thinker {
    /// The events as one piece.
    fn events(&self, data: &[&str]) -> Bytes {
        let one = |data: &&str| {
            let kind =
                serde_json::from_str::<Value>(data).ok().and_then(|data| Some(data["type"].as_str()?.to_owned()));
            let name = kind.map(|kind| format!("event: {kind}\n")).unwrap_or_default();
            format!("{name}data: {data}\n\n")
        };
        data.iter().map(one).collect::<String>().into()
    }

    fn thinks_and_answers(&self) -> Script {
        let rest = [self.answers, self.ends].concat();
        Script::sse_head().chunk(self.events(self.reasons)).pause(THINKS).chunk(self.events(&rest)).end()
    }

    fn stops_within_the_answer(&self) -> Script {
        Script::sse_head().chunk(self.events(self.reasons)).chunk(self.events(self.answers)).hang()
    }
}

fn question(path: &str, stream: bool) -> Value {
    match path {
        "/v1/responses" => json!({"model": "m", "stream": stream, "input": "hi", "store": false}),
        "/v1/messages" | "/v1/chat/completions" => {
            json!({"model": "m", "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]})
        }
        _ => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    }
}

#[tokio::test]
async fn stall_timeout_longer_while_thinking() {
    let gemini = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let cases: [(&Thinker, &str, &str); 9] = [
        (&OPENAI, "/v1/chat/completions", "pass"),
        (&OPENAI, "/v1/messages", "translate"),
        (&OPENAI, "/v1/responses", "translate"),
        (&ANTHROPIC, "/v1/messages", "pass"),
        (&ANTHROPIC, "/v1/chat/completions", "translate"),
        (&RESPONSES, "/v1/responses", "pass"),
        (&GEMINI, gemini, "pass"),
        (&GEMINI, "/v1/chat/completions", "translate"),
        (&ANTHROPIC, gemini, "translate"),
    ];
    let checked = cases.map(|(thinker, path, lane)| async move {
        let upstream = Upstream::start().await;
        upstream.push(thinker.thinks_and_answers());
        upstream.push(thinker.stops_within_the_answer());
        let base = match thinker.kind {
            "anthropic" => upstream.url(),
            "gemini" => format!("{}/v1beta", upstream.url()),
            _ => format!("{}/v1", upstream.url()),
        };
        let gateway = Gateway::start(&provider_at(thinker.kind, &base, TIMERS)).await;
        let whole = read(gateway.post(path, &question(path, true))).await;
        let stalled = read(gateway.post(path, &question(path, true))).await;
        let told = format!("{} to {path}: {}\n{}", thinker.kind, whole.text, stalled.text);
        assert_eq!((whole.status, stalled.status), (200, 200), "{told}");
        let records = gateway.records(2).await;
        assert_eq!((&records[0]["ending"], &records[0]["lane"]), (&json!("finished"), &json!(lane)), "{told}");
        assert_eq!(records[1]["error_code"], "idle_timeout", "{told}");
        assert!(whole.text.contains("yes") && stalled.text.contains("sent nothing for 300ms"), "{told}");
        gateway.stop().await;
    });
    futures_util::future::join_all(checked).await;
}

/// A stream that is asked for though the client wants a whole reply is waited for as long.
#[tokio::test]
async fn a_reply_that_is_put_together_is_waited_for_while_it_thinks() {
    let upstream = Upstream::start().await;
    upstream.push(OPENAI.thinks_and_answers());
    upstream.push(OPENAI.stops_within_the_answer());
    let more = format!("{TIMERS}, quirks: [stream_only]");
    let gateway = Gateway::start(&provider_at(OPENAI.kind, &format!("{}/v1", upstream.url()), &more)).await;
    let path = "/v1/chat/completions";
    let whole = read(gateway.post(path, &question(path, false))).await;
    assert_eq!(
        (whole.status, &whole.json()["choices"][0]["message"]["content"]),
        (200, &json!("yes")),
        "{}",
        whole.text
    );
    let stalled = read(gateway.post(path, &question(path, false))).await;
    assert_eq!((stalled.status, &stalled.json()["error"]["code"]), (504, &json!("idle_timeout")), "{}", stalled.text);
    gateway.stop().await;
}
