//! The gateway's own headers, read and written, in both families (`x-gateway-*` and `x-lunargate-*`).

use gateway_engine::snapshot::HeaderFamilies;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What a client may ask of the gateway beside the body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints<'a> {
    pub(crate) provider: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    pub(crate) route: Option<&'a str>,
    /// Correlates requests in logs; never changes routing.
    pub(crate) session: Option<&'a str>,
    pub(crate) no_retry: bool,
    /// Refuse what the target cannot wholly be told; `None`: as the settings say.
    pub(crate) strict: Option<bool>,
}

/// One header in both spellings.
struct Pair {
    gateway: HeaderName,
    lunargate: HeaderName,
}

macro_rules! pairs {
    ($($name:ident $suffix:literal;)*) => {
        $(static $name: Pair = Pair {
            gateway: HeaderName::from_static(concat!("x-gateway-", $suffix)),
            lunargate: HeaderName::from_static(concat!("x-lunargate-", $suffix)),
        };)*
    };
}

pairs! {
    PROVIDER "provider";
    MODEL "model";
    ROUTE "route";
    SESSION "sessionid";
    NO_RETRY "no-retry";
    STRICT "strict";
    REQUEST_ID "request-id";
    LATENCY_MS "latency-ms";
    OVERHEAD_MS "overhead-duration-ms";
}

/// OpenAI's.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
static OVERHEAD_US: HeaderName = HeaderName::from_static("x-gateway-overhead-duration-us");
static DECISION: HeaderName = HeaderName::from_static("x-gateway-decision");
static RETRIES: HeaderName = HeaderName::from_static("x-gateway-retries");
static COST_USD: HeaderName = HeaderName::from_static("x-gateway-cost-usd");
static TOKENS_INPUT: HeaderName = HeaderName::from_static("x-gateway-llm-tokens-input");
static TOKENS_OUTPUT: HeaderName = HeaderName::from_static("x-gateway-llm-tokens-output");
static DROPPED: HeaderName = HeaderName::from_static("x-gateway-dropped-parameters");
static TOKEN_COUNT: HeaderName = HeaderName::from_static("x-gateway-token-count");
pub(crate) static LIMIT_KIND: HeaderName = HeaderName::from_static("x-gateway-limit-kind");
static REVISION: HeaderName = HeaderName::from_static("x-gateway-config-revision");
static RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

// === impl Hints ===

impl<'a> Hints<'a> {
    pub(crate) fn read(headers: &'a HeaderMap) -> Self {
        Self {
            provider: text(headers, &PROVIDER),
            model: text(headers, &MODEL),
            route: text(headers, &ROUTE),
            session: text(headers, &SESSION).filter(|session| session.len() <= 256),
            no_retry: text(headers, &NO_RETRY).is_some_and(|value| value.eq_ignore_ascii_case("true")),
            strict: text(headers, &STRICT).and_then(|value| value.to_ascii_lowercase().parse().ok()),
        }
    }
}

/// Puts a session into a request, under both of its names.
pub(crate) fn set_session(headers: &mut HeaderMap, session: &str) {
    for name in [&SESSION.gateway, &SESSION.lunargate] {
        headers.insert(name, value(session));
    }
}

fn text<'a>(headers: &'a HeaderMap, pair: &Pair) -> Option<&'a str> {
    let value = headers.get(&pair.gateway).or_else(|| headers.get(&pair.lunargate))?;
    value.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// Writes the gateway's headers on a response, in the families that the settings name.
pub(crate) struct Writer<'a> {
    headers: &'a mut HeaderMap,
    families: HeaderFamilies,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(crate) fn new(headers: &'a mut HeaderMap, families: HeaderFamilies) -> Self {
        headers.reserve(20);
        Self { headers, families }
    }

    /// Also under the vendors' own names, which their SDKs show to callers.
    pub(crate) fn request_id(&mut self, id: &str) {
        let id = value(id);
        self.headers.insert(&X_REQUEST_ID, id.clone());
        self.headers.insert(&ANTHROPIC_REQUEST_ID, id.clone());
        self.both(&REQUEST_ID, id);
    }

    pub(crate) fn target(&mut self, provider: &str, model: &str) {
        self.both(&PROVIDER, value(provider));
        let canonical = value(&format!("{provider}/{model}"));
        if self.families.gateway {
            self.headers.insert(&DECISION, canonical.clone());
        }
        self.both(&MODEL, canonical);
    }

    /// Where nobody said which model.
    pub(crate) fn provider(&mut self, provider: &str) {
        self.both(&PROVIDER, value(provider));
    }

    pub(crate) fn route(&mut self, route: &str) {
        self.both(&ROUTE, value(route));
    }

    pub(crate) fn retries(&mut self, n_retries: usize) {
        if self.families.gateway {
            self.headers.insert(&RETRIES, HeaderValue::from(n_retries));
        }
    }

    pub(crate) fn revision(&mut self, revision: u64) {
        if self.families.gateway {
            self.headers.insert(&REVISION, HeaderValue::from(revision));
        }
    }

    /// Parameters the upstream could not be told.
    pub(crate) fn dropped(&mut self, names: &[String]) {
        if self.families.gateway && !names.is_empty() {
            self.headers.insert(&DROPPED, value(&names.join(", ")));
        }
    }

    pub(crate) fn tokens(&mut self, input: u64, output: u64) {
        if self.families.gateway {
            self.headers.insert(&TOKENS_INPUT, HeaderValue::from(input));
            self.headers.insert(&TOKENS_OUTPUT, HeaderValue::from(output));
        }
    }

    /// Whether a number of tokens is the vendor's own or our estimate.
    pub(crate) fn token_count(&mut self, is_exact: bool) {
        if self.families.gateway {
            self.headers.insert(&TOKEN_COUNT, HeaderValue::from_static(if is_exact { "exact" } else { "estimate" }));
        }
    }

    /// Six decimals, as the seed has it; exact integers until here.
    pub(crate) fn cost(&mut self, nano_usd: i64) {
        if self.families.gateway {
            let micro = (nano_usd.unsigned_abs() + 500) / 1000;
            let text = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
            self.headers.insert(&COST_USD, value(&text));
        }
    }

    pub(crate) fn latency(&mut self, total_us: u64, overhead_us: u64) {
        self.both(&LATENCY_MS, HeaderValue::from(total_us / 1000));
        self.both(&OVERHEAD_MS, HeaderValue::from(overhead_us / 1000));
        if self.families.gateway {
            self.headers.insert(&OVERHEAD_US, HeaderValue::from(overhead_us));
        }
    }

    pub(crate) fn rate(&mut self, limit: u64, remaining: u64) {
        self.headers.insert(&RATELIMIT_LIMIT, HeaderValue::from(limit));
        self.headers.insert(&RATELIMIT_REMAINING, HeaderValue::from(remaining));
    }

    pub(crate) fn limit_kind(&mut self, kind: &'static str) {
        self.headers.insert(&LIMIT_KIND, HeaderValue::from_static(kind));
    }

    fn both(&mut self, pair: &Pair, value: HeaderValue) {
        if self.families.lunargate {
            self.headers.insert(&pair.lunargate, value.clone());
        }
        if self.families.gateway {
            self.headers.insert(&pair.gateway, value);
        }
    }
}

/// Names of providers and models may hold what a header may not; such characters become `?`.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let visible: String = text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        HeaderValue::from_str(&visible).expect("only visible ASCII is left")
    })
}
