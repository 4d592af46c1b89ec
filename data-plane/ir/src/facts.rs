//! What routing may ask of a chat body without building it, and how to change a few members while the rest stays as it is.

use std::ops::Range;

use bytes::Bytes;

use crate::failure::{Code, Failure};
use crate::json::{self, Below, Document, Fault, Member};
use crate::multipart::Field;
use crate::needs::{self, Needs};
use crate::parameters::Parameters;

/// The top-level members that matter before the lane is known. One scan fills it; the body stays untouched.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The body, for those who read more of it.
    pub document: Document,
    /// The model asked for, unescaped.
    pub model: String,
    model_at: Range<usize>,
    /// Absent and `null` are `None`.
    pub stream: Option<bool>,
    /// Where it says `null`, which is as good as nothing.
    stream_null_at: Option<Range<usize>>,
    stream_options_at: Option<Range<usize>>,
    /// `stream_options.include_usage`.
    pub include_usage: bool,
    /// The newest of `max_completion_tokens` and `max_tokens`, in the words of other dialects `max_output_tokens` or
    /// `generationConfig.maxOutputTokens`. Of one choice.
    pub max_output_tokens: Option<u64>,
    /// Choices asked for (`n`, `generationConfig.candidateCount`); `None`: one.
    pub n_choices: Option<u64>,
    /// What the members may say that some upstream lacks.
    pub says: Parameters,
    /// What it needs of a model.
    pub needs: Needs,
    /// Bytes of pictures, recordings and files that stand in it.
    pub n_media_bytes: usize,
    /// `messages` and `tools`, for those who judge whether they may pass.
    pub messages_at: Option<Range<usize>>,
    pub tools_at: Option<Range<usize>>,
    pub has_input: bool,
    /// `functions` or `function_call`, the form before `tools`.
    pub has_functions: bool,
    /// Both `max_completion_tokens` and `max_tokens`.
    pub has_two_limits: bool,
    /// The body is a form: values stand there without quotes.
    is_form: bool,
    /// Offset of the object's `{`, behind which members are inserted.
    open_brace: usize,
}

/// A change to a body on its way through.
#[derive(Clone, Debug)]
pub struct Edit {
    pub at: Range<usize>,
    pub with: Bytes,
}

/// What must differ in the body that goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewrite<'a> {
    /// The target's own model name.
    pub model: &'a str,
    /// Ask for usage in the stream.
    pub ask_usage: bool,
    /// Say `"stream"` outright, where the default differs from the dialect's.
    pub stream: Option<bool>,
}

impl Facts {
    /// Scans a whole body. Refuses what is not one JSON object, a missing or empty model, wrong types, and members that
    /// occur twice (two readers could understand them differently).
    pub fn scan(body: &Bytes) -> Result<Self, Box<Failure>> {
        let mut facts =
            Self { open_brace: body.iter().position(|byte| *byte == b'{').unwrap_or_default(), ..Self::default() };
        let mut model = None;
        let mut stream = None;
        let mut max_tokens = None;
        let mut max_completion_tokens = None;
        let mut max_output_tokens = None;
        let mut twice = None;
        let mut once = |slot: &mut Option<Range<usize>>, name: &'static str, value: Range<usize>| {
            if slot.replace(value).is_some() {
                twice = Some(name);
            }
        };
        let scanned = json::scan_object_below(body, needs::look, |member: Member<'_>, below| {
            facts.says = facts.says.with(Parameters::of_member(member.name));
            facts.note_needs(body, &member, below);
            // Most members are none of ours, and most of those begin with another letter.
            if !matches!(member.name.first(), Some(b'm' | b's' | b't' | b'f' | b'i' | b'n' | b'\\')) {
            } else if member.is("model") {
                once(&mut model, "model", member.value);
            } else if member.is("stream") {
                once(&mut stream, "stream", member.value);
            } else if member.is("stream_options") {
                once(&mut facts.stream_options_at, "stream_options", member.value);
            } else if member.is("max_tokens") {
                once(&mut max_tokens, "max_tokens", member.value);
            } else if member.is("max_completion_tokens") {
                once(&mut max_completion_tokens, "max_completion_tokens", member.value);
            } else if member.is("messages") {
                once(&mut facts.messages_at, "messages", member.value);
            } else if member.is("tools") {
                once(&mut facts.tools_at, "tools", member.value);
            } else if member.is("max_output_tokens") {
                max_output_tokens = whole(&body[member.value]);
            } else if member.is("n") {
                facts.n_choices = whole(&body[member.value]);
            } else {
                facts.has_input |= member.is("input");
                facts.has_functions |= member.is("functions") || member.is("function_call");
            }
        });
        facts.document = scanned.map_err(not_json)?;
        if let Some(name) = twice {
            return Err(Box::new(Failure::invalid(format!("`{name}` is given twice")).at(name)));
        }
        facts.has_two_limits = max_completion_tokens.is_some() && max_tokens.is_some();
        facts.read_model(body, model)?;
        facts.stream = boolean(body, stream.clone(), "stream")?;
        facts.stream_null_at = stream.filter(|_| facts.stream.is_none());
        facts.max_output_tokens = match integer(body, max_completion_tokens, "max_completion_tokens")? {
            Some(tokens) => Some(tokens),
            None => integer(body, max_tokens, "max_tokens")?.or(max_output_tokens),
        };
        facts.read_stream_options(body)?;
        Ok(facts)
    }

    /// The same where the path names the model and says whether the reply streams: the body needs to be one JSON object. A
    /// `model` in it is a repetition, and is replaced like any other.
    pub fn scan_named(body: &Bytes, model: String, stream: bool) -> Result<Self, Box<Failure>> {
        let mut facts = Self { model, stream: Some(stream), ..Self::default() };
        let scanned = json::scan_object_below(body, needs::look, |member: Member<'_>, below| {
            facts.note_needs(body, &member, below);
            if member.is("model") {
                facts.model_at = member.value;
            } else if member.is("generationConfig") || member.is("generation_config") {
                facts.read_generation(&body[member.value]);
            }
        });
        facts.document = scanned.map_err(not_json)?;
        Ok(facts)
    }

    /// The same of a form of several parts, of which `field` is the model.
    pub fn of_form(field: &Field) -> Self {
        Self { model: field.value.clone(), model_at: field.at.clone(), is_form: true, ..Self::default() }
    }

    /// The body with the changes, as slices of the original and the new pieces between them; nothing long is copied.
    pub fn rewrite(&self, body: &Bytes, rewrite: &Rewrite<'_>) -> Vec<Bytes> {
        let mut edits = Vec::with_capacity(3);
        if rewrite.model != self.model && !self.model_at.is_empty() {
            let plain = || Bytes::copy_from_slice(rewrite.model.as_bytes());
            let with = if self.is_form { plain() } else { quoted(rewrite.model) };
            edits.push(Edit { at: self.model_at.clone(), with });
        }
        if rewrite.ask_usage && !self.include_usage {
            match &self.stream_options_at {
                Some(at) => edits.push(Edit { at: at.clone(), with: merged_options(&body[at.clone()]) }),
                None => edits.push(self.insertion(b"\"stream_options\":{\"include_usage\":true},")),
            }
        }
        if let (Some(stream), None) = (rewrite.stream, self.stream) {
            let (word, member): (&'static [u8], &'static [u8]) =
                if stream { (b"true", b"\"stream\":true,") } else { (b"false", b"\"stream\":false,") };
            edits.push(match &self.stream_null_at {
                Some(at) => Edit { at: at.clone(), with: Bytes::from_static(word) },
                None => self.insertion(member),
            });
        }
        splice(body, edits)
    }

    fn note_needs(&mut self, body: &[u8], member: &Member<'_>, below: Below) {
        let (needs, n_media_bytes) = Needs::of_member(member.name, &body[member.value.clone()], below);
        self.needs = self.needs.with(needs);
        self.n_media_bytes += n_media_bytes;
    }

    /// The object has at least the member `model`, so that a comma is always right.
    fn insertion(&self, with: &'static [u8]) -> Edit {
        let at = self.open_brace + 1;
        Edit { at: at..at, with: Bytes::from_static(with) }
    }

    fn read_model(&mut self, body: &[u8], at: Option<Range<usize>>) -> Result<(), Box<Failure>> {
        let Some(at) = at else {
            return Err(Box::new(Failure::invalid("`model` is missing").at("model")));
        };
        let Some(model) = json::string(&body[at.clone()]) else {
            return Err(Box::new(Failure::invalid("`model` must be a string").at("model")));
        };
        if model.is_empty() || model.len() > 1024 {
            return Err(Box::new(Failure::invalid("`model` must be a name of 1 to 1024 bytes").at("model")));
        }
        self.model = model.into_owned();
        self.model_at = at;
        Ok(())
    }

    /// What Gemini's clients say of the length; what is no number is the dialect's to refuse.
    fn read_generation(&mut self, raw: &[u8]) {
        let read = |member: Member<'_>| {
            if member.is("maxOutputTokens") || member.is("max_output_tokens") {
                self.max_output_tokens = whole(&raw[member.value]);
            } else if member.is("candidateCount") || member.is("candidate_count") {
                self.n_choices = whole(&raw[member.value]);
            }
        };
        // Broken, the body has been refused already.
        let _ = json::scan_object(raw, read);
    }

    fn read_stream_options(&mut self, body: &[u8]) -> Result<(), Box<Failure>> {
        let Some(at) = self.stream_options_at.clone() else { return Ok(()) };
        let raw = &body[at];
        if raw == b"null" {
            return Ok(());
        }
        let mut wanted = None;
        let scanned = json::scan_object(raw, |member| {
            if member.is("include_usage") {
                wanted = Some(member.value);
            }
        });
        if scanned.is_err() {
            return Err(Box::new(Failure::invalid("`stream_options` must be an object").at("stream_options")));
        }
        self.include_usage = boolean(raw, wanted, "stream_options.include_usage")?.unwrap_or(false);
        Ok(())
    }
}

pub fn splice(body: &Bytes, mut edits: Vec<Edit>) -> Vec<Bytes> {
    edits.sort_by_key(|edit| edit.at.start);
    let mut pieces = Vec::with_capacity(2 * edits.len() + 1);
    let mut from = 0;
    for edit in edits {
        if edit.at.start > from {
            pieces.push(body.slice(from..edit.at.start));
        }
        pieces.push(edit.with);
        from = edit.at.end;
    }
    pieces.push(body.slice(from..));
    pieces
}

fn not_json(fault: Fault) -> Box<Failure> {
    Box::new(Failure::invalid(format!("the request body is not valid JSON: {fault}")))
}

/// Options that are there stay; a wrong or null value was refused or ignored before.
fn merged_options(raw: &[u8]) -> Bytes {
    let mut options: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(raw).unwrap_or_default();
    options.insert("include_usage".to_owned(), true.into());
    serde_json::Value::Object(options).to_string().into()
}

pub fn quoted(text: &str) -> Bytes {
    serde_json::Value::from(text).to_string().into()
}

fn boolean(body: &[u8], at: Option<Range<usize>>, name: &'static str) -> Result<Option<bool>, Box<Failure>> {
    match at.map(|at| &body[at]) {
        None | Some(b"null") => Ok(None),
        Some(b"true") => Ok(Some(true)),
        Some(b"false") => Ok(Some(false)),
        Some(_) => Err(Box::new(Failure::invalid(format!("`{name}` must be true or false")).at(name))),
    }
}

fn whole(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

fn integer(body: &[u8], at: Option<Range<usize>>, name: &'static str) -> Result<Option<u64>, Box<Failure>> {
    let Some(raw) = at.map(|at| &body[at]).filter(|raw| *raw != b"null") else { return Ok(None) };
    match whole(raw) {
        Some(number) => Ok(Some(number)),
        None => Err(Box::new(
            Failure::new(Code::InvalidRequest, format!("`{name}` must be a whole number of at least 0")).at(name),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_reply_may_be_in_the_words_of_each_dialect() {
        let chat = |members: &str| Facts::scan(&format!(r#"{{"model":"m",{members}}}"#).into()).expect("valid");
        let gemini = |config: &str| {
            let body = format!(r#"{{"contents":[],"generationConfig":{config}}}"#);
            Facts::scan_named(&body.into(), "m".to_owned(), false).expect("valid")
        };
        let cases = [
            (chat(r#""max_tokens":5"#), Some(5), None),
            (chat(r#""max_tokens":5,"max_completion_tokens":6,"n":3"#), Some(6), Some(3)),
            (chat(r#""max_output_tokens":7"#), Some(7), None),
            (chat(r#""max_output_tokens":"seven","n":null"#), None, None),
            (gemini(r#"{"maxOutputTokens":8,"candidateCount":2}"#), Some(8), Some(2)),
            (gemini("[]"), None, None),
        ];
        for (facts, max_output_tokens, n_choices) in cases {
            assert_eq!((facts.max_output_tokens, facts.n_choices), (max_output_tokens, n_choices));
        }
    }

    fn rewritten(body: &str, rewrite: &Rewrite<'_>) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let facts = Facts::scan(&body).expect("a valid body");
        String::from_utf8(facts.rewrite(&body, rewrite).concat()).expect("text")
    }

    #[test]
    fn reads_what_routing_needs() {
        let facts =
            Facts::scan(&br#"{"messages":[{"model":"no"}],"model":"a\/b","stream":true,"max_tokens":5}"#[..].into())
                .expect("valid");
        assert_eq!((facts.model.as_str(), facts.stream, facts.max_output_tokens), ("a/b", Some(true), Some(5)));
        assert!(!facts.include_usage);
    }

    #[test]
    fn what_was_scanned_is_there_to_be_read() {
        let facts = Facts::scan(&b" \n{\"model\":\"m\"}\t"[..].into()).expect("valid");
        assert_eq!(facts.document.raw().get(), r#"{"model":"m"}"#);
        assert_eq!(Facts::default().document.raw().get(), "null");
    }

    #[test]
    fn changes_only_what_it_must() {
        let spaced = r#"{ "x": 1.0e0, "model" : "public", "y":"\u00e9" }"#;
        let to_own = Rewrite { model: "own", ..Rewrite::default() };
        assert_eq!(rewritten(spaced, &to_own), r#"{ "x": 1.0e0, "model" : "own", "y":"\u00e9" }"#);
        assert_eq!(rewritten(spaced, &Rewrite { model: "public", ..Rewrite::default() }), spaced);
        let streaming = Rewrite { model: "m", ask_usage: true, stream: Some(true) };
        assert_eq!(
            rewritten(r#"{"model":"m"}"#, &streaming),
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#
        );
        assert_eq!(
            rewritten(r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#, &streaming),
            r#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":true}}"#
        );
        assert_eq!(
            rewritten(r#"{"model":"m","stream":null}"#, &streaming),
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#
        );
        let asked = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        assert_eq!(rewritten(asked, &streaming), asked);
    }

    #[test]
    fn refuses_with_the_field_at_fault() {
        let cases = [
            ("[]", None),
            ("{", None),
            ("{}", Some("model")),
            (r#"{"model":1}"#, Some("model")),
            (r#"{"model":""}"#, Some("model")),
            (r#"{"model":"a","model":"b"}"#, Some("model")),
            (r#"{"model":"a","m\u006fdel":"b"}"#, Some("model")),
            (r#"{"model":"a","stream":"yes"}"#, Some("stream")),
            (r#"{"model":"a","max_tokens":-1}"#, Some("max_tokens")),
            (r#"{"model":"a","stream_options":[]}"#, Some("stream_options")),
            (r#"{"model":"a"} {}"#, None),
        ];
        for (body, param) in cases {
            let failure = Facts::scan(&body.into()).expect_err(body);
            assert_eq!((failure.status, failure.param.as_deref()), (400, param), "{body}");
        }
    }
}
