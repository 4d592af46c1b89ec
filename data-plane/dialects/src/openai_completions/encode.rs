//! A request for a server that has legacy completions and nothing else. Members always stand in the same order, so that equal
//! requests are equal bytes.

use bytes::BytesMut;
use gateway_ir::chat::{ChatRequest, ResponseFormat, Sampling};
use gateway_ir::failure::{Code, Failure};

use super::decode::SELF;
use super::prompt;
use crate::dialect::{Encoded, Upstream};
use crate::dropped::Dropped;
use crate::writer::{Object, object};

/// Without a limit this dialect's answers end after 16 tokens, which no client of another one expects.
const DEFAULT_MAX_TOKENS: u64 = 1024;
/// OpenAI takes as many stop sequences.
const MAX_STOPS: usize = 4;

/// The upstream's request body.
pub(super) fn request(request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>> {
    if !request.tools.is_empty() {
        let message = "the upstream completes text and knows no tools; leave `tools` out";
        return Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at("tools")));
    }
    let mut dropped = Dropped::default();
    let prompt = prompt::render(&request.messages, &mut dropped)?;
    let is_native = request.origin == Some(SELF);
    let default_max_tokens = upstream.quirks.default_max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    let max_tokens = request.sampling.max_output_tokens.or((!is_native).then_some(default_max_tokens));
    let mut out = BytesMut::with_capacity(prompt.text.len() + 256);
    object(&mut out, |body| {
        body.string("model", upstream.model);
        body.string("prompt", &prompt.text);
        if let Some(max_tokens) = max_tokens {
            body.unsigned("max_tokens", max_tokens);
        }
        write_sampling(&request.sampling, prompt.stop, body);
        if let Some(top_k) = request.sampling.top_k.filter(|_| is_native) {
            body.unsigned("top_k", top_k);
        }
        if let Some(user) = &request.user {
            body.string("user", user);
        }
        for (name, raw) in request.extra.of(SELF).iter().filter(|(name, _)| name != "stream_options") {
            body.raw(name, raw.get());
        }
        if upstream.stream {
            body.boolean("stream", true);
            if !upstream.quirks.no_stream_options {
                body.raw("stream_options", r#"{"include_usage":true}"#);
            }
        }
    });
    name_unsayable(request, is_native, &mut dropped);
    Ok(Encoded { body: out.freeze(), dropped: dropped.into_names(), headers: Vec::new() })
}

fn write_sampling(sampling: &Sampling, stop: Option<&str>, body: &mut Object<'_>) {
    let numbers = [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("presence_penalty", &sampling.presence_penalty),
        ("frequency_penalty", &sampling.frequency_penalty),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            body.raw(name, &number.to_string());
        }
    }
    if let Some(n) = sampling.n {
        body.unsigned("n", n);
    }
    if let Some(seed) = sampling.seed {
        body.raw("seed", &seed.to_string());
    }
    if sampling.logprobs == Some(true) {
        body.unsigned("logprobs", sampling.top_logprobs.unwrap_or(0));
    }
    // The client's own come first; the last place is the prompt's if it is free.
    let own = sampling.stop.iter().map(String::as_str);
    let stops: Vec<&str> = own.chain(stop.filter(|_| sampling.stop.len() < MAX_STOPS)).collect();
    if !stops.is_empty() {
        body.array("stop", |array| stops.iter().for_each(|stop| array.string(stop)));
    }
}

/// What this dialect has no word for and the answer can do without.
fn name_unsayable(request: &ChatRequest, is_native: bool, dropped: &mut Dropped) {
    dropped.note_if(request.tool_choice.is_some(), "tool_choice");
    dropped.note_if(request.sampling.top_k.is_some() && !is_native, "top_k");
    dropped.note_if(request.reasoning.is_some(), "reasoning_effort");
    dropped.note_if(request.metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()), "metadata");
    let is_text = matches!(request.response_format, None | Some(ResponseFormat::Text));
    dropped.note_if(!is_text, "response_format");
    for name in request.extra.lost_in(SELF) {
        dropped.note(name);
    }
}
