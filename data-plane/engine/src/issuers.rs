//! Systems whose tokens are keys: which of them a token is of, whether it is good, and whose it then is. Keys that have to be fetched, and
//! what an authorization server says, are arguments; nothing here asks anybody.

mod whose;
mod introspector;

use std::sync::Arc;

use gateway_ir::failure::Failure;
use gateway_model::kind::settings::Settings;
use gateway_model::kind::settings::jwt::{Claims, Issuer as Document};
use gateway_model::problem::{Code as ProblemCode, Problem};

use crate::jws::{self, Algorithm, Expected, Key, Token, Unfit};

use whose::{Source, invalid};

pub use introspector::{Introspector, Nonsense};
pub use whose::{Verified, Whose, is_foreign, revived};

/// All that are configured.
#[derive(Debug)]
pub struct Issuers {
    signed: Vec<Issuer>,
    /// The longest prefix first.
    asked: Vec<Arc<Introspector>>,
}

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

const SKEW_S: u64 = 60;

// === impl Issuers ===

impl Issuers {
    /// `None` where there are none, so that nothing is looked for.
    pub(crate) fn compile(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Arc<Self>> {
        let mut signed = Vec::with_capacity(settings.jwt.len());
        for document in &settings.jwt {
            match Issuer::new(document) {
                Ok(issuer) => signed.push(issuer),
                Err((field, why)) => {
                    let path = format!("settings.jwt[{}].{field}", document.name);
                    problems.push(Problem::error(ProblemCode::InvalidValue, path, why));
                }
            }
        }
        let mut asked = Vec::with_capacity(settings.introspection.len());
        for document in &settings.introspection {
            match Introspector::new(document) {
                Some(introspector) => asked.push(Arc::new(introspector)),
                None => {
                    let path = format!("settings.introspection[{}].url", document.name);
                    let why = "must be a URL like https://id.example.com/introspect; http and private addresses take \
                               `allow_private_networks: true`";
                    problems.push(Problem::error(ProblemCode::InvalidValue, path, why));
                }
            }
        }
        asked.sort_by_key(|introspector| std::cmp::Reverse(introspector.prefix().len()));
        (!signed.is_empty() || !asked.is_empty()).then(|| Arc::new(Self { signed, asked }))
    }

    /// The issuer that this token claims to be of; `None`: it is of nobody here.
    pub fn of(&self, token: &str) -> Option<&Issuer> {
        if self.signed.is_empty() || !jws::is_like(token) {
            return None;
        }
        let claimed = jws::claimed_issuer(token)?;
        self.signed.iter().find(|issuer| issuer.issuer == claimed)
    }

    /// Who is to be asked about this token, if it is no key; `None`: nobody.
    pub fn asked_about(&self, token: &str) -> Option<&Arc<Introspector>> {
        self.asked.iter().find(|introspector| token.starts_with(introspector.prefix()))
    }

    /// Whether the one of this source and name is still configured.
    fn has(&self, source: Source, name: &str) -> bool {
        match source {
            Source::Jwt => self.signed.iter().any(|issuer| &*issuer.name == name),
            Source::Introspection => self.asked.iter().any(|introspector| introspector.name() == name),
        }
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

    pub fn name(&self) -> &str {
        &self.name
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
        let whose = whose::whose((Source::Jwt, &self.name), &self.claims, &claims, ends_at_ms)?;
        Ok(Verified { whose, ends_at_ms })
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

fn unknown(name: &str) -> (&'static str, String) {
    let known = Algorithm::ALL.map(Algorithm::name).join(", ");
    (
        "algorithms",
        format!("`{name}` is not one of {known}; what is signed with a shared secret or not at all is not taken"),
    )
}
