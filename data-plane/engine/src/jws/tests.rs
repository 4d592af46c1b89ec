//! Tokens that are good, tokens that are made up, and what tells them apart.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An issuer with a key on P-256 and one on Ed25519.
struct Issuer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random numbers");
        Self { ec, ed: Ed25519KeyPair::generate().expect("random numbers") }
    }

    fn set(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": x, "y": y},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": URL_SAFE_NO_PAD.encode(self.ed.public_key())},
            {"kty": "oct", "kid": "secret", "k": "AAAA"},
            {"kty": "EC", "crv": "P-256", "kid": "short", "x": "AAAA", "y": "AAAA"},
            {"kty": "RSA", "kid": "weak", "n": URL_SAFE_NO_PAD.encode([255; 128]), "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "kid": "sealing", "use": "enc", "x": x, "y": y},
        ]})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match header["kid"].as_str() {
            Some("ed") => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => self.ec.sign(&SystemRandom::new(), signed.as_bytes()).expect("random numbers").as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

const NOW: i64 = 1_800_000_000;

fn taken(text: &str, keys: &[Key]) -> Result<i64, Unfit> {
    let audience = ["gateway".to_owned()];
    let expected = Expected { issuer: "https://id.example.com", audience: &audience, skew_s: 60 };
    check(&Token::parse(text)?.verified(keys)?, expected, NOW)
}

#[test]
fn jwt_tokens_are_verified_and_checked() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let keys = keys(issuer.set().to_string().as_bytes()).expect("a set");
    assert_eq!(keys.len(), 2, "what cannot verify is passed over");
    let good = json!({"iss": "https://id.example.com", "aud": "gateway", "exp": NOW + 300, "sub": "ada"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let ec = json!({"alg": "ES256", "kid": "ec", "typ": "JWT"});
    for (header, claims, expected) in [
        (ec.clone(), good.clone(), Ok(NOW + 360)),
        (json!({"alg": "EdDSA", "kid": "ed"}), good.clone(), Ok(NOW + 360)),
        (json!({"alg": "ES256"}), good.clone(), Ok(NOW + 360)),
        (ec.clone(), with("aud", json!(["other", "gateway"])), Ok(NOW + 360)),
        (ec.clone(), with("exp", json!(1_800_000_300.9)), Ok(NOW + 360)),
        // A header that says what the key is not for.
        (json!({"alg": "none", "kid": "ec"}), good.clone(), Err(Unfit::Algorithm)),
        (json!({"alg": "HS256", "kid": "ec"}), good.clone(), Err(Unfit::Algorithm)),
        (json!({"alg": "es256", "kid": "ec"}), good.clone(), Err(Unfit::Algorithm)),
        (json!({"alg": "RS256", "kid": "ec"}), good.clone(), Err(Unfit::Signature)),
        (json!({"alg": "ES384", "kid": "ec"}), good.clone(), Err(Unfit::Signature)),
        (json!({"alg": "EdDSA", "kid": "ec"}), good.clone(), Err(Unfit::Signature)),
        (json!({"alg": "ES256", "kid": "unknown"}), good.clone(), Err(Unfit::Signature)),
        (json!({"alg": "ES256", "kid": "ec", "crit": ["b64"]}), good.clone(), Err(Unfit::Form)),
        // Claims that are of somebody else, or of another time.
        (ec.clone(), with("iss", json!("https://id.example.com.evil.example.com")), Err(Unfit::Issuer)),
        (ec.clone(), with("aud", json!("other")), Err(Unfit::Audience)),
        (ec.clone(), with("aud", json!([])), Err(Unfit::Audience)),
        (ec.clone(), with("exp", json!(NOW - 60)), Err(Unfit::Expired)),
        (ec.clone(), with("exp", json!(NOW - 59)), Ok(NOW + 1)),
        (ec.clone(), with("exp", Value::Null), Err(Unfit::Eternal)),
        (ec.clone(), with("exp", json!("never")), Err(Unfit::Eternal)),
        (ec.clone(), with("exp", json!(i64::MAX)), Ok(i64::MAX)),
        (ec.clone(), with("nbf", json!(NOW + 61)), Err(Unfit::Early)),
        (ec.clone(), with("nbf", json!("soon")), Err(Unfit::Early)),
        (ec.clone(), with("iat", json!(NOW + 60)), Ok(NOW + 360)),
    ] {
        let token = issuer.sign(&header, &claims);
        assert_eq!(taken(&token, &keys), expected, "{header} {claims}");
        let forged = stranger.sign(&header, &claims);
        assert!(taken(&forged, &keys).is_err(), "{header} {claims}");
    }
    let token = issuer.sign(&ec, &good);
    let other = issuer.sign(&ec, &with("sub", json!("eve")));
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (own, others) = (parts(&token), parts(&other));
    assert_eq!(taken(&format!("{}.{}.{}", own[0], others[1], own[2]), &keys), Err(Unfit::Signature), "another's words");
    assert_eq!(taken(&format!("{}.{}.", own[0], own[1]), &keys), Err(Unfit::Signature), "nobody's");
    assert_eq!(taken(&format!("{token}{}", "A".repeat(MAX_TOKEN)), &keys), Err(Unfit::Form));
    assert!(super::keys(b"[]").is_none() && super::keys(b"{\"keys\": 1}").is_none());
}

proptest! {
    /// Whatever comes, it is refused and nothing falls over.
    #[test]
    fn garbage_is_no_token(text in "ey[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,90}", json in any::<Vec<u8>>()) {
        prop_assert!(Token::parse(&text).and_then(|token| token.verified(&[])).is_err());
        let _ = (claimed_issuer(&text), keys(&json));
    }
}
