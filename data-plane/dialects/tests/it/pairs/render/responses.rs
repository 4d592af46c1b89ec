//! OpenAI's Responses events.

use serde_json::{Value, json};

use super::{Sse, in_turns, texts};
use crate::pairs::plan::{Call, Piece, Plan, Shape, Word};

pub(super) fn stream(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut events = Events { sse: Sse::new(shape), number: 0, items: Vec::new() };
    let head = |status: &str, output: &[Value]| json!({"id": "resp_1", "object": "response", "created_at": 5, "model": "m1", "status": status, "output": output});
    events.tell("response.created", json!({"response": head("in_progress", &[])}));
    events.tell("response.in_progress", json!({"response": head("in_progress", &[])}));
    for piece in &plan.pieces {
        match piece {
            Piece::Text(_) => events.message(piece, "output_text", "text"),
            Piece::Refusal(_) => events.message(piece, "refusal", "refusal"),
            Piece::Thought(_) => events.thought(piece),
            Piece::Calls(calls) => events.calls(calls, shape),
        }
    }
    let (name, reason) = match plan.finish {
        Word::Stop | Word::Calls => ("completed", None),
        Word::Length => ("incomplete", Some("max_output_tokens")),
        Word::Filtered => ("incomplete", Some("content_filter")),
    };
    // Some servers leave out of the end what they have streamed.
    let output = if shape.chatty { Vec::new() } else { events.items.clone() };
    let mut response = head(name, &output);
    let usage = &plan.usage;
    response["usage"] = json!({"input_tokens": usage.prompt(), "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total()});
    if let Some(reason) = reason {
        response["incomplete_details"] = json!({"reason": reason});
    }
    events.tell(&format!("response.{name}"), json!({"response": response}));
    events.sse.into_bytes()
}

struct Events<'s> {
    sse: Sse<'s>,
    number: u64,
    items: Vec<Value>,
}

// === impl Events ===

impl Events<'_> {
    fn tell(&mut self, kind: &str, mut event: Value) {
        event["type"] = kind.into();
        event["sequence_number"] = self.number.into();
        self.number += 1;
        self.sse.named(&event);
    }

    fn message(&mut self, piece: &Piece, kind: &str, member: &str) {
        let at = self.items.len();
        let id = format!("msg_{at}");
        let item = |status: &str, content: Value| json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content});
        let place = json!({"item_id": id, "output_index": at, "content_index": 0});
        let with = |name: &str, value: Value| {
            let mut event = place.clone();
            event[name] = value;
            event
        };
        let part = |text: &str| json!({"type": kind, member: text, "annotations": []});
        let whole = texts(piece).concat();
        self.tell("response.output_item.added", json!({"output_index": at, "item": item("in_progress", json!([]))}));
        self.tell("response.content_part.added", with("part", part("")));
        for text in texts(piece) {
            self.tell(&format!("response.{kind}.delta"), with("delta", text.as_str().into()));
        }
        self.tell(&format!("response.{kind}.done"), with(member, whole.as_str().into()));
        self.tell("response.content_part.done", with("part", part(&whole)));
        self.done(item("completed", json!([part(&whole)])), at);
    }

    fn thought(&mut self, piece: &Piece) {
        let at = self.items.len();
        let id = format!("rs_{at}");
        let place = json!({"item_id": id, "output_index": at, "summary_index": 0});
        let with = |name: &str, value: Value| {
            let mut event = place.clone();
            event[name] = value;
            event
        };
        let part = |text: &str| json!({"type": "summary_text", "text": text});
        let whole = texts(piece).concat();
        let item = json!({"type": "reasoning", "id": id, "summary": []});
        self.tell("response.output_item.added", json!({"output_index": at, "item": item}));
        self.tell("response.reasoning_summary_part.added", with("part", part("")));
        for text in texts(piece) {
            self.tell("response.reasoning_summary_text.delta", with("delta", text.as_str().into()));
        }
        self.tell("response.reasoning_summary_text.done", with("text", whole.as_str().into()));
        self.tell("response.reasoning_summary_part.done", with("part", part(&whole)));
        self.done(json!({"type": "reasoning", "id": id, "summary": [part(&whole)]}), at);
    }

    fn calls(&mut self, calls: &[Call], shape: &Shape) {
        let first = self.items.len();
        let item = |at: usize, status: &str, arguments: &str| {
            json!({"type": "function_call", "id": format!("fc_{}", first + at), "call_id": calls[at].id, "name": calls[at].name,
                "status": status, "arguments": arguments})
        };
        for (at, begins, arguments) in in_turns(calls, shape) {
            if begins {
                let added = json!({"output_index": first + at, "item": item(at, "in_progress", "")});
                self.tell("response.output_item.added", added);
            } else {
                let place =
                    json!({"item_id": format!("fc_{}", first + at), "output_index": first + at, "delta": arguments});
                self.tell("response.function_call_arguments.delta", place);
            }
        }
        for (at, call) in calls.iter().enumerate() {
            let whole = call.arguments.concat();
            let place =
                json!({"item_id": format!("fc_{}", first + at), "output_index": first + at, "arguments": whole});
            self.tell("response.function_call_arguments.done", place);
            self.done(item(at, "completed", &whole), first + at);
        }
    }

    fn done(&mut self, item: Value, at: usize) {
        self.tell("response.output_item.done", json!({"output_index": at, "item": item}));
        self.items.push(item);
    }
}
