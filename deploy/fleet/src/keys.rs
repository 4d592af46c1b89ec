//! Keys by number: the same ones wherever they are needed.

use gateway_engine::identity::{Digest, KeyEntry};
use gateway_model::kind::Kind;
use gateway_model::limits::Limits;
use gateway_store::{ItemKind, StoredItem};
use gateway_wire::KEY_KIND;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Item, Key, KeyLimits, RateLimit, rate_limit};
use serde_json::json;

pub const N_KEYS: usize = 100_000;

const EXPIRES_AT_MS: i64 = 2_051_222_400_000;
const RPM: u64 = 600;
const TPM: u64 = 100_000;
const CONCURRENCY: u64 = 20;

/// What an application presents.
pub fn secret(number: usize) -> String {
    format!("a-key-of-the-fleet-tests-{number:06}")
}

pub fn name(number: usize) -> String {
    format!("team-{number:06}")
}

pub fn id(number: usize) -> String {
    format!("vk_{number:026}")
}

/// The way back from [`id`].
pub fn number(id: &str) -> Option<usize> {
    id.strip_prefix("vk_")?.parse().ok()
}

/// As the control plane stores it.
pub fn stored(number: usize, digest: Vec<u8>, now_ms: i64) -> StoredItem {
    let document = json!({"name": name(number), "models": models(), "limits": {"rpm": RPM, "tpm": TPM, "concurrency": CONCURRENCY},
        "expires_at": "2035-01-01T00:00:00Z", "tags": tags()});
    StoredItem {
        kind: ItemKind::Resource(Kind::Key),
        id: id(number),
        name: name(number),
        revision: 0,
        document: document.to_string(),
        sealed: None,
        secret_facts: "{}".to_owned(),
        digest: Some(digest),
        pepper_version: 1,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        owner: None,
    }
}

/// As it travels.
pub fn item(number: usize) -> Item {
    let key = Key {
        name: name(number),
        pepper_version: 1,
        digest: digest(number).to_vec(),
        enabled: true,
        expires_at_ms: EXPIRES_AT_MS,
        models: models(),
        tags: tags(),
        limits: Some(limits()),
        ..Key::default()
    };
    Item { kind: KEY_KIND.to_owned(), id: id(number), body: Some(Body::Key(key)), ..Item::default() }
}

/// As a node keeps it.
pub fn entry(number: usize) -> KeyEntry {
    KeyEntry {
        id: id(number).into(),
        name: name(number),
        digest: digest(number),
        models: models(),
        enabled: true,
        expires_at_ms: Some(EXPIRES_AT_MS),
        limits: Limits { rpm: Some(RPM), tpm: Some(TPM), concurrency: Some(CONCURRENCY), ..Limits::default() },
        tags: tags(),
        pepper_version: 1,
        ..KeyEntry::default()
    }
}

fn limits() -> KeyLimits {
    let tokens = RateLimit { measure: rate_limit::Measure::Tokens.into(), period_seconds: 60, amount: TPM };
    KeyLimits { rpm: Some(RPM), rates: vec![tokens], concurrency: Some(CONCURRENCY), ..KeyLimits::default() }
}

fn models() -> Vec<String> {
    vec!["openai/*".to_owned(), "smart".to_owned()]
}

fn tags() -> Vec<String> {
    vec!["load".to_owned()]
}

/// Spread like a digest.
fn digest(number: usize) -> Digest {
    let mut digest = [0; 32];
    for (word, chunk) in (0_u64..).zip(digest.chunks_mut(8)) {
        let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        chunk.copy_from_slice(&mixed.wrapping_mul(word * 2 + 0xff51_afd7_ed55_8ccd).to_le_bytes());
    }
    digest
}
