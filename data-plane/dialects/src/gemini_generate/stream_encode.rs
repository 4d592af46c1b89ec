//! Events → chunks for a client: one response per event, and a last one with why each candidate stopped and the usage.
//!
//! A call is told when its arguments are whole, because Google's field holds an object.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::json;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::{candidate::META, error, response, signature};
use crate::dialect::{ReplyContext, StreamEncoder};
use crate::writer::{Array, Object, object, one_line};

/// Bytes of arguments that may wait to be whole, over all open calls.
const MAX_WAITING: usize = 4 << 20;

/// Encoder of one stream.
pub(super) struct Encoder {
    id: String,
    model: String,
    candidates: Vec<Candidate>,
    usage: Option<Usage>,
    /// Beside the candidates, for the last chunk.
    metas: Vec<(String, Box<RawValue>)>,
    n_waiting: usize,
    closed: bool,
}

#[derive(Default)]
struct Candidate {
    index: u32,
    calls: VecDeque<Call>,
    logprobs: Vec<Box<RawValue>>,
    finish: Option<FinishReason>,
    /// A call whose arguments are no object.
    malformed: Option<String>,
}

struct Call {
    call: u32,
    id: String,
    name: String,
    arguments: String,
}

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(context: &ReplyContext) -> Self {
        Self {
            id: context.request_id.clone(),
            model: context.model.clone(),
            candidates: Vec::new(),
            usage: None,
            metas: Vec::new(),
            n_waiting: 0,
            closed: false,
        }
    }

    fn candidate(&mut self, index: u32) -> &mut Candidate {
        let at = self.candidates.iter().position(|candidate| candidate.index == index);
        let at = at.unwrap_or_else(|| {
            self.candidates.push(Candidate { index, ..Candidate::default() });
            self.candidates.len() - 1
        });
        &mut self.candidates[at]
    }

    /// One chunk with parts of one candidate, and what waits to stand beside them.
    fn chunk(&mut self, index: u32, out: &mut BytesMut, parts: impl FnOnce(&mut Array<'_>)) {
        let logprobs = std::mem::take(&mut self.candidate(index).logprobs);
        self.write(index, out, |candidate| {
            write_content(candidate, parts);
            response::write_logprobs(&logprobs, candidate);
        });
    }

    fn write(&self, index: u32, out: &mut BytesMut, members: impl FnOnce(&mut Object<'_>)) {
        out.put_slice(b"data: ");
        let from = out.len();
        object(out, |body| {
            body.array("candidates", |candidates| {
                candidates.object(|candidate| {
                    members(candidate);
                    candidate.unsigned("index", index.into());
                });
            });
            response::write_rest(None, &self.model, &self.id, body);
        });
        one_line(&mut out[from..]);
        out.put_slice(b"\r\n\r\n");
    }

    /// Tells the calls of a candidate that are whole, in their order; all of them where the candidate is `over`.
    fn tell_calls(&mut self, index: u32, over: bool, out: &mut BytesMut) {
        while let Some(call) = self.candidate(index).next_call(over) {
            self.n_waiting -= call.arguments.len();
            match response::arguments(&call.arguments) {
                Some(arguments) => {
                    self.chunk(index, out, |parts| response::write_call(&call.id, &call.name, arguments, parts));
                }
                None => self.candidate(index).malformed = Some(call.name),
            }
        }
    }

    fn arguments(&mut self, choice: u32, call: u32, piece: &str, out: &mut BytesMut) {
        let open = self.candidate(choice).calls.iter_mut().find(|open| open.call == call);
        let Some(open) = open else { return };
        open.arguments.push_str(piece);
        self.n_waiting += piece.len();
        if self.n_waiting > MAX_WAITING {
            let message = "a tool call of the upstream is larger than any should be";
            self.fail(&Failure::new(Code::UpstreamGarbage, message), out);
        }
    }

    fn last(&self, out: &mut BytesMut) {
        out.put_slice(b"data: ");
        let from = out.len();
        object(out, |body| {
            if !self.candidates.is_empty() {
                body.array("candidates", |candidates| {
                    for one in &self.candidates {
                        candidates.object(|candidate| {
                            write_content(candidate, |parts| response::write_text("", parts));
                            response::write_finish(one.finish.as_ref(), one.malformed.as_deref(), candidate);
                            response::write_logprobs(&one.logprobs, candidate);
                            candidate.unsigned("index", one.index.into());
                        });
                    }
                });
            }
            self.metas.iter().for_each(|(name, json)| body.raw(name, json.get()));
            response::write_rest(self.usage.as_ref(), &self.model, &self.id, body);
        });
        one_line(&mut out[from..]);
        out.put_slice(b"\r\n\r\n");
    }
}

/// Clients take a candidate without parts for a broken one.
fn write_content(candidate: &mut Object<'_>, parts: impl FnOnce(&mut Array<'_>)) {
    candidate.object("content", |content| {
        content.array("parts", parts);
        content.string("role", "model");
    });
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        match event {
            // The id of a stream never changes, whatever comes later.
            Event::Start { id, model, .. } if self.candidates.is_empty() => {
                for (own, said) in [(&mut self.id, id), (&mut self.model, model)] {
                    if !said.is_empty() {
                        own.clone_from(said);
                    }
                }
            }
            Event::Text { choice, text } | Event::Refusal { choice, text } if !text.is_empty() => {
                self.tell_calls(*choice, false, out);
                self.chunk(*choice, out, |parts| response::write_text(text, parts));
            }
            Event::Reasoning { choice, text } if !text.is_empty() => {
                self.tell_calls(*choice, false, out);
                self.chunk(*choice, out, |parts| response::write_thought(text, None, parts));
            }
            Event::ReasoningSignature { choice, signature: of_another } => {
                let signature = signature::foreign(of_another);
                self.chunk(*choice, out, |parts| response::write_thought("", Some(&signature), parts));
            }
            Event::RedactedReasoning { choice, data } => {
                let signature = signature::redacted(data);
                self.chunk(*choice, out, |parts| response::write_thought("", Some(&signature), parts));
            }
            Event::ToolCallStart { choice, call, id, name } => {
                self.tell_calls(*choice, false, out);
                let open = Call { call: *call, id: id.clone(), name: name.clone(), arguments: String::new() };
                self.candidate(*choice).calls.push_back(open);
            }
            Event::ToolCallArguments { choice, call, json } => self.arguments(*choice, *call, json, out),
            Event::Citation { choice, json, .. } => self.write(*choice, out, |candidate| {
                write_content(candidate, |parts| response::write_text("", parts));
                response::write_citations(std::iter::once(json.as_ref()), candidate);
            }),
            Event::Logprobs { choice, json } => self.candidate(*choice).logprobs.push(json.clone()),
            Event::Opaque { choice, json, dialect: Dialect::GeminiGenerate, .. } => {
                self.chunk(*choice, out, |parts| parts.raw(json.get()));
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish { choice, reason, .. } => {
                self.tell_calls(*choice, true, out);
                self.candidate(*choice).finish = Some(reason.clone());
            }
            Event::Meta { name, json } => {
                if let Some(name) = name.strip_prefix(META) {
                    self.metas.retain(|(known, _)| known != name);
                    self.metas.push((name.to_owned(), json.clone()));
                }
            }
            Event::Error(failure) => self.fail(failure, out),
            // Other vendors' blocks have no words here.
            _ => {}
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        if self.candidates.is_empty() && self.metas.is_empty() {
            self.candidate(0);
        }
        for index in self.candidates.iter().map(|candidate| candidate.index).collect::<Vec<_>>() {
            self.tell_calls(index, true, out);
        }
        self.last(out);
        self.closed = true;
    }

    /// Google's clients read nothing but data; what follows names another model.
    fn goes_on(&mut self, by: &str, _: &mut BytesMut) {
        by.clone_into(&mut self.model);
    }

    fn fail(&mut self, failure: &Failure, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.closed, true) {
            error::event(failure, out);
        }
    }
}

// === impl Candidate ===

impl Candidate {
    /// The next call to tell. While more may come, a call is whole when its arguments are; some upstreams begin several calls
    /// before they say the arguments of the first.
    fn next_call(&mut self, over: bool) -> Option<Call> {
        let first = self.calls.front()?;
        let is_whole = over || json::scan_object(first.arguments.trim().as_bytes(), |_| ()).is_ok();
        if is_whole { self.calls.pop_front() } else { None }
    }
}
