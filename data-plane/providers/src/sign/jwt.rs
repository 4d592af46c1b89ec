//! What a service account swears to get an access token: a JSON Web Token signed with its RSA key, RFC 7523 and
//! <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>. Pure: the time is an argument.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// How long an assertion may be used, in seconds; Google takes no longer one.
const LIFETIME: i64 = 3600;
/// What stands in the first and the last line of the key.
const LABEL: &str = "PRIVATE KEY";

/// An account and its key.
pub struct Account {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
}

// === impl Account ===

impl Account {
    /// Reads `client_email`, `private_key_id` and `private_key` (PEM, PKCS #8) of a service account's JSON. The error says
    /// what is missing and shows nothing of the text.
    pub fn read(account: &Value) -> Result<Self, &'static str> {
        let text = |name: &str| account.get(name).and_then(Value::as_str);
        let email = text("client_email").ok_or("has no `client_email`")?.to_owned();
        let pem = text("private_key").ok_or("has no `private_key`")?;
        let key = pem_body(pem).and_then(|der| RsaKeyPair::from_pkcs8(&der).ok());
        let key = key.ok_or("has a `private_key` that is no RSA key in PEM (PKCS #8)")?;
        Ok(Self { email, key_id: text("private_key_id").map(str::to_owned), key })
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    /// SHA-256 of the public key, base64url: no secret, and another one for every key.
    pub fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.key.public_key().as_ref()))
    }

    /// A token that asks `audience` for the right to do what `scope` names, from `unix_seconds` on.
    pub fn assertion(&self, audience: &str, scope: &str, unix_seconds: i64) -> String {
        let header = match &self.key_id {
            Some(id) => json!({"alg": "RS256", "typ": "JWT", "kid": id}),
            None => json!({"alg": "RS256", "typ": "JWT"}),
        };
        let claims = json!({"iss": self.email, "scope": scope, "aud": audience, "iat": unix_seconds,
            "exp": unix_seconds.saturating_add(LIFETIME)});
        let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("a key that was read signs, and the buffer has its size");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature))
    }
}

/// The name only; the key is nobody's to see.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("email", &self.email).finish_non_exhaustive()
    }
}

fn pem_body(pem: &str) -> Option<Vec<u8>> {
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} {LABEL}-----"));
    let body = pem.split_once(&begin)?.1.split_once(&end)?.0;
    let letters: String = body.chars().filter(|letter| !letter.is_whitespace()).collect();
    STANDARD.decode(letters).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn an_assertion_is_signed_by_the_account_and_says_for_whom() {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'_> = key.as_der().expect("a key in PKCS #8");
        let body = STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN {LABEL}-----\n{body}\n-----END {LABEL}-----\n");
        let json = json!({"client_email": "a@p.test", "private_key_id": "k1", "private_key": pem});
        let account = Account::read(&json).expect("sound");
        let token = account.assertion("https://token.test/t", "the-scope", 1_000);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).expect("base64")).expect("the account's");
        let part = |text: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64")).expect("JSON")
        };
        let (header, claims) = signed.split_once('.').expect("two parts");
        assert_eq!(part(header), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let expected =
            json!({"iss": "a@p.test", "scope": "the-scope", "aud": "https://token.test/t", "iat": 1000, "exp": 4600});
        assert_eq!(part(claims), expected);
        assert!(!format!("{account:?}").contains("PRIVATE"));
        let expected = digest(&SHA256, key.public_key().as_ref());
        assert_eq!(account.fingerprint(), URL_SAFE_NO_PAD.encode(expected));
        for (member, value) in
            [("client_email", json!(1)), ("private_key", json!("none")), ("private_key", Value::Null)]
        {
            let mut broken = json.clone();
            broken[member] = value;
            assert!(Account::read(&broken).is_err_and(|reason| reason.contains(member)), "{member}");
        }
    }
}
