//! A client's request, strictly, for an upstream of another dialect: one prompt is one user's message.
//!
//! What only a server with this API can do is refused by name. Requests that pass to such a server are not read here.

use gateway_ir::chat::{ChatRequest, Message, Part, Role, Sampling};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::{Code, Failure, Retry};
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::openai_chat::decode::{sampling, stream_options};

pub(super) const SELF: Dialect = Dialect::OpenAiCompletions;

const NOT_HERE: &str = "this model's provider does not take that: its API is another one than /v1/completions";

/// Reads a whole request body.
pub(super) fn request(document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
    if !document.get().starts_with('{') {
        return Err(Box::new(Failure::invalid("the request body must be a JSON object")));
    }
    let mut top = Fields::read(document, &Path::ROOT)?;
    let mut kept = Vec::new();
    let model = top.required_string("model")?.into_owned();
    let prompt = prompt(&mut top)?;
    let logprobs = top.unsigned("logprobs")?;
    let sampling = Sampling {
        logprobs: logprobs.map(|_| true),
        top_logprobs: logprobs.filter(|count| *count > 0),
        ..sampling(&mut top)?
    };
    refuse_own(&mut top, &sampling)?;
    let mut request = ChatRequest {
        origin: Some(SELF),
        model,
        messages: vec![Message::new(Role::User, vec![Part::text(prompt)])],
        stream: top.boolean("stream")?,
        include_usage: stream_options(&mut top, &mut kept)?,
        sampling,
        user: top.string("user")?.map(Into::into),
        ..ChatRequest::default()
    };
    kept.extend(top.rest());
    request.extra = Extra::new(SELF, kept);
    Ok(request)
}

/// A text, or a list of one. Several prompts would be several requests, each with a target, a price and a way to fail of its
/// own; tokens are numbers that only the model's own vendor can read.
fn prompt(top: &mut Fields<'_, '_>) -> Result<String, Box<Failure>> {
    let Some(raw) = top.take("prompt") else { return Err(top.missing("prompt")) };
    let path = top.path().name("prompt");
    if raw.get().starts_with('"') {
        return fields::string(raw, &path).map(Into::into);
    }
    if !raw.get().starts_with('[') {
        return Err(path.must_be("a string or an array"));
    }
    let prompts = fields::array(raw, &path)?;
    let is_tokens = |text: &str| text.starts_with(|first: char| first == '[' || first == '-' || first.is_ascii_digit());
    match prompts.as_slice() {
        [] => Err(path.must_be("a string or an array with at least one")),
        [first, ..] if is_tokens(first.get()) => {
            Err(unsupported("prompt", format!("`prompt` is token ids; {NOT_HERE}; send the text")))
        }
        [prompt] => fields::string(prompt, &path.index(0)).map(Into::into),
        prompts => {
            let n_prompts = prompts.len();
            let message = format!("`prompt` holds {n_prompts} prompts; {NOT_HERE}; send a request for each");
            Err(unsupported("prompt", message))
        }
    }
}

fn refuse_own(top: &mut Fields<'_, '_>, sampling: &Sampling) -> Result<(), Box<Failure>> {
    if top.boolean("echo")? == Some(true) {
        return Err(unsupported(
            "echo",
            format!("`echo` is true; {NOT_HERE}; put the prompt before the text yourself"),
        ));
    }
    if top.string("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(unsupported("suffix", format!("`suffix` asks for text in between; {NOT_HERE}")));
    }
    let n = sampling.n.unwrap_or(1);
    if let Some(best_of) = top.unsigned("best_of")?.filter(|best_of| *best_of > n) {
        let message = format!("`best_of` is {best_of} for {n} choices; {NOT_HERE}; leave it out");
        return Err(unsupported("best_of", message));
    }
    Ok(())
}

/// Another target of the model may speak this dialect.
fn unsupported(param: &str, message: String) -> Box<Failure> {
    let failure = Failure::new(Code::UnsupportedParameter, message).at(param);
    Box::new(Failure { retry: Retry::OnlyElsewhere, ..failure })
}
