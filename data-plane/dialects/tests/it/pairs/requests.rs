//! Requests whose upstream speaks the client's own dialect: read and written again, they ask for the same, member for member.

use gateway_dialects::dialect::Upstream;
use gateway_dialects::registry;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::quirks::Quirks;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A conversation in order: turns alternate, every call has its result.
#[derive(Clone, Debug)]
struct Asked {
    system: Option<String>,
    turns: Vec<Turn>,
    last: String,
    /// A tool is declared; the calls are of it.
    choice: Option<&'static str>,
    temperature: Option<u8>,
    max_tokens: u32,
    user: Option<String>,
}

/// What the user says, a picture beside it, and what the model answers and calls.
#[derive(Clone, Debug)]
struct Turn {
    text: String,
    image: bool,
    answer: String,
    /// Arguments and result of each call.
    calls: Vec<(String, String)>,
}

const IMAGE: &str = "aGk=";

fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\n\u{2028}é漢🦀{}:]{1,9}x"
}

prop_compose! {
    fn turns()(text in text(), image in any::<bool>(), answer in text(), calls in prop::collection::vec((text(), text()), 0..3)) -> Turn {
        let calls = calls.into_iter().map(|(argument, result)| (json!({"a": argument}).to_string(), result)).collect();
        Turn { text, image, answer, calls }
    }
}

prop_compose! {
    fn questions()(
        system in prop::option::of(text()), turns in prop::collection::vec(turns(), 0..4), last in text(),
        choice in prop::option::of(prop::sample::select(vec!["auto", "none", "required"])),
        temperature in prop::option::of(0..=10_u8), max_tokens in 1..9999_u32, user in prop::option::of(text()),
    ) -> Asked {
        Asked { system, turns, last, choice, temperature, max_tokens, user }
    }
}

/// In the words of a dialect that clients speak, in the form in which we write it.
fn body(id: Id, asked: &Asked) -> Option<Value> {
    match id {
        Id::OpenAiChat => Some(chat(asked)),
        Id::OpenAiCompletions => Some(completions(asked)),
        Id::OpenAiResponses => Some(responses(asked)),
        Id::AnthropicMessages => Some(anthropic(asked)),
        Id::GeminiGenerate => Some(gemini(asked)),
        Id::CohereV2 | Id::OllamaChat | Id::BedrockConverse => None,
    }
}

fn temperature(asked: &Asked, body: &mut Map<String, Value>) {
    if let Some(tenths) = asked.temperature {
        body.insert("temperature".to_owned(), json!(f64::from(tenths) / 10.0));
    }
}

fn call_id(turn: usize, call: usize) -> String {
    format!("call_{turn}_{call}")
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string"}}})
}

fn chat(asked: &Asked) -> Value {
    let mut messages = Vec::new();
    messages.extend(asked.system.as_ref().map(|text| json!({"role": "system", "content": text})));
    for (at, turn) in asked.turns.iter().enumerate() {
        let url = format!("data:image/png;base64,{IMAGE}");
        messages.push(match turn.image {
            true => json!({"role": "user", "content": [{"type": "text", "text": turn.text},
                {"type": "image_url", "image_url": {"url": url}}]}),
            false => json!({"role": "user", "content": turn.text}),
        });
        let mut answer = json!({"role": "assistant", "content": turn.answer});
        let calls: Vec<Value> = turn.calls.iter().enumerate().map(|(n, (arguments, _))| {
            json!({"id": call_id(at, n), "type": "function", "function": {"name": "f", "arguments": arguments}})
        }).collect();
        if !calls.is_empty() {
            answer["tool_calls"] = calls.into();
        }
        messages.push(answer);
        messages.extend(
            turn.calls
                .iter()
                .enumerate()
                .map(|(n, (_, result))| json!({"role": "tool", "tool_call_id": call_id(at, n), "content": result})),
        );
    }
    messages.push(json!({"role": "user", "content": asked.last}));
    let mut body = json!({"model": "own", "messages": messages, "max_completion_tokens": asked.max_tokens});
    let members = body.as_object_mut().expect("an object");
    temperature(asked, members);
    members.extend(asked.user.as_ref().map(|user| ("user".to_owned(), json!(user))));
    members.insert("tools".to_owned(), json!([{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema(), "strict": true}}]));
    members.extend(asked.choice.map(|choice| ("tool_choice".to_owned(), json!(choice))));
    body
}

fn completions(asked: &Asked) -> Value {
    let mut body = json!({"model": "own", "prompt": asked.last, "max_tokens": asked.max_tokens});
    let members = body.as_object_mut().expect("an object");
    temperature(asked, members);
    members.extend(asked.user.as_ref().map(|user| ("user".to_owned(), json!(user))));
    body
}

fn responses(asked: &Asked) -> Value {
    let said = |role: &str, parts: Value| json!({"type": "message", "role": role, "content": parts});
    let input = |text: &str| json!([{"type": "input_text", "text": text}]);
    let mut items = Vec::new();
    items.extend(asked.system.as_ref().map(|text| said("system", input(text))));
    for (at, turn) in asked.turns.iter().enumerate() {
        let mut parts = input(&turn.text);
        if turn.image {
            let url = format!("data:image/png;base64,{IMAGE}");
            parts
                .as_array_mut()
                .expect("parts")
                .push(json!({"type": "input_image", "image_url": url, "detail": "auto"}));
        }
        items.push(said("user", parts));
        items.push(said("assistant", json!([{"type": "output_text", "text": turn.answer}])));
        items.extend(turn.calls.iter().enumerate().map(|(n, (arguments, _))| {
            json!({"type": "function_call", "call_id": call_id(at, n), "name": "f", "arguments": arguments})
        }));
        items.extend(turn.calls.iter().enumerate().map(
            |(n, (_, result))| json!({"type": "function_call_output", "call_id": call_id(at, n), "output": result}),
        ));
    }
    items.push(said("user", input(&asked.last)));
    let tool = json!({"type": "function", "name": "f", "description": "d", "parameters": schema(), "strict": true});
    let mut body =
        json!({"model": "own", "input": items, "tools": [tool], "max_output_tokens": asked.max_tokens, "store": false});
    let members = body.as_object_mut().expect("an object");
    temperature(asked, members);
    members.extend(asked.user.as_ref().map(|user| ("user".to_owned(), json!(user))));
    members.extend(asked.choice.map(|choice| ("tool_choice".to_owned(), json!(choice))));
    body
}

fn anthropic(asked: &Asked) -> Value {
    let mut messages = Vec::new();
    let mut open: Vec<Value> = Vec::new();
    for (at, turn) in asked.turns.iter().enumerate() {
        let mut blocks = std::mem::take(&mut open);
        blocks.push(json!({"type": "text", "text": turn.text}));
        if turn.image {
            blocks
                .push(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}));
        }
        messages.push(json!({"role": "user", "content": blocks}));
        let mut blocks = vec![json!({"type": "text", "text": turn.answer})];
        for (n, (arguments, result)) in turn.calls.iter().enumerate() {
            let input: Value = serde_json::from_str(arguments).expect("an object");
            blocks.push(json!({"type": "tool_use", "id": call_id(at, n), "name": "f", "input": input}));
            open.push(json!({"type": "tool_result", "tool_use_id": call_id(at, n), "content": result}));
        }
        messages.push(json!({"role": "assistant", "content": blocks}));
    }
    open.push(json!({"type": "text", "text": asked.last}));
    messages.push(json!({"role": "user", "content": open}));
    let tool = json!({"name": "f", "description": "d", "input_schema": schema(), "strict": true});
    let mut body = json!({"model": "own", "messages": messages, "max_tokens": asked.max_tokens, "tools": [tool]});
    let members = body.as_object_mut().expect("an object");
    temperature(asked, members);
    members.extend(asked.system.as_ref().map(|text| ("system".to_owned(), json!([{"type": "text", "text": text}]))));
    members.extend(asked.user.as_ref().map(|user| ("metadata".to_owned(), json!({"user_id": user}))));
    let word = |choice| if choice == "required" { "any" } else { choice };
    members.extend(asked.choice.map(|choice| ("tool_choice".to_owned(), json!({"type": word(choice)}))));
    body
}

fn gemini(asked: &Asked) -> Value {
    let mut contents = Vec::new();
    let mut open: Vec<Value> = Vec::new();
    for turn in &asked.turns {
        let mut parts = std::mem::take(&mut open);
        parts.push(json!({"text": turn.text}));
        if turn.image {
            parts.push(json!({"inlineData": {"mimeType": "image/png", "data": IMAGE}}));
        }
        contents.push(json!({"role": "user", "parts": parts}));
        let mut parts = vec![json!({"text": turn.answer})];
        for (arguments, result) in &turn.calls {
            let args: Value = serde_json::from_str(arguments).expect("an object");
            parts.push(json!({"functionCall": {"name": "f", "args": args}}));
            open.push(json!({"functionResponse": {"name": "f", "response": {"output": result}}}));
        }
        contents.push(json!({"role": "model", "parts": parts}));
    }
    open.push(json!({"text": asked.last}));
    contents.push(json!({"role": "user", "parts": open}));
    let tool = json!({"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": schema()}]});
    let mut config = json!({"maxOutputTokens": asked.max_tokens});
    temperature(asked, config.as_object_mut().expect("an object"));
    let mut body = json!({"contents": contents, "tools": [tool], "generationConfig": config});
    let members = body.as_object_mut().expect("an object");
    let system = |text| json!({"parts": [{"text": text}]});
    members.extend(asked.system.as_ref().map(|text| ("systemInstruction".to_owned(), system(text))));
    let word = |choice: &str| if choice == "required" { "ANY".to_owned() } else { choice.to_ascii_uppercase() };
    let choice = |choice| json!({"functionCallingConfig": {"mode": word(choice)}});
    members.extend(asked.choice.map(|said| ("toolConfig".to_owned(), choice(said))));
    body
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_read_and_written_again_is_the_same(asked in questions()) {
        for client in super::clients() {
            let body = body(client.id(), &asked).expect("a dialect of clients has its writer here");
            let request = client.decode_request(body.to_string().as_bytes()).expect("a request of this dialect");
            let quirks = Quirks::default();
            let upstream = Upstream { model: "own", stream: false, quirks: &quirks };
            let encoded = registry::dialect(client.id()).encode_request(&request, &upstream).expect("sayable");
            let again: Value = serde_json::from_slice(&encoded.body).expect("JSON");
            prop_assert_eq!(&again, &body, "{}", client.id());
            prop_assert_eq!(encoded.dropped, Vec::<String>::new());
        }
    }
}
