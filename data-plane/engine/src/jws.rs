//! Signed tokens (JWT, RFC 7519) of other systems: read, verified with their keys, checked. Only signatures with two keys are known: what
//! is signed with a shared secret, or with nothing, is refused before any key is looked for. A key verifies what its own kind can.

use aws_lc_rs::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// How a token is signed (RFC 7518, section 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// A public key of an issuer.
#[derive(Clone, Debug)]
pub struct Key {
    id: Option<String>,
    /// Where the key says that it is for this only.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A token that has been read and not yet verified.
pub struct Token<'a> {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

/// What a token has to say to be for us.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    /// One of them.
    pub audience: &'a [String],
    /// How far clocks may be apart.
    pub skew_s: u64,
}

/// Why a token is not taken. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is no signed token in compact form")]
    Form,
    #[error("its algorithm is not one that is accepted")]
    Algorithm,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has no expiry")]
    Eternal,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What must be understood and is not (RFC 7515, section 4.1.11).
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    for_what: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;
/// Keys of one issuer.
const MAX_KEYS: usize = 64;
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Whether this has the form of one: three parts, the first of which begins like a JSON object.
pub fn is_like(text: &str) -> bool {
    text.starts_with("ey") && text.len() <= MAX_TOKEN && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// The issuer that a token claims to be of, to find out whom to ask. Nothing of it is verified.
pub fn claimed_issuer(text: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Value>(&payload).ok()?.get("iss")?.as_str()?.to_owned())
}

/// The keys of a set (RFC 7517) that can verify; others in it are passed over. `None` where it is no set.
pub fn keys(json: &[u8]) -> Option<Vec<Key>> {
    let set: Set = serde_json::from_slice(json).ok()?;
    Some(set.keys.into_iter().take(MAX_KEYS).filter_map(Key::parse).collect())
}

// === impl Token ===

impl<'a> Token<'a> {
    pub fn parse(text: &'a str) -> Result<Self, Unfit> {
        if !is_like(text) {
            return Err(Unfit::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Unfit::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(Unfit::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Unfit::Form);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Unfit::Form)?;
        if header.crit.is_some() {
            return Err(Unfit::Form);
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(Unfit::Algorithm)?;
        Ok(Self { algorithm, key_id: header.kid, signed, signature: decode(signature)?, payload: decode(payload)? })
    }

    /// Whether this key may have signed it, by what both say.
    pub fn may_be_of(&self, key: &Key) -> bool {
        let same_id = match (&self.key_id, &key.id) {
            (Some(named), Some(id)) => named == id,
            // A token that names none may be of any; one that does is of no nameless key.
            (None, _) => true,
            (Some(_), None) => false,
        };
        same_id && key.algorithm.is_none_or(|only| only == self.algorithm) && key.public.can(self.algorithm)
    }

    /// What it says, if one of these keys has signed it.
    pub fn verified(&self, keys: &[Key]) -> Result<Value, Unfit> {
        let is_signed = |key: &Key| {
            self.may_be_of(key) && key.public.verifies(self.algorithm, self.signed.as_bytes(), &self.signature)
        };
        if !keys.iter().any(is_signed) {
            return Err(Unfit::Signature);
        }
        let claims: Value = serde_json::from_slice(&self.payload).map_err(|_| Unfit::Form)?;
        if claims.is_object() { Ok(claims) } else { Err(Unfit::Form) }
    }
}

/// Until when the token is good, in seconds since 1970, if it is for us and good at `now_s`.
pub fn check(claims: &Value, expected: Expected<'_>, now_s: i64) -> Result<i64, Unfit> {
    if claims["iss"].as_str() != Some(expected.issuer) {
        return Err(Unfit::Issuer);
    }
    let is_ours =
        |audience: &Value| audience.as_str().is_some_and(|named| expected.audience.iter().any(|own| own == named));
    let audience = &claims["aud"];
    if !(is_ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_ours))) {
        return Err(Unfit::Audience);
    }
    let skew = i64::try_from(expected.skew_s).unwrap_or(i64::MAX);
    let ends = seconds(&claims["exp"]).ok_or(Unfit::Eternal)?.saturating_add(skew);
    if ends <= now_s {
        return Err(Unfit::Expired);
    }
    let begins = |name: &str| claims.get(name).map(|at| seconds(at).ok_or(Unfit::Early)).transpose();
    for at in [begins("nbf")?, begins("iat")?].into_iter().flatten() {
        if at > now_s.saturating_add(skew) {
            return Err(Unfit::Early);
        }
    }
    Ok(ends)
}

/// A NumericDate (RFC 7519, section 2); parts of a second are cut off.
fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a float is cut to the nearest number that there is")]
    value.as_i64().or_else(|| value.as_f64().filter(|at| at.is_finite()).map(|at| at as i64))
}

// === impl Key ===

impl Key {
    pub fn parse(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if jwk.for_what.as_deref().is_some_and(|what| what != "sig") {
            return None;
        }
        let algorithm = match &jwk.alg {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let bytes = |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_deref()?).ok();
        let point = |size: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let n: Vec<u8> = bytes(&jwk.n)?.into_iter().skip_while(|byte| *byte == 0).collect();
                if !RSA_BYTES.contains(&n.len()) {
                    return None;
                }
                Public::Rsa { n, e: bytes(&jwk.e)? }
            }
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes(&jwk.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm, public })
    }
}

// === impl Public ===

impl Public {
    /// A key is never used in a way that it is not for: that is how a public key is made to pass for a secret.
    fn can(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            Self::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::Ed25519(_) => algorithm == EdDsa,
        }
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters| match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok(),
            _ => false,
        };
        let plain = |algorithm: &'static dyn VerificationAlgorithm| match self {
            Self::P256(key) | Self::P384(key) | Self::Ed25519(key) => {
                UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
            }
            Self::Rsa { .. } => false,
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => plain(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => plain(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDsa => plain(&signature::ED25519),
        }
    }
}

// === impl Algorithm ===

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

#[cfg(test)]
mod tests;
