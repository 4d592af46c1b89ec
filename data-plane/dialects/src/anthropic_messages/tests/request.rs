//! Requests of Anthropic clients: what is read, what is refused, what an Anthropic upstream gets again.

use gateway_ir::chat::{ChatRequest, Content, Reasoning, Role, Tool, ToolChoice};
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::support::{translate, value};
use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::ClientDialect;

/// `members` on top of a minimal request.
fn body(members: Value) -> Value {
    let mut body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in members.as_object().cloned().unwrap_or_default() {
        body[name] = value;
    }
    body
}

fn decode(members: Value) -> ChatRequest {
    AnthropicMessages.decode_request(body(members).to_string().as_bytes()).expect("a valid request")
}

/// What an Anthropic upstream gets of a request of an Anthropic client; only the members named in `expected` are compared.
fn check_again(members: Value, expected: Value) {
    let encoded = translate(&AnthropicMessages, &body(members), &Quirks::default()).expect("a valid request");
    let sent = value(&encoded.body);
    for (name, wanted) in expected.as_object().into_iter().flatten() {
        assert_eq!(sent.get(name).unwrap_or(&Value::Null), wanted, "{name} of {sent}");
    }
    assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
}

#[test]
fn refuses_with_the_field_at_fault() {
    let cases = [
        (json!({"model": null}), "model"),
        (json!({"messages": null}), "messages"),
        (json!({"messages": "x"}), "messages"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": 1}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}), "messages[0].content[0].type"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}),
            "messages[0].content[0].text",
        ),
        (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}), "messages[0].content[0].source"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{}], "tool_use_id": "a"}]}]}),
            "messages[0].content[0].content[0].type",
        ),
        (json!({"system": 1}), "system"),
        (json!({"max_tokens": "many"}), "max_tokens"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"stop_sequences": ["a", 1]}), "stop_sequences[1]"),
        (json!({"tools": [{"description": "no name"}]}), "tools[0].name"),
        (json!({"tool_choice": {"type": "maybe"}}), "tool_choice.type"),
        (json!({"tool_choice": {"type": "tool"}}), "tool_choice.name"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.budget_tokens"),
        (json!({"thinking": {"type": "hard"}}), "thinking.type"),
        (json!({"output_config": {"format": {"type": "xml"}}}), "output_config.format.type"),
        (json!({"metadata": []}), "metadata"),
        (json!({"stream": 1}), "stream"),
    ];
    for (members, param) in cases {
        let text = body(members).to_string();
        let failure = AnthropicMessages.decode_request(text.as_bytes()).expect_err(&text);
        assert_eq!((failure.status, failure.param.as_deref()), (400, Some(param)), "{text}");
        assert!(failure.message.contains(param), "{}", failure.message);
    }
    for text in ["", "[]", "{", "{} {}", "null", "\u{feff}{}"] {
        assert_eq!(AnthropicMessages.decode_request(text.as_bytes()).expect_err(text).status, 400);
    }
    assert_eq!(AnthropicMessages.decode_request(b"{\"model\":\"\xff\"}").expect_err("not UTF-8").status, 400);
}

#[test]
fn reads_what_other_dialects_can_say() {
    let request = decode(json!({
        "system": "Be brief.", "temperature": 0.5, "top_p": 0.9, "top_k": 3, "stop_sequences": ["a"], "stream": true,
        "metadata": {"user_id": "u"}, "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "web_search"}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.0e0}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "42", "is_error": true},
                {"type": "text", "text": "And?"}]}],
    }));
    let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    let Content::ToolCall(call) = &request.messages[2].parts[0].content else { panic!("a call") };
    assert_eq!(serde_json::from_str::<Value>(&call.arguments).expect("JSON"), json!({"a": 1.0}));
    let Content::ToolResult(result) = &request.messages[3].parts[0].content else { panic!("a result") };
    assert_eq!((result.call_id.as_str(), result.is_error), ("t1", Some(true)));
    assert_eq!((request.stream, request.include_usage, request.sampling.top_k), (Some(true), true, Some(3)));
    assert_eq!((request.tool_choice, request.parallel_tool_calls), (Some(ToolChoice::Required), Some(false)));
    assert_eq!((request.user.as_deref(), request.reasoning), (Some("u"), Some(Reasoning::BudgetTokens(2000))));
    assert!(matches!(&request.tools[1], Tool::Opaque { kind, .. } if kind == "web_search_20250305"));
}

#[test]
fn an_effort_is_the_word_for_other_dialects() {
    let adaptive = json!({"type": "adaptive"});
    let cases = [
        (
            json!({"thinking": adaptive, "output_config": {"effort": "high"}}),
            Some(Reasoning::Effort("high".to_owned())),
        ),
        (json!({"output_config": {"effort": "low"}}), Some(Reasoning::Effort("low".to_owned()))),
        (json!({"thinking": adaptive}), Some(Reasoning::Adaptive)),
        (json!({"thinking": {"type": "disabled"}}), Some(Reasoning::Off)),
        (json!({}), None),
    ];
    for (members, expected) in cases {
        check_again(members.clone(), members.clone());
        assert_eq!(decode(members).reasoning, expected);
    }
}

/// Every member, known or not, that Anthropic documents or may come to document, reaches Anthropic again.
#[test]
fn nothing_is_lost_on_the_way_to_the_same_dialect() {
    let everything = json!({
        "system": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"type": "text", "text": "B"}],
        "thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max", "task_budget": {"total": 9}},
        "metadata": {"user_id": "u", "session": "s"}, "cache_control": {"type": "ephemeral"}, "service_tier": "auto",
        "mcp_servers": [{"type": "url", "url": "https://mcp.example.com"}], "container": "c1", "context_management": {"edits": []},
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object", "required": []}, "strict": true,
                "defer_loading": true, "cache_control": {"type": "ephemeral"}},
            {"type": "code_execution_20260120", "name": "code_execution"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true, "new": 1},
        "messages": [
            {"role": "user", "content": [
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                    "title": "T", "context": "C", "citations": {"enabled": true}},
                {"type": "document", "source": {"type": "content", "content": []}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/i.png"}, "cache_control": {"type": "ephemeral"}},
                {"type": "container_upload", "file_id": "f1"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "sig"}, {"type": "redacted_thinking", "data": "xyz"},
                {"type": "text", "text": "cited", "citations": [{"type": "char_location"}]},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {}, "caller": {"type": "direct"}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {"a": [1, "b"]}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [
                    {"type": "text", "text": "one"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
                    {"type": "search_result", "source": "s", "title": "t", "content": []}]},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "g"}}]},
            {"role": "user", "content": [{"type": "text", "text": "Go"}]}],
        "from_the_future": {"x": [1.50, null]},
    });
    check_again(everything.clone(), everything);
}

#[test]
fn says_what_anthropic_wants_said() {
    let user = |content: Value| json!({"role": "user", "content": content});
    let text = |text: &str| json!({"type": "text", "text": text});
    check_again(
        json!({"messages": [user(json!("a")), user(json!([text(" \n"), text("b")]))]}),
        json!({"messages": [user(json!([text("a"), text("b")]))]}),
    );
    let prefilled = json!([user(json!("a")), {"role": "assistant", "content": "b \n"}]);
    check_again(
        json!({"messages": prefilled}),
        json!({"messages": [user(json!([text("a")])), {"role": "assistant", "content": [text("b")]}]}),
    );
    check_again(json!({"max_tokens": null}), json!({"max_tokens": 4096}));
    check_again(
        json!({"tools": [{"name": "f"}]}),
        json!({"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]}),
    );
}

#[test]
fn a_cache_mark_on_an_empty_text_moves_to_the_block_before() {
    let mark = json!({"type": "ephemeral"});
    let content = json!([{"type": "text", "text": "a"}, {"type": "text", "text": " ", "cache_control": mark}]);
    let expected = json!([{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": mark}]}]);
    check_again(json!({"messages": [{"role": "user", "content": content}]}), json!({"messages": expected}));
}

#[test]
fn thinking_that_anthropic_did_not_sign_is_left_out() {
    let thought = |signature: &str| json!({"type": "thinking", "thinking": "hm", "signature": signature});
    let turns = |thoughts: Value| {
        let mut content = thoughts.as_array().cloned().unwrap_or_default();
        content.push(json!({"type": "text", "text": "a"}));
        json!([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": content}])
    };
    let sent = translate(
        &AnthropicMessages,
        &body(json!({"messages": turns(json!([thought(""), thought("s")]))})),
        &Quirks::default(),
    );
    let sent = sent.expect("a valid request");
    assert_eq!(value(&sent.body)["messages"], turns(json!([thought("s")])));
    assert_eq!(sent.dropped, ["messages[].reasoning_content"]);
}

#[test]
fn quirks_are_honoured() {
    let members = json!({"max_tokens": null, "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "tools": [{"name": "f"}]});
    let quirks = Quirks { default_max_tokens: Some(99), no_content_arrays: true, no_tools: true, ..Quirks::default() };
    let encoded = translate(&AnthropicMessages, &body(members), &quirks).expect("a valid request");
    let expected = json!({"model": "claude", "max_tokens": 99, "system": "a\n\nb", "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(value(&encoded.body), expected);
    assert_eq!(encoded.dropped, ["tools"]);
}

#[test]
fn files_need_their_beta() {
    let block = json!([{"type": "document", "source": {"type": "file", "file_id": "f1"}}]);
    let encoded = translate(
        &AnthropicMessages,
        &body(json!({"messages": [{"role": "user", "content": block}]})),
        &Quirks::default(),
    );
    assert_eq!(encoded.expect("a valid request").headers, [("anthropic-beta", "files-api-2025-04-14".to_owned())]);
}

#[test]
fn what_is_opaque_keeps_its_origin() {
    let request =
        decode(json!({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f1"}]}]}));
    let Content::Opaque { kind, dialect, .. } = &request.messages[0].parts[0].content else { panic!("opaque") };
    assert_eq!((kind.as_str(), *dialect), ("container_upload", Id::AnthropicMessages));
}
