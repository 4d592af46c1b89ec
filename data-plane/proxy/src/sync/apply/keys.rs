//! Keys between their two forms: as they travel and as the table has them.

use std::collections::BTreeMap;

use gateway_engine::identity::{Digest, KeyEntry};
use gateway_engine::limits::Spec;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{ConfigError, Item, Key, KeyLimits, Pepper};
use gateway_wire::{KEY_KIND, PEPPER_KIND};

use super::problems;

/// What the table gets, if the item is a key under a pepper that is known.
pub(super) fn entry(item: &Item, knows_pepper: impl Fn(u32) -> bool) -> Result<KeyEntry, ConfigError> {
    if item.kind != KEY_KIND {
        return Err(problems::of_item(item, "", "unsupported_yet", "a kind that this version does not know"));
    }
    let Some(Body::Key(key)) = &item.body else {
        return Err(problems::of_item(item, "", "invalid_value", "not a key"));
    };
    let digest: Digest = key.digest.as_slice().try_into().map_err(|_| {
        problems::of_item(item, "digest", "invalid_value", "a digest of a length that HMAC-SHA-256 does not have")
    })?;
    if !knows_pepper(key.pepper_version) {
        let message = format!("digested under pepper {}, which this node does not have", key.pepper_version);
        return Err(problems::of_item(item, "pepper_version", "unknown_reference", &message));
    }
    Ok(KeyEntry {
        id: item.id.as_str().into(),
        name: key.name.clone(),
        digest,
        models: key.models.clone(),
        enabled: key.enabled,
        expires_at_ms: (key.expires_at_ms != 0).then_some(key.expires_at_ms),
        limits: Spec { rpm: key.limits.and_then(|limits| limits.rpm) },
        tags: key.tags.clone(),
        pepper_version: key.pepper_version,
        metadata: key.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        passthrough: key.passthrough.clone(),
    })
}

/// The way back; exact for what [`is_plain`] holds for.
pub(super) fn item(entry: KeyEntry) -> Item {
    let key = Key {
        name: entry.name,
        pepper_version: entry.pepper_version,
        digest: entry.digest.to_vec(),
        enabled: entry.enabled,
        expires_at_ms: entry.expires_at_ms.unwrap_or_default(),
        models: entry.models,
        limits: Some(KeyLimits { rpm: entry.limits.rpm }),
        tags: entry.tags,
        metadata: entry.metadata.into_iter().collect(),
        passthrough: entry.passthrough,
    };
    Item { kind: KEY_KIND.to_owned(), id: entry.id.to_string(), body: Some(Body::Key(key)), ..Item::default() }
}

/// Written the way that [`item`] writes it.
pub(super) fn is_plain(item: &Item) -> bool {
    let has_limits = matches!(&item.body, Some(Body::Key(key)) if key.limits.is_some());
    has_limits && item.secrets.is_empty()
}

pub(super) fn pepper(item: &Item) -> Result<(u32, &[u8]), ConfigError> {
    match &item.body {
        Some(Body::Pepper(pepper)) if pepper.version.to_string() != item.id => {
            Err(problems::of_item(item, "version", "invalid_value", "a pepper whose id is not its version"))
        }
        Some(Body::Pepper(pepper)) if !pepper.value.is_empty() => Ok((pepper.version, &pepper.value)),
        _ => Err(problems::of_item(item, "", "invalid_value", "a pepper without a value")),
    }
}

pub(super) fn pepper_items(peppers: &BTreeMap<u32, Vec<u8>>) -> impl Iterator<Item = Item> {
    peppers.iter().map(|(version, value)| {
        let body = Some(Body::Pepper(Pepper { version: *version, value: value.clone() }));
        Item { kind: PEPPER_KIND.to_owned(), id: version.to_string(), body, ..Item::default() }
    })
}
