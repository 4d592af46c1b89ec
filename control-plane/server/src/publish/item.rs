//! From what is stored to what travels: secrets are opened here, for the channel that protects them, and nowhere else.

use gateway_model::kind::key::Key;
use gateway_model::kind::{Class, Kind};
use gateway_store::{ItemKind, StoredItem};
use gateway_wire::v1::{self, item::Body};

use crate::credential::Pepper;
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
        ItemKind::Resource(_) => {
            if let Some(sealed) = &stored.sealed {
                let secrets = vault.open(&vault::aad(stored.kind, &stored.id), sealed)?;
                let exposed = secrets.iter().map(|(path, secret)| (path.clone(), secret.expose().as_bytes().to_vec()));
                item.secrets = exposed.collect();
            }
            Body::Document(stored.document.clone().into_bytes().into())
        }
    });
    Ok(())
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
        limits: Some(v1::KeyLimits { rpm: key.limits.rpm }),
        tags: key.tags,
        metadata: key.metadata.into_iter().collect(),
        passthrough: key.passthrough,
    })
}
