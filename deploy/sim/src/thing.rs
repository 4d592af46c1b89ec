//! What a simulated configuration is made of, in the two forms in which it occurs: as it is stored, and as a node must get it.
//! Both are written down here independently of the code that turns one into the other.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use gateway_engine::identity::Peppers;
use gateway_model::kind::{Class, Kind};
use gateway_model::secret::Secret;
use gateway_server::vault::{self, Vault};
use gateway_store::{ItemKind, StoredItem};
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{self, Item};
use serde_json::json;

const PEPPER: [u8; 32] = [7; 32];
/// The pepper's bytes as its sealed form has them: base64 without padding.
const PEPPER_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const UPSTREAM_KEY: &str = "sk-upstream-0123456789";

static VAULT: LazyLock<Arc<Vault>> =
    LazyLock::new(|| Arc::new(Vault::new(&Vault::generate()).expect("a generated key can be used")));
static PEPPERS: LazyLock<Peppers> = LazyLock::new(|| Peppers::new([(1, PEPPER)]).expect("the pepper is not empty"));

/// Kind and id.
pub type Id = (Class, String);

/// One item at one moment. `edition` goes up with each edit, so that every edit changes the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    Pepper,
    Key { number: u32, edition: u32, is_enabled: bool, fault: KeyFault },
    Provider { number: u32, edition: u32 },
    Model { number: u32, edition: u32, fault: ModelFault },
}

/// What may be wrong with a key. Such a key must be denied, and must hold up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    None,
    /// A digest of a length that no digest has.
    ShortDigest,
    /// The control plane itself cannot read it.
    DamagedDocument,
}

/// What may be wrong with a model. A topology with one must be refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFault {
    None,
    UnknownField,
    NoSuchProvider,
}

/// Under which the replicas of this process open what is sealed.
pub fn vault() -> Arc<Vault> {
    Arc::clone(&VAULT)
}

/// What an application would present.
pub fn secret(key: u32) -> String {
    format!("sk-simulated-{key:06}-0123456789")
}

// === impl Thing ===

impl Thing {
    pub fn class(&self) -> Class {
        self.kind().class()
    }

    pub fn id(&self) -> String {
        match self {
            Self::Pepper => "1".to_owned(),
            Self::Key { number, .. } => format!("vk_{number:06}"),
            Self::Provider { number, .. } => format!("provider_{number}"),
            Self::Model { number, .. } => format!("model_{number}"),
        }
    }

    /// Whether a topology that holds this one can serve.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Model { fault: ModelFault::UnknownField | ModelFault::NoSuchProvider, .. })
    }

    /// The number of a key.
    pub fn key(&self) -> Option<u32> {
        match self {
            Self::Key { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// Whether it is a key with which requests must be let in.
    pub fn lets_in(&self) -> bool {
        matches!(self, Self::Key { is_enabled: true, fault: KeyFault::None, .. })
    }

    /// As the store has it.
    pub fn stored(&self, revision: u64) -> StoredItem {
        let (kind, id) = (self.kind(), self.id());
        let secrets = match self {
            Self::Pepper => BTreeMap::from([("value".to_owned(), Secret::new(PEPPER_TEXT.to_owned()))]),
            Self::Provider { .. } => BTreeMap::from([("api_key".to_owned(), Secret::new(UPSTREAM_KEY.to_owned()))]),
            Self::Key { .. } | Self::Model { .. } => BTreeMap::new(),
        };
        let sealed = (!secrets.is_empty()).then(|| VAULT.seal(&vault::aad(kind, &id), &secrets));
        StoredItem {
            kind,
            name: id.clone(),
            id,
            revision,
            document: self.document(),
            sealed,
            secret_facts: "{}".to_owned(),
            digest: self.digest(),
            pepper_version: 1,
            created_at_ms: 1,
            updated_at_ms: 1,
            owner: None,
        }
    }

    /// As it must arrive at a node.
    pub fn wire(&self) -> Item {
        let mut item = Item { kind: self.kind().name().to_owned(), id: self.id(), ..Item::default() };
        item.body = match self {
            Self::Pepper => Some(Body::Pepper(v1::Pepper { version: 1, value: PEPPER.to_vec() })),
            Self::Key { fault: KeyFault::DamagedDocument, .. } => None,
            Self::Key { edition, is_enabled, .. } => Some(Body::Key(v1::Key {
                name: self.id(),
                pepper_version: 1,
                digest: self.digest().unwrap_or_default(),
                enabled: *is_enabled,
                models: vec!["*".to_owned()],
                limits: Some(v1::KeyLimits { rpm: Some(u64::from(*edition)), ..v1::KeyLimits::default() }),
                ..v1::Key::default()
            })),
            Self::Provider { .. } => {
                item.secrets.insert("api_key".to_owned(), UPSTREAM_KEY.as_bytes().to_vec());
                Some(Body::Document(self.document().into_bytes().into()))
            }
            Self::Model { .. } => Some(Body::Document(self.document().into_bytes().into())),
        };
        item
    }

    fn kind(&self) -> ItemKind {
        match self {
            Self::Pepper => ItemKind::Pepper,
            Self::Key { .. } => ItemKind::Resource(Kind::Key),
            Self::Provider { .. } => ItemKind::Resource(Kind::Provider),
            Self::Model { .. } => ItemKind::Resource(Kind::Model),
        }
    }

    fn document(&self) -> String {
        let id = self.id();
        let document = match self {
            Self::Pepper => json!({}),
            Self::Key { fault: KeyFault::DamagedDocument, .. } => return "{\"name\":".to_owned(),
            Self::Key { edition, is_enabled, .. } => {
                json!({"name": id, "models": ["*"], "enabled": is_enabled, "limits": {"rpm": edition}})
            }
            Self::Provider { edition, .. } => json!({
                "name": id, "kind": "openai-compatible", "base_url": format!("https://upstream.example/v{edition}"),
            }),
            Self::Model { edition, fault, .. } => {
                let provider = if *fault == ModelFault::NoSuchProvider { "nobody" } else { "provider_0" };
                let mut model =
                    json!({"name": id, "targets": [{"provider": provider, "model": format!("m{edition}")}]});
                if *fault == ModelFault::UnknownField {
                    model["a_later_version_has_this"] = json!(true);
                }
                model
            }
        };
        document.to_string()
    }

    fn digest(&self) -> Option<Vec<u8>> {
        let Self::Key { number, fault, .. } = self else { return None };
        let (_, digest) = PEPPERS.digest(&secret(*number)).expect("there is a pepper");
        Some(if *fault == KeyFault::ShortDigest { digest[..5].to_vec() } else { digest.to_vec() })
    }
}
