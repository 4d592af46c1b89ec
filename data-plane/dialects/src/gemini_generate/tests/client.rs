//! What a Gemini client asks and is told, over upstreams of other dialects and of its own.

use bytes::{Bytes, BytesMut};
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::{fold, unfold};
use gateway_ir::quirks::Quirks;
use gateway_ir::usage::Usage;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::{ClientCounter, ClientDialect, Dialect, ReplyContext, TapOptions, Upstream};
use crate::framing::array::StreamForm;
use crate::gemini_generate::GeminiGenerate;
use crate::openai_chat::OpenAiChat;

fn context() -> ReplyContext {
    ReplyContext {
        request_id: "r1".to_owned(),
        model: "m".to_owned(),
        created: 7,
        include_usage: true,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

fn said_to(dialect: &dyn Dialect, body: &Value) -> Value {
    let request = GeminiGenerate.decode_request(body.to_string().as_bytes()).unwrap_or_else(|e| panic!("{body}: {e}"));
    let upstream = Upstream { model: "m", stream: false, quirks: &Quirks::default() };
    let encoded = dialect.encode_request(&request, &upstream).unwrap_or_else(|e| panic!("{body}: {e}"));
    serde_json::from_slice(&encoded.body).expect("JSON")
}

fn user(parts: Value) -> Value {
    json!({"contents": [{"role": "user", "parts": parts}]})
}

#[test]
fn both_spellings_are_one_request() {
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "Be terse."}]},
        "contents": [{"role": "user", "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"maxOutputTokens": 5, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"], "seed": 3,
            "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}, "candidateCount": 1,
            "thinkingConfig": {"thinkingLevel": "LOW"}},
    });
    let snake = json!({
        "system_instruction": {"parts": [{"text": "Be terse."}]},
        "contents": {"parts": [{"text": "look"}, {"inline_data": {"mime_type": "image/png", "data": "QUJD"}}]},
        "tools": [{"function_declarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
        "generation_config": {"max_output_tokens": 5, "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["x"], "seed": 3,
            "response_mime_type": "application/json", "response_schema": {"type": "OBJECT"}, "candidate_count": "1",
            "thinking_config": {"thinking_level": "low"}},
    });
    for dialect in [&OpenAiChat as &dyn Dialect, &AnthropicMessages, &GeminiGenerate] {
        assert_eq!(said_to(dialect, &camel), said_to(dialect, &snake), "{}", dialect.id());
    }
    let said = said_to(&OpenAiChat, &camel);
    assert_eq!(said["messages"][0], json!({"role": "system", "content": "Be terse."}));
    assert_eq!(said["messages"][1]["content"][1]["image_url"]["url"], "data:image/png;base64,QUJD");
    assert_eq!(
        said["tools"][0]["function"]["parameters"],
        json!({"type": "object", "properties": {"a": {"type": "string"}}})
    );
    assert_eq!(said["tool_choice"], json!({"type": "function", "function": {"name": "f"}}));
    assert_eq!(said["response_format"]["json_schema"]["schema"], json!({"type": "object"}));
    assert_eq!((&said["reasoning_effort"], &said["seed"], &said["top_p"]), (&json!("low"), &json!(3), &json!(0.9)));
}

#[test]
fn images_go_on_to_other_vendors() {
    let openai = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.webp"}}]}]});
    let request = OpenAiChat.decode_request(openai.to_string().as_bytes()).expect("sound");
    let upstream = Upstream { model: "m", stream: false, quirks: &Quirks::default() };
    let encoded = GeminiGenerate.encode_request(&request, &upstream).expect("it can be said");
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    let expected = json!([
        {"text": "look"},
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.test/a.webp"}}]);
    assert_eq!(body["contents"][0]["parts"], expected);
    // The same from a client that speaks the dialect itself, and on to another vendor.
    assert_eq!(said_to(&GeminiGenerate, &user(expected.clone()))["contents"][0]["parts"], expected);
    let said = said_to(&AnthropicMessages, &user(expected));
    assert_eq!(
        said["messages"][0]["content"][1]["source"],
        json!({"type": "base64", "media_type": "image/png", "data": "QUJD"})
    );
    assert_eq!(said["messages"][0]["content"][2]["source"], json!({"type": "url", "url": "https://x.test/a.webp"}));
}

/// A call's signature reaches a client of another dialect in the id, one of this dialect in its own field, and the upstream again
/// from either.
#[test]
fn signatures_come_back_where_they_were() {
    let reply = json!({"candidates": [{"content": {"parts": [
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "QUJDRA=="}]}, "finishReason": "STOP"}]});
    let reply = fold(GeminiGenerate.decode_reply(reply.to_string().as_bytes()).expect("sound"));
    let question = json!({"role": "user", "parts": [{"text": "q"}]});
    let expected = json!({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "QUJDRA=="});

    // As an SDK of Google's gives it back: with the signature, and with or without the id.
    let told: Value = serde_json::from_slice(&GeminiGenerate.encode_reply(&reply, &context())).expect("JSON");
    let mut part = told["candidates"][0]["content"]["parts"][0].clone();
    assert_eq!((&part["thoughtSignature"], &part["functionCall"]["args"]), (&json!("QUJDRA=="), &json!({"a": 1})));
    for id in [part["functionCall"]["id"].clone(), Value::Null] {
        part["functionCall"]["id"] = id.clone();
        let second = json!({"contents": [question, {"role": "model", "parts": [part]},
            {"role": "user", "parts": [{"functionResponse": {"id": id, "name": "f", "response": {"output": "x"}}}]}]});
        let said = said_to(&GeminiGenerate, &second);
        assert_eq!(said["contents"][1]["parts"][0], expected);
        assert_eq!(
            said["contents"][2]["parts"][0],
            json!({"functionResponse": {"name": "f", "response": {"output": "x"}}})
        );
        // Another vendor gets the call and its result, and nothing of the signature.
        let said = said_to(&OpenAiChat, &second);
        assert_eq!(said["messages"][1]["tool_calls"][0]["id"], said["messages"][2]["tool_call_id"]);
        assert!(!said.to_string().contains("QUJDRA") && said["messages"][2]["content"] == "x", "{said}");
    }

    // As a client of OpenAI's gives it back, which drops every field it does not know.
    let told: Value = serde_json::from_slice(&OpenAiChat.encode_reply(&reply, &context())).expect("JSON");
    let call = &told["choices"][0]["message"]["tool_calls"][0];
    let second = json!({"model": "m", "messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": call["id"], "type": "function", "function": call["function"]}]},
        {"role": "tool", "tool_call_id": call["id"], "content": "x"}]});
    let request = OpenAiChat.decode_request(second.to_string().as_bytes()).expect("sound");
    let upstream = Upstream { model: "m", stream: false, quirks: &Quirks::default() };
    let encoded = GeminiGenerate.encode_request(&request, &upstream).expect("it can be said");
    let said: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    assert_eq!(said["contents"][1]["parts"][0], expected);
}

#[test]
fn a_streamed_turn_in_the_history_is_one_turn() {
    let thought = json!({"text": "", "thought": true, "thoughtSignature": super::super::signature::foreign("sig/1==")});
    let said = said_to(
        &AnthropicMessages,
        &json!({"contents": [
            {"role": "user", "parts": [{"text": "q"}]},
            {"role": "model", "parts": [{"text": "h", "thought": true}]},
            {"role": "model", "parts": [{"text": "m", "thought": true}]},
            {"role": "model", "parts": [thought]},
            {"role": "model", "parts": [{"text": "He"}]},
            {"role": "model", "parts": [{"text": "llo"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}]},
            {"role": "model", "parts": [{"text": ""}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"error": "no"}}}, {"text": "and?"}]},
            {"role": "function", "parts": [{"functionResponse": {"name": "f", "response": {"x": 1}}}]},
        ], "tools": [{"functionDeclarations": [{"name": "f"}]}], "generationConfig": {"thinkingConfig": {"thinkingBudget": 2000}}}),
    );
    let turn = &said["messages"][1]["content"];
    assert_eq!(turn[0], json!({"type": "thinking", "thinking": "hm", "signature": "sig/1=="}), "{said}");
    assert_eq!((&turn[1]["text"], &turn[2]["name"], &turn[3]["name"]), (&json!("Hello"), &json!("f"), &json!("f")));
    assert_ne!(turn[2]["id"], turn[3]["id"]);
    let answers = &said["messages"][2]["content"];
    assert_eq!((&answers[0]["tool_use_id"], &answers[0]["is_error"]), (&turn[2]["id"], &json!(true)), "{said}");
    assert!(said.to_string().contains(turn[3]["id"].as_str().expect("an id")));
}

#[test]
fn what_only_google_has_goes_to_google_and_is_named_elsewhere() {
    let body = json!({
        "contents": [{"role": "user", "parts": [{"text": "q"}, {"executableCode": {"code": "1"}}]}],
        "tools": [{"googleSearch": {}, "functionDeclarations": [{"name": "f"}, {"name": "g"}, {"name": "h"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}},
        "safetySettings": [{"category": "c", "threshold": "t"}],
        "generationConfig": {"speechConfig": {"x": 1}},
    });
    let said = said_to(&GeminiGenerate, &body);
    for name in ["toolConfig", "safetySettings", "generationConfig"] {
        assert_eq!(said[name], body[name], "{name}");
    }
    assert_eq!(said["tools"][1], json!({"googleSearch": {}}));
    assert_eq!(said["contents"], body["contents"]);
    let request = GeminiGenerate.decode_request(body.to_string().as_bytes()).expect("sound");
    let upstream = Upstream { model: "m", stream: false, quirks: &Quirks::default() };
    let dropped = OpenAiChat.encode_request(&request, &upstream).expect("it can be said").dropped.join(" ");
    for name in ["googleSearch", "executableCode", "safetySettings", "speechConfig"] {
        assert!(dropped.contains(name), "no `{name}` in {dropped}");
    }
}

#[test]
fn bad_requests_name_the_field() {
    let part = |part: Value| user(json!([part]));
    let config = |config: Value| json!({"contents": [], "generationConfig": config});
    let cases = [
        (json!({}), "contents"),
        (json!({"contents": "q"}), "contents"),
        (json!({"contents": [{"role": "system", "parts": []}]}), "contents[0].role"),
        (part(json!({})), "contents[0].parts[0]"),
        (part(json!({"text": 1})), "contents[0].parts[0].text"),
        (part(json!({"inlineData": {"data": "AA"}})), "contents[0].parts[0].inlineData.mimeType"),
        (part(json!({"functionCall": {"name": "f", "args": []}})), "contents[0].parts[0].functionCall.args"),
        (part(json!({"functionResponse": {"name": "f"}})), "contents[0].parts[0].functionResponse"),
        (part(json!({"inlineData": {}, "inline_data": {}})), "contents[0].parts[0].inlineData"),
        (config(json!({"maxOutputTokens": -1})), "generationConfig.maxOutputTokens"),
        (config(json!({"topK": 1.5})), "generationConfig.topK"),
        (
            config(json!({"responseMimeType": "application/json", "responseSchema": 1})),
            "generationConfig.responseSchema",
        ),
        (
            json!({"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}),
            "toolConfig.functionCallingConfig.mode",
        ),
        (json!({"contents": [], "cachedContent": "cachedContents/1"}), "cachedContent"),
    ];
    for (body, param) in cases {
        let failure = GeminiGenerate.decode_request(body.to_string().as_bytes()).expect_err("refused");
        assert_eq!((failure.status, failure.param.as_deref()), (400, Some(param)), "{body}: {failure}");
    }
}

fn every_event() -> Vec<Event> {
    let raw = |value: Value| to_raw_value(&value).expect("JSON");
    vec![
        Event::Start { id: "id".to_owned(), model: "model".to_owned(), created: None },
        Event::Reasoning { choice: 0, text: "hm".to_owned() },
        Event::ReasoningSignature { choice: 0, signature: "s-_=".to_owned() },
        Event::Text { choice: 0, text: "Grü".to_owned() },
        Event::Text { choice: 0, text: "ße\n".to_owned() },
        Event::Citation { choice: 0, kind: CitationKind::Source, json: raw(json!({"url": "https://x", "title": "t"})) },
        Event::ToolCallStart { choice: 0, call: 0, id: "a".to_owned(), name: "f".to_owned() },
        Event::ToolCallStart { choice: 0, call: 1, id: "b__ts__QQ".to_owned(), name: "g".to_owned() },
        Event::ToolCallArguments { choice: 0, call: 1, json: "{\"x\":".to_owned() },
        Event::ToolCallArguments { choice: 0, call: 0, json: "{}".to_owned() },
        Event::ToolCallArguments { choice: 0, call: 1, json: "1}".to_owned() },
        Event::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
        Event::Usage(Usage { input: 5, cache_read: 2, output: 7, reasoning: 3, ..Usage::default() }),
        Event::End,
    ]
}

fn streamed(
    form: StreamForm,
    events: &[Event],
    last: impl FnOnce(&mut dyn crate::dialect::StreamEncoder, &mut BytesMut),
) -> String {
    let mut encoder = form.encoder(GeminiGenerate.stream_encoder(&context()));
    let mut out = BytesMut::new();
    events.iter().for_each(|event| encoder.push(event, &mut out));
    last(encoder.as_mut(), &mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

/// A stream, the same as an array, and the whole reply say the same, and a reader of Google's understands it.
#[test]
fn what_a_client_is_told_reads_back() {
    let events = every_event();
    let reply = fold(events.clone());
    let sse = streamed(StreamForm::Events, &events, |encoder, out| encoder.end(out));
    let array = streamed(StreamForm::Array, &events, |encoder, out| encoder.end(out));
    let elements: Vec<Value> = serde_json::from_str(&array).expect("one array");
    let data = sse.split("\r\n\r\n").filter_map(|event| event.strip_prefix("data: "));
    let from_sse: Vec<Value> = data.map(|data| serde_json::from_str(data).expect("JSON")).collect();
    assert_eq!(elements, from_sse);
    assert!(elements.len() > 6 && elements.iter().all(|one| one["candidates"][0]["content"]["parts"][0].is_object()));
    assert_eq!(elements.iter().filter(|one| one["candidates"][0]["finishReason"] == "STOP").count(), 1);
    let mut decoder = GeminiGenerate.stream_decoder();
    let mut back = Vec::new();
    decoder.push(sse.as_bytes(), &mut back).expect("sound");
    decoder.finish(&mut back).expect("sound");
    let whole = GeminiGenerate.encode_reply(&reply, &context());
    for back in [fold(back), fold(GeminiGenerate.decode_reply(&whole).expect("sound"))] {
        assert_eq!((back.text(), back.usage, back.ended), (reply.text(), reply.usage, true));
        assert_eq!(back.choices[0].finish, Some(FinishReason::ToolCalls));
        let calls = unfold(&back).into_iter().filter_map(|event| match event {
            Event::ToolCallStart { id, name, .. } => Some(format!("{id} {name}")),
            Event::ToolCallArguments { json, .. } => Some(json),
            _ => None,
        });
        assert_eq!(calls.collect::<Vec<_>>(), ["a f", "{}", "b__ts__QQ g", "{\"x\":1}"]);
    }
}

#[test]
fn a_cut_says_one_error_and_no_finish() {
    let failure = Failure::new(Code::UpstreamCut, "the upstream ended");
    let events = every_event();
    let part = &events[..events.len() - 2];
    let sse = streamed(StreamForm::Events, part, |encoder, out| {
        encoder.fail(&failure, out);
        encoder.end(out);
    });
    let array = streamed(StreamForm::Array, part, |encoder, out| encoder.fail(&failure, out));
    let elements: Vec<Value> = serde_json::from_str(&array).expect("one array");
    for text in [&sse, &array] {
        assert_eq!((text.matches("\"error\"").count(), text.matches("finishReason").count()), (1, 0), "{text}");
    }
    assert_eq!(elements.last().expect("an element")["error"]["status"], "UNAVAILABLE");
    let malformed = [
        Event::ToolCallStart { choice: 0, call: 0, id: "a".to_owned(), name: "f".to_owned() },
        Event::ToolCallArguments { choice: 0, call: 0, json: "{\"x\":".to_owned() },
        Event::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
    ];
    let told = streamed(StreamForm::Events, &malformed, |encoder, out| encoder.end(out));
    assert!(told.contains("MALFORMED_FUNCTION_CALL") && !told.contains("functionCall\""), "{told}");
}

#[test]
fn passing_streams_stay_as_they_are_and_are_watched() {
    let chunk = |part: Value, more: Value| {
        let mut chunk = json!({"candidates": [{"content": {"parts": [part], "role": "model"}}]});
        chunk["candidates"][0]["finishReason"] = more["finishReason"].clone();
        chunk["usageMetadata"] = more["usageMetadata"].clone();
        format!("data: {chunk}\r\n\r\n")
    };
    let first = chunk(json!({"text": "Grü"}), json!({}));
    let last = chunk(
        json!({"text": "ße"}),
        json!({"finishReason": "STOP", "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}),
    );
    let whole = format!("{first}{last}");
    for form in [StreamForm::Events, StreamForm::Array] {
        for at in 0..=whole.len() {
            let mut tap = form.tap(GeminiGenerate.stream_tap(TapOptions { strip_usage: true }));
            let mut out = Vec::new();
            for piece in [&whole.as_bytes()[..at], &whole.as_bytes()[at..]] {
                out.extend(tap.push(Bytes::copy_from_slice(piece)).expect("sound"));
            }
            out.extend(tap.finish().expect("whole"));
            assert_eq!(tap.seen().usage.map(|usage| (usage.input, usage.output)), Some((3, 2)));
            match form {
                StreamForm::Events => assert_eq!(out, whole.as_bytes(), "{at}"),
                StreamForm::Array => {
                    let elements: Vec<Value> = serde_json::from_slice(&out).expect("one array");
                    assert_eq!(elements.len(), 2, "{at}");
                }
            }
        }
        let mut tap = form.tap(GeminiGenerate.stream_tap(TapOptions::default()));
        let passed = tap.push(Bytes::copy_from_slice(first.as_bytes())).expect("sound");
        let failure = tap.finish().expect_err("cut");
        let text = [passed, tap.fail(&failure)].concat();
        let text = String::from_utf8(text).expect("text");
        assert_eq!((failure.code, text.matches("\"error\"").count()), (Code::UpstreamCut, 1));
        assert!(form == StreamForm::Events || serde_json::from_str::<Vec<Value>>(&text).is_ok(), "{text}");
    }
    let reply =
        br#"{"candidates":[],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2},"modelVersion":"g"}"#;
    for body in [&reply[..], &reply[12..]] {
        assert_eq!(GeminiGenerate.usage_of_reply(body).map(|usage| usage.total()), Some(5));
    }
}

#[test]
fn errors_are_googles_status() {
    let failure = Failure::invalid("no").at("contents").with_retry_after(Some(std::time::Duration::from_millis(1500)));
    let body: Value = serde_json::from_slice(&GeminiGenerate.encode_error(&failure, "r1")).expect("JSON");
    assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&json!(400), &json!("INVALID_ARGUMENT")));
    let details = body["error"]["details"].as_array().expect("details");
    assert_eq!(details[1]["fieldViolations"][0]["field"], "contents");
    assert_eq!((&details[2]["retryDelay"], &details[3]["requestId"]), (&json!("1.5s"), &json!("r1")));
    for (status, word) in [
        (401, "UNAUTHENTICATED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (502, "UNAVAILABLE"),
        (529, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (413, "INVALID_ARGUMENT"),
    ] {
        let failure = Failure::new(Code::Internal, "x").with_status(status);
        let body: Value = serde_json::from_slice(&GeminiGenerate.encode_error(&failure, "r")).expect("JSON");
        assert_eq!(body["error"]["status"], word, "{status}");
    }
}

#[test]
fn a_count_may_hold_a_whole_request() {
    let plain = user(json!([{"text": "q"}]));
    let mut whole = plain.clone();
    whole["model"] = "models/public".into();
    let nested = json!({"generateContentRequest": whole});
    for body in [&plain, &nested] {
        let request =
            GeminiGenerate.decode_count(&serde_json::value::to_raw_value(&body).expect("JSON")).expect("sound");
        assert_eq!(request.messages.len(), 1);
    }
    assert!(
        GeminiGenerate.may_pass(plain.to_string().as_bytes())
            && !GeminiGenerate.may_pass(nested.to_string().as_bytes())
    );
    assert_eq!(GeminiGenerate.encode_counted(7).as_ref(), br#"{"totalTokens":7}"#);
}
