//! A provider asked for the models that its key reaches, now and from here, for who wants to know whether it is written right. Where
//! they are listed and how the key is shown is what nodes work out too; whatever it answers is text, without what it was shown.

use std::time::{Duration, Instant};

use gateway_dialects::listing::{NoList, read};
use gateway_model::catalog;
use gateway_model::kind::provider::Provider;
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_providers::endpoint::Endpoint;
use http::{Method, Uri, header};

use crate::clock;
use crate::outbound::{Answer, Message, Outbound};

/// Asks them.
#[derive(Debug)]
pub struct Upstreams {
    outbound: Outbound,
}

/// A provider with one key, as it is asked.
#[derive(Debug)]
pub struct Question {
    endpoint: Endpoint,
    list: Uri,
    /// The name of the key, where it has several.
    pub key: Option<String>,
    secrets: Vec<Secret>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Trial {
    pub status: Option<u16>,
    pub outcome: Result<Models, String>,
    pub took: Duration,
}

/// What it lists.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// The first of them, in its own order.
    pub names: Vec<String>,
    pub n_models: usize,
    /// There are further pages, which nobody asked for.
    pub more: bool,
}

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    #[error("the provider is refused")]
    Invalid(Vec<Problem>),
    #[error("it has no key named `{0}`")]
    NoKey(String),
    #[error("{0}")]
    NotHere(&'static str),
}

/// Of a list; the longest that are known have some hundreds of kilobytes.
const MAX_LIST: usize = 4 << 20;
/// Names in an answer.
const MAX_NAMES: usize = 500;
/// What is shorter stands in many a text by chance.
const MIN_SECRET: usize = 4;

// === impl Upstreams ===

impl Upstreams {
    pub(crate) fn new() -> Self {
        Self { outbound: Outbound::new() }
    }

    /// One request, which costs nothing there. Takes ten seconds at most.
    pub(crate) async fn ask(&self, question: &Question) -> Trial {
        let began = Instant::now();
        let headers = question.headers();
        let headers: Vec<(&str, String)> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let message = Message { method: Method::GET, headers: &headers, body: Vec::new() };
        let (url, allow_private) = (Secret::new(question.list.to_string()), question.endpoint.allow_private_networks());
        let answer = self.outbound.call_for(&url, allow_private, message, MAX_LIST).await;
        let status = answer.as_ref().ok().map(|answer| answer.status);
        Trial { status, outcome: answer.and_then(|answer| question.read(answer)), took: began.elapsed() }
    }
}

// === impl Question ===

impl Question {
    /// With the key of this name, else its only one, else the first that is in use.
    pub(crate) fn of(provider: &Provider, key: Option<&str>) -> Result<Self, Unasked> {
        let problems: Vec<Problem> = Set { providers: vec![provider.clone()], ..Set::default() }.validate();
        if problems.iter().any(Problem::is_error) {
            return Err(Unasked::Invalid(problems));
        }
        let with = match key {
            Some(name) => {
                let named = provider.api_keys.iter().find(|key| key.name == name);
                Some(named.ok_or_else(|| Unasked::NoKey(name.to_owned()))?)
            }
            None => provider.api_keys.iter().find(|key| key.enabled),
        };
        let provider = with.map_or_else(|| provider.clone(), |key| provider.with_key(key));
        // The validator knows the catalogue too.
        let row = catalog::row(&provider.kind).ok_or(Unasked::NotHere("nothing is known of its kind"))?;
        let endpoint = Endpoint::compile(&provider, row).map_err(Unasked::Invalid)?;
        if endpoint.token_source().is_some() {
            return Err(Unasked::NotHere(
                "it shows a token of an account of Google's, which nodes fetch and the control plane does not; a request through a node tells",
            ));
        }
        let list = endpoint.listing().and_then(|listing| listing.uri(None));
        let list =
            list.ok_or(Unasked::NotHere("it has no list of models to be asked for; a request through a node tells"))?;
        Ok(Self { list, endpoint, key: with.map(|key| key.name.clone()), secrets: secrets(&provider) })
    }

    /// Scheme, host and port of who is asked.
    pub(crate) fn address(&self) -> String {
        let scheme = self.list.scheme_str().unwrap_or_default();
        format!("{scheme}://{}", self.list.authority().map_or("", |authority| authority.as_str()))
    }

    fn headers(&self) -> Vec<(String, String)> {
        let signer = self.endpoint.signer();
        let signed = signer.map(|signer| signer.sign(&Method::GET, &self.list, [], clock::unix_ms() / 1000));
        let own = self.endpoint.headers().iter().map(|(name, value)| (name.clone(), value.clone()));
        let all = own.filter(|(name, _)| *name != header::CONTENT_TYPE).chain(signed.into_iter().flatten());
        all.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
    }

    fn read(&self, answer: Answer) -> Result<Models, String> {
        if !(200..300).contains(&answer.status) {
            let plain = answer.body.chars().filter(|letter| !letter.is_control()).collect();
            return Err(Answer { body: self.without_secrets(plain), ..answer }.told());
        }
        if answer.body.len() >= MAX_LIST {
            return Err(format!("its list of models is longer than {} MiB", MAX_LIST >> 20));
        }
        let listing = self.endpoint.listing().ok_or("it has no list of models")?;
        let page = read(listing.format, answer.body.as_bytes());
        let page = page.map_err(|NoList| "it answers, and what it answers is no list of models".to_owned())?;
        let n_models = page.offers.len();
        let names = page.offers.into_iter().take(MAX_NAMES).map(|offer| self.without_secrets(offer.model));
        Ok(Models { names: names.collect(), n_models, more: page.next.is_some() })
    }

    /// There are vendors that say which key they do not know.
    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| text.replace(secret.expose(), "…"))
    }
}

fn secrets(provider: &Provider) -> Vec<Secret> {
    let aws = provider.aws.iter().flat_map(|aws| [&aws.secret_access_key, &aws.session_token]);
    let all = std::iter::once(&provider.api_key).chain(aws).flatten();
    all.filter(|secret| secret.expose().len() >= MIN_SECRET).cloned().collect()
}
