//! Google's paths, which hold what other dialects say in the body: `/v1beta/models/{model}:{method}`, and the key and the form
//! of a stream in the query.

use gateway_dialects::framing::array::StreamForm;
use gateway_ir::task::Form;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Errand, percent_decoded};

/// What a path of Google's asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// May hold slashes. Without `models/` in front.
    pub(crate) model: String,
    pub(crate) errand: Errand,
    pub(crate) stream: bool,
}

const VERSIONS: [&str; 3] = ["/v1beta/", "/v1/", "/v1alpha/"];
/// Model ids are written with and without this; joined to a path of ours it may stand there twice.
const MODELS: &str = "models/";

pub(crate) static X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Reads a path; `None` where it is none of Google's.
pub(crate) fn asked(path: &str) -> Option<Asked> {
    let behind = VERSIONS.iter().find_map(|version| path.strip_prefix(version))?.strip_prefix(MODELS)?;
    let decoded = percent_decoded(behind);
    let (model, method) = decoded.rsplit_once(':')?;
    let (errand, stream) = match method {
        "generateContent" => (Errand::Chat, false),
        "streamGenerateContent" => (Errand::Chat, true),
        "countTokens" => (Errand::CountTokens, false),
        "batchEmbedContents" => (Errand::Task(Form::GeminiEmbed), false),
        "embedContent" => (Errand::Task(Form::GeminiEmbedOne), false),
        _ => return None,
    };
    let model = model.strip_prefix(MODELS).unwrap_or(model);
    (!model.is_empty()).then(|| Asked { model: model.to_owned(), errand, stream })
}

/// `?alt=sse` asks for an event stream; otherwise a stream is a JSON array.
pub(crate) fn form(query: Option<&str>) -> StreamForm {
    match parameter(query, "alt").as_deref() {
        Some("sse") => StreamForm::Events,
        _ => StreamForm::Array,
    }
}

/// `?key=` becomes the header that it stands for, beside a header that is there, so that two that differ are seen. The query
/// itself goes nowhere: neither on to an upstream nor into a log.
pub(crate) fn key_to_header(query: Option<&str>, headers: &mut HeaderMap) {
    let Some(key) = parameter(query, "key") else { return };
    if let Ok(mut value) = HeaderValue::from_str(&key) {
        value.set_sensitive(true);
        headers.append(&X_GOOG_API_KEY, value);
    }
}

pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut parameters = query?.split('&').filter_map(|pair| pair.split_once('='));
    parameters.find(|(known, _)| *known == name).map(|(_, value)| percent_decoded(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_the_model_and_what_is_wanted() {
        let chat = |model: &str, stream| Some((model.to_owned(), Errand::Chat, stream));
        let cases = [
            ("/v1beta/models/gemini-2.5-pro:generateContent", chat("gemini-2.5-pro", false)),
            ("/v1/models/gemini:streamGenerateContent", chat("gemini", true)),
            ("/v1beta/models/models/gemini:generateContent", chat("gemini", false)),
            ("/v1beta/models/openai/gpt-5:generateContent", chat("openai/gpt-5", false)),
            ("/v1beta/models/openai%2Fgpt-5%3AgenerateContent", chat("openai/gpt-5", false)),
            ("/v1beta/models/ollama/llama3:8b:generateContent", chat("ollama/llama3:8b", false)),
            ("/v1beta/models/g:countTokens", Some(("g".to_owned(), Errand::CountTokens, false))),
            ("/v1beta/models/:generateContent", None),
            ("/v1beta/models/a/g:embedContent", Some(("a/g".to_owned(), Errand::Task(Form::GeminiEmbedOne), false))),
            ("/v1/models/g:batchEmbedContents", Some(("g".to_owned(), Errand::Task(Form::GeminiEmbed), false))),
            ("/v1beta/models/g:predict", None),
            ("/v1/models/ollama/llama3:8b", None),
            ("/v1beta/g:generateContent", None),
        ];
        for (path, expected) in cases {
            assert_eq!(asked(path).map(|asked| (asked.model, asked.errand, asked.stream)), expected, "{path}");
        }
    }

    #[test]
    fn the_query_says_key_and_form() {
        assert_eq!(form(Some("key=k&alt=sse")), StreamForm::Events);
        assert_eq!([form(None), form(Some("alt=json"))], [StreamForm::Array; 2]);
        let mut headers = HeaderMap::new();
        key_to_header(Some("alt=sse&key=a%2Db"), &mut headers);
        let value = headers.get(&X_GOOG_API_KEY).expect("a key");
        assert!(value == "a-b" && value.is_sensitive());
    }
}
