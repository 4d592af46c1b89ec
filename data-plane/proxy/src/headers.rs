//! The gateway's own headers, read and written, in both families (`x-gateway-*` and `x-lunargate-*`).

use std::time::Duration;

use gateway_engine::ask::{Pair, said};
use gateway_engine::auto::Judgement;
use gateway_engine::choice::Chosen;
use gateway_engine::limits::Rates;
use gateway_engine::resolve::Arm;
use gateway_engine::snapshot::HeaderFamilies;
use gateway_ir::failure::Failure;
use http::header::AGE;
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
    /// A fresh answer, which is not kept either.
    pub(crate) no_cache: bool,
    /// A stream that breaks off is over, whatever the configuration says.
    pub(crate) no_continuation: bool,
    /// Refuse what the target cannot wholly be told; `None`: as the settings say.
    pub(crate) strict: Option<bool>,
}

macro_rules! pairs {
    ($($name:ident $suffix:literal;)*) => {
        $(static $name: Pair = [
            HeaderName::from_static(concat!("x-gateway-", $suffix)),
            HeaderName::from_static(concat!("x-lunargate-", $suffix)),
        ];)*
    };
}

pairs! {
    PROVIDER "provider";
    MODEL "model";
    ROUTE "route";
    SESSION "sessionid";
    NO_RETRY "no-retry";
    NO_CACHE "no-cache";
    NO_CONTINUATION "no-continuation";
    CACHE_STATUS "cache-status";
    STRICT "strict";
    REQUEST_ID "request-id";
    LATENCY_MS "latency-ms";
    OVERHEAD_MS "overhead-duration-ms";
}

/// OpenAI's.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
static OVERHEAD_US: HeaderName = HeaderName::from_static("x-gateway-overhead-duration-us");
static EXPERIMENT: HeaderName = HeaderName::from_static("x-gateway-experiment");
static DECISION: HeaderName = HeaderName::from_static("x-gateway-decision");
static RETRIES: HeaderName = HeaderName::from_static("x-gateway-retries");
static COST_USD: HeaderName = HeaderName::from_static("x-gateway-cost-usd");
static UNPRICED: HeaderName = HeaderName::from_static("x-gateway-unpriced");
static TOKENS_INPUT: HeaderName = HeaderName::from_static("x-gateway-llm-tokens-input");
static TOKENS_OUTPUT: HeaderName = HeaderName::from_static("x-gateway-llm-tokens-output");
static LLM_CACHE: HeaderName = HeaderName::from_static("x-gateway-llm-cache");
static COST_SAVED: HeaderName = HeaderName::from_static("x-gateway-llm-cache-cost-saved");
static DROPPED: HeaderName = HeaderName::from_static("x-gateway-dropped-parameters");
static TOKEN_COUNT: HeaderName = HeaderName::from_static("x-gateway-token-count");
pub(crate) static LIMIT_KIND: HeaderName = HeaderName::from_static("x-gateway-limit-kind");
static REVISION: HeaderName = HeaderName::from_static("x-gateway-config-revision");
static RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static RATELIMIT_MODE: HeaderName = HeaderName::from_static("x-ratelimit-mode");
static RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

static RATELIMIT_REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
static RATELIMIT_TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

// === impl Hints ===

impl<'a> Hints<'a> {
    /// Refuses what says two things: in both families, or in a header that is sent twice.
    pub(crate) fn read(headers: &'a HeaderMap) -> Result<Self, Box<Failure>> {
        // Most clients say nothing, and need not be asked eight times.
        if !headers
            .keys()
            .any(|name| name.as_str().starts_with("x-gateway-") || name.as_str().starts_with("x-lunargate-"))
        {
            return Ok(Self::default());
        }
        Ok(Self {
            provider: said(headers, &PROVIDER)?,
            model: said(headers, &MODEL)?,
            route: said(headers, &ROUTE)?,
            session: said(headers, &SESSION)?.filter(|session| session.len() <= 256),
            no_retry: says_true(headers, &NO_RETRY)?,
            no_cache: says_true(headers, &NO_CACHE)?,
            no_continuation: says_true(headers, &NO_CONTINUATION)?,
            strict: said(headers, &STRICT)?.and_then(|value| value.to_ascii_lowercase().parse().ok()),
        })
    }
}

/// As OpenAI writes the time until a limit is whole again: `120ms`, `1s`, `6m0s`, `1h2m3s`. Rounded up.
fn span(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        return [itoa::Buffer::new().format(millis), "ms"].concat();
    }
    let seconds = millis.div_ceil(1000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Puts a session into a request, under both of its names.
pub(crate) fn set_session(headers: &mut HeaderMap, session: &str) {
    for name in &SESSION {
        headers.insert(name, value(session));
    }
}

fn says_true(headers: &HeaderMap, pair: &Pair) -> Result<bool, Box<Failure>> {
    Ok(said(headers, pair)?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
}

/// Writes the gateway's headers on a response, in the families that the settings name.
pub(crate) struct Writer<'a> {
    headers: &'a mut HeaderMap,
    families: HeaderFamilies,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(crate) fn new(headers: &'a mut HeaderMap, families: HeaderFamilies) -> Self {
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
        let canonical = value(&[provider, "/", model].concat());
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

    /// What automatic choice has made of the request.
    fn judgement(&mut self, judgement: &Judgement) {
        for (names, value) in judgement.told() {
            if let Some(name) = names.lunargate.filter(|_| self.families.lunargate) {
                self.headers.insert(name, value.clone());
            }
            if self.families.gateway {
                self.headers.insert(names.gateway, value);
            }
        }
    }

    /// The variant of an experiment that serves it.
    fn arm(&mut self, arm: &Arm) {
        if self.families.gateway {
            self.headers.insert(&EXPERIMENT, value(&format!("{}/{}", arm.experiment, arm.variant)));
        }
    }

    /// What was chosen for the request, where anything was.
    pub(crate) fn chosen(&mut self, chosen: &Chosen) {
        if let Some(judged) = &chosen.judged {
            self.judgement(judged);
        }
        if let Some(arm) = &chosen.arm {
            self.arm(arm);
        }
    }

    pub(crate) fn retries(&mut self, n_retries: usize) {
        if self.families.gateway {
            self.headers.insert(&RETRIES, number(n_retries as u64));
        }
    }

    pub(crate) fn revision(&mut self, revision: u64) {
        if self.families.gateway {
            self.headers.insert(&REVISION, number(revision));
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
            self.headers.insert(&TOKENS_INPUT, number(input));
            self.headers.insert(&TOKENS_OUTPUT, number(output));
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
            self.headers.insert(&COST_USD, usd(nano_usd));
        }
    }

    /// Nobody knows what it costs.
    pub(crate) fn unpriced(&mut self) {
        if self.families.gateway {
            self.headers.insert(&UNPRICED, HeaderValue::from_static("true"));
        }
    }

    /// `HIT` or `MISS`; nothing where nothing is given again.
    pub(crate) fn cache(&mut self, is_hit: bool) {
        let word = HeaderValue::from_static(if is_hit { "HIT" } else { "MISS" });
        if self.families.gateway {
            self.headers.insert(&LLM_CACHE, word.clone());
        }
        self.both(&CACHE_STATUS, word);
    }

    /// How old the reply is (RFC 9111, section 5.1), in whole seconds, and what it has not cost this time.
    pub(crate) fn recalled(&mut self, age_ms: u64, saved_nano_usd: Option<i64>) {
        self.headers.insert(AGE, number(age_ms / 1000));
        if let Some(saved) = saved_nano_usd.filter(|_| self.families.gateway) {
            self.headers.insert(&COST_SAVED, usd(saved));
        }
    }

    pub(crate) fn latency(&mut self, total_us: u64, overhead_us: u64) {
        self.both(&LATENCY_MS, number(total_us / 1000));
        self.both(&OVERHEAD_MS, number(overhead_us / 1000));
        if self.families.gateway {
            self.headers.insert(&OVERHEAD_US, number(overhead_us));
        }
    }

    /// In the one form, and in OpenAI's (<https://platform.openai.com/docs/guides/rate-limits>).
    pub(crate) fn rates(&mut self, rates: &Rates) {
        if rates.is_degraded {
            self.headers.insert(&RATELIMIT_MODE, HeaderValue::from_static("degraded"));
        }
        if let Some(rate) = rates.requests.or(rates.tokens) {
            self.headers.insert(&RATELIMIT_LIMIT, number(rate.limit));
            self.headers.insert(&RATELIMIT_REMAINING, number(rate.remaining));
        }
        for (rate, [limit, remaining, reset]) in
            [(rates.requests, &RATELIMIT_REQUESTS), (rates.tokens, &RATELIMIT_TOKENS)]
        {
            let Some(rate) = rate else { continue };
            self.headers.insert(limit, number(rate.limit));
            self.headers.insert(remaining, number(rate.remaining));
            self.headers.insert(reset, value(&span(rate.reset)));
        }
    }

    pub(crate) fn limit_kind(&mut self, kind: &'static str) {
        self.headers.insert(&LIMIT_KIND, HeaderValue::from_static(kind));
    }

    fn both(&mut self, [gateway, lunargate]: &Pair, value: HeaderValue) {
        if self.families.lunargate {
            self.headers.insert(lunargate, value.clone());
        }
        if self.families.gateway {
            self.headers.insert(gateway, value);
        }
    }
}

fn usd(nano_usd: i64) -> HeaderValue {
    const WHOLE: u64 = 1_000_000;
    let micro = (nano_usd.unsigned_abs() + 500) / 1000;
    // A one before the digits keeps the zeros at their head.
    let (mut whole, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    value(&[whole.format(micro / WHOLE), ".", &digits.format(WHOLE + micro % WHOLE)[1..]].concat())
}

/// A number costs one allocation, and none if it is a digit: most that a reply says are.
fn number(n: u64) -> HeaderValue {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    match usize::try_from(n).ok().and_then(|n| DIGITS.get(n)) {
        Some(digit) => HeaderValue::from_static(digit),
        None => value(itoa::Buffer::new().format(n)),
    }
}

/// Names of providers and models may hold what a header may not; such characters become `?`.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let visible: String = text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        HeaderValue::from_str(&visible).expect("only visible ASCII is left")
    })
}
