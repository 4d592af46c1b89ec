//! Requests of another dialect, and upstreams that depart from this one.

use gateway_ir::chat::{
    CacheMark, ChatRequest, Content, Document, Media, Message, Part, Reasoning, ReasoningPart, Role, Source, Tool,
    ToolCall, ToolResult,
};
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::failure::Code;
use serde_json::value::RawValue;

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

fn media(source: Source, media_type: &str) -> Media {
    Media { source, media_type: media_type.to_owned(), detail: None }
}

/// A request as another dialect might have decoded it.
fn foreign(messages: Vec<Message>) -> ChatRequest {
    ChatRequest { origin: Some(Id::AnthropicMessages), model: "m".to_owned(), messages, ..ChatRequest::default() }
}

fn check(request: &ChatRequest, expected: &str, dropped: &[&str]) {
    let quirks = Quirks::default();
    let encoded = OpenAiChat
        .encode_request(request, &Upstream { model: "own", stream: false, quirks: &quirks })
        .expect("sayable");
    assert_eq!(String::from_utf8_lossy(&encoded.body), expected);
    assert_eq!(encoded.dropped, dropped);
}

#[test]
fn what_another_dialect_said_is_said_or_named() {
    let mut request = foreign(vec![
        Message::new(
            Role::System,
            vec![Part { cache: Some(CacheMark(raw(r#"{"type":"ephemeral"}"#))), ..Part::text("be brief") }],
        ),
        Message::new(
            Role::User,
            vec![
                Part::text("look"),
                Part::new(Content::Image(media(Source::Base64("AA".to_owned()), "image/png"))),
                Part::new(Content::Document(Document {
                    media: media(Source::Text("body".to_owned()), "text/plain"),
                    title: Some("title".to_owned()),
                    context: None,
                    citations: Some(true),
                })),
            ],
        ),
        Message::new(
            Role::Assistant,
            vec![
                Part::new(Content::Reasoning(ReasoningPart {
                    text: "t".to_owned(),
                    signature: Some("s".to_owned()),
                    redacted: None,
                })),
                Part::text("calling"),
                Part::new(Content::Opaque {
                    kind: "server_tool_use".to_owned(),
                    json: raw("{}"),
                    dialect: Id::AnthropicMessages,
                }),
                Part::new(Content::ToolCall(ToolCall {
                    id: "c1".to_owned(),
                    name: "f".to_owned(),
                    arguments: String::new(),
                })),
            ],
        ),
        Message::new(
            Role::Tool,
            vec![Part::new(Content::ToolResult(ToolResult {
                call_id: "c1".to_owned(),
                parts: vec![
                    Part::text("r"),
                    Part::new(Content::Image(media(Source::Url("https://x/i".to_owned()), ""))),
                ],
                is_error: Some(true),
            }))],
        ),
        Message::new(Role::User, vec![Part::text("go on")]),
    ]);
    request.tools =
        vec![Tool::Opaque { kind: "web_search".to_owned(), json: raw("{}"), dialect: Id::AnthropicMessages }];
    request.sampling.top_k = Some(5);
    request.reasoning = Some(Reasoning::BudgetTokens(10_000));
    check(
        &request,
        concat!(
            r#"{"model":"own","messages":[{"role":"system","content":"be brief"},"#,
            r#"{"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},{"type":"text","text":"title\n\nbody"}]},"#,
            r#"{"role":"assistant","content":"calling","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},"#,
            r#"{"role":"tool","tool_call_id":"c1","content":"r"},"#,
            r#"{"role":"user","content":[{"type":"text","text":"Part of the result of tool call c1:"},{"type":"image_url","image_url":{"url":"https://x/i"}}]},"#,
            r#"{"role":"user","content":"go on"}],"reasoning_effort":"medium"}"#
        ),
        &["messages.thinking", "messages.content.server_tool_use", "messages.is_error", "tools.web_search", "top_k"],
    );
}

#[test]
fn unsigned_thinking_goes_back() {
    let thinking = ReasoningPart { text: "t".to_owned(), ..ReasoningPart::default() };
    let messages = vec![Message::new(Role::Assistant, vec![Part::new(Content::Reasoning(thinking)), Part::text("a")])];
    check(
        &foreign(messages),
        r#"{"model":"own","messages":[{"role":"assistant","content":"a","reasoning_content":"t"}]}"#,
        &[],
    );
}

#[test]
fn quirks_are_honoured() {
    let body = r#"{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"max_tokens":5,"stream":true,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto"}"#;
    let cases = [
        (
            Quirks::default(),
            r#"{"model":"own","messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto","max_completion_tokens":5,"stream":true,"stream_options":{"include_usage":true}}"#,
            vec![],
        ),
        (
            Quirks {
                no_stream_options: true,
                max_tokens_name: true,
                no_developer_role: true,
                no_content_arrays: true,
                no_tools: true,
                ..Quirks::default()
            },
            r#"{"model":"own","messages":[{"role":"system","content":"a\n\nb"}],"max_tokens":5,"stream":true}"#,
            vec!["tools"],
        ),
    ];
    for (quirks, expected, dropped) in cases {
        let encoded = through(body, &quirks).expect("sayable");
        assert_eq!(
            (String::from_utf8_lossy(&encoded.body).as_ref(), encoded.dropped),
            (expected, dropped.into_iter().map(str::to_owned).collect())
        );
    }
}

#[test]
fn what_cannot_be_left_out_is_refused() {
    let no_tools = Quirks { no_tools: true, ..Quirks::default() };
    let no_arrays = Quirks { no_content_arrays: true, ..Quirks::default() };
    let cases = [
        (
            &no_tools,
            r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#,
            "tool_choice",
        ),
        (
            &no_tools,
            r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f"}}]},{"role":"tool","tool_call_id":"c","content":"r"}]}"#,
            "messages[1]",
        ),
        (
            &no_arrays,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}]}"#,
            "messages[0].content[1]",
        ),
        (
            &no_arrays,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"video_url","video_url":{}}]}]}"#,
            "messages[0].content[0]",
        ),
    ];
    for (quirks, body, param) in cases {
        let failure = through(body, quirks).expect_err(body);
        assert_eq!((failure.code, failure.param.as_deref()), (Code::UnsupportedParameter, Some(param)), "{body}");
    }
}
