//! An answer held to a schema, from an upstream that knows schemas only for the arguments of tools: the answer is asked for as
//! the call of one more tool, and told to the client as the text that it would have been.

use gateway_ir::chat::{ChatRequest, Function, ResponseFormat, Tool, ToolChoice};
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::Failure;
use gateway_ir::parameters::Parameters;
use gateway_ir::quirks::Quirks;
use serde_json::Value;

use crate::dialect::StreamDecoder;

/// No client would call a tool of its own so.
const NAME: &str = "answer_in_json";

/// The request with the answer's tool in place of its format. `None` where that would not be the same: the schema is no
/// object's, or the target cannot be made to call.
pub(super) fn ask(request: &ChatRequest, quirks: &Quirks) -> Option<ChatRequest> {
    let Some(ResponseFormat::JsonSchema { description, schema: Some(schema), .. }) = &request.response_format else {
        return None;
    };
    let is_object = serde_json::from_str::<Value>(schema.get()).ok()?.get("type")? == "object";
    let is_taken = request.tools.iter().any(|tool| matches!(tool, Tool::Function(known) if known.name == NAME));
    let choice = choice(request, quirks.lacks)?;
    if !is_object || is_taken || quirks.no_tools {
        return None;
    }
    let told = "Gives the whole answer; call it once, instead of answering in words.";
    let function = Function {
        name: NAME.to_owned(),
        description: Some(description.as_ref().map_or_else(|| told.to_owned(), |more| format!("{told} {more}"))),
        parameters: Some(schema.clone()),
        strict: None,
        cache: None,
        extra: Default::default(),
    };
    let mut asked = request.clone();
    asked.response_format = None;
    asked.tools.push(Tool::Function(function));
    asked.tool_choice = Some(choice);
    Some(asked)
}

/// By its name where no other may be called; else that something must be called.
fn choice(request: &ChatRequest, lacks: Parameters) -> Option<ToolChoice> {
    let may_name = !lacks.meets(Parameters::TOOL_CHOICE);
    let may_require = may_name && !lacks.meets(Parameters::REQUIRED_TOOL_CHOICE);
    match request.tool_choice {
        None | Some(ToolChoice::Auto) if !request.tools.is_empty() => may_require.then_some(ToolChoice::Required),
        None | Some(ToolChoice::Auto | ToolChoice::None) => may_name.then(|| ToolChoice::Function(NAME.to_owned())),
        // A call of the client's own was demanded, so that there will be no answer to hold to anything.
        Some(ToolChoice::Required | ToolChoice::Function(_)) => None,
    }
}

/// Events of a reply in which the answer is a call → events in which it is text.
#[derive(Debug, Default)]
pub struct Unwrapping {
    /// One per choice that says anything about calls.
    choices: Vec<Choice>,
}

#[derive(Debug)]
struct Choice {
    number: u32,
    /// The call that is the answer.
    answer: Option<u32>,
    has_text: bool,
    n_other_calls: u32,
}

/// A decoder whose answers come as calls.
pub struct UnwrappingDecoder {
    inner: Box<dyn StreamDecoder>,
    unwrapping: Unwrapping,
    events: Vec<Event>,
}

// === impl Unwrapping ===

impl Unwrapping {
    /// Appends what `event` is for the client; few events are none.
    pub fn push(&mut self, event: Event, events: &mut Vec<Event>) {
        match event {
            Event::ToolCallStart { choice, call, name, .. } if name == NAME => {
                let choice = self.choice(choice);
                choice.answer = choice.answer.or(Some(call));
            }
            Event::ToolCallStart { choice, call, id, name } => {
                let call = self.choice(choice).other(call, true);
                events.push(Event::ToolCallStart { choice, call, id, name });
            }
            Event::ToolCallArguments { choice: number, call, json } => {
                let choice = self.choice(number);
                if choice.answer == Some(call) {
                    choice.has_text |= !json.is_empty();
                    events.push(Event::Text { choice: number, text: json });
                } else {
                    let call = choice.other(call, false);
                    events.push(Event::ToolCallArguments { choice: number, call, json });
                }
            }
            Event::Finish { choice: number, reason, stop_sequence } => {
                let choice = self.choice(number);
                let is_answered = choice.answer.is_some();
                if is_answered && !choice.has_text {
                    // A call without arguments has none to give: the empty object.
                    events.push(Event::Text { choice: number, text: "{}".to_owned() });
                }
                let reason = match reason {
                    FinishReason::ToolCalls if is_answered && choice.n_other_calls == 0 => FinishReason::Stop,
                    reason => reason,
                };
                events.push(Event::Finish { choice: number, reason, stop_sequence });
            }
            other => events.push(other),
        }
    }

    /// A whole reply's.
    pub fn all(events: Vec<Event>) -> Vec<Event> {
        let (mut unwrapping, mut told) = (Self::default(), Vec::with_capacity(events.len()));
        events.into_iter().for_each(|event| unwrapping.push(event, &mut told));
        told
    }

    fn choice(&mut self, number: u32) -> &mut Choice {
        let at = self.choices.iter().position(|choice| choice.number == number).unwrap_or_else(|| {
            self.choices.push(Choice { number, answer: None, has_text: false, n_other_calls: 0 });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }
}

// === impl Choice ===

impl Choice {
    /// The place of another call where the answer is not counted.
    fn other(&mut self, call: u32, begins: bool) -> u32 {
        self.n_other_calls += u32::from(begins);
        call - u32::from(self.answer.is_some_and(|answer| answer < call))
    }
}

// === impl UnwrappingDecoder ===

impl UnwrappingDecoder {
    pub fn new(inner: Box<dyn StreamDecoder>) -> Self {
        Self { inner, unwrapping: Unwrapping::default(), events: Vec::new() }
    }

    fn hand_over(&mut self, events: &mut Vec<Event>) {
        self.events.drain(..).for_each(|event| self.unwrapping.push(event, events));
    }
}

impl StreamDecoder for UnwrappingDecoder {
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let pushed = self.inner.push(chunk, &mut self.events);
        self.hand_over(events);
        pushed
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let finished = self.inner.finish(&mut self.events);
        self.hand_over(events);
        finished
    }
}

#[cfg(test)]
mod tests {
    use gateway_ir::fold::{Block, Reply, fold};
    use serde_json::json;

    use super::*;
    use crate::dialect::{ClientDialect, Dialect, Upstream};
    use crate::fitting::fit;
    use crate::openai_chat::OpenAiChat;

    /// What goes to an upstream without schemas, and what was left out of it.
    fn sent(members: &Value, lacks: Parameters) -> (Value, bool, Vec<&'static str>) {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().expect("an object").extend(members.as_object().expect("members").clone());
        let request = OpenAiChat.decode_request(body.to_string().as_bytes()).expect("a valid request");
        let quirks = Quirks { lacks: lacks.with(Parameters::JSON_SCHEMA), ..Quirks::default() };
        let fitted = fit(&request, &quirks).expect("sayable");
        let upstream = Upstream { model: "m", stream: false, quirks: &quirks };
        let encoded = OpenAiChat.encode_request(&fitted.request, &upstream).expect("sayable");
        (serde_json::from_slice(&encoded.body).expect("JSON"), fitted.by_tool, fitted.dropped)
    }

    fn format(schema: &Value) -> Value {
        json!({"type": "json_schema", "json_schema": {"name": "r", "schema": schema}})
    }

    #[test]
    fn a_schema_is_the_answers_tools() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        let own = json!([{"type": "function", "function": {"name": "f"}}]);
        let only = json!({"type": "function", "function": {"name": NAME}});
        let cases = [
            (json!({}), Parameters::NONE, Some(only.clone())),
            (json!({}), Parameters::REQUIRED_TOOL_CHOICE, Some(only)),
            (json!({}), Parameters::TOOL_CHOICE, None),
            (json!({"tools": own}), Parameters::NONE, Some(json!("required"))),
            (json!({"tools": own}), Parameters::REQUIRED_TOOL_CHOICE, None),
            (json!({"tools": own, "tool_choice": "required"}), Parameters::NONE, None),
        ];
        for (mut members, lacks, choice) in cases {
            members["response_format"] = format(&schema);
            let (body, by_tool, dropped) = sent(&members, lacks);
            assert_eq!((by_tool, dropped.is_empty()), (choice.is_some(), choice.is_some()), "{members}");
            if let Some(choice) = choice {
                let tool = body["tools"].as_array().and_then(|tools| tools.last()).expect("the answer's tool");
                assert_eq!((&tool["function"]["parameters"], &body["tool_choice"]), (&schema, &choice), "{members}");
                assert_eq!(body.get("response_format"), None);
            }
        }
        // Arguments are objects.
        let (_, by_tool, dropped) =
            sent(&json!({"response_format": format(&json!({"type": "array"}))}), Parameters::NONE);
        assert_eq!((by_tool, dropped), (false, vec!["response_format.json_schema"]));
    }

    fn summary(reply: &Reply) -> (String, Vec<(u32, &str)>, Option<&FinishReason>) {
        let choice = &reply.choices[0];
        let mut text = String::new();
        let mut calls = Vec::new();
        for block in &choice.blocks {
            match block {
                Block::Text { text: more, .. } => text.push_str(more),
                Block::ToolCall { call, name, .. } => calls.push((*call, name.as_str())),
                _ => {}
            }
        }
        (text, calls, choice.finish.as_ref())
    }

    #[test]
    fn the_answer_is_text_again() {
        let call = |call: u32, name: &str, arguments: &str| {
            let (id, name) = (format!("c{call}"), name.to_owned());
            [
                Event::ToolCallStart { choice: 0, call, id, name },
                Event::ToolCallArguments { choice: 0, call, json: arguments.to_owned() },
            ]
        };
        let cases = [
            ([call(0, NAME, r#"{"a":1}"#)].concat(), r#"{"a":1}"#, vec![], FinishReason::Stop),
            ([call(0, NAME, "")].concat(), "{}", vec![], FinishReason::Stop),
            ([call(0, NAME, "{}"), call(1, "f", "{}")].concat(), "{}", vec![(0, "f")], FinishReason::ToolCalls),
            ([call(0, "f", "{}"), call(1, NAME, "{}")].concat(), "{}", vec![(0, "f")], FinishReason::ToolCalls),
            ([call(0, "f", "{}")].concat(), "", vec![(0, "f")], FinishReason::ToolCalls),
        ];
        for (mut events, text, calls, finish) in cases {
            events.insert(0, Event::Start { id: String::new(), model: String::new(), created: None });
            events.push(Event::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None });
            let reply = fold(Unwrapping::all(events));
            assert_eq!(summary(&reply), (text.to_owned(), calls, Some(&finish)), "{reply:?}");
        }
    }
}
