//! What passes without being read as a conversation or a task: at which provider, and how much of its account the caller sees.
//! Pure lookups that may refuse.

use std::sync::Arc;

use gateway_ir::failure::{Code, Failure};

use crate::identity::Caller;
use crate::snapshot::{Passthrough, Provider, Service, Snapshot};

/// How much of a provider's account a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All that is there, as it is.
    Account,
    /// What it made itself: it may use every model of the provider, but not what others keep there.
    Own,
}

/// Paths behind `/v1` that the gateway answers itself, or will; they never pass as they are.
const OWNED: &[&str] = &[
    "a2a",
    "audio",
    "batches",
    "chat",
    "completions",
    "conversations",
    "embeddings",
    "feedback",
    "files",
    "images",
    "management",
    "messages",
    "metrics",
    "models",
    "moderations",
    "realtime",
    "rerank",
    "responses",
];

/// How far the caller reaches at a provider; `None`: it may pass nothing there. A batch may ask any model, so that who has
/// some models only has none.
pub fn reach(caller: &Caller, provider: &str) -> Option<Reach> {
    if caller.may_pass(provider) {
        return Some(Reach::Account);
    }
    caller.may_use(&format!("{provider}/*")).then_some(Reach::Own)
}

/// The provider by its name, for a caller that may use its account as it is. Who may not is not told what there is.
pub fn account(snapshot: &Snapshot, caller: &Caller, name: &str) -> Result<Arc<Provider>, Box<Failure>> {
    if !caller.may_pass(name) {
        let message = format!("this API key may not use the account of `{name}`; its `passthrough` must name it");
        return Err(Box::new(Failure::new(Code::NotAllowed, message)));
    }
    credentialed(named(snapshot, name)?)
}

/// Who keeps files or batches: the provider that is forced, else of those that have the service and where the caller may: the
/// default one, else one that bears the name of its kind, as a main account does, else the first.
pub fn keeper(
    snapshot: &Snapshot,
    caller: &Caller,
    service: Service,
    forced: Option<&str>,
) -> Result<(Arc<Provider>, Reach), Box<Failure>> {
    let name = service.name();
    let found = match forced {
        Some(forced) => Some(named(snapshot, forced)?),
        None => {
            let default = snapshot.settings.passthrough.default_provider.as_deref();
            let has = |provider: &&Arc<Provider>| {
                provider.has(service) && provider.endpoint.is_credentialed() && reach(caller, &provider.name).is_some()
            };
            let is_default = |provider: &&Arc<Provider>| Some(&*provider.name) == default;
            let mut offering = snapshot.providers.iter().filter(has);
            let named = || offering.clone().find(|provider| provider.name == provider.kind);
            let chosen = offering.clone().find(is_default).or_else(named).or_else(|| offering.next());
            chosen.cloned()
        }
    };
    let Some(provider) = found else {
        let message = format!(
            "no provider that this API key may use keeps {name}; it must be allowed every model of one that does, or its \
             account (`passthrough`)"
        );
        return Err(Box::new(Failure::new(Code::NotAllowed, message)));
    };
    let Some(reach) = reach(caller, &provider.name) else {
        let message = format!("this API key may not use {name} at `{}`", provider.name);
        return Err(Box::new(Failure::new(Code::NotAllowed, message)));
    };
    credentialed(provider).map(|provider| (provider, reach))
}

/// Whether the path of an OpenAI operation that the gateway does not know may pass; `tail` is what stands behind `/v1/`.
pub fn is_open(policy: &Passthrough, tail: &str) -> bool {
    let begins = |prefix: &str| begins(tail, prefix.trim_start_matches("/v1").trim_matches('/'));
    policy.enabled
        && !is_owned(tail)
        && (policy.allowed_prefixes.is_empty() || policy.allowed_prefixes.iter().any(|prefix| begins(prefix)))
        && !policy.blocked_prefixes.iter().any(|prefix| begins(prefix))
}

/// Whether the gateway answers this path itself, or will; `tail` is what stands behind `/v1/`.
pub fn is_owned(tail: &str) -> bool {
    OWNED.iter().any(|owned| begins(tail, owned))
}

fn begins(tail: &str, prefix: &str) -> bool {
    tail.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A provider by its name.
pub fn named(snapshot: &Snapshot, name: &str) -> Result<Arc<Provider>, Box<Failure>> {
    snapshot.provider(name).cloned().ok_or_else(|| {
        let message = format!("no provider is named `{name}`");
        Box::new(Failure::new(Code::UnknownPath, message))
    })
}

fn credentialed(provider: Arc<Provider>) -> Result<Arc<Provider>, Box<Failure>> {
    if provider.endpoint.is_demo() {
        let message = format!("`{}` answers by itself: there is no server behind it", provider.name);
        return Err(Box::new(Failure::new(Code::UnknownPath, message)));
    }
    if provider.endpoint.is_credentialed() {
        return Ok(provider);
    }
    let message = format!("`{}` has no credential; give it an `api_key`", provider.name);
    Err(Box::new(Failure::new(Code::NoProviderCredential, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_foreign_paths_are_open() {
        let cases = [
            (&[][..], &[][..], "vector_stores", true),
            (&[], &[], "vector_stores/vs_1/files", true),
            (&[], &[], "chat/completions", false),
            (&[], &[], "files", false),
            (&[], &[], "filesystem", true),
            (&["vector_stores"], &[], "vector_stores/vs_1", true),
            (&["/v1/vector_stores/"], &[], "vector_stores", true),
            (&["vector_stores"], &[], "assistants", false),
            (&["chat"], &[], "chat/completions", false),
            (&[], &["organization"], "organization/users", false),
            (&["fine_tuning"], &["fine_tuning/jobs"], "fine_tuning/jobs/1", false),
        ];
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        for (allowed, blocked, tail, expected) in cases {
            let policy = Passthrough {
                allowed_prefixes: owned(allowed),
                blocked_prefixes: owned(blocked),
                ..Passthrough::default()
            };
            assert_eq!(is_open(&policy, tail), expected, "{tail} with {allowed:?} and without {blocked:?}");
            assert!(!is_open(&Passthrough { enabled: false, ..policy }, tail), "{tail}");
        }
    }
}
