//! Who is calling: a presented credential → its `Caller`. A keyed digest and two lookups in memory; a key's text is never kept.

mod access;
mod pepper;
mod lists;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use gateway_ir::failure::{Code, Failure};
use gateway_model::access::RevokeMode;
use gateway_model::policy::Unpriced;
use gateway_model::token::{self, Form};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::bodies::Keeping;
use crate::glob::Glob;
use crate::limits::purse::Purse;
use crate::limits::{Limits, Owner};

use access::Rights;
use lists::Lists;

pub use access::{Access, Belongs, Call};
pub use pepper::{Digest, EmptyPepper, Peppers};
pub use table::{Earlier, KeyEntry, KeyTable};

/// Whoever presented a key: what it is called, what it may do, what it has used up.
#[derive(Debug)]
pub struct Caller {
    /// `vk_…`; not secret.
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub tags: Arc<[Arc<str>]>,
    models: Arc<[Glob]>,
    passthrough: Arc<[Glob]>,
    enabled: bool,
    /// Unix milliseconds; refused from then on.
    expires_at_ms: Option<i64>,
    /// `None`: as any key.
    rights: Option<Box<Rights>>,
    limits: Arc<Limits>,
    pepper_version: u32,
    #[expect(clippy::box_collection, reason = "most of a hundred thousand keys have none: 8 bytes for each, not 24")]
    metadata: Option<Box<BTreeMap<String, String>>>,
    #[expect(clippy::box_collection, reason = "few keys have any, for a while: 8 bytes for each, not 24")]
    earlier: Option<Box<Vec<Earlier>>>,
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The credential that a request presents: `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`. The same one in several places
/// is fine; different ones are refused, because two parts of a system could act for two different callers. `None` when there
/// is none, or only of another scheme.
pub fn credential(headers: &HeaderMap) -> Result<Option<&str>, Box<Failure>> {
    let mut found: Option<&str> = None;
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
    let plain = [X_API_KEY, API_KEY, X_GOOG_API_KEY];
    let plain = plain.iter().flat_map(|name| headers.get_all(name)).map(text);
    for presented in bearers.chain(plain) {
        let presented = presented?;
        match found {
            _ if presented.is_empty() => {}
            Some(other) if other != presented => {
                let message =
                    "different credentials in `authorization`, `x-api-key`, `api-key` and `x-goog-api-key`; send one";
                return Err(Box::new(Failure::new(Code::ConflictingCredentials, message)));
            }
            _ => found = Some(presented),
        }
    }
    Ok(found)
}

/// The key's owner, if the key is known, enabled and not expired at `now_ms` (Unix milliseconds). The answers to unknown
/// keys do not depend on what is in the table.
pub fn identify(
    credential: &str,
    keys: &KeyTable,
    peppers: &Peppers,
    now_ms: i64,
) -> Result<Arc<Caller>, Box<Failure>> {
    let Some(caller) = peppers.digests(credential).find_map(|digest| keys.find(&digest)) else {
        return Err(invalid(match token::check(credential) {
            Form::BadChecksum => "this API key is mistyped or cut off: its checksum does not match",
            _ => "no such API key; it may have been revoked",
        }));
    };
    may_call(caller, now_ms)
}

/// Whether this is a key, or made to look like one of ours: then nobody else is asked about it.
pub fn is_key(credential: &str, keys: &KeyTable, peppers: &Peppers) -> bool {
    match token::check(credential) {
        Form::Ours(_) | Form::BadChecksum => true,
        Form::Foreign => peppers.digests(credential).any(|digest| keys.find(&digest).is_some()),
    }
}

/// The same of a key that was identified before, by its id: for what is done behind its request.
pub fn still(id: &str, keys: &KeyTable, now_ms: i64) -> Result<Arc<Caller>, Box<Failure>> {
    let caller = keys.by_id(id).ok_or_else(|| invalid("the API key that this is done for has been revoked"))?;
    may_call(caller, now_ms)
}

fn may_call(caller: Arc<Caller>, now_ms: i64) -> Result<Arc<Caller>, Box<Failure>> {
    if !caller.enabled {
        return Err(invalid("this API key is disabled"));
    }
    if caller.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= now_ms) {
        return Err(invalid("this API key has expired"));
    }
    Ok(caller)
}

// === impl Caller ===

impl Caller {
    fn new(entry: &KeyEntry, lists: Lists, limits: Arc<Limits>, purse: Option<Arc<Purse>>) -> Self {
        Self {
            id: Arc::clone(&entry.id),
            name: entry.name.as_str().into(),
            tags: lists.tags,
            models: lists.models,
            passthrough: lists.passthrough,
            enabled: entry.enabled,
            expires_at_ms: entry.expires_at_ms,
            rights: Rights::new(&entry.access, purse),
            limits,
            pepper_version: entry.pepper_version,
            metadata: (!entry.metadata.is_empty()).then(|| Box::new(entry.metadata.clone())),
            earlier: (!entry.earlier.is_empty()).then(|| Box::new(entry.earlier.clone())),
        }
    }

    /// The way back.
    fn entry(&self, digest: Digest) -> KeyEntry {
        KeyEntry {
            id: Arc::clone(&self.id),
            name: self.name.to_string(),
            digest,
            models: self.models.iter().map(Glob::pattern).collect(),
            passthrough: self.passthrough.iter().map(Glob::pattern).collect(),
            enabled: self.enabled,
            expires_at_ms: self.expires_at_ms,
            limits: self.limits.written(),
            access: self.rights.as_ref().map(|rights| rights.written().clone()).unwrap_or_default(),
            tags: self.tags.iter().map(ToString::to_string).collect(),
            pepper_version: self.pepper_version,
            metadata: self.metadata.as_deref().cloned().unwrap_or_default(),
            earlier: self.earlier().to_vec(),
        }
    }

    /// Secrets that it had before; one that is found by such a secret has none.
    fn earlier(&self) -> &[Earlier] {
        self.earlier.as_ref().map(|earlier| earlier.as_slice()).unwrap_or_default()
    }

    /// Everybody, where `settings.auth` is `off`: may use everything, without limits.
    pub fn anonymous() -> Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            let entry = KeyEntry {
                id: "".into(),
                name: "anonymous".to_owned(),
                models: vec!["*".to_owned()],
                passthrough: vec!["*".to_owned()],
                enabled: true,
                ..KeyEntry::default()
            };
            let every = lists::globs(&entry.models);
            let lists = Lists { tags: Arc::default(), models: Arc::clone(&every), passthrough: every };
            Arc::new(Caller::new(&entry, lists, Arc::new(Limits::new(Owner::key(&entry.id), &entry.limits)), None))
        });
        Arc::clone(&ANONYMOUS)
    }

    /// Somebody for whom another system speaks: with no limits of their own, for they have those of whom they belong to.
    pub(crate) fn vouched(entry: &KeyEntry) -> Arc<Self> {
        let lists = Lists { tags: Arc::default(), models: lists::globs(&entry.models), passthrough: Arc::default() };
        Arc::new(Self::new(entry, lists, Arc::new(Limits::new(Owner::key(&entry.id), &entry.limits)), None))
    }

    /// The key's own budget.
    pub fn purse(&self) -> Option<&Arc<Purse>> {
        self.rights.as_ref()?.purse.as_ref()
    }

    /// Whether this caller may name this model: a public name or `provider/model`.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| pattern.matches(model)) || self.is_admin()
    }

    /// The models that it may name, as patterns.
    pub fn models(&self) -> Vec<String> {
        self.models.iter().map(Glob::pattern).collect()
    }

    /// Whether it may ask this from there (403 where not). Models are another question.
    pub fn may_call(&self, call: Call<'_>) -> Result<(), Box<Failure>> {
        self.rights.as_ref().map_or(Ok(()), |rights| rights.check(call))
    }

    /// Whom the key is for; `None`: for nobody in particular.
    pub fn belongs(&self) -> Option<&Belongs> {
        self.rights.as_ref().map(|rights| &rights.written().belongs)
    }

    /// What becomes of its open streams when it is revoked; `None`: as the settings say.
    pub fn revoke_mode(&self) -> Option<RevokeMode> {
        self.rights.as_ref()?.written().revoke_mode
    }

    /// What is done with models without a price; `None`: as the route or the settings say.
    pub fn unpriced(&self) -> Option<Unpriced> {
        self.rights.as_ref()?.written().unpriced
    }

    /// What is kept of its requests' bodies; `None`: as the route or the settings say.
    pub fn log_bodies(&self) -> Option<&Arc<Keeping>> {
        self.rights.as_ref()?.written().log_bodies.as_ref()
    }

    /// Its own, with what is used of them.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    fn is_admin(&self) -> bool {
        self.rights.as_ref().is_some_and(|rights| rights.is_admin())
    }

    /// What the key's metadata say under this name.
    pub(crate) fn metadata(&self, name: &str) -> Option<&String> {
        self.metadata.as_ref()?.get(name)
    }

    /// Whether there is any account that this caller may use as it is.
    pub fn passes(&self) -> bool {
        !self.passthrough.is_empty()
    }

    /// Whether this caller may use the account at this provider as it is.
    pub fn may_pass(&self, provider: &str) -> bool {
        self.passthrough.iter().any(|pattern| pattern.matches(provider))
    }
}

/// The token of a `Bearer` value; `None` for other schemes.
fn bearer(value: &HeaderValue) -> Option<Result<&str, Box<Failure>>> {
    let (scheme, _) = value.as_bytes().split_at_checked(7)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    Some(text(value).map(|value| value.get(7..).unwrap_or_default().trim_start()))
}

fn text(value: &HeaderValue) -> Result<&str, Box<Failure>> {
    value.to_str().map(str::trim).map_err(|_| invalid("the API key holds characters that no key has"))
}

fn invalid(message: &'static str) -> Box<Failure> {
    Box::new(Failure::new(Code::InvalidCredential, message))
}

#[cfg(test)]
mod tests;
