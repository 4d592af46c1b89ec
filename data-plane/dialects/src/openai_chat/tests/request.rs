//! What clients may write, and what they are told when it is wrong.

use gateway_ir::chat::{Content, Role};

use super::*;

/// `messages` and the rest of a body, through to an upstream of the same dialect.
fn check(body: &str, expected: &str) {
    let encoded = through(body, &Quirks::default()).unwrap_or_else(|failure| panic!("{body}: {failure}"));
    assert_eq!(String::from_utf8_lossy(&encoded.body), expected, "{body}");
    assert_eq!(encoded.dropped, Vec::<String>::new(), "{body}");
}

fn check_messages(messages: &str, expected: &str) {
    check(&format!(r#"{{"model":"m","messages":{messages}}}"#), &format!(r#"{{"model":"own","messages":{expected}}}"#));
}

#[test]
fn what_only_this_dialect_can_say_goes_through() {
    check(
        r#"{"model":"m","messages":[{"role":"user","content":"hi","name":"ann","x":{"y": 1.0e0}}],"logit_bias":{"1" :2},"service_tier":"flex","n":2,"top_k":5,"temperature":0.70,"seed":-1,"stop":"x","user":"u","metadata":{"a":"b"}}"#,
        r#"{"model":"own","messages":[{"role":"user","content":"hi","name":"ann","x":{"y": 1.0e0}}],"n":2,"top_k":5,"temperature":0.7,"stop":["x"],"seed":-1,"user":"u","metadata":{"a":"b"},"logit_bias":{"1" :2},"service_tier":"flex"}"#,
    );
    check(
        r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":false,"include_obfuscation":false},"reasoning":{"effort":"low"},"max_tokens":5,"max_completion_tokens":6}"#,
        r#"{"model":"own","messages":[],"max_completion_tokens":6,"reasoning_effort":"low","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
    );
    check(
        r#"{"model":"m","messages":[],"reasoning":{"max_tokens":2000,"exclude":true},"response_format":{"type":"grammar","value":"x"}}"#,
        r#"{"model":"own","messages":[],"response_format":{"type":"grammar","value":"x"},"reasoning":{"max_tokens":2000,"exclude":true}}"#,
    );
    check(
        r#"{"model":"m","messages":[],"reasoning":{"effort":"high","exclude":true},"reasoning_effort":"low"}"#,
        r#"{"model":"own","messages":[],"reasoning_effort":"low","reasoning":{"effort":"high","exclude":true}}"#,
    );
    check(
        r#"{"model":"m","messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type" : "object"},"strict":true}},"reasoning_effort":"none"}"#,
        r#"{"model":"own","messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type" : "object"},"strict":true}},"reasoning_effort":"none"}"#,
    );
}

#[test]
fn content_is_understood_in_every_form() {
    check_messages(
        r#"[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}},{"type":"image_url","image_url":"https://x/y.png"}]}]"#,
        r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}},{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]"#,
    );
    check_messages(
        r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}},{"type":"file","file":{"filename":"f.pdf","file_data":"data:application/pdf;base64,AA"}},{"type":"file","file":{"file_id":"f1"}},{"type":"video_url","video_url":{"url":"u"}}]}]"#,
        r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}},{"type":"file","file":{"filename":"f.pdf","file_data":"data:application/pdf;base64,AA"}},{"type":"file","file":{"file_id":"f1"}},{"type":"video_url","video_url":{"url":"u"}}]}]"#,
    );
    check_messages(
        r#"[{"role":"system","content":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":[{"type":"text","text":"only"}]},{"role":"user","content":null}]"#,
        r#"[{"role":"system","content":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":"only"},{"role":"user","content":""}]"#,
    );
    check_messages(
        r#"[{"role":"assistant","content":null,"refusal":"no","reasoning_content":"hm","audio":{"id":"a1"}},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]"#,
        r#"[{"role":"assistant","content":null,"reasoning_content":"hm","refusal":"no","audio":{"id":"a1"}},{"role":"assistant","content":null,"refusal":"no"}]"#,
    );
}

#[test]
fn calls_and_results_find_each_other() {
    check_messages(
        r#"[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"custom","custom":{"name":"g","input":"i"}}]},{"role":"tool","tool_call_id":"a","content":"r"},{"role":"tool","content":[{"type":"text","text":"s"}]}]"#,
        r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"custom","custom":{"name":"g","input":"i"}}]},{"role":"tool","tool_call_id":"a","content":"r"},{"role":"tool","tool_call_id":"b","content":"s"}]"#,
    );
    let made = |messages: &str| {
        let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
        let request = OpenAiChat.decode_request(body.as_bytes()).expect("valid");
        let ids = request.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match &part.content {
            Content::ToolCall(call) => Some(call.id.clone()),
            Content::ToolResult(result) => Some(result.call_id.clone()),
            _ => None,
        });
        ids.collect::<Vec<_>>()
    };
    let legacy = r#"[{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"},{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"r"}]"#;
    let ids = made(legacy);
    assert!(ids[0].starts_with("call_") && ids[0].len() == 21, "{ids:?}");
    assert_eq!((&ids[0], &ids[2]), (&ids[1], &ids[3]));
    assert_ne!(ids[0], ids[2]);
    assert_eq!(made(legacy), ids, "the same request gives the same ids");
    let without = r#"[{"role":"assistant","tool_calls":[{"function":{"name":"f"}},{"function":{"name":"g"}}]},{"role":"tool","name":"g","content":"r"},{"role":"tool","content":"r"}]"#;
    let ids = made(without);
    assert_eq!((&ids[0], &ids[1]), (&ids[3], &ids[2]));
}

#[test]
fn tools_in_every_form_become_todays() {
    let messages = r#""model":"m","messages":[]"#;
    let nested = r#""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type" :"object"},"x":1}}]"#;
    let expected = r#"{"model":"own","messages":[],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type" :"object"},"x":1}}]"#;
    check(&format!("{{{messages},{nested}}}"), &format!("{expected}}}"));
    let flat = r#""tools":[{"type":"function","name":"f","description":"d","parameters":{"type" :"object"},"x":1}],"tool_choice":"any","parallel_tool_calls":false"#;
    check(
        &format!("{{{messages},{flat}}}"),
        &format!(r#"{expected},"tool_choice":"required","parallel_tool_calls":false}}"#),
    );
    let legacy = r#""functions":[{"name":"f","description":"d","parameters":{"type" :"object"},"x":1}],"function_call":{"name":"f"}"#;
    check(
        &format!("{{{messages},{legacy}}}"),
        &format!(
            r#"{expected},"tool_choice":{{"type":"function","function":{{"name":"f"}}}},"parallel_tool_calls":false}}"#
        ),
    );
    let own = r#""tools":[{"type":"custom","custom":{"name":"c"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#;
    check(&format!("{{{messages},{own}}}"), &format!(r#"{{"model":"own","messages":[],{own}}}"#));
}

#[test]
fn wrong_requests_name_the_field() {
    let cases = [
        ("{", None),
        ("[]", None),
        (r#"{"model":"m","messages":[]} {}"#, None),
        (r#"{"messages":[]}"#, Some("model")),
        (r#"{"model":"m"}"#, Some("messages")),
        (r#"{"model":"m","messages":{}}"#, Some("messages")),
        (r#"{"model":"m","messages":["x"]}"#, Some("messages[0]")),
        (r#"{"model":"m","messages":[{"content":"x"}]}"#, Some("messages[0].role")),
        (r#"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#, Some("messages[0].role")),
        (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, Some("messages[0].content")),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}"#, Some("messages[0].content[0].type")),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"type":7}]}]}"#, Some("messages[0].content[0].type")),
        (
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":1}}]}]}"#,
            Some("messages[0].content[0].image_url.url"),
        ),
        (
            r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"arguments":"{}"}}]}]}"#,
            Some("messages[0].tool_calls[0].function.name"),
        ),
        (
            r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":"x"}}]}"#,
            Some("tools[0].function.parameters"),
        ),
        (r#"{"model":"m","messages":[],"tool_choice":"maybe"}"#, Some("tool_choice")),
        (r#"{"model":"m","messages":[],"tools":[],"functions":[]}"#, Some("functions")),
        (r#"{"model":"m","messages":[],"temperature":"hot"}"#, Some("temperature")),
        (r#"{"model":"m","messages":[],"max_tokens":-1}"#, Some("max_tokens")),
        (r#"{"model":"m","messages":[],"max_completion_tokens":1,"max_tokens":"x"}"#, Some("max_tokens")),
        (r#"{"model":"m","messages":[],"stop":["a",1]}"#, Some("stop[1]")),
        (r#"{"model":"m","messages":[],"seed":1.5}"#, Some("seed")),
        (r#"{"model":"m","messages":[],"stream":"yes"}"#, Some("stream")),
        (r#"{"model":"m","messages":[],"stream_options":{"include_usage":1}}"#, Some("stream_options.include_usage")),
        (
            r#"{"model":"m","messages":[],"response_format":{"type":"json_schema"}}"#,
            Some("response_format.json_schema"),
        ),
        (r#"{"model":"m","messages":[],"metadata":[]}"#, Some("metadata")),
        (r#"{"model":"m","messages":[],"n":1,"n":2}"#, Some("n")),
    ];
    for (body, param) in cases {
        let failure = OpenAiChat.decode_request(body.as_bytes()).expect_err(body);
        assert_eq!((failure.status, failure.param.as_deref()), (400, param), "{body}: {failure}");
    }
}

#[test]
fn signed_thinking_of_an_earlier_turn_is_understood() {
    let body = r#"{"model":"m","messages":[{"role":"assistant","content":"x","reasoning_content":"hm","reasoning_details":[{"type":"reasoning.text","signature":"s","format":"anthropic-claude-v1","index":0}]},{"role":"assistant","reasoning_details":[{"type":"reasoning.text","text":"a","index":0},{"type":"reasoning.text","signature":"s2","index":0},{"type":"reasoning.encrypted","data":"d","index":1},{"type":"reasoning.text","text":"b","format":"other","signature":"x"}]}]}"#;
    let request = OpenAiChat.decode_request(body.as_bytes()).expect("valid");
    let thinking = |position: usize| -> Vec<_> {
        let parts = request.messages[position].parts.iter();
        let of = |content: &Content| match content {
            Content::Reasoning(part) => Some((part.text.clone(), part.signature.clone(), part.redacted.clone())),
            _ => None,
        };
        parts.filter_map(|part| of(&part.content)).collect()
    };
    assert_eq!(request.messages[0].role, Role::Assistant);
    assert_eq!(thinking(0), [("hm".to_owned(), Some("s".to_owned()), None)]);
    assert_eq!(
        thinking(1),
        [("a".to_owned(), Some("s2".to_owned()), None), (String::new(), None, Some("d".to_owned()))]
    );
}
