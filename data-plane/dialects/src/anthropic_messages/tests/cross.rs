//! Requests of OpenAI clients as an Anthropic upstream gets them.

use gateway_ir::failure::Code;
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::support::{translate, value};
use crate::openai_chat::OpenAiChat;

/// `members` on top of a minimal OpenAI request, and what Anthropic gets on top of its minimal form. `null` = not there.
fn check(members: Value, expected: Value, dropped: &[&str]) {
    let body = over(json!({"model": "m", "messages": [user("Hi")]}), &members);
    let encoded =
        translate(&OpenAiChat, &body, &Quirks::default()).unwrap_or_else(|failure| panic!("{body}: {failure}"));
    let minimal =
        json!({"model": "claude", "max_tokens": 4096, "messages": [{"role": "user", "content": [text("Hi")]}]});
    assert_eq!(value(&encoded.body), over(minimal, &expected), "{body}");
    assert_eq!(encoded.dropped, dropped, "{body}");
}

fn over(mut body: Value, members: &Value) -> Value {
    let object = body.as_object_mut().expect("an object");
    for (name, value) in members.as_object().cloned().unwrap_or_default() {
        match value {
            Value::Null => drop(object.remove(&name)),
            value => drop(object.insert(name, value)),
        }
    }
    body
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object", "properties": {"a": {}}}}})
}

fn custom(name: &str) -> Value {
    json!({"name": name, "description": "d", "input_schema": {"type": "object", "properties": {"a": {}}}})
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
}

fn tool_use(id: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": "f", "input": input})
}

fn result(id: &str, content: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": content})
}

#[test]
fn instructions_are_joined() {
    let messages = json!([
        {"role": "system", "content": "A"}, user("Hi"), {"role": "developer", "content": [text("B"), text("C")]}]);
    check(json!({"messages": messages}), json!({"system": [text("A\n\nB"), text("C")]}), &[]);
    let mark = json!({"type": "ephemeral"});
    let marked = json!({"type": "text", "text": "A", "cache_control": mark});
    let messages = json!([{"role": "system", "content": [marked]}, {"role": "system", "content": "B"}, user("Hi")]);
    check(json!({"messages": messages}), json!({"system": [marked, text("B")]}), &[]);
    // Nothing but instructions: they are the question.
    check(json!({"messages": [{"role": "system", "content": "Hi"}]}), json!({}), &[]);
}

#[test]
fn tool_turns_are_paired() {
    let asked = json!({"role": "assistant", "content": null, "tool_calls": [call("t1", "{\"a\": 1}"), call("t2", "")]});
    let answer = |id: &str, content: Value| json!({"role": "tool", "tool_call_id": id, "content": content});
    let used = json!({"role": "assistant", "content": [tool_use("t1", json!({"a": 1})), tool_use("t2", json!({}))]});
    check(
        json!({"messages": [user("Hi"), asked, answer("t2", json!("two")), answer("t1", json!([text("one")])), user("And?")]}),
        json!({"messages": [
            {"role": "user", "content": [text("Hi")]}, used,
            {"role": "user", "content": [result("t2", "two"), result("t1", "one"), text("And?")]}]}),
        &[],
    );
    // A user who speaks before the results: Anthropic wants the results first.
    check(
        json!({"messages": [user("Hi"), asked, user("Well?"), answer("t1", json!("1")), answer("t2", json!("2"))]}),
        json!({"messages": [
            {"role": "user", "content": [text("Hi")]}, used,
            {"role": "user", "content": [result("t1", "1"), result("t2", "2"), text("Well?")]}]}),
        &[],
    );
    // Ids that do not match, but as many results as calls.
    check(
        json!({"messages": [user("Hi"), asked, answer("x", json!("1")), answer("y", json!("2"))]}),
        json!({"messages": [
            {"role": "user", "content": [text("Hi")]}, used,
            {"role": "user", "content": [result("t1", "1"), result("t2", "2")]}]}),
        &[],
    );
    let spoken =
        json!({"role": "assistant", "content": "Let me see", "tool_calls": [call("t1", "not json"), call("t9", "{}")]});
    check(
        json!({"messages": [answer("t0", json!("0")), user("Hi"), spoken, answer("t1", json!(" ")), answer("t1", json!("twice"))]}),
        json!({"messages": [
            {"role": "user", "content": [text("Hi")]},
            {"role": "assistant", "content": [text("Let me see"), tool_use("t1", json!({}))]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]}]}),
        &["messages[] (tool result without its call)", "messages[].tool_calls[] (without its result)"],
    );
}

#[test]
fn odd_call_ids_stay_paired() {
    let asked = json!({"role": "assistant", "tool_calls": [call("functions.f:0", "{}"), call("functions.f_0", "{}")]});
    let answer = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "x"});
    let body = json!({"model": "m", "messages": [user("Hi"), asked, answer("functions.f:0"), answer("functions.f_0")]});
    let sent = value(&translate(&OpenAiChat, &body, &Quirks::default()).expect("a valid request").body);
    let ids = |turn: usize, name: &str| -> Vec<String> {
        let blocks = sent["messages"][turn]["content"].as_array().expect("blocks");
        blocks.iter().map(|block| block[name].as_str().expect("an id").to_owned()).collect()
    };
    let called = ids(1, "id");
    assert_eq!(called, ids(2, "tool_use_id"));
    assert_ne!(called[0], called[1]);
    for id in called {
        assert!(id.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter)), "{id}");
    }
}

#[test]
fn tools_and_choices() {
    let tools = json!([function("f")]);
    let (given, sent) = (
        |choice: Value| json!({"tools": tools, "tool_choice": choice}),
        |choice: Value| json!({"tools": [custom("f")], "tool_choice": choice}),
    );
    check(json!({"tools": tools}), json!({"tools": [custom("f")]}), &[]);
    check(given(json!("auto")), sent(json!({"type": "auto"})), &[]);
    check(given(json!("required")), sent(json!({"type": "any"})), &[]);
    check(given(json!("none")), sent(json!({"type": "none"})), &[]);
    check(
        given(json!({"type": "function", "function": {"name": "f"}})),
        sent(json!({"type": "tool", "name": "f"})),
        &[],
    );
    let alone = json!({"type": "auto", "disable_parallel_tool_use": true});
    check(json!({"tools": tools, "parallel_tool_calls": false}), sent(alone), &[]);
    check(
        json!({"tools": tools, "parallel_tool_calls": false, "tool_choice": "none"}),
        sent(json!({"type": "none"})),
        &[],
    );
    check(json!({"tools": tools, "parallel_tool_calls": true}), json!({"tools": [custom("f")]}), &[]);
    let nothing = json!({"type": "object", "properties": {}});
    for parameters in [json!(null), json!({})] {
        let tool = json!([{"type": "function", "function": {"name": "g", "parameters": parameters, "strict": false}}]);
        check(json!({"tools": tool}), json!({"tools": [{"name": "g", "input_schema": nothing}]}), &[]);
    }
    let untyped =
        json!([{"type": "function", "function": {"name": "g", "parameters": {"properties": {}}, "strict": true}}]);
    check(json!({"tools": untyped}), json!({"tools": [{"name": "g", "input_schema": nothing, "strict": true}]}), &[]);
}

#[test]
fn media_become_sources() {
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let file = |file: Value| json!({"type": "file", "file": file});
    let source = |kind: &str, source: Value| json!({"type": kind, "source": source});
    let cases = [
        (
            image("data:image/png;base64,iVBORw0="),
            source("image", json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0="})),
        ),
        (
            image("data:;base64,/9j/4AA="),
            source("image", json!({"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AA="})),
        ),
        (
            image("https://example.com/a.png"),
            source("image", json!({"type": "url", "url": "https://example.com/a.png"})),
        ),
        (
            file(json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="})),
            json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "a.pdf"}),
        ),
        (
            file(json!({"file_data": "data:text/plain;base64,SGVsbG8="})),
            source("document", json!({"type": "text", "media_type": "text/plain", "data": "Hello"})),
        ),
        (
            file(json!({"file_id": "https://example.com/a.pdf"})),
            source("document", json!({"type": "url", "url": "https://example.com/a.pdf"})),
        ),
        (file(json!({"file_id": "f1"})), source("document", json!({"type": "file", "file_id": "f1"}))),
    ];
    for (part, block) in cases {
        check(
            json!({"messages": [user(json!([text("See"), part]))]}),
            json!({"messages": [user(json!([text("See"), block]))]}),
            &[],
        );
    }
}

#[test]
fn sampling_is_fitted() {
    check(json!({"max_tokens": 7}), json!({"max_tokens": 7}), &[]);
    check(json!({"max_tokens": 7, "max_completion_tokens": 9}), json!({"max_tokens": 9}), &[]);
    check(json!({"stop": "a"}), json!({"stop_sequences": ["a"]}), &[]);
    check(json!({"stop": ["a", "\n"]}), json!({"stop_sequences": ["a"]}), &["stop"]);
    check(
        json!({"user": "u", "top_p": 0.5, "temperature": 0}),
        json!({"metadata": {"user_id": "u"}, "top_p": 0.5, "temperature": 0}),
        &[],
    );
    check(json!({"temperature": 1.5}), json!({"temperature": 1}), &["temperature"]);
    check(json!({"temperature": -5.0}), json!({"temperature": -5.0}), &[]);
    check(json!({"temperature": 2.5}), json!({"temperature": 2.5}), &[]);
    let unsayable = json!({"n": 1, "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0, "logprobs": true, "top_logprobs": 2,
        "metadata": {"a": "b"}, "logit_bias": {"1": 1}, "store": true});
    let dropped = ["seed", "presence_penalty", "logprobs", "top_logprobs", "metadata", "logit_bias", "store"];
    check(unsayable, json!({}), &dropped);
    let odd = format!("x\r\n{}", "y".repeat(100));
    check(json!({odd: 1}), json!({}), &[&format!("x{}", "y".repeat(79))]);
}

#[test]
fn what_cannot_be_left_out_is_refused() {
    let audio = json!([{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]);
    let cases = [
        (json!({"n": 2}), Code::UnsupportedParameter, "n"),
        (json!({"messages": [user(audio)]}), Code::UnsupportedParameter, "messages"),
        (json!({"messages": [user("  ")]}), Code::InvalidRequest, "messages"),
    ];
    for (members, code, param) in cases {
        let body = over(json!({"model": "m", "messages": [user("Hi")]}), &members);
        let failure = translate(&OpenAiChat, &body, &Quirks::default()).expect_err("refused");
        assert_eq!((failure.code, failure.param.as_deref(), failure.status), (code, Some(param), 400), "{body}");
    }
}

#[test]
fn effort_becomes_a_budget() {
    let thinking = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
    check(json!({"reasoning_effort": "low"}), json!({"max_tokens": 5120, "thinking": thinking(1024)}), &[]);
    check(
        json!({"reasoning_effort": "high", "max_tokens": 4000}),
        json!({"max_tokens": 4000, "thinking": thinking(2000)}),
        &[],
    );
    check(json!({"reasoning_effort": "high", "max_tokens": 1024}), json!({"max_tokens": 1024}), &["reasoning_effort"]);
    check(json!({"reasoning_effort": "none"}), json!({"thinking": {"type": "disabled"}}), &[]);
    check(
        json!({"reasoning_effort": "low", "max_tokens": 9000, "temperature": 0.2, "top_p": 0.5}),
        json!({"max_tokens": 9000, "thinking": thinking(1024)}),
        &["temperature", "top_p"],
    );
    check(
        json!({"reasoning_effort": "low", "tools": [function("f")], "tool_choice": "required"}),
        json!({"tools": [custom("f")], "tool_choice": {"type": "any"}}),
        &["reasoning_effort"],
    );
    // A tool loop whose thinking the client did not keep cannot go on thinking.
    let asked = json!({"role": "assistant", "reasoning_content": "hm", "tool_calls": [call("t1", "{}")]});
    let messages = json!([user("Hi"), asked, {"role": "tool", "tool_call_id": "t1", "content": "1"}]);
    let sent = json!([user(json!([text("Hi")])), {"role": "assistant", "content": [tool_use("t1", json!({}))]}, user(json!([result("t1", "1")]))]);
    check(
        json!({"reasoning_effort": "low", "messages": messages}),
        json!({"messages": sent}),
        &["messages[].reasoning_content", "reasoning_effort"],
    );
}

#[test]
fn structured_output_is_the_providers_own() {
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    check(
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}}}),
        json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
        &[],
    );
    check(json!({"response_format": {"type": "json_object"}}), json!({}), &["response_format"]);
    check(json!({"response_format": {"type": "text"}}), json!({}), &[]);
}
