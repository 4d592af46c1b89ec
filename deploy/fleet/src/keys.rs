//! Keys by number: the same ones in every process of a test.

use gateway_engine::identity::{Digest, KeyEntry};
use gateway_engine::limits::Spec;
use gateway_wire::KEY_KIND;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{Item, Key, KeyLimits};

pub const N_KEYS: usize = 100_000;

/// As it travels: a name, two patterns, a limit, an expiry, a tag.
pub fn item(number: usize) -> Item {
    let key = Key {
        name: format!("team-{number:06}"),
        pepper_version: 1,
        digest: digest(number).to_vec(),
        enabled: true,
        expires_at_ms: 2_051_222_400_000,
        models: vec!["openai/*".to_owned(), "smart".to_owned()],
        tags: vec!["load".to_owned()],
        limits: Some(KeyLimits { rpm: Some(600) }),
        ..Key::default()
    };
    Item { kind: KEY_KIND.to_owned(), id: id(number), body: Some(Body::Key(key)), ..Item::default() }
}

/// As a node keeps it.
pub fn entry(number: usize) -> KeyEntry {
    KeyEntry {
        id: id(number).into(),
        name: format!("team-{number:06}"),
        digest: digest(number),
        models: vec!["openai/*".to_owned(), "smart".to_owned()],
        enabled: true,
        expires_at_ms: Some(2_051_222_400_000),
        limits: Spec { rpm: Some(600) },
        tags: vec!["load".to_owned()],
    }
}

fn id(number: usize) -> String {
    format!("vk_{number:026}")
}

/// Spread like a digest.
fn digest(number: usize) -> Digest {
    let mut digest = [0; 32];
    for (word, chunk) in (0_u64..).zip(digest.chunks_mut(8)) {
        let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(word + 0x2545_f491);
        chunk.copy_from_slice(&mixed.wrapping_mul(0xff51_afd7_ed55_8ccd).to_le_bytes());
    }
    digest
}
