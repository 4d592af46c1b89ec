//! Reads reply objects, whole ones and chunks of a stream, into events. The same code for both, so that they cannot disagree.

use gateway_ir::dialect::Dialect;
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::{Tier, Usage};
use serde_json::value::RawValue;

use super::calls::Calls;
use super::{finish, usage};
use crate::call_id::hash;
use crate::reading::{Shape, elements, garbage, is_meant, members, members_of, says_something, text, unsigned};
use crate::refused;

/// More choices than any server gives.
const MAX_CHOICES: usize = 256;
/// More details beside the answer than this are not passed on.
const MAX_META: usize = 32;

/// What has been read of one reply so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    started: bool,
    /// The upstream reported an error; nothing after it counts.
    failed: bool,
    usage: Option<Usage>,
    tier: Tier,
    choices: Vec<Choice>,
    /// Names and hashes of the details told so far: chunks repeat them.
    metas: Vec<(String, u64)>,
    /// Details that came before the reply had begun (Azure's filter results).
    early_metas: Vec<Event>,
}

#[derive(Debug)]
struct Choice {
    index: u32,
    calls: Calls,
    finish: Option<FinishReason>,
    /// `finish_reason` was said, as an empty text: some servers know no other word.
    is_wordless: bool,
}

/// The members of a reply object that are understood.
#[derive(Default)]
struct Parts<'a> {
    id: Option<&'a RawValue>,
    model: Option<&'a RawValue>,
    created: Option<&'a RawValue>,
    choices: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    groq: Option<&'a RawValue>,
    may_be_error: bool,
    metas: Vec<(String, &'a RawValue)>,
}

// === impl Reader ===

impl Reader {
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Reads one object and appends what it says. Nothing is appended on `Err`.
    pub(super) fn read(&mut self, data: &[u8], shape: Shape, events: &mut Vec<Event>) -> Result<(), Box<Failure>> {
        let parts = Parts::read(data)?;
        let failure = if parts.may_be_error { refused::inside(data) } else { None };
        if parts.choices.is_none() && parts.usage.is_none() && failure.is_none() && shape == Shape::Whole {
            return Err(garbage("the upstream's reply has no `choices`"));
        }
        self.tell_metas(&parts.metas, events);
        let has_choices = parts.choices.is_some_and(says_something);
        self.failed = failure.is_some();
        if shape == Shape::Whole || has_choices || parts.id.is_some() || parts.usage.is_some() {
            self.start(&parts, events);
        }
        let mut raw_choices = Vec::new();
        if let Some(raw) = parts.choices {
            elements(raw, |choice| raw_choices.push(choice));
        }
        for (position, raw) in raw_choices.into_iter().enumerate() {
            self.choice(raw, position, shape, events)?;
        }
        self.tell_usage(&parts, events);
        events.extend(failure.map(Event::Error));
        Ok(())
    }

    /// The reply is over: what was waiting for more is told as it is.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.early_metas);
        for choice in &mut self.choices {
            choice.calls.settle(choice.index, events);
        }
    }

    /// The same behind the terminal mark, which says for servers without words that they have finished.
    pub(super) fn end_marked(&mut self, events: &mut Vec<Event>) {
        self.end(events);
        for choice in self.choices.iter_mut().filter(|choice| choice.is_wordless && choice.finish.is_none()) {
            let reason = FinishReason::Other(String::new());
            choice.finish = Some(reason.clone());
            events.push(Event::Finish { choice: choice.index, reason, stop_sequence: None });
        }
    }

    fn start(&mut self, parts: &Parts<'_>, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            let said = |raw: Option<&RawValue>| raw.and_then(text).unwrap_or_default().into_owned();
            let created = parts.created.and_then(unsigned).and_then(|seconds| i64::try_from(seconds).ok());
            events.push(Event::Start { id: said(parts.id), model: said(parts.model), created });
            events.append(&mut self.early_metas);
        }
    }

    fn tell_metas(&mut self, metas: &[(String, &RawValue)], events: &mut Vec<Event>) {
        for (name, raw) in metas {
            let hash = hash([raw.get().as_bytes()]);
            let is_full = self.metas.len() == MAX_META;
            match self.metas.iter_mut().find(|(known, _)| known == name) {
                Some((_, told)) if *told == hash => continue,
                Some((_, told)) => *told = hash,
                None if is_full => continue,
                None => self.metas.push((name.clone(), hash)),
            }
            let meta = Event::Meta { name: name.clone(), json: (*raw).to_owned() };
            if self.started { events.push(meta) } else { self.early_metas.push(meta) }
        }
    }

    fn tell_usage(&mut self, parts: &Parts<'_>, events: &mut Vec<Event>) {
        let groq = || {
            let mut usage = None;
            members_of(parts.groq?, |name, raw| usage = if name == "usage" { Some(raw) } else { usage });
            usage
        };
        let tier = parts.metas.iter().find(|(name, _)| name == "service_tier").and_then(|(_, raw)| text(raw));
        self.tier = tier.map_or(self.tier, |tier| Tier::parse(&tier));
        let told = parts.usage.and_then(usage::read).or_else(|| groq().and_then(usage::read));
        let told = told.map(|usage| Usage { tier: self.tier, ..usage });
        if told.is_some() && told != self.usage {
            self.usage = told;
            events.extend(told.map(Event::Usage));
        }
    }

    fn choice(
        &mut self,
        raw: &RawValue,
        position: usize,
        shape: Shape,
        events: &mut Vec<Event>,
    ) -> Result<(), Box<Failure>> {
        let failed = self.failed;
        let (mut index, mut is_wordless) = (None, false);
        let (mut delta, mut message, mut legacy, mut logprobs, mut reason) = (None, None, None, None, None);
        members_of(raw, |name, value| match name {
            "index" => index = unsigned(value),
            "delta" => delta = Some(value),
            "message" => message = Some(value),
            "text" => legacy = text(value),
            "logprobs" => logprobs = Some(value).filter(|value| is_meant(value)),
            "finish_reason" => {
                reason = text(value).and_then(|reason| finish::read(&reason));
                is_wordless = value.get() == "\"\"";
            }
            _ => {}
        });
        let index = index.and_then(|index| u32::try_from(index).ok()).unwrap_or(position as u32);
        let choice = self.choice_at(index)?;
        choice.is_wordless |= is_wordless;
        if let Some(json) = logprobs {
            events.push(Event::Logprobs { choice: index, json: json.to_owned() });
        }
        // Perplexity repeats the message so far beside each delta; servers that only play at streaming send it instead.
        let (content, shape) = match (shape, delta, message) {
            (Shape::Whole, _, message) => (message, Shape::Whole),
            (Shape::Chunk, Some(delta), _) => (Some(delta), Shape::Chunk),
            (Shape::Chunk, None, message) => (message, Shape::Whole),
        };
        if let Some(content) = content {
            read_content(content, shape, choice, events)?;
        } else if let Some(text) = legacy {
            // The form of the dialect before this one.
            events.push(Event::Text { choice: index, text: text.into_owned() });
        }
        match reason {
            Some(_) if failed || choice.finish.is_some() => {}
            // OpenRouter's word for a provider that broke off; mostly, but not always, with an error beside it.
            Some(FinishReason::Other(word)) if word == "error" => {
                self.failed = true;
                let message = "the upstream broke off its reply with an error and did not say which";
                events.push(Event::Error(Box::new(Failure::new(Code::UpstreamError, message))));
            }
            Some(reason) => {
                choice.calls.settle(index, events);
                choice.finish = Some(reason.clone());
                events.push(Event::Finish { choice: index, reason, stop_sequence: None });
            }
            None => {}
        }
        Ok(())
    }

    fn choice_at(&mut self, index: u32) -> Result<&mut Choice, Box<Failure>> {
        let position = match self.choices.iter().position(|choice| choice.index == index) {
            Some(position) => position,
            None if self.choices.len() == MAX_CHOICES => {
                return Err(garbage("the upstream's reply has too many choices"));
            }
            None => {
                self.choices.push(Choice { index, calls: Calls::default(), finish: None, is_wordless: false });
                self.choices.len() - 1
            }
        };
        Ok(&mut self.choices[position])
    }
}

fn read_content(
    raw: &RawValue,
    shape: Shape,
    choice: &mut Choice,
    events: &mut Vec<Event>,
) -> Result<(), Box<Failure>> {
    let index = choice.index;
    let (mut content, mut reasoning, mut refusal, mut annotations) = (None, None, None, None);
    let (mut tool_calls, mut function_call) = (None, None);
    let mut others = Vec::new();
    members_of(raw, |name, value| match name {
        "role" => {}
        _ if !says_something(value) => {}
        "content" => content = Some(value),
        "reasoning_content" => reasoning = text(value).or(reasoning.take()),
        "reasoning" => reasoning = reasoning.take().or_else(|| text(value)),
        "refusal" => refusal = text(value),
        "annotations" => annotations = Some(value),
        "tool_calls" => tool_calls = Some(value),
        "function_call" => function_call = Some(value),
        _ if is_meant(value) => others.push((name.to_owned(), value)),
        _ => {}
    });
    if let Some(reasoning) = reasoning {
        events.push(Event::Reasoning { choice: index, text: reasoning.into_owned() });
    }
    if let Some(content) = content {
        read_text(content, index, events);
    }
    if let Some(refusal) = refusal {
        events.push(Event::Refusal { choice: index, text: refusal.into_owned() });
    }
    if let Some(annotations) = annotations {
        let tell =
            |json: &RawValue| Event::Citation { choice: index, kind: CitationKind::OpenAi, json: json.to_owned() };
        elements(annotations, |annotation| events.push(tell(annotation)));
    }
    let mut raw_calls = Vec::new();
    if let Some(tool_calls) = tool_calls {
        elements(tool_calls, |call| raw_calls.push(call));
    }
    for call in raw_calls {
        choice.calls.read(call, shape, index, events)?;
    }
    if let Some(function_call) = function_call {
        choice.calls.read_legacy(function_call, index, events)?;
    }
    for (kind, json) in others {
        events.push(Event::Opaque { choice: index, kind, json: json.to_owned(), dialect: Dialect::OpenAiChat });
    }
    if shape == Shape::Whole {
        choice.calls.settle(index, events);
    }
    Ok(())
}

/// A string, or a list of text and thinking parts (Mistral).
fn read_text(content: &RawValue, choice: u32, events: &mut Vec<Event>) {
    if let Some(text) = text(content) {
        events.push(Event::Text { choice, text: text.into_owned() });
        return;
    }
    elements(content, |part| {
        members_of(part, |name, value| match name {
            "text" => events.extend(text(value).map(|text| Event::Text { choice, text: text.into_owned() })),
            "refusal" => events.extend(text(value).map(|text| Event::Refusal { choice, text: text.into_owned() })),
            "thinking" => read_thinking(value, choice, events),
            _ => {}
        });
    });
}

fn read_thinking(thinking: &RawValue, choice: u32, events: &mut Vec<Event>) {
    let mut tell = |value: &RawValue| {
        events.extend(text(value).map(|text| Event::Reasoning { choice, text: text.into_owned() }));
    };
    tell(thinking);
    elements(thinking, |part| {
        members_of(part, |name, value| {
            if name == "text" {
                tell(value)
            }
        })
    });
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Box<Failure>> {
        let mut parts = Self::default();
        let read = members(data, |name, value| match name {
            "id" => parts.id = Some(value).filter(|value| says_something(value)),
            "model" => parts.model = Some(value),
            "created" => parts.created = Some(value),
            "choices" => parts.choices = Some(value).filter(|value| value.get() != "null"),
            "usage" => parts.usage = Some(value).filter(|value| says_something(value)),
            "object" => parts.may_be_error |= value.get() == "\"error\"",
            "error" => parts.may_be_error |= value.get() != "null",
            // Padding against guessing by length; a new one in each chunk.
            "obfuscation" => {}
            "x_groq" => {
                parts.groq = Some(value);
                parts.may_be_error |= value.get().contains("\"error\"");
            }
            _ if says_something(value) => parts.metas.push((name.to_owned(), value)),
            _ => {}
        });
        match read {
            Ok(()) => Ok(parts),
            Err(error) => Err(garbage(format!("the upstream sent a reply that is not a JSON object: {error}"))),
        }
    }
}
