//! The listener's own certificate: made at each start, replaced in place long before it runs out.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;

use crate::authority::Authority;
use crate::clock;
use crate::members::Members;

/// The certificate that new connections are shown.
#[derive(Debug)]
pub(super) struct Renewing {
    members: Arc<Members>,
    hosts: Vec<String>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    not_after_ms: i64,
}

/// Of 90 days.
const RENEW_BEFORE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// By the wall clock, so that a machine that slept notices.
const LOOK: Duration = Duration::from_secs(60 * 60);

// === impl Renewing ===

impl Renewing {
    pub(super) fn new(members: Arc<Members>, hosts: &[String]) -> anyhow::Result<Self> {
        let current = Current::new(members.authority(), hosts, clock::unix_ms())?;
        Ok(Self { members, hosts: hosts.to_vec(), current: RwLock::new(current) })
    }

    /// Keeps it good until it is dropped.
    pub(super) async fn run(&self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look(clock::unix_ms());
        }
    }

    fn look(&self, now_ms: i64) {
        if now_ms < self.read().not_after_ms - RENEW_BEFORE_MS {
            return;
        }
        match Current::new(self.members.authority(), &self.hosts, now_ms) {
            Ok(current) => {
                tracing::info!("the fleet listener has a new certificate");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
            }
            Err(error) => tracing::error!("the fleet listener's certificate cannot be renewed: {error:#}"),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Renewing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.read().key))
    }
}

// === impl Current ===

impl Current {
    fn new(authority: &Authority, hosts: &[String], now_ms: i64) -> anyhow::Result<Self> {
        let leaf = authority.leaf(hosts, now_ms)?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&leaf.key);
        let key = key.context("using the fleet listener's key")?;
        Ok(Self { key: Arc::new(CertifiedKey::new(leaf.chain, key)), not_after_ms: leaf.not_after_ms })
    }
}

#[cfg(test)]
mod tests {
    use gateway_store::Store;

    use super::*;
    use crate::vault::Vault;

    #[tokio::test]
    async fn it_is_replaced_long_before_it_runs_out() {
        let store = Store::open("sqlite::memory:").await.expect("a database");
        let vault = Arc::new(Vault::new(&Vault::generate()).expect("our own key"));
        let authority = Authority::load_or_make(&store, &vault, clock::unix_ms()).await.expect("made");
        let members = Members::load(store, vault, Arc::new(authority)).await.expect("nobody yet");
        let renewing = Renewing::new(Arc::new(members), &[]).expect("made");
        let shown = || renewing.read().key.cert[0].clone();
        let (first, not_after_ms) = (shown(), renewing.read().not_after_ms);
        renewing.look(not_after_ms - RENEW_BEFORE_MS - 1);
        assert_eq!(shown(), first, "not yet");
        renewing.look(not_after_ms - RENEW_BEFORE_MS);
        assert_ne!(shown(), first);
        assert!(renewing.read().not_after_ms > not_after_ms);
    }
}
