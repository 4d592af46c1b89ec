//! From what is stored to what travels: secrets are opened here, for the channel that protects them, and nowhere else.

use gateway_model::kind::key::Key;
use gateway_model::kind::{Class, Kind};
use gateway_model::limits::{Limits, Measure, Period, Rate};
use gateway_store::{ItemKind, StoredItem};
use gateway_wire::v1::{self, item::Body};

use crate::credential::{self, Earlier, Pepper};
use crate::vault::{self, Vault};

/// Why an item cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} `{name}` cannot be sent to the nodes")]
pub(super) struct Unsendable {
    kind: &'static str,
    name: String,
    #[source]
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Sealed(#[from] vault::Error),
    #[error("its document is damaged; restore a backup of the database")]
    Document(#[from] serde_json::Error),
}

pub(super) fn class(class: Class) -> v1::Class {
    match class {
        Class::Topology => v1::Class::Topology,
        Class::Identity => v1::Class::Identity,
    }
}

pub(super) fn is_for_nodes(kind: ItemKind) -> bool {
    match kind {
        ItemKind::Resource(kind) => kind.is_for_nodes(),
        ItemKind::Pepper => true,
    }
}

/// Topology goes whole or not at all. Of identity an item that cannot be read goes without its content: nodes deny that key
/// and say so, and it holds up no revocation of another.
pub(super) fn item(stored: &StoredItem, vault: &Vault) -> Result<v1::Item, Unsendable> {
    let mut item = v1::Item { kind: stored.kind.name().to_owned(), id: stored.id.clone(), ..v1::Item::default() };
    if let Err(why) = fill(&mut item, stored, vault) {
        let unsendable = Unsendable { kind: stored.kind.name(), name: stored.name.clone(), why };
        if stored.kind.class() == Class::Topology {
            return Err(unsendable);
        }
        tracing::error!(error = &unsendable as &dyn std::error::Error, "nodes are told to deny it");
    }
    Ok(item)
}

fn fill(item: &mut v1::Item, stored: &StoredItem, vault: &Vault) -> Result<(), Why> {
    item.body = Some(match stored.kind {
        ItemKind::Pepper => {
            let pepper = Pepper::open(vault, stored)?;
            Body::Pepper(v1::Pepper { version: pepper.version(), value: pepper.expose().to_vec() })
        }
        ItemKind::Resource(Kind::Key) => Body::Key(key(stored)?),
        ItemKind::Resource(kind) => {
            if let Some(sealed) = &stored.sealed {
                let secrets = vault.open(&vault::aad(stored.kind, &stored.id), sealed)?;
                let needed = secrets.iter().filter(|(path, _)| kind != Kind::Setting || !is_of_alerts(path));
                let exposed = needed.map(|(path, secret)| (path.clone(), secret.expose().as_bytes().to_vec()));
                item.secrets = exposed.collect();
            }
            let document = match kind {
                Kind::Setting => settings(&stored.document)?,
                _ => stored.document.clone(),
            };
            Body::Document(document.into_bytes().into())
        }
    });
    Ok(())
}

fn is_of_alerts(path: &str) -> bool {
    path.starts_with("alerts[")
}

/// Without whom the control plane tells of budgets, which is no affair of nodes.
fn settings(document: &str) -> Result<String, serde_json::Error> {
    if !document.contains("\"alerts\"") {
        return Ok(document.to_owned());
    }
    let mut settings: serde_json::Value = serde_json::from_str(document)?;
    if let Some(members) = settings.as_object_mut() {
        members.remove("alerts");
    }
    serde_json::to_string(&settings)
}

/// What a node needs of a key: never its secret, only the digest.
fn key(stored: &StoredItem) -> Result<v1::Key, Why> {
    let key: Key = serde_json::from_str(&stored.document)?;
    Ok(v1::Key {
        name: key.name,
        pepper_version: stored.pepper_version,
        digest: stored.digest.clone().unwrap_or_default(),
        enabled: key.enabled,
        expires_at_ms: key.expires_at.map_or(0, |at| at.0),
        models: key.models,
        limits: Some(limits(&key.limits)),
        tags: key.tags,
        metadata: key.metadata.into_iter().collect(),
        passthrough: key.passthrough,
        roles: key.roles.iter().map(|role| role.name().to_owned()).collect(),
        endpoints: key.endpoints.iter().map(ToString::to_string).collect(),
        ips: key.ips.iter().map(ToString::to_string).collect(),
        user: key.user.unwrap_or_default(),
        team: key.team.unwrap_or_default(),
        budget: key.budget.map(|budget| serde_json::to_vec(&budget)).transpose()?.unwrap_or_default(),
        revoke_mode: key.revoke_mode.map(|mode| mode.name().to_owned()).unwrap_or_default(),
        unpriced: key.unpriced.map(|policy| policy.name().to_owned()).unwrap_or_default(),
        log_bodies: key.log_bodies.map(|rule| serde_json::to_vec(&rule)).transpose()?.unwrap_or_default(),
        earlier: credential::earlier(stored).iter().filter_map(earlier).collect(),
    })
}

fn earlier(earlier: &Earlier) -> Option<v1::EarlierSecret> {
    let Earlier { pepper_version, until_ms, .. } = *earlier;
    Some(v1::EarlierSecret { pepper_version, digest: earlier.digest()?, until_ms })
}

fn limits(limits: &Limits) -> v1::KeyLimits {
    let others = limits.rates().filter(|rate| (rate.measure, rate.period) != (Measure::Requests, Period::Minute));
    let rate = |rate: Rate| v1::RateLimit {
        measure: measure(rate.measure).into(),
        period_seconds: u32::try_from(rate.period.seconds()).unwrap_or(u32::MAX),
        amount: rate.amount,
    };
    v1::KeyLimits {
        rpm: limits.rpm,
        rates: others.map(rate).collect(),
        concurrency: limits.concurrency,
        max_tokens: limits.max_tokens,
        when_away: limits.when_away.map(|policy| policy.name().to_owned()).unwrap_or_default(),
    }
}

fn measure(measure: Measure) -> v1::rate_limit::Measure {
    match measure {
        Measure::Requests => v1::rate_limit::Measure::Requests,
        Measure::Tokens => v1::rate_limit::Measure::Tokens,
        Measure::InputTokens => v1::rate_limit::Measure::InputTokens,
        Measure::OutputTokens => v1::rate_limit::Measure::OutputTokens,
    }
}
