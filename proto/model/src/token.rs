//! The form of our own secrets: prefix, 256 random bits in base62, CRC-32 in base62. The checksum lets a typo or a random
//! probe be refused without any lookup, and lets secret scanners recognise a leaked key.

use crate::secret::Secret;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const ENTROPY_CHARS: usize = 43;
/// 62^6 > 2^32.
const CHECKSUM_CHARS: usize = 6;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Presented by applications.
    VirtualKey,
    /// Presented to the admin API.
    Master,
    /// Presented by a node that joins.
    Join,
}

/// What a text is, by its form alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Ours(Prefix),
    /// Begins like ours but cannot be: mistyped, cut short, or made up.
    BadChecksum,
    /// Not our form; an imported key may look like anything.
    Foreign,
}

/// What a join token says: its own secret, and the fingerprint (SHA-256) of the authority that a node is to trust with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Join {
    pub entropy: [u8; 32],
    pub pin: [u8; 32],
}

/// A secret out of 32 random bytes. For [`Prefix::Join`] see [`encode_join`].
pub fn encode(prefix: Prefix, entropy: &[u8; 32]) -> Secret {
    let mut text = String::with_capacity(prefix.text().len() + ENTROPY_CHARS + CHECKSUM_CHARS);
    text.push_str(prefix.text());
    push_base62(&mut text, entropy, ENTROPY_CHARS);
    let checksum = crc32fast::hash(text.as_bytes());
    push_base62(&mut text, &checksum.to_be_bytes(), CHECKSUM_CHARS);
    Secret::new(text)
}

/// A join token. The pin stands in it so that a node's first contact is authenticated both ways.
pub fn encode_join(join: &Join) -> Secret {
    let mut text = String::with_capacity(Prefix::Join.text().len() + 2 * ENTROPY_CHARS + CHECKSUM_CHARS);
    text.push_str(Prefix::Join.text());
    push_base62(&mut text, &join.entropy, ENTROPY_CHARS);
    push_base62(&mut text, &join.pin, ENTROPY_CHARS);
    let checksum = crc32fast::hash(text.as_bytes());
    push_base62(&mut text, &checksum.to_be_bytes(), CHECKSUM_CHARS);
    Secret::new(text)
}

/// What a join token says; `None` for what is none: mistyped, cut short, or another kind of secret.
pub fn decode_join(text: &str) -> Option<Join> {
    if check(text) != Form::Ours(Prefix::Join) {
        return None;
    }
    let (entropy, rest) = text.strip_prefix(Prefix::Join.text())?.split_at(ENTROPY_CHARS);
    Some(Join { entropy: read_base62(entropy)?, pin: read_base62(&rest[..ENTROPY_CHARS])? })
}

pub fn check(text: &str) -> Form {
    let Some(prefix) = Prefix::ALL.into_iter().find(|prefix| text.starts_with(prefix.text())) else {
        return Form::Foreign;
    };
    if !text.is_ascii() || text.len() != prefix.text().len() + prefix.body_chars() + CHECKSUM_CHARS {
        return Form::BadChecksum;
    }
    let (body, given) = text.split_at(text.len() - CHECKSUM_CHARS);
    let mut expected = String::with_capacity(CHECKSUM_CHARS);
    push_base62(&mut expected, &crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS);
    if given == expected { Form::Ours(prefix) } else { Form::BadChecksum }
}

/// Appends a big-endian number as exactly `n_chars` digits.
fn push_base62(text: &mut String, number: &[u8], n_chars: usize) {
    let mut rest = number.to_vec();
    let mut digits = vec![0_u8; n_chars];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut rest {
            let value = (remainder << 8) | u32::from(*byte);
            // The quotient of a value below 62 * 256 by 62 is a byte.
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    text.extend(digits.into_iter().map(char::from));
}

/// A number of 256 bits, big-endian; `None` where the digits are none or name a larger one.
fn read_base62(text: &str) -> Option<[u8; 32]> {
    let mut number = [0_u8; 32];
    for digit in text.bytes() {
        let mut carry = u32::try_from(ALPHABET.iter().position(|known| *known == digit)?).ok()?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 62 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

// === impl Join ===

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Join(…)")
    }
}

// === impl Prefix ===

impl Prefix {
    fn body_chars(self) -> usize {
        if self == Self::Join { 2 * ENTROPY_CHARS } else { ENTROPY_CHARS }
    }

    const ALL: [Self; 3] = [Self::VirtualKey, Self::Master, Self::Join];

    pub fn text(self) -> &'static str {
        match self {
            Self::VirtualKey => "gw_virt_",
            Self::Master => "gw_master_",
            Self::Join => "gw_join_",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors() {
        let zero = encode(Prefix::VirtualKey, &[0; 32]);
        assert!(zero.expose().starts_with("gw_virt_0000000000000000000000000000000000000000000"), "{}", zero.expose());
        let full = encode(Prefix::Master, &[255; 32]);
        assert_eq!(full.expose().len(), "gw_master_".len() + 49);
        assert_ne!(zero.expose()[8..51], full.expose()[10..53]);
    }

    #[test]
    fn a_join_token_says_what_it_was_made_of() {
        for join in [
            Join { entropy: [0; 32], pin: [255; 32] },
            Join { entropy: std::array::from_fn(|at| at as u8), pin: std::array::from_fn(|at| 200 - at as u8) },
        ] {
            let token = encode_join(&join);
            assert_eq!(check(token.expose()), Form::Ours(Prefix::Join));
            assert_eq!(decode_join(token.expose()), Some(join));
            assert_eq!(decode_join(&token.expose()[..token.expose().len() - 1]), None);
        }
        assert_eq!(decode_join(encode(Prefix::VirtualKey, &[7; 32]).expose()), None);
    }

    #[test]
    fn any_change_is_noticed() {
        let key = encode(Prefix::VirtualKey, &[7; 32]);
        assert_eq!(check(key.expose()), Form::Ours(Prefix::VirtualKey));
        for at in 8..key.expose().len() {
            let mut bytes = key.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(check(&String::from_utf8(bytes).expect("ascii")), Form::BadChecksum, "{at}");
        }
        assert_eq!(check(&key.expose()[..30]), Form::BadChecksum);
        assert_eq!(check("sk-imported-key-of-any-form"), Form::Foreign);
    }
}
