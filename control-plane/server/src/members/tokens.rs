//! Join tokens: made by people for one node, or standing in the ready file for a day.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use gateway_model::secret::Secret;
use gateway_model::token::{self, Join};
use gateway_store::Error;
use gateway_store::membership::TokenRow;
use serde_json::json;

use super::{Members, audit};
use crate::change::Actor;
use crate::clock;

/// A token that is wanted.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What nodes that join with it are labelled, whatever they say of themselves.
    pub labels: BTreeMap<String, String>,
    pub ttl: Duration,
    /// 0: any number.
    pub uses: u64,
}

/// Where the secret of the standing token is in its envelope.
const FIELD: &str = "entropy";
const STANDING: Duration = Duration::from_secs(24 * 60 * 60);
/// A standing token that is over sooner is not given out any more.
const STANDING_AT_LEAST_MS: i64 = 60 * 60 * 1000;

/// What is stored of a token.
pub(super) fn digest(join: &Join) -> Vec<u8> {
    digest::digest(&digest::SHA256, &join.entropy).as_ref().to_vec()
}

// === impl Members ===

impl Members {
    /// Makes a token. This is the only time that it is seen.
    pub async fn create_token(&self, wanted: &NewToken, actor: &Actor) -> Result<(TokenRow, Secret), Error> {
        let (row, join) = self.minted(wanted, actor);
        self.add(&row, actor).await?;
        Ok((row, token::encode_join(&join)))
    }

    /// The token of the ready file: any number of nodes may use it, and it outlives this process. Replicas share one.
    pub(crate) async fn standing_token(&self) -> anyhow::Result<Secret> {
        let row = self.store.standing_token(clock::unix_ms() + STANDING_AT_LEAST_MS).await?;
        if let Some(join) = row.and_then(|row| self.opened(&row)) {
            return Ok(token::encode_join(&join));
        }
        let actor = Actor { name: "startup".to_owned(), ..Actor::default() };
        let wanted = NewToken { labels: BTreeMap::new(), ttl: STANDING, uses: 0 };
        let (mut row, join) = self.minted(&wanted, &actor);
        let secrets = BTreeMap::from([(FIELD.to_owned(), Secret::new(BASE64.encode(join.entropy)))]);
        row.sealed = Some(self.vault.seal(&aad(&row.id), &secrets));
        self.add(&row, &actor).await?;
        Ok(token::encode_join(&join))
    }

    /// Ends a token; who has joined with it stays. Whether it was there.
    pub async fn delete_token(&self, id: &str, actor: &Actor) -> Result<bool, Error> {
        let audit = audit(actor, "delete", "join_token", id, &serde_json::Value::Null, clock::unix_ms());
        self.store.delete_token(id, audit).await
    }

    async fn add(&self, row: &TokenRow, actor: &Actor) -> Result<(), Error> {
        let after = json!({"uses": row.uses, "expires_at": clock::rfc3339(row.expires_at_ms)});
        let audit = audit(actor, "create", "join_token", &row.id, &after, row.created_at_ms);
        self.store.add_token(row, audit).await
    }

    fn minted(&self, wanted: &NewToken, actor: &Actor) -> (TokenRow, Join) {
        let mut join = Join { entropy: [0; 32], pin: *self.authority.pin() };
        rand::fill(&mut join.entropy).expect("the system's random source works");
        let now_ms = clock::unix_ms();
        let millis = u64::try_from(now_ms).unwrap_or(0);
        let row = TokenRow {
            id: format!("join_{}", ulid::Ulid::from_parts(millis, ::rand::random())),
            digest: digest(&join),
            sealed: None,
            labels: json!(wanted.labels).to_string(),
            uses: wanted.uses,
            uses_left: wanted.uses,
            created_by: actor.name.clone(),
            created_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add(i64::try_from(wanted.ttl.as_millis()).unwrap_or(i64::MAX)),
        };
        (row, join)
    }

    /// One that does not open is replaced.
    fn opened(&self, row: &TokenRow) -> Option<Join> {
        let secrets = self.vault.open(&aad(&row.id), row.sealed.as_deref()?).ok()?;
        let entropy = BASE64.decode(secrets.get(FIELD)?.expose()).ok()?;
        Some(Join { entropy: entropy.try_into().ok()?, pin: *self.authority.pin() })
    }
}

fn aad(id: &str) -> String {
    format!("{id}|join_token")
}
