//! An authorization server that is asked whether a token is good (RFC 7662): what to ask it, and what its answer means.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_ir::failure::Failure;
use gateway_model::kind::settings::introspection::Introspector as Document;
use gateway_model::secret::Secret;
use serde_json::Value;

use super::Place;
use super::whose::{Source, Verified, invalid, whose};

/// One that is configured.
#[derive(Debug)]
pub struct Introspector {
    document: Document,
    pub place: Place,
    /// The value of `authorization`, with the client's secret in it.
    authorization: Secret,
}

/// Why an answer says nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what it answers is no introspection response")]
pub struct Nonsense;

const MAX_AGE: Duration = Duration::from_secs(30);
const NEGATIVE_AGE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest token that is shown to anybody.
const MAX_TOKEN: usize = 16 * 1024;

// === impl Introspector ===

impl Introspector {
    /// `None` where nobody can be asked at its address.
    pub(super) fn new(document: &Document) -> Option<Self> {
        let secret = document.client_secret.as_ref().map(Secret::expose).unwrap_or_default();
        // Both are form-encoded before they are joined: RFC 6749, section 2.3.1.
        let pair = format!("{}:{}", encoded(&document.client_id), encoded(secret));
        Some(Self {
            place: Place::parse(&document.url, document.allow_private_networks)?,
            authorization: Secret::new(format!("Basic {}", STANDARD.encode(pair))),
            document: document.clone(),
        })
    }

    pub fn name(&self) -> &str {
        &self.document.name
    }

    pub fn prefix(&self) -> &str {
        self.document.prefix.as_deref().unwrap_or_default()
    }

    /// The value of `authorization` of a question.
    pub fn authorization(&self) -> &Secret {
        &self.authorization
    }

    /// The form that asks about a token; `None` where it is too long to be one.
    pub fn question(token: &str) -> Option<String> {
        (token.len() <= MAX_TOKEN).then(|| format!("token={}&token_type_hint=access_token", encoded(token)))
    }

    /// For how long a good answer holds at most, and one that is not good.
    pub fn ages(&self) -> (Duration, Duration) {
        let Document { max_age, negative_age, .. } = &self.document;
        (max_age.map_or(MAX_AGE, |age| age.0), negative_age.map_or(NEGATIVE_AGE, |age| age.0))
    }

    pub fn timeout(&self) -> Duration {
        self.document.timeout.map_or(TIMEOUT, |timeout| timeout.0)
    }

    /// Whether it would say the same of any token as the other: then what that one said still holds.
    pub fn is_same(&self, other: &Self) -> bool {
        self.document == other.document
    }

    /// Whose the token is, or why it is refused, by an answer of status 200.
    pub fn verdict(&self, answer: &[u8], now_s: i64) -> Result<Result<Verified, Box<Failure>>, Nonsense> {
        let said: Value = serde_json::from_slice(answer).map_err(|_| Nonsense)?;
        let is_active = said.get("active").and_then(Value::as_bool).ok_or(Nonsense)?;
        Ok(if is_active { self.fit(&said, now_s) } else { Err(self.refused("it is not active")) })
    }

    fn fit(&self, said: &Value, now_s: i64) -> Result<Verified, Box<Failure>> {
        let Document { issuer, audience, scopes, claims, name, .. } = &self.document;
        // It is for who holds a key, and nobody here looks for that key: as a mere bearer's it would be anybody's.
        if said.get("cnf").is_some_and(|bound| !bound.is_null()) {
            return Err(self.refused("it is bound to a key of its holder, which cannot be shown here"));
        }
        if issuer.as_ref().is_some_and(|issuer| said["iss"] != issuer.as_str()) {
            return Err(self.refused("it is of another issuer"));
        }
        let is_ours = |one: &Value| one.as_str().is_some_and(|one| audience.iter().any(|own| own == one));
        let is_for_us = is_ours(&said["aud"]) || said["aud"].as_array().is_some_and(|all| all.iter().any(is_ours));
        if !audience.is_empty() && !is_for_us {
            return Err(self.refused("it is for another audience"));
        }
        let granted: Vec<&str> = said["scope"].as_str().unwrap_or_default().split_ascii_whitespace().collect();
        if let Some(missing) = scopes.iter().find(|scope| !granted.contains(&scope.as_str())) {
            return Err(self.refused(&format!("it lacks the scope `{missing}`")));
        }
        let at = |name: &str| said.get(name).and_then(Value::as_i64);
        if at("nbf").is_some_and(|begins| begins > now_s) {
            return Err(self.refused("it is not valid yet"));
        }
        let ends = at("exp").unwrap_or(i64::MAX);
        if ends <= now_s {
            return Err(self.refused("it has expired"));
        }
        let ends_at_ms = ends.saturating_mul(1000);
        Ok(Verified { whose: whose((Source::Introspection, name), claims, said, ends_at_ms)?, ends_at_ms })
    }

    fn refused(&self, why: &str) -> Box<Failure> {
        invalid(format!("this credential is no key, and `{}` does not vouch for it: {why}", self.name()))
    }
}

/// As `application/x-www-form-urlencoded` has it.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn introspector() -> Introspector {
        let document = json!({
            "name": "corp", "url": "https://id.example.com/introspect", "client_id": "a b", "client_secret": "s:c/r",
            "issuer": "https://id.example.com", "audience": ["gateway"], "scopes": ["llm"],
            "claims": {"team": "team", "user": "sub", "models": "models"},
        });
        Introspector::new(&serde_json::from_value(document).expect("a document")).expect("an address")
    }

    #[test]
    fn an_answer_is_a_caller_a_refusal_or_nonsense() {
        let good = json!({
            "active": true, "iss": "https://id.example.com", "aud": ["gateway", "other"], "scope": "openid llm",
            "exp": NOW + 60, "sub": "ada", "models": "m n",
        });
        let with = |name: &str, value: Value| {
            let mut said = good.clone();
            said[name] = value;
            said
        };
        for (said, expected) in [
            (good.clone(), Ok(true)),
            (with("exp", Value::Null), Ok(true)),
            (with("aud", json!("gateway")), Ok(true)),
            (with("active", json!(false)), Ok(false)),
            (json!({"active": false}), Ok(false)),
            (with("iss", json!("https://evil.example.com")), Ok(false)),
            (with("iss", Value::Null), Ok(false)),
            (with("aud", json!(["other"])), Ok(false)),
            (with("aud", Value::Null), Ok(false)),
            (with("scope", json!("openid llms")), Ok(false)),
            (with("scope", Value::Null), Ok(false)),
            (with("exp", json!(NOW)), Ok(false)),
            (with("nbf", json!(NOW + 1)), Ok(false)),
            (with("sub", json!("")), Ok(false)),
            (with("cnf", json!({"jkt": "x"})), Ok(false)),
            (with("active", json!("true")), Err(Nonsense)),
            (json!({}), Err(Nonsense)),
            (json!([true]), Err(Nonsense)),
            (json!({"error": "invalid_client"}), Err(Nonsense)),
        ] {
            let verdict = introspector().verdict(said.to_string().as_bytes(), NOW);
            assert_eq!(verdict.map(|verdict| verdict.is_ok()), expected, "{said}");
        }
        assert_eq!(introspector().verdict(b"<html>", NOW).err(), Some(Nonsense));
    }

    #[test]
    fn the_clients_secret_is_encoded_and_never_shown() {
        let introspector = introspector();
        let sent = STANDARD.decode(introspector.authorization().expose().trim_start_matches("Basic ")).expect("base64");
        assert_eq!(sent, b"a%20b:s%3Ac%2Fr");
        let shown = format!("{introspector:?}");
        assert!(!shown.contains("s:c/r") && !shown.contains(introspector.authorization().expose()), "{shown}");
        assert_eq!(
            Introspector::question("a+b/c=").as_deref(),
            Some("token=a%2Bb%2Fc%3D&token_type_hint=access_token")
        );
        assert_eq!(Introspector::question(&"x".repeat(MAX_TOKEN + 1)), None);
    }
}
