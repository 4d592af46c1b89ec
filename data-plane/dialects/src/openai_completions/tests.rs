//! The dialect alone, and against the chat dialect, with which it shares its readers.

use bytes::{Bytes, BytesMut};
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::Code;
use gateway_ir::fold::{fold, unfold};
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::OpenAiCompletions;
use crate::dialect::{ClientDialect, Dialect, Encoded, ReplyContext, TapOptions, Upstream};
use crate::openai_chat::OpenAiChat;

fn context(include_usage: bool) -> ReplyContext {
    ReplyContext {
        request_id: "r1".to_owned(),
        model: "m".to_owned(),
        created: 7,
        include_usage,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

/// A client's request for an upstream of another dialect.
fn translated(
    from: &dyn ClientDialect,
    to: &dyn Dialect,
    body: &Value,
    stream: bool,
) -> Result<Encoded, Box<gateway_ir::failure::Failure>> {
    let request = from.decode_request(body.to_string().as_bytes())?;
    to.encode_request(&request, &Upstream { model: "own", stream, quirks: &Quirks::default() })
}

#[test]
fn a_prompt_is_one_message_for_others() {
    let cases = [
        (json!({"prompt": "Hi"}), json!({})),
        (json!({"prompt": ["Hi"], "suffix": "", "echo": false, "best_of": 1, "suffix": null}), json!({})),
        (
            json!({"prompt": "Hi", "max_tokens": 5, "temperature": 0.5, "stop": "x", "n": 2, "best_of": 2, "user": "u"}),
            json!({"max_completion_tokens": 5, "n": 2, "temperature": 0.5, "stop": ["x"], "user": "u"}),
        ),
        (json!({"prompt": "Hi", "logprobs": 3}), json!({"logprobs": true, "top_logprobs": 3})),
        (json!({"prompt": "Hi", "logprobs": 0}), json!({"logprobs": true})),
    ];
    for (mut body, expected) in cases {
        body["model"] = "m".into();
        let encoded = translated(&OpenAiCompletions, &OpenAiChat, &body, false).expect("sayable");
        let mut sent: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        let message = sent.as_object_mut().and_then(|sent| sent.remove("messages"));
        assert_eq!(message, Some(json!([{"role": "user", "content": "Hi"}])), "{body}");
        sent.as_object_mut().expect("an object").remove("model");
        assert_eq!((sent, encoded.dropped), (expected, vec![]), "{body}");
    }
}

#[test]
fn what_only_this_api_can_do_is_refused_by_name() {
    let cases = [
        (json!({"prompt": ["a", "b"]}), "prompt", Code::UnsupportedParameter),
        (json!({"prompt": [1, 2]}), "prompt", Code::UnsupportedParameter),
        (json!({"prompt": [[1, 2], [3]]}), "prompt", Code::UnsupportedParameter),
        (json!({"prompt": []}), "prompt", Code::InvalidRequest),
        (json!({"prompt": {}}), "prompt", Code::InvalidRequest),
        (json!({"prompt": [true]}), "prompt[0]", Code::InvalidRequest),
        (json!({}), "prompt", Code::InvalidRequest),
        (json!({"prompt": "a", "echo": true}), "echo", Code::UnsupportedParameter),
        (json!({"prompt": "a", "suffix": "b"}), "suffix", Code::UnsupportedParameter),
        (json!({"prompt": "a", "best_of": 3}), "best_of", Code::UnsupportedParameter),
        (json!({"prompt": "a", "logprobs": true}), "logprobs", Code::InvalidRequest),
    ];
    for (mut body, param, code) in cases {
        body["model"] = "m".into();
        let failure = OpenAiCompletions.decode_request(body.to_string().as_bytes()).expect_err("must be refused");
        assert_eq!((failure.param.as_deref(), failure.code, failure.status), (Some(param), code, 400), "{body}");
    }
}

#[test]
fn a_conversation_is_one_prompt_for_legacy_servers() {
    let body = json!({
        "model": "m", "stream": true, "stop": ["END"], "logprobs": true, "top_logprobs": 2, "metadata": {"a": "b"},
        "messages": [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}],
    });
    let encoded = translated(&OpenAiChat, &OpenAiCompletions, &body, true).expect("sayable");
    let expected = json!({
        "model": "own", "prompt": "System: Be terse.\n\nUser: Hi\n\nAssistant:", "max_tokens": 1024, "logprobs": 2,
        "stop": ["END", "\n\nUser:"], "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(serde_json::from_slice::<Value>(&encoded.body).expect("JSON"), expected);
    assert_eq!(encoded.dropped, ["metadata"]);
    let own = json!({"model": "m", "prompt": "Hi", "logit_bias": {"5": 1}, "top_k": 3});
    let encoded = translated(&OpenAiCompletions, &OpenAiCompletions, &own, false).expect("its own dialect");
    let expected = json!({"model": "own", "prompt": "Hi", "top_k": 3, "logit_bias": {"5": 1}});
    assert_eq!(serde_json::from_slice::<Value>(&encoded.body).expect("JSON"), expected);
}

#[test]
fn what_is_no_text_is_refused_for_legacy_servers() {
    let image = json!({"type": "image_url", "image_url": {"url": "https://host.example/a.png"}});
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let user = json!({"role": "user", "content": "Hi"});
    let cases = [
        (json!({"messages": [user], "tools": [tool]}), "tools"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, image]}]}),
            "messages[0].content[1]",
        ),
        (
            json!({"messages": [user, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "1"}]}),
            "messages[1].content[0]",
        ),
    ];
    for (mut body, param) in cases {
        body["model"] = "m".into();
        let failure = translated(&OpenAiChat, &OpenAiCompletions, &body, false).expect_err("must be refused");
        assert_eq!((failure.param.as_deref(), failure.code), (Some(param), Code::UnsupportedParameter), "{body}");
    }
}

#[test]
fn whole_replies_keep_what_both_can_say() {
    let legacy = json!({
        "id": "cmpl-1", "object": "text_completion", "created": 5, "model": "own",
        "choices": [
            {"text": "a😀b", "index": 0, "finish_reason": "length", "logprobs": {
                "tokens": ["a😀", "b"], "token_logprobs": [-0.5, -1.0],
                "top_logprobs": [{"a😀": -0.5, "x": -2.0}, {"b": -1.0}], "text_offset": [0, 2],
            }},
            {"text": "", "index": 1, "finish_reason": "content_filter", "logprobs": null},
        ],
        "usage": {
            "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "system_fingerprint": "fp",
    });
    let reply = fold(OpenAiCompletions.decode_reply(legacy.to_string().as_bytes()).expect("a reply"));
    let again: Value =
        serde_json::from_slice(&OpenAiCompletions.encode_reply(&reply, &context(false))).expect("our own JSON");
    assert_eq!(again, legacy);
    let chat: Value = serde_json::from_slice(&OpenAiChat.encode_reply(&reply, &context(false))).expect("our own JSON");
    assert_eq!(chat["choices"][0]["message"]["content"], "a😀b");
    let first = &chat["choices"][0]["logprobs"]["content"][0];
    assert_eq!(
        (&first["token"], &first["logprob"], &first["top_logprobs"][1]["token"]),
        (&json!("a😀"), &json!(-0.5), &json!("x"))
    );
    assert_eq!(first["bytes"], json!("a😀".as_bytes()));
}

#[test]
fn legacy_logprobs_without_numbers_or_text() {
    let legacy = json!({"choices": [{"text": "é", "index": 0, "finish_reason": "stop", "logprobs": {
        "tokens": ["<start>", "bytes:\\xc3", "bytes:\\xa9"], "token_logprobs": [null, -1, -2], "top_logprobs": null, "text_offset": [0, 1, 1],
    }}]});
    let reply = fold(OpenAiCompletions.decode_reply(legacy.to_string().as_bytes()).expect("a reply"));
    let told: Value = serde_json::from_str(reply.choices[0].logprobs[0].get()).expect("JSON");
    let entry =
        |token: &str, number: i32| json!({"token": token, "logprob": number, "bytes": null, "top_logprobs": []});
    assert_eq!(told["content"], json!([entry("bytes:\\xc3", -1), entry("bytes:\\xa9", -2)]));
}

const STREAM: &str = concat!(
    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":5,\"model\":\"own\",\"choices\":[{\"text\":\"Hé\",\"index\":0,",
    "\"logprobs\":{\"tokens\":[\"Hé\"],\"token_logprobs\":[-1.0],\"top_logprobs\":[{\"Hé\":-1.0}],\"text_offset\":[0]},",
    "\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":5,\"model\":\"own\",\"choices\":[{\"text\":\"y\",\"index\":0,",
    "\"logprobs\":{\"tokens\":[\"y\"],\"token_logprobs\":[-2.0],\"top_logprobs\":[{\"y\":-2.0}],\"text_offset\":[2]},",
    "\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":5,\"model\":\"own\",\"choices\":[{\"text\":\"\",\"index\":0,",
    "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":5,\"model\":\"own\",\"choices\":[],",
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,",
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},",
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}}\n\n",
    "data: [DONE]\n\n",
);

fn decoded(pieces: &[&[u8]]) -> Vec<Event> {
    let mut decoder = OpenAiCompletions.stream_decoder();
    let mut events = Vec::new();
    pieces.iter().for_each(|piece| decoder.push(piece, &mut events).expect("a stream of this dialect"));
    decoder.finish(&mut events).expect("a stream of this dialect");
    events
}

fn encoded(dialect: &dyn ClientDialect, events: &[Event], include_usage: bool) -> String {
    let mut encoder = dialect.stream_encoder(&context(include_usage));
    let mut out = BytesMut::new();
    events.iter().for_each(|event| encoder.push(event, &mut out));
    encoder.end(&mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

#[test]
fn a_stream_comes_back_as_it_was_wherever_it_is_split() {
    let bytes = STREAM.as_bytes();
    for at in 0..=bytes.len() {
        let events = decoded(&[&bytes[..at], &bytes[at..]]);
        assert_eq!(encoded(&OpenAiCompletions, &events, true), STREAM, "split at {at}");
    }
    let silent = encoded(&OpenAiCompletions, &decoded(&[bytes]), false);
    assert!(!silent.contains("usage") && silent.ends_with("data: [DONE]\n\n"), "{silent}");
}

#[test]
fn a_stream_of_chat_becomes_text() {
    let start = Event::Start { id: String::new(), model: "own".to_owned(), created: None };
    let said = |text: &str| Event::Text { choice: 1, text: text.to_owned() };
    let thought = Event::Reasoning { choice: 1, text: "hm".to_owned() };
    let finish = Event::Finish { choice: 1, reason: FinishReason::ToolCalls, stop_sequence: None };
    let stream = encoded(&OpenAiCompletions, &[start, thought, said("ha"), said("ha"), finish, Event::End], false);
    let chunk = |text: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"cmpl-r1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"own\",\"choices\":[{{\"text\":\"{text}\",\
             \"index\":1,\"logprobs\":null,\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let expected = [chunk("ha", "null"), chunk("ha", "null"), chunk("", "\"stop\""), "data: [DONE]\n\n".to_owned()];
    assert_eq!(stream, expected.concat());
}

#[test]
fn a_broken_stream_ends_with_an_error_and_no_mark() {
    let mut encoder = OpenAiCompletions.stream_encoder(&context(true));
    let mut out = BytesMut::new();
    let events = unfold(&fold(decoded(&[STREAM.as_bytes()])));
    encoder.push(&events[0], &mut out);
    encoder.fail(&gateway_ir::failure::Failure::invalid("no"), &mut out);
    encoder.end(&mut out);
    let text = String::from_utf8(out.to_vec()).expect("text");
    assert!(text.starts_with("data: {\"error\":{\"message\":\"no\"") && !text.contains("[DONE]"), "{text}");
}

#[test]
fn a_passing_stream_is_watched() {
    for (strip_usage, passed) in [(false, STREAM.to_owned()), (true, without_usage_event())] {
        let mut tap = OpenAiCompletions.stream_tap(TapOptions { strip_usage });
        let mut out = tap.push(Bytes::from_static(STREAM.as_bytes())).expect("small events").to_vec();
        out.extend_from_slice(&tap.finish().expect("a whole stream"));
        assert_eq!(String::from_utf8(out).expect("text"), passed);
        let seen = tap.seen();
        assert!(seen.finished && seen.ended && seen.error.is_none());
        assert_eq!(seen.usage.map(|usage| (usage.input, usage.output)), Some((3, 2)));
        assert_eq!((seen.content_bytes, seen.content_events), (4, 2));
    }
    let cut = STREAM.split("data: ").take(2).collect::<Vec<_>>().join("data: ");
    let mut tap = OpenAiCompletions.stream_tap(TapOptions::default());
    tap.push(Bytes::from(cut)).expect("small events");
    assert!(tap.finish().is_err(), "a cut stream is none");
}

fn without_usage_event() -> String {
    STREAM.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[]")).collect()
}
