//! People for whom an identity provider speaks (OpenID Connect Core 1.0, authorization code with PKCE). What is needed of it is little:
//! one flow, one client, tokens that `gateway_engine::jws` verifies as it does for requests.

mod provider;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway_engine::jws::{self, Expected, Token, Unfit};
use gateway_model::kind::settings::sign_in::Oidc as Settings;
use gateway_model::person::PersonRole;
use gateway_model::secret::Secret;
use serde_json::Value;
use tokio::sync::Semaphore;

use self::provider::Provider;

/// Signing in with an identity provider.
#[derive(Debug)]
pub struct Oidc {
    provider: Provider,
    /// Of the client, where the provider has given it one.
    client_secret: Option<Secret>,
    /// Codes that are being redeemed.
    redeeming: Semaphore,
}

/// What one sign-in is recognised by when the browser comes back: kept by the browser, signed by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) state: String,
    pub(crate) nonce: String,
    /// Of PKCE (RFC 7636).
    pub(crate) verifier: String,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vouched {
    /// For the audit log.
    pub(crate) name: String,
    pub(crate) role: PersonRole,
    pub(crate) leads: Vec<String>,
}

/// Why somebody was not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the identity provider cannot be asked: {0}")]
    Unreachable(String),
    #[error("the identity provider does not redeem the code: {0}")]
    Code(String),
    #[error("the identity provider's token is refused: {0}")]
    Token(#[from] Unfit),
    #[error("the identity provider's token is for another sign-in; begin again")]
    Nonce,
    #[error("the identity provider says nothing of you that has a role here; ask who runs this gateway")]
    Nobody,
    #[error("too many are signing in; try again in a moment")]
    Busy,
}

const MAX_REDEEMING: usize = 8;
/// How far the provider's clock may be from ours.
const SKEW_S: u64 = 60;
/// Longest name that is taken over.
const MAX_NAME: usize = 200;

// === impl Oidc ===

impl Oidc {
    pub fn new(client_secret: Option<Secret>) -> Self {
        Self { provider: Provider::default(), client_secret, redeeming: Semaphore::new(MAX_REDEEMING) }
    }

    /// Where to send the browser.
    pub(crate) async fn begin(&self, settings: &Settings, attempt: &Attempt) -> Result<String, Refused> {
        let known = self.provider.known(&settings.issuer).await?;
        let challenge = BASE64.encode(digest::digest(&digest::SHA256, attempt.verifier.as_bytes()));
        let scope = settings.scope();
        let asked = [
            ("response_type", "code"),
            ("client_id", &settings.client_id),
            ("redirect_uri", &settings.redirect_url),
            ("scope", &scope),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let url = reqwest::Url::parse_with_params(&known.authorization_endpoint, asked);
        url.map(String::from).map_err(|_| Refused::Unreachable("its authorization endpoint is no URL".to_owned()))
    }

    /// Who comes back with this code.
    pub(crate) async fn redeem(
        &self,
        settings: &Settings,
        attempt: &Attempt,
        code: &str,
        now_s: i64,
    ) -> Result<Vouched, Refused> {
        let _redeeming = self.redeeming.try_acquire().map_err(|_| Refused::Busy)?;
        let known = self.provider.known(&settings.issuer).await?;
        let asked = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &settings.redirect_url),
            ("client_id", &settings.client_id),
            ("code_verifier", &attempt.verifier),
        ];
        let answer = self.provider.redeem(&known, &asked, &settings.client_id, self.client_secret.as_ref()).await?;
        let text = answer["id_token"].as_str().ok_or_else(|| Refused::Code("it gives no id token".to_owned()))?;
        let token = Token::parse(text)?;
        let claims = match token.verified(&known.keys) {
            // It may have changed its keys since; it is asked again, once, and not all the time.
            Err(Unfit::Signature) if !known.keys.iter().any(|key| token.may_be_of(key)) => {
                token.verified(&self.provider.renewed(&known).await?.keys)?
            }
            verified => verified?,
        };
        vouched(settings, &claims, &attempt.nonce, now_s)
    }
}

/// Whom the claims speak for, if they are for us and for this sign-in.
fn vouched(settings: &Settings, claims: &Value, nonce: &str, now_s: i64) -> Result<Vouched, Refused> {
    let audience = [settings.client_id.clone()];
    jws::check(claims, Expected { issuer: &settings.issuer, audience: &audience, skew_s: SKEW_S }, now_s)?;
    // Of several audiences the one that asked has to be named (OpenID Connect Core 1.0, section 3.1.3.7).
    let is_shared = claims["aud"].as_array().is_some_and(|audience| audience.len() > 1);
    let authorized = claims.get("azp").map_or(!is_shared, |party| *party == settings.client_id.as_str());
    if !authorized {
        return Err(Unfit::Audience.into());
    }
    let said = claims["nonce"].as_str().unwrap_or_default();
    if constant_time::verify_slices_are_equal(said.as_bytes(), nonce.as_bytes()).is_err() {
        return Err(Refused::Nonce);
    }
    let claim = &claims[settings.claim()];
    let says = |value: &str| claim == value || claim.as_array().is_some_and(|all| all.iter().any(|one| one == value));
    let mapping = settings.roles.iter().find(|mapping| says(&mapping.value)).ok_or(Refused::Nobody)?;
    // An address that nobody has verified may be anybody's.
    let verified = claims["email"].as_str().filter(|_| claims["email_verified"] == true);
    let name = verified.or_else(|| claims["sub"].as_str()).ok_or(Refused::Nobody)?;
    let name = format!("oidc:{}", name.chars().filter(|char| !char.is_control()).take(MAX_NAME).collect::<String>());
    Ok(Vouched { name, role: mapping.role, leads: mapping.leads.clone() })
}

#[cfg(test)]
mod tests {
    use gateway_model::kind::settings::sign_in::Mapping;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn oidc_claims_map_to_roles_and_nothing_else_does() {
        let mapping = |value: &str, role, leads: &[&str]| Mapping {
            value: value.to_owned(),
            role,
            leads: leads.iter().map(ToString::to_string).collect(),
        };
        let settings = Settings {
            issuer: "https://id.example.com".to_owned(),
            client_id: "gateway".to_owned(),
            redirect_url: "https://gateway.example.com/admin/oidc/callback".to_owned(),
            scopes: None,
            claim: None,
            roles: vec![
                mapping("ops", PersonRole::Operator, &[]),
                mapping("search", PersonRole::TeamAdmin, &["search"]),
            ],
        };
        let good = json!({
            "iss": "https://id.example.com", "aud": "gateway", "exp": NOW + 60, "nonce": "n", "sub": "u1",
            "email": "ada@example.com", "email_verified": true, "groups": ["staff", "ops"],
        });
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        for (claims, expected) in [
            (good.clone(), Some(("oidc:ada@example.com", PersonRole::Operator))),
            (with("groups", json!("search")), Some(("oidc:ada@example.com", PersonRole::TeamAdmin))),
            (with("email_verified", json!(false)), Some(("oidc:u1", PersonRole::Operator))),
            (with("aud", json!(["gateway"])), Some(("oidc:ada@example.com", PersonRole::Operator))),
            (with("groups", json!(["staff"])), None),
            (with("groups", Value::Null), None),
            (with("groups", json!({"ops": true})), None),
            (with("nonce", json!("other")), None),
            (with("nonce", Value::Null), None),
            (with("aud", json!(["gateway", "other"])), None),
            (with("azp", json!("other")), None),
            (with("iss", json!("https://evil.example.com")), None),
            (with("exp", json!(NOW - 60)), None),
        ] {
            let found = vouched(&settings, &claims, "n", NOW).ok();
            let found = found.as_ref().map(|found| (found.name.as_str(), found.role));
            assert_eq!(found, expected, "{claims}");
        }
    }
}
