//! A request made to fit an upstream: what the upstream is declared to lack is replaced by the nearest thing it has, or taken
//! out and named. Comes before the encoding, for every dialect alike.

use std::borrow::Cow;

use gateway_ir::chat::{ChatRequest, Message, Part, ResponseFormat, Role, Tool, ToolChoice};
use gateway_ir::failure::{Code, Failure, Retry};
use gateway_ir::parameters::Parameters;
use gateway_ir::quirks::Quirks;
use serde_json::value::RawValue;

use crate::choices;
use crate::dropped::Dropped;

pub mod answer_tool;

/// A request that an upstream can be told.
#[derive(Debug)]
pub struct Fitted<'a> {
    pub request: Cow<'a, ChatRequest>,
    /// Names of what was taken out.
    pub dropped: Vec<&'static str>,
    /// The answer comes as a call of the answer's tool, and [`answer_tool`] makes text of it again.
    pub by_tool: bool,
}

/// The one refusal of a request in strict mode, with every parameter that `provider/model` cannot be told. Another target may
/// do better.
pub fn refusal(dropped: &[String], provider: &str, model: &str) -> Box<Failure> {
    let names: Vec<String> = dropped.iter().map(|name| format!("`{name}`")).collect();
    let message = format!(
        "`{provider}/{model}` cannot be told {}; leave that out, or ask without strict mode to have it dropped",
        names.join(", ")
    );
    let failure = Failure::new(Code::UnsupportedParameter, message).at(dropped.join(", "));
    Box::new(Failure { retry: Retry::OnlyElsewhere, ..failure })
}

/// Fits `request`. Copies it only if something has to change, and refuses it where the answer would be another one.
pub fn fit<'a>(request: &'a ChatRequest, quirks: &Quirks) -> Result<Fitted<'a>, Box<Failure>> {
    let most_stops = quirks.max_stops.unwrap_or(usize::MAX);
    let has_too_many_stops = request.sampling.stop.len() > most_stops;
    if quirks.lacks.is_empty() && !has_too_many_stops {
        return Ok(Fitted { request: Cow::Borrowed(request), dropped: Vec::new(), by_tool: false });
    }
    let lacking = Parameters::of_request(request).both(quirks.lacks);
    if lacking.is_empty() && !has_too_many_stops {
        return Ok(Fitted { request: Cow::Borrowed(request), dropped: Vec::new(), by_tool: false });
    }
    if lacking.meets(Parameters::N) {
        choices::only_one(request)?;
    }
    let mut request = request.clone();
    let mut dropped = Vec::new();
    sampling(&mut request, lacking, &mut dropped);
    if has_too_many_stops && !lacking.meets(Parameters::STOP) {
        request.sampling.stop.truncate(most_stops);
        dropped.push("stop");
    }
    let asked = lacking.meets(Parameters::JSON_SCHEMA).then(|| answer_tool::ask(&request, quirks)).flatten();
    let by_tool = asked.is_some();
    request = asked.unwrap_or(request);
    let lacking = if by_tool { Parameters::of_request(&request).both(quirks.lacks) } else { lacking };
    tools(&mut request, lacking, &mut dropped);
    format(&mut request, lacking, quirks.lacks, &mut dropped);
    others(&mut request, lacking, &mut dropped);
    Ok(Fitted { request: Cow::Owned(request), dropped, by_tool })
}

fn sampling(request: &mut ChatRequest, lacking: Parameters, dropped: &mut Vec<&'static str>) {
    let sampling = &mut request.sampling;
    let mut lacks = |parameter: Parameters, name: &'static str, is_said: bool| {
        let drops = is_said && lacking.meets(parameter);
        if drops {
            dropped.push(name);
        }
        drops
    };
    if lacks(Parameters::TEMPERATURE, "temperature", true) {
        sampling.temperature = None;
    }
    if lacks(Parameters::TOP_P, "top_p", true) {
        sampling.top_p = None;
    }
    if lacks(Parameters::TOP_K, "top_k", true) {
        sampling.top_k = None;
    }
    if lacks(Parameters::STOP, "stop", true) {
        sampling.stop.clear();
    }
    if lacks(Parameters::SEED, "seed", true) {
        sampling.seed = None;
    }
    if lacks(Parameters::PENALTIES, "presence_penalty", sampling.presence_penalty.is_some()) {
        sampling.presence_penalty = None;
    }
    if lacks(Parameters::PENALTIES, "frequency_penalty", sampling.frequency_penalty.is_some()) {
        sampling.frequency_penalty = None;
    }
    if lacks(Parameters::LOGPROBS, "logprobs", true) {
        sampling.logprobs = None;
        sampling.top_logprobs = None;
    }
}

/// A tool that must be called becomes one that may be; tools that must not be called are not shown.
fn tools(request: &mut ChatRequest, lacking: Parameters, dropped: &mut Vec<&'static str>) {
    if lacking.meets(Parameters::TOOL_CHOICE.with(Parameters::REQUIRED_TOOL_CHOICE)) {
        match request.tool_choice.take() {
            Some(ToolChoice::None) => request.tools.clear(),
            Some(ToolChoice::Required | ToolChoice::Function(_)) => dropped.push("tool_choice"),
            Some(ToolChoice::Auto) | None => {}
        }
    }
    if lacking.meets(Parameters::PARALLEL_TOOL_CALLS) {
        // Where it cannot be asked for it is how the upstream behaves anyway.
        if request.parallel_tool_calls.take() == Some(false) {
            dropped.push("parallel_tool_calls");
        }
    }
    if lacking.meets(Parameters::STRICT_TOOLS) {
        let mut was_strict = false;
        for tool in &mut request.tools {
            if let Tool::Function(function) = tool {
                was_strict |= function.strict.take() == Some(true);
            }
        }
        if was_strict {
            dropped.push("tools.strict");
        }
    }
}

/// A schema that cannot be enforced, and cannot be the answer's tool's either, is asked for in words; any object is a schema that every object keeps to.
fn format(request: &mut ChatRequest, lacking: Parameters, lacks: Parameters, dropped: &mut Vec<&'static str>) {
    if lacking.meets(Parameters::JSON_SCHEMA) {
        if let Some(ResponseFormat::JsonSchema { schema, .. }) = request.response_format.take() {
            ask_in_words(request, schema.as_deref());
        }
        if !lacks.meets(Parameters::JSON_OBJECT) {
            request.response_format = Some(ResponseFormat::JsonObject);
        }
        dropped.push("response_format.json_schema");
    } else if lacking.meets(Parameters::JSON_OBJECT) {
        request.response_format = None;
        if lacks.meets(Parameters::JSON_SCHEMA) {
            ask_in_words(request, None);
            dropped.push("response_format");
        } else {
            let schema = RawValue::from_string(r#"{"type":"object"}"#.to_owned()).ok();
            let name = "response".to_owned();
            request.response_format =
                Some(ResponseFormat::JsonSchema { name, description: None, schema, strict: Some(false) });
        }
    }
}

/// Behind the instructions that open the conversation, so that these stay the beginning of the prompt.
fn ask_in_words(request: &mut ChatRequest, schema: Option<&RawValue>) {
    let words = match schema {
        Some(schema) => {
            format!("Answer with one JSON value and nothing else. It must conform to this JSON Schema: {schema}")
        }
        None => "Answer with one JSON object and nothing else.".to_owned(),
    };
    let is_instruction = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let place = request.messages.iter().take_while(|message| is_instruction(message)).count();
    request.messages.insert(place, Message::new(Role::System, vec![Part::text(words)]));
}

fn others(request: &mut ChatRequest, lacking: Parameters, dropped: &mut Vec<&'static str>) {
    if lacking.meets(Parameters::LOGIT_BIAS) {
        request.extra.remove("logit_bias");
        dropped.push("logit_bias");
    }
    if lacking.meets(Parameters::REASONING_EFFORT) {
        request.reasoning = None;
        for name in ["reasoning", "thinking"] {
            request.extra.remove(name);
        }
        dropped.push("reasoning_effort");
    }
    if lacking.meets(Parameters::USER) {
        request.user = None;
        dropped.push("user");
    }
    if lacking.meets(Parameters::METADATA) {
        request.metadata = None;
        dropped.push("metadata");
    }
}

// === impl Fitted ===

impl Fitted<'_> {
    /// The names of what was taken out, and those that the encoder could not say, each once.
    pub fn with(self, encoded: Vec<String>) -> Vec<String> {
        let mut dropped = Dropped::default();
        self.dropped.into_iter().for_each(|name| dropped.note(name));
        encoded.into_iter().for_each(|name| dropped.note(name));
        dropped.into_names()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::{ClientDialect, Dialect, Upstream};
    use crate::openai_chat::OpenAiChat;

    /// What an upstream with these quirks is sent for these members, and what is named as dropped.
    fn sent(members: Value, quirks: &Quirks) -> (Value, Vec<&'static str>) {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        let object = body.as_object_mut().expect("an object");
        object.extend(members.as_object().expect("members").clone());
        let request = OpenAiChat.decode_request(body.to_string().as_bytes()).expect("a valid request");
        let fitted = fit(&request, quirks).expect("sayable");
        let upstream = Upstream { model: "m", stream: false, quirks };
        let encoded = OpenAiChat.encode_request(&fitted.request, &upstream).expect("sayable");
        assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
        let mut sent: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        let object = sent.as_object_mut().expect("an object");
        object.remove("model");
        if object["messages"] == json!([{"role": "user", "content": "Hi"}]) {
            object.remove("messages");
        }
        (sent, fitted.dropped)
    }

    fn lacks(parameters: Parameters) -> Quirks {
        Quirks { lacks: parameters, ..Quirks::default() }
    }

    /// Quirks, members of the request, what is sent of them, and what is noted.
    type Case = (Quirks, Value, Value, &'static [&'static str]);

    fn check(cases: &[Case]) {
        for (quirks, members, expected, dropped) in cases {
            assert_eq!(sent(members.clone(), quirks), (expected.clone(), dropped.to_vec()), "{members} {quirks:?}");
        }
    }

    #[test]
    fn what_an_upstream_lacks_is_mapped_or_dropped_with_a_note() {
        let sampling = Parameters::TEMPERATURE.with(Parameters::PENALTIES).with(Parameters::SEED);
        check(&[
            (
                lacks(sampling),
                json!({"temperature": 0.5, "presence_penalty": 1, "seed": 7, "top_p": 0.9}),
                json!({"top_p": 0.9}),
                &["temperature", "seed", "presence_penalty"],
            ),
            (
                lacks(sampling),
                json!({"temperature": 1, "presence_penalty": 0, "n": 1}),
                json!({"temperature": 1, "presence_penalty": 0, "n": 1}),
                &[],
            ),
            (lacks(Parameters::LOGPROBS), json!({"logprobs": true, "top_logprobs": 2}), json!({}), &["logprobs"]),
            (lacks(Parameters::LOGIT_BIAS), json!({"logit_bias": {"1": 2}, "x": 1}), json!({"x": 1}), &["logit_bias"]),
            (lacks(Parameters::STOP), json!({"stop": ["a", "b"]}), json!({}), &["stop"]),
            (
                Quirks { max_stops: Some(1), ..Quirks::default() },
                json!({"stop": ["a", "b"]}),
                json!({"stop": ["a"]}),
                &["stop"],
            ),
            (
                Quirks { max_stops: Some(2), ..Quirks::default() },
                json!({"stop": ["a", "b"]}),
                json!({"stop": ["a", "b"]}),
                &[],
            ),
            (lacks(Parameters::REASONING_EFFORT), json!({"reasoning_effort": "low"}), json!({}), &["reasoning_effort"]),
            (
                lacks(Parameters::USER.with(Parameters::METADATA)),
                json!({"user": "u", "metadata": {"a": "b"}}),
                json!({}),
                &["user", "metadata"],
            ),
            (
                Quirks { random_seed_name: true, max_tokens_name: true, ..Quirks::default() },
                json!({"seed": 7, "max_completion_tokens": 5}),
                json!({"random_seed": 7, "max_tokens": 5}),
                &[],
            ),
        ]);
    }

    #[test]
    fn fewer_choices_than_asked_for_are_refused() {
        let asked = |n: u64| {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": n}).to_string();
            let request = OpenAiChat.decode_request(body.as_bytes()).expect("a valid request");
            fit(&request, &lacks(Parameters::N)).map(drop).map_err(|failure| (failure.param.clone(), failure.retry))
        };
        assert_eq!(asked(1), Ok(()));
        assert_eq!(asked(2), Err((Some("n".into()), Retry::OnlyElsewhere)));
    }

    #[test]
    fn tools_are_said_as_far_as_they_can_be() {
        let tools = json!([{"type": "function", "function": {"name": "f", "strict": true}}]);
        let loose = json!([{"type": "function", "function": {"name": "f"}}]);
        check(&[
            (
                lacks(Parameters::TOOL_CHOICE),
                json!({"tools": tools, "tool_choice": "required"}),
                json!({"tools": tools}),
                &["tool_choice"],
            ),
            (lacks(Parameters::TOOL_CHOICE), json!({"tools": tools, "tool_choice": "none"}), json!({}), &[]),
            (
                lacks(Parameters::REQUIRED_TOOL_CHOICE),
                json!({"tools": tools, "tool_choice": "none"}),
                json!({"tools": tools, "tool_choice": "none"}),
                &[],
            ),
            (lacks(Parameters::STRICT_TOOLS), json!({"tools": tools}), json!({"tools": loose}), &["tools.strict"]),
            (
                lacks(Parameters::PARALLEL_TOOL_CALLS),
                json!({"tools": loose, "parallel_tool_calls": false}),
                json!({"tools": loose}),
                &["parallel_tool_calls"],
            ),
            (
                lacks(Parameters::PARALLEL_TOOL_CALLS),
                json!({"tools": loose, "parallel_tool_calls": true}),
                json!({"tools": loose}),
                &[],
            ),
        ]);
    }

    #[test]
    fn a_format_that_an_upstream_lacks_is_asked_for_in_words() {
        let formats = Parameters::JSON_SCHEMA.with(Parameters::JSON_OBJECT);
        let schema = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}});
        let asked =
            "Answer with one JSON value and nothing else. It must conform to this JSON Schema: {\"type\":\"object\"}";
        let asking = json!([{"role": "system", "content": asked}, {"role": "user", "content": "Hi"}]);
        let asking_any = json!([{"role": "system", "content": "Answer with one JSON object and nothing else."},
            {"role": "user", "content": "Hi"}]);
        check(&[
            (
                lacks(Parameters::JSON_SCHEMA.with(Parameters::TOOL_CHOICE)),
                json!({"response_format": schema}),
                json!({"messages": asking, "response_format": {"type": "json_object"}}),
                &["response_format.json_schema"],
            ),
            (
                lacks(formats.with(Parameters::TOOL_CHOICE)),
                json!({"response_format": schema}),
                json!({"messages": asking}),
                &["response_format.json_schema"],
            ),
            (
                lacks(formats),
                json!({"response_format": {"type": "json_object"}}),
                json!({"messages": asking_any}),
                &["response_format"],
            ),
            (
                lacks(Parameters::JSON_OBJECT),
                json!({"response_format": {"type": "json_object"}}),
                json!({"response_format": {"type": "json_schema", "json_schema":
                    {"name": "response", "schema": {"type": "object"}, "strict": false}}}),
                &[],
            ),
        ]);
    }

    #[test]
    fn a_request_that_fits_is_not_copied() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"top_p":0.5}"#;
        let request = OpenAiChat.decode_request(body).expect("a valid request");
        for quirks in [Quirks::default(), lacks(Parameters::SEED)] {
            let fitted = fit(&request, &quirks).expect("sayable");
            assert!(matches!(fitted.request, Cow::Borrowed(_)), "{quirks:?}");
        }
    }
}
