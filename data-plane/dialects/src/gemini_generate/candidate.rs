//! Reads one `GenerateContentResponse`, a whole reply or a chunk of a stream, into events. The same code for both, so that they
//! cannot disagree.

use gateway_ir::dialect::Dialect;
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::partial::Arguments;
use super::{finish, logprobs, usage};
use crate::call_id::call_id;
use crate::reading::{elements, garbage, members, members_of, text, unsigned};
use crate::{refused, signed_id};

/// More candidates, and more calls in one, than any reply has.
const MAX_CANDIDATES: usize = 64;
const MAX_CALLS: u32 = 1024;
/// Side details that only a client of the same dialect sees again.
pub(super) const META: &str = "gemini.";

/// What has been read of one reply so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    id: String,
    started: bool,
    failed: bool,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Default)]
struct Candidate {
    index: u32,
    n_calls: u32,
    /// A call whose arguments come in pieces.
    open: Option<Open>,
    /// Why it stopped, as said last: more may follow a first `STOP` where Google runs tools of its own.
    reason: Option<FinishReason>,
}

#[derive(Debug)]
struct Open {
    call: u32,
    arguments: Arguments,
}

/// The members of one part of a candidate's content.
#[derive(Default)]
struct Part<'a> {
    text: Option<&'a RawValue>,
    is_thought: bool,
    signature: Option<String>,
    call: Option<&'a RawValue>,
    other: Option<String>,
}

// === impl Reader ===

impl Reader {
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The upstream has said all. Tells why each candidate stopped; false where one did not say, so that the reply is cut.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) -> bool {
        if self.failed || self.candidates.is_empty() || self.candidates.iter().any(|one| one.reason.is_none()) {
            return false;
        }
        for candidate in &mut self.candidates {
            candidate.close(events);
            let said = candidate.reason.take();
            let reason = match said {
                // Gemini says so also where it waits for the results of its calls, declared or not.
                Some(FinishReason::Stop) if candidate.n_calls > 0 => Some(FinishReason::ToolCalls),
                Some(FinishReason::Other(word)) if candidate.n_calls > 0 && word == finish::UNDECLARED_CALL => {
                    Some(FinishReason::ToolCalls)
                }
                said => said,
            };
            let choice = candidate.index;
            events.extend(reason.map(|reason| Event::Finish { choice, reason, stop_sequence: None }));
        }
        events.push(Event::End);
        true
    }

    pub(super) fn read(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let (mut id, mut model, mut usage, mut error) = (None, None, None, false);
        let (mut raw_candidates, mut blocked, mut metas) = (Vec::new(), None, Vec::new());
        members(data, |name, raw| match name {
            "responseId" => id = text(raw),
            "modelVersion" => model = text(raw),
            "usageMetadata" => usage = Some(raw),
            "error" => error = raw.get() != "null",
            "candidates" => elements(raw, |candidate| raw_candidates.push(candidate)),
            "promptFeedback" => {
                members_of(raw, |name, value| {
                    blocked = if name == "blockReason" { text(value) } else { blocked.take() }
                });
                metas.push((name.to_owned(), raw));
            }
            _ => metas.push((name.to_owned(), raw)),
        })
        .map_err(|cause| garbage(format!("the upstream's reply is not what Gemini sends: {cause}")))?;
        if error {
            self.failed = true;
            events.extend(refused::inside(data).map(Event::Error));
            return Ok(());
        }
        if !std::mem::replace(&mut self.started, true) {
            self.id = id.unwrap_or_default().into_owned();
            let model = model.unwrap_or_default().into_owned();
            events.push(Event::Start { id: self.id.clone(), model, created: None });
        }
        for (position, raw) in raw_candidates.into_iter().enumerate() {
            self.candidate(raw, position, events)?;
        }
        if blocked.is_some() && self.candidates.is_empty() {
            let reason = Some(FinishReason::ContentFilter);
            self.candidates.push(Candidate { reason, ..Candidate::default() });
        }
        events.extend(usage.map(|raw| Event::Usage(usage::read(raw))));
        let meta =
            |(name, raw): (String, &RawValue)| Event::Meta { name: format!("{META}{name}"), json: raw.to_owned() };
        events.extend(metas.into_iter().map(meta));
        Ok(())
    }

    fn candidate(&mut self, raw: &RawValue, position: usize, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let (mut index, mut content, mut reason, mut logprobs, mut grounding) = (None, None, None, None, None);
        members_of(raw, |name, value| match name {
            "index" => index = unsigned(value),
            "content" => content = Some(value),
            "finishReason" => reason = text(value),
            "logprobsResult" => logprobs = logprobs::read(value),
            "groundingMetadata" => grounding = Some(value),
            _ => {}
        });
        let index = index.and_then(|index| u32::try_from(index).ok()).unwrap_or(position as u32);
        let at = match self.candidates.iter().position(|candidate| candidate.index == index) {
            Some(at) => at,
            None if self.candidates.len() == MAX_CANDIDATES => {
                return Err(garbage("the upstream's reply has too many candidates"));
            }
            None => {
                self.candidates.push(Candidate { index, ..Candidate::default() });
                self.candidates.len() - 1
            }
        };
        let candidate = &mut self.candidates[at];
        let mut parts = Vec::new();
        if let Some(content) = content {
            members_of(content, |name, value| {
                if name == "parts" {
                    elements(value, |part| parts.push(part));
                }
            });
        }
        for part in parts {
            candidate.part(part, &self.id, events)?;
        }
        events.extend(logprobs.map(|json| Event::Logprobs { choice: index, json }));
        if let Some(grounding) = grounding {
            cite(grounding, index, events);
        }
        if let Some(reason) = reason.filter(|reason| reason != "FINISH_REASON_UNSPECIFIED") {
            candidate.reason = Some(finish::reason(&reason));
        }
        Ok(())
    }
}

// === impl Candidate ===

impl Candidate {
    fn part(&mut self, raw: &RawValue, reply: &str, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let part = Part::read(raw);
        let choice = self.index;
        if let Some(call) = part.call {
            return self.call(call, part.signature, reply, events);
        }
        if let Some(said) = part.text {
            let Some(text) = text(said).map(std::borrow::Cow::into_owned) else { return Ok(()) };
            events.push(match part.is_thought {
                true => Event::Reasoning { choice, text },
                false => Event::Text { choice, text },
            });
            return Ok(());
        }
        if let Some(kind) = part.other {
            // Code that Google ran, pictures: not the client's to run, and without a word in other dialects.
            let dialect = Dialect::GeminiGenerate;
            events.push(Event::Opaque { choice, kind, json: raw.to_owned(), dialect });
        }
        Ok(())
    }

    fn call(
        &mut self,
        raw: &RawValue,
        signature: Option<String>,
        reply: &str,
        events: &mut Vec<Event>,
    ) -> Result<(), Box<Failure>> {
        let (mut id, mut name, mut arguments, mut pieces, mut goes_on) = (None, None, None, None, false);
        members_of(raw, |member, value| match member {
            "id" => id = text(value),
            "name" => name = text(value),
            "args" => arguments = (value.get() != "null").then_some(value),
            "partialArgs" => pieces = Some(value),
            "willContinue" => goes_on = value.get() == "true",
            _ => {}
        });
        let choice = self.index;
        if let Some(name) = name {
            self.close(events);
            if self.n_calls == MAX_CALLS {
                return Err(garbage("the upstream's reply has too many tool calls"));
            }
            let call = self.n_calls;
            self.n_calls += 1;
            // Most calls come without an id, and one function may be called twice in a turn.
            let made = || call_id(&[reply, &name, &choice.to_string(), &call.to_string()]);
            let id = id.map_or_else(made, std::borrow::Cow::into_owned);
            let id = signature.map_or_else(|| id.clone(), |signature| signed_id::join(&id, &signature));
            events.push(Event::ToolCallStart { choice, call, id, name: name.into_owned() });
            if pieces.is_none() && !goes_on {
                let json = arguments.map_or("{}", RawValue::get).to_owned();
                events.push(Event::ToolCallArguments { choice, call, json });
                return Ok(());
            }
            self.open = Some(Open { call, arguments: Arguments::default() });
        }
        if let (Some(open), Some(pieces)) = (&mut self.open, pieces) {
            open.arguments.add(pieces)?;
        }
        if !goes_on {
            self.close(events);
        }
        Ok(())
    }

    /// Arguments in pieces are told when they are whole: their places may come in any order.
    fn close(&mut self, events: &mut Vec<Event>) {
        if let Some(Open { call, arguments }) = self.open.take() {
            events.push(Event::ToolCallArguments { choice: self.index, call, json: arguments.into_json() });
        }
    }
}

// === impl Part ===

impl<'a> Part<'a> {
    fn read(raw: &'a RawValue) -> Self {
        let mut part = Self::default();
        members_of(raw, |name, value| match name {
            "text" => part.text = Some(value),
            "thought" => part.is_thought = value.get() == "true",
            "thoughtSignature" => part.signature = text(value).map(std::borrow::Cow::into_owned),
            "functionCall" => part.call = Some(value),
            "videoMetadata" | "mediaResolution" => {}
            other => part.other = Some(other.to_owned()),
        });
        part
    }
}

/// The web pages an answer stands on, as citations with URL and title.
fn cite(grounding: &RawValue, choice: u32, events: &mut Vec<Event>) {
    let kind = CitationKind::Source;
    members_of(grounding, |name, value| {
        if name == "groundingChunks" {
            elements(value, |chunk| {
                members_of(chunk, |name, value| {
                    if name == "web" {
                        let (mut url, mut title) = (None, None);
                        members_of(value, |name, value| match name {
                            "uri" => url = text(value),
                            "title" => title = text(value),
                            _ => {}
                        });
                        let source =
                            url.map(|url| serde_json::json!({"title": title.as_deref().unwrap_or(&url), "url": url}));
                        let json = source.and_then(|source| serde_json::value::to_raw_value(&source).ok());
                        events.extend(json.map(|json| Event::Citation { choice, kind, json }));
                    }
                });
            });
        }
    });
}
