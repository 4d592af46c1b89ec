//! What a request says about where it wants to go, and what routes may go by.

use gateway_ir::failure::Failure;
use gateway_ir::needs::Needs;
use gateway_model::kind::route::Kind;
use http::{HeaderMap, HeaderName};

/// A request before anything has been decided for it. [`Ask::new`] has what there is to say of every request; the rest is left to
/// those who know it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub path: &'a str,
    pub method: &'a str,
    pub headers: &'a HeaderMap,
    /// The body's model.
    pub model: &'a str,
    pub needs: Needs,
    /// Tokens that it brings; an estimate will do.
    pub n_input: u64,
    /// The time of day: Unix milliseconds.
    pub unix_ms: i64,
    pub forced_provider: Option<&'a str>,
    pub forced_model: Option<&'a str>,
    pub forced_route: Option<&'a str>,
    /// What it says it belongs to.
    pub session: Option<&'a str>,
    /// All that it says, for models that keep conversations together by how they begin.
    pub body: &'a [u8],
}

/// A header in both families.
pub type Pair = [HeaderName; 2];

static TAGS: Pair = [HeaderName::from_static("x-gateway-tags"), HeaderName::from_static("x-lunargate-tags")];
static PROVIDER: Pair =
    [HeaderName::from_static("x-gateway-provider"), HeaderName::from_static("x-lunargate-provider")];
static MODEL: Pair = [HeaderName::from_static("x-gateway-model"), HeaderName::from_static("x-lunargate-model")];
static ROUTE: Pair = [HeaderName::from_static("x-gateway-route"), HeaderName::from_static("x-lunargate-route")];
static SESSION: Pair =
    [HeaderName::from_static("x-gateway-sessionid"), HeaderName::from_static("x-lunargate-sessionid")];

/// Tags of one request that are looked at.
const MAX_TAGS: usize = 32;

// === impl Ask ===

impl<'a> Ask<'a> {
    /// A `POST` that forces nothing.
    pub fn new(path: &'a str, headers: &'a HeaderMap, model: &'a str) -> Self {
        Self {
            path,
            method: "POST",
            headers,
            model,
            needs: Needs::NONE,
            n_input: 0,
            unix_ms: 0,
            forced_provider: None,
            forced_model: None,
            forced_route: None,
            session: None,
            body: b"",
        }
    }

    /// With what its headers force. Refuses what says two things.
    pub fn steered(self) -> Result<Self, Box<Failure>> {
        Ok(Self {
            forced_provider: said(self.headers, &PROVIDER)?,
            forced_model: said(self.headers, &MODEL)?,
            forced_route: said(self.headers, &ROUTE)?,
            session: said(self.headers, &SESSION)?,
            ..self
        })
    }

    /// The name that it goes by.
    pub(crate) fn name(&self) -> &'a str {
        self.forced_model.unwrap_or(self.model)
    }

    /// What the client calls it by, in one header or several.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let headers = self.headers;
        let values = TAGS.iter().flat_map(move |name| headers.get_all(name)).filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty()).take(MAX_TAGS)
    }
}

/// What a header says, in whichever family. Refuses two different values: in both families, or in a header that is sent twice.
pub fn said<'a>(headers: &'a HeaderMap, pair: &Pair) -> Result<Option<&'a str>, Box<Failure>> {
    let mut found = None;
    for value in pair.iter().flat_map(|name| headers.get_all(name)) {
        let Some(value) = value.to_str().ok().map(str::trim).filter(|text| !text.is_empty()) else { continue };
        if found.is_some_and(|found| found != value) {
            let [gateway, lunargate] = pair;
            let message = format!("`{gateway}` and `{lunargate}` say two different things; send one of them, once");
            return Err(Box::new(Failure::invalid(message).at(gateway.as_str())));
        }
        found = Some(value);
    }
    Ok(found)
}

/// What is asked for at a path, whatever stands before it.
pub fn kind(path: &str) -> Kind {
    let mut pieces = path.rsplit('/').filter(|piece| !piece.is_empty());
    let last = pieces.next().unwrap_or_default();
    match (pieces.next().unwrap_or_default(), last) {
        ("chat", "completions") => Kind::Chat,
        (_, "completions") => Kind::Completions,
        (_, "responses") | ("responses", "input_tokens") => Kind::Responses,
        (_, "messages") | ("messages", "count_tokens") => Kind::Messages,
        (_, "embeddings") => Kind::Embeddings,
        (_, "rerank") => Kind::Rerank,
        (_, "moderations") => Kind::Moderations,
        ("images", _) => Kind::Images,
        ("audio", _) => Kind::Audio,
        (_, "realtime") => Kind::Realtime,
        (_, method) => match method.rsplit_once(':') {
            Some((_, "generateContent" | "streamGenerateContent" | "countTokens")) => Kind::Generate,
            _ => Kind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_path() {
        let cases = [
            ("/v1/chat/completions", Kind::Chat),
            ("//v1//chat/completions", Kind::Chat),
            ("/v1/completions", Kind::Completions),
            ("/v1/responses", Kind::Responses),
            ("/v1/responses/input_tokens", Kind::Responses),
            ("/v1/responses/resp_1", Kind::Other),
            ("/anthropic/v1/messages", Kind::Messages),
            ("/v1/messages/count_tokens", Kind::Messages),
            ("/v1beta/models/a/g:streamGenerateContent", Kind::Generate),
            ("/v1/models/g:countTokens", Kind::Generate),
            ("/v1/images/edits", Kind::Images),
            ("/v1/audio/speech", Kind::Audio),
            ("/v2/rerank", Kind::Rerank),
            ("/v1/realtime", Kind::Realtime),
            ("/v1/vector_stores", Kind::Other),
            ("/", Kind::Other),
        ];
        for (path, expected) in cases {
            assert_eq!(kind(path), expected, "{path}");
        }
    }

    #[test]
    fn tags_of_both_families_and_not_without_end() {
        let mut headers = HeaderMap::new();
        headers.append("x-gateway-tags", http::HeaderValue::from_static("a, b ,,"));
        headers.append("x-lunargate-tags", http::HeaderValue::from_static("c"));
        assert_eq!(Ask::new("/", &headers, "m").tags().collect::<Vec<_>>(), ["a", "b", "c"]);
        headers.append("x-gateway-tags", "t,".repeat(1000).parse().expect("a value"));
        assert_eq!(Ask::new("/", &headers, "m").tags().count(), MAX_TAGS);
    }
}
