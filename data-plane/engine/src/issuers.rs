//! Systems whose signed tokens are keys: which of them a token is of, whether it is good, and whose it then is. Keys that have to be
//! fetched are an argument; nothing here asks anybody.

use std::sync::Arc;

use gateway_ir::failure::{Code, Failure};
use gateway_model::kind::settings::jwt::{Claims, Issuer as Document};
use gateway_model::problem::{Code as ProblemCode, Problem};
use serde_json::Value;

use crate::identity::{Access, Belongs, Caller, KeyEntry, KeyTable, still};
use crate::jws::{self, Algorithm, Expected, Key, Token, Unfit};

/// All that are configured.
#[derive(Debug)]
pub struct Issuers(Vec<Issuer>);

/// One of them.
#[derive(Debug)]
pub struct Issuer {
    name: Arc<str>,
    issuer: String,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    skew_s: u64,
    claims: Claims,
    pub keys: Keys,
}

/// Where its keys are.
#[derive(Debug)]
pub enum Keys {
    Here(Vec<Key>),
    At(Arc<Place>),
}

/// An address that keys are fetched from.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub url: Arc<str>,
    pub tls: bool,
    pub host: Arc<str>,
    pub port: u16,
    /// `host:port`, the port where it is not the usual one.
    pub authority: String,
    pub path: String,
    pub allow_private: bool,
}

/// Whose a token is.
#[derive(Clone, Debug)]
pub enum Whose {
    /// That of the key of this id; what it may is looked up at each request.
    Key(Arc<str>),
    /// A team's or a user's.
    Tenants(Arc<Caller>),
}

/// A token that was verified.
#[derive(Clone, Debug)]
pub struct Verified {
    pub whose: Whose,
    /// Unix milliseconds; refused from then on.
    pub ends_at_ms: i64,
}

const SKEW_S: u64 = 60;
/// Longest name or pattern that a claim may hold, and how many of them.
const MAX_WORD: usize = 256;
const MAX_MODELS: usize = 100;

// === impl Issuers ===

impl Issuers {
    /// `None` where there are none, so that nothing is looked for.
    pub(crate) fn compile(documents: &[Document], problems: &mut Vec<Problem>) -> Option<Arc<Self>> {
        let mut issuers = Vec::with_capacity(documents.len());
        for document in documents {
            match Issuer::new(document) {
                Ok(issuer) => issuers.push(issuer),
                Err((field, why)) => {
                    let path = format!("settings.jwt[{}].{field}", document.name);
                    problems.push(Problem::error(ProblemCode::InvalidValue, path, why));
                }
            }
        }
        (!issuers.is_empty()).then(|| Arc::new(Self(issuers)))
    }

    /// The issuer that this token claims to be of; `None`: it is of nobody here.
    pub fn of(&self, token: &str) -> Option<&Issuer> {
        let claimed = jws::claimed_issuer(token)?;
        self.0.iter().find(|issuer| issuer.issuer == claimed)
    }
}

// === impl Issuer ===

impl Issuer {
    fn new(document: &Document) -> Result<Self, (&'static str, String)> {
        let named = document.algorithms.clone();
        let named = named.unwrap_or_else(|| ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec());
        let algorithms =
            named.iter().map(|name| Algorithm::parse(name).ok_or_else(|| unknown(name))).collect::<Result<_, _>>()?;
        let keys = match (&document.jwks_url, document.keys.as_slice()) {
            (Some(url), []) => Keys::At(Arc::new(Place::parse(url, document.allow_private_networks).ok_or_else(|| {
                ("jwks_url", "must be a URL like https://id.example.com/keys; http and private addresses take `allow_private_networks: true`".to_owned())
            })?)),
            (None, [_, ..]) => {
                let keys = document.keys.iter().map(|jwk| Key::parse(jwk.clone()));
                let keys: Option<Vec<Key>> = keys.collect();
                Keys::Here(keys.ok_or_else(|| ("keys", "must be public JWKs for signatures".to_owned()))?)
            }
            _ => return Err(("jwks_url", "give either `jwks_url` or `keys`".to_owned())),
        };
        if document.audience.is_empty() {
            return Err(("audience", "say whom its tokens are for; one for others is not one for us".to_owned()));
        }
        let Claims { key: None, team: None, user: None, .. } = &document.claims else {
            let skew_s = document.clock_skew.map_or(SKEW_S, |skew| skew.0.as_secs());
            if skew_s > 300 {
                return Err(("clock_skew", "must be at most 5m".to_owned()));
            }
            let (issuer, audience, claims) =
                (document.issuer.clone(), document.audience.clone(), document.claims.clone());
            return Ok(Self {
                name: document.name.as_str().into(),
                issuer,
                audience,
                algorithms,
                skew_s,
                claims,
                keys,
            });
        };
        Err(("claims", "say which claim names the `key`, the `team` or the `user`".to_owned()))
    }

    /// Whether any of these keys may have signed it, so that it makes sense to verify it.
    pub fn knows(&self, token: &str, keys: &[Key]) -> bool {
        Token::parse(token).is_ok_and(|token| keys.iter().any(|key| token.may_be_of(key)))
    }

    /// Whose the token is, if it is this issuer's and good. Costs the verification of a signature: some ten microseconds.
    pub fn verify(&self, text: &str, keys: &[Key], now_s: i64) -> Result<Verified, Box<Failure>> {
        let refused = |unfit: Unfit| invalid(format!("the token of `{}` is refused: {unfit}", self.name));
        let token = Token::parse(text).map_err(refused)?;
        if !self.algorithms.contains(&token.algorithm) {
            return Err(refused(Unfit::Algorithm));
        }
        let claims = token.verified(keys).map_err(refused)?;
        let expected = Expected { issuer: &self.issuer, audience: &self.audience, skew_s: self.skew_s };
        let ends_at_ms = jws::check(&claims, expected, now_s).map_err(refused)?.saturating_mul(1000);
        Ok(Verified { whose: self.whose(&claims, ends_at_ms)?, ends_at_ms })
    }

    fn whose(&self, claims: &Value, ends_at_ms: i64) -> Result<Whose, Box<Failure>> {
        let said = |claim: &Option<String>| -> Option<Arc<str>> {
            let text = claims[claim.as_deref()?].as_str()?;
            (!text.is_empty() && text.len() <= MAX_WORD).then(|| text.into())
        };
        if let Some(key) = said(&self.claims.key) {
            return Ok(Whose::Key(key));
        }
        let belongs = Belongs { user: said(&self.claims.user), team: said(&self.claims.team) };
        if belongs == Belongs::default() {
            return Err(invalid(format!(
                "the token of `{}` names no key, team or user that it is used for",
                self.name
            )));
        }
        let models = match &self.claims.models {
            None => vec!["*".to_owned()],
            Some(claim) => words(&claims[claim.as_str()]),
        };
        let id = format!("jwt:{}", self.name);
        let access = Access { belongs, ..Access::default() };
        let expires_at_ms = Some(ends_at_ms);
        let entry = KeyEntry {
            id: id.as_str().into(),
            name: id,
            models,
            access,
            enabled: true,
            expires_at_ms,
            ..KeyEntry::default()
        };
        Ok(Whose::Tenants(Caller::vouched(&entry)))
    }
}

// === impl Verified ===

impl Verified {
    /// Who calls with it now: a key that it stands for may have been revoked since.
    pub fn caller(&self, keys: &KeyTable, now_ms: i64) -> Result<Arc<Caller>, Box<Failure>> {
        if self.ends_at_ms <= now_ms {
            return Err(invalid("this token has expired".to_owned()));
        }
        match &self.whose {
            Whose::Key(id) => still(id, keys, now_ms),
            Whose::Tenants(caller) => Ok(Arc::clone(caller)),
        }
    }
}

// === impl Place ===

impl Place {
    fn parse(url: &str, allow_private: bool) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" if allow_private => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        Some(Self {
            url: url.into(),
            tls,
            host: authority.host().trim_matches(['[', ']']).into(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            allow_private,
        })
    }
}

/// A list of texts, or one text with blanks between its words.
fn words(value: &Value) -> Vec<String> {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split_ascii_whitespace().collect(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().filter(|text| text.len() <= MAX_WORD).take(MAX_MODELS).map(str::to_owned).collect()
}

fn unknown(name: &str) -> (&'static str, String) {
    let known = Algorithm::ALL.map(Algorithm::name).join(", ");
    (
        "algorithms",
        format!("`{name}` is not one of {known}; what is signed with a shared secret or not at all is not taken"),
    )
}

fn invalid(message: String) -> Box<Failure> {
    Box::new(Failure::new(Code::InvalidCredential, message))
}
