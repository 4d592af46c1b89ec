//! What clients spell in older, other or broken ways, and what upstreams get of it. One test for each kind.

use bytes::BytesMut;
use gateway_dialects::dialect::{ReplyContext, Upstream};
use gateway_dialects::{legal, registry, repair};
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::facts::Facts;
use gateway_ir::fold::fold;
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use crate::recorded::fixtures;

/// What an upstream gets of a chat client's body, and what it is told less. `Err` is the message of the refusal.
fn sent(upstream: Id, quirks: &Quirks, body: &Value) -> Result<(Value, Vec<String>), String> {
    let mut body = body.clone();
    body["model"] = "m".into();
    let client = registry::client_dialect(Id::OpenAiChat).expect("clients speak it");
    let request = client.decode_request(body.to_string().as_bytes()).map_err(|failure| failure.message.into_owned())?;
    let upstream_of = Upstream { model: "own", stream: false, quirks };
    let encoded = registry::dialect(upstream).encode_request(&request, &upstream_of);
    let encoded = encoded.map_err(|failure| failure.message.into_owned())?;
    let dropped = request.repaired.into_iter().chain(encoded.dropped).collect();
    Ok((serde_json::from_slice(&encoded.body).expect("JSON"), dropped))
}

/// The members of `expected` are those of what a chat upstream gets.
fn check(body: Value, expected: Value) {
    check_with(&Quirks::default(), body, expected, &[]);
}

fn check_with(quirks: &Quirks, body: Value, expected: Value, dropped: &[&str]) {
    let (got, got_dropped) = sent(Id::OpenAiChat, quirks, &body).unwrap_or_else(|refusal| panic!("{refusal}: {body}"));
    for (name, value) in expected.as_object().expect("members") {
        assert_eq!(&got[name], value, "`{name}` of {body}");
    }
    assert_eq!(got_dropped, dropped, "{body}");
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn call(id: &str, name: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}})
}

fn calling(calls: &[Value]) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}

fn result(id: &str, text: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": text})
}

#[test]
fn text_variants_normalised() {
    let text = |kind: &str, text: &str| json!({"type": kind, "text": text});
    check(
        json!({"messages": [
            {"role": "user", "content": [text("input_text", "a"), text("text", "b")]},
            {"role": "assistant", "content": [text("output_text", "c")]},
            user("d"),
        ]}),
        json!({"messages": [
            {"role": "user", "content": [text("text", "a"), text("text", "b")]},
            {"role": "assistant", "content": "c"},
            user("d"),
        ]}),
    );
}

#[test]
fn functions_to_tools() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let function = json!({"name": "weather", "description": "d", "parameters": schema});
    let tools = json!([{"type": "function", "function": function}]);
    let messages = json!([user("hi")]);
    check(
        json!({"messages": messages, "functions": [function], "function_call": {"name": "weather"}}),
        json!({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "functions": null, "function_call": null}),
    );
    check(
        json!({"messages": messages, "functions": [function], "function_call": "none"}),
        json!({"tools": tools, "tool_choice": "none"}),
    );
    let both = json!({"messages": messages, "functions": [function], "tools": tools});
    let refusal = sent(Id::OpenAiChat, &Quirks::default(), &both).expect_err("both forms");
    assert!(refusal.starts_with("invalid tool/function calling payload"), "{refusal}");
}

/// Who asks in that form reads no `tool_calls`.
#[test]
fn a_call_is_told_in_the_form_in_which_functions_were_given() {
    let client = registry::client_dialect(Id::OpenAiChat).expect("clients speak it");
    let context = ReplyContext {
        request_id: "r".to_owned(),
        model: "m".to_owned(),
        created: 7,
        include_usage: false,
        functions: true,
        stored: false,
        previous: None,
        conversation: None,
    };
    let call = |call: u32| Event::ToolCallStart { choice: 0, call, id: format!("c{call}"), name: "f".to_owned() };
    let piece = |call: u32, json: &str| Event::ToolCallArguments { choice: 0, call, json: json.to_owned() };
    let finish = Event::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None };
    let events = [call(0), piece(0, "{\"a\":"), piece(0, "1}"), call(1), piece(1, "{}"), finish, Event::End];
    let whole: Value = serde_json::from_slice(&client.encode_reply(&fold(events.clone()), &context)).expect("JSON");
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["function_call"], json!({"name": "f", "arguments": "{\"a\":1}"}));
    assert_eq!((&choice["message"]["tool_calls"], &choice["finish_reason"]), (&Value::Null, &json!("function_call")));
    let (mut encoder, mut out) = (client.stream_encoder(&context), BytesMut::new());
    events.iter().for_each(|event| encoder.push(event, &mut out));
    encoder.end(&mut out);
    let told = legal::check(Id::OpenAiChat, &out, false).expect("a legal stream").events;
    let deltas: Vec<&Value> = told.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    let arguments: String = deltas.iter().filter_map(|delta| delta["function_call"]["arguments"].as_str()).collect();
    assert_eq!((arguments.as_str(), &deltas[0]["function_call"]["name"]), ("{\"a\":1}", &json!("f")));
    assert!(deltas.iter().all(|delta| delta["tool_calls"].is_null()), "{deltas:?}");
    assert_eq!(told.last().map(|chunk| &chunk["choices"][0]["finish_reason"]), Some(&json!("function_call")));
}

#[test]
fn role_function_is_a_tools_result() {
    let spoken =
        |name: &str| json!({"role": "assistant", "content": null, "function_call": {"name": name, "arguments": "{}"}});
    let answered = |name: &str| json!({"role": "function", "name": name, "content": "1"});
    let body = json!({"messages": [user("hi"), spoken("f"), answered("f"), user("and"), spoken("f"), answered("f")]});
    let (got, dropped) = sent(Id::OpenAiChat, &Quirks::default(), &body).expect("a request");
    let messages = got["messages"].as_array().expect("messages");
    assert_eq!(dropped, Vec::<String>::new());
    for turn in [1, 4] {
        let id = messages[turn]["tool_calls"][0]["id"].as_str().expect("an id");
        assert!(id.len() == 21 && id.starts_with("call_"), "{id}");
        assert_eq!(
            (&messages[turn + 1]["role"], messages[turn + 1]["tool_call_id"].as_str()),
            (&"tool".into(), Some(id))
        );
    }
    assert_eq!(got, sent(Id::OpenAiChat, &Quirks::default(), &body).expect("the same again").0);
}

#[test]
fn missing_call_ids_are_made() {
    let nameless = |name: &str| json!({"type": "function", "function": {"name": name, "arguments": "{}"}});
    let body = json!({"messages": [user("hi"), calling(&[nameless("f"), nameless("g")]),
        {"role": "tool", "content": "1"}, {"role": "tool", "name": "g", "tool_call_id": "", "content": "2"}]});
    let (got, _) = sent(Id::OpenAiChat, &Quirks::default(), &body).expect("a request");
    let ids: Vec<&Value> = (0..2).map(|at| &got["messages"][1]["tool_calls"][at]["id"]).collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids, [&got["messages"][2]["tool_call_id"], &got["messages"][3]["tool_call_id"]]);
}

#[test]
fn reasoning_object_becomes_the_flat_word() {
    let messages = json!([user("hi")]);
    check(
        json!({"messages": messages, "reasoning": {"effort": "low"}}),
        json!({"reasoning_effort": "low", "reasoning": null}),
    );
    check(json!({"messages": messages, "reasoning_effort": "high"}), json!({"reasoning_effort": "high"}));
}

#[test]
fn developer_becomes_system_where_it_must() {
    let messages = |role: &str| json!({"messages": [{"role": role, "content": "be brief"}, user("hi")]});
    check(messages("developer"), messages("developer"));
    let quirks = Quirks { no_developer_role: true, ..Quirks::default() };
    check_with(&quirks, messages("developer"), messages("system"), &[]);
}

#[test]
fn responses_items_on_the_chat_path() {
    check(json!({"input": "hi"}), json!({"messages": [user("hi")], "input": null}));
    check(
        json!({"instructions": "be brief", "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
        ], "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}),
        json!({"messages": [
            {"role": "system", "content": "be brief"}, user("hi"), calling(&[call("c1", "f")]), result("c1", "1"),
        ], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "input": null}),
    );
}

#[test]
fn flat_tools_are_nested() {
    let flat = json!({"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}});
    let nested =
        json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}});
    check(
        json!({"messages": [user("hi")], "tools": [flat], "tool_choice": {"type": "function", "name": "f"}}),
        json!({"tools": [nested], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    );
}

#[test]
fn tool_transcript_repair() {
    let lost_result = "messages[] (tool result without its call)";
    let lost_call = "messages[].tool_calls[] (without its result)";
    let check = |given: Value, expected: Value, dropped: &[&str]| {
        check_with(&Quirks::default(), json!({"messages": given}), json!({"messages": expected}), dropped);
    };
    let (f, g) = (call("a", "f"), call("b", "g"));
    let sound = json!([user("hi"), calling(&[f.clone(), g.clone()]), result("b", "2"), result("a", "1"), user("and")]);
    check(sound.clone(), sound, &[]);
    // A result without a call, one that comes twice, a call without a result.
    check(
        json!([
            user("hi"),
            result("x", "0"),
            calling(std::slice::from_ref(&f)),
            result("a", "1"),
            result("a", "2"),
            user("and")
        ]),
        json!([user("hi"), calling(std::slice::from_ref(&f)), result("a", "1"), user("and")]),
        &[lost_result],
    );
    check(
        json!([user("hi"), calling(&[f.clone(), g.clone()]), result("b", "2")]),
        json!([user("hi"), calling(std::slice::from_ref(&g)), result("b", "2")]),
        &[lost_call],
    );
    check(
        json!([user("hi"), calling(std::slice::from_ref(&f)), user("and")]),
        json!([user("hi"), user("and")]),
        &[lost_call],
    );
    // Something between a call and its result; two calls before their results.
    check(
        json!([user("hi"), calling(std::slice::from_ref(&f)), user("well?"), {"role": "assistant", "content": "wait"}, result("a", "1")]),
        json!([user("hi"), calling(std::slice::from_ref(&f)), result("a", "1"), user("well?"), {"role": "assistant", "content": "wait"}]),
        &[],
    );
    check(
        json!([
            user("hi"),
            calling(std::slice::from_ref(&f)),
            calling(std::slice::from_ref(&g)),
            result("b", "2"),
            result("a", "1")
        ]),
        // One turn that calls twice, as Anthropic reads neighbours.
        json!([user("hi"), calling(&[f.clone(), g.clone()]), result("b", "2"), result("a", "1")]),
        &[],
    );
    // Ids that do not match, but as many results as calls.
    check(
        json!([user("hi"), calling(&[f.clone(), g.clone()]), result("x", "1"), result("y", "2")]),
        json!([user("hi"), calling(&[f.clone(), g]), result("a", "1"), result("b", "2")]),
        &[],
    );
    // One id for two calls.
    let twice = json!([user("hi"), calling(&[f.clone(), call("a", "g")]), result("a", "1"), result("a", "2")]);
    let (got, dropped) = sent(Id::OpenAiChat, &Quirks::default(), &json!({"messages": twice})).expect("a request");
    let other = got["messages"][1]["tool_calls"][1]["id"].as_str().expect("an id").to_owned();
    assert!(other != "a" && dropped.is_empty(), "{got}");
    assert_eq!(got["messages"][3], result(&other, "2"));
    let custom = json!({"id": "a", "type": "custom", "custom": {"name": "c", "input": ""}});
    check(json!([user("hi"), calling(&[f.clone(), custom])]), json!([user("hi")]), &[lost_call]);
    // Ids that come again in each turn belong to the nearest call.
    let again = json!([
        user("hi"),
        calling(std::slice::from_ref(&f)),
        result("a", "1"),
        user("and"),
        calling(&[f]),
        result("a", "2"),
        result("z", "3")
    ]);
    let mut expected = again.clone();
    expected.as_array_mut().expect("messages").pop();
    check(again, expected, &[lost_result]);
}

/// The same for the other dialects of clients, on their way to another vendor.
#[test]
fn a_broken_transcript_of_any_client_is_repaired() {
    let bodies = [
        (
            Id::AnthropicMessages,
            json!({"model": "m", "max_tokens": 5, "messages": [user("hi"),
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "0"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "tool_result", "tool_use_id": "a", "content": "1"}]}]}),
        ),
        (
            Id::OpenAiResponses,
            json!({"model": "m", "input": [user("hi"), {"type": "function_call_output", "call_id": "x", "output": "0"},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}, user("and"),
                {"type": "function_call_output", "call_id": "a", "output": "1"}]}),
        ),
    ];
    for (client, body) in bodies {
        let client = registry::client_dialect(client).expect("clients speak it");
        let request = client.decode_request(body.to_string().as_bytes()).expect("a request");
        let quirks = Quirks::default();
        let upstream = Upstream { model: "own", stream: false, quirks: &quirks };
        let encoded = registry::dialect(Id::OpenAiChat).encode_request(&request, &upstream).expect("sayable");
        let got: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        let texts = |at: usize| got["messages"][at]["content"].to_string();
        assert_eq!(got["messages"].as_array().map(Vec::len), Some(4), "{}: {got}", client.id());
        assert!(
            texts(0).contains("hi") && texts(2).contains('1') && texts(3).contains("and"),
            "{}: {got}",
            client.id()
        );
        assert_eq!(got["messages"][1]["tool_calls"], json!([call("a", "f")]), "{}", client.id());
        assert_eq!(request.repaired, ["messages[] (tool result without its call)"], "{}", client.id());
    }
}

#[test]
fn the_newest_limit_wins() {
    let messages = json!([user("hi")]);
    let limits = |body: Value| sent(Id::OpenAiChat, &Quirks::default(), &body).expect("a request").0;
    let both = limits(json!({"messages": messages, "max_tokens": 5, "max_completion_tokens": 7}));
    assert_eq!((&both["max_completion_tokens"], &both["max_tokens"]), (&json!(7), &Value::Null));
    let older = Quirks { max_tokens_name: true, ..Quirks::default() };
    check_with(&older, json!({"messages": messages, "max_completion_tokens": 7}), json!({"max_tokens": 7}), &[]);
    let body = json!({"messages": messages, "max_tokens": 5});
    let (got, _) = sent(Id::AnthropicMessages, &Quirks::default(), &body).expect("a request");
    assert_eq!(got["max_tokens"], 5);
}

#[test]
fn whitespace_only_text_is_removed_where_it_is_refused() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let body = json!({"messages": [{"role": "user", "content": [text(" \n"), text("hi")]}, {"role": "assistant", "content": "\t"}, user("and")]});
    for (upstream, block) in [(Id::AnthropicMessages, text("hi")), (Id::BedrockConverse, json!({"text": "hi"}))] {
        let (got, _) = sent(upstream, &Quirks::default(), &body).expect("a request");
        let turns = got["messages"].as_array().expect("messages");
        assert_eq!((turns.len(), &turns[0]["content"][0]), (1, &block), "{upstream}: {got}");
        assert_eq!(turns[0]["content"].as_array().map(Vec::len), Some(2), "{upstream}: neighbours of one role are one");
    }
}

#[test]
fn empty_messages_say_nothing() {
    let body = json!({"messages": [user(""), {"role": "assistant", "content": ""}, {"role": "user", "content": []}]});
    for upstream in [Id::AnthropicMessages, Id::BedrockConverse, Id::GeminiGenerate] {
        let refusal = sent(upstream, &Quirks::default(), &body).expect_err("nothing is said");
        assert!(refusal.starts_with("`messages` says nothing"), "{upstream}: {refusal}");
        let body = json!({"messages": [user("hi"), {"role": "assistant", "content": ""}, user("and")]});
        let (got, _) = sent(upstream, &Quirks::default(), &body).expect("a request");
        let turns = if upstream == Id::GeminiGenerate { &got["contents"] } else { &got["messages"] };
        assert_eq!(turns.as_array().map(Vec::len), Some(1), "{upstream}: {got}");
    }
}

#[test]
fn content_arrays_are_flattened_where_they_are_unknown() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let quirks = Quirks { no_content_arrays: true, ..Quirks::default() };
    let body = json!({"messages": [{"role": "user", "content": [text("a"), text("b")]}]});
    let (got, _) = sent(Id::OpenAiChat, &quirks, &body).expect("a request");
    let flat = got["messages"][0]["content"].as_str().expect("one text");
    assert!(flat.starts_with('a') && flat.ends_with('b'), "{flat}");
}

#[test]
fn what_an_upstream_lacks_is_left_out_and_named() {
    let quirks = Quirks { no_tools: true, ..Quirks::default() };
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let body = json!({"messages": [user("hi")], "tools": tools, "tool_choice": "auto"});
    check_with(&quirks, body, json!({"tools": null, "tool_choice": null}), &["tools"]);
}

#[test]
fn garbage_behind_the_document_is_refused() {
    let client = registry::client_dialect(Id::OpenAiChat).expect("clients speak it");
    let refusal = client.decode_request(br#"{"model":"m","messages":[]} x"#).expect_err("garbage");
    assert_eq!(refusal.status, 400);
}

/// What vendors took passes as it is.
#[test]
fn recorded_requests_need_no_repair() {
    let all = ["openai-chat", "mistral"].into_iter().flat_map(fixtures);
    for fixture in all.filter(|fixture| fixture.status == 200 && fixture.request["model"].is_string()) {
        let body = fixture.request.to_string();
        let facts = Facts::scan(&body.clone().into()).expect("a body that was taken");
        assert!(!repair::is_needed(Id::OpenAiChat, &facts, body.as_bytes()), "{}", fixture.id);
    }
}
