//! What the admin API's handlers share. Each part knows nothing of the others; nothing here knows HTTP.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use gateway_store::Store;
use tokio_util::sync::CancellationToken;

use crate::alerts::Alerts;
use crate::change::Changes;
use crate::credential::{MasterKey, Pepper};
use crate::exports::Exports;
use crate::fleet::Fleet;
use crate::ingest::Tail;
use crate::members::Members;
use crate::meters::Meters;
use crate::oidc::Oidc;
use crate::passwords::Passwords;
use crate::publish::Publisher;
use crate::sessions::Sessions;
use crate::upstreams::Upstreams;

/// The control plane's parts, made once at start.
#[derive(Debug)]
pub struct App {
    pub store: Store,
    pub changes: Arc<Changes>,
    pub pepper: Arc<Pepper>,
    pub master_key: MasterKey,
    pub hosts: Hosts,
    pub fleet: Arc<Fleet>,
    pub members: Arc<Members>,
    pub alerts: Arc<Alerts>,
    pub exports: Arc<Exports>,
    pub upstreams: Upstreams,
    pub publisher: Arc<Publisher>,
    pub tail: Tail,
    pub sessions: Sessions,
    pub passwords: Passwords,
    pub oidc: Oidc,
    /// Whether the admin listener speaks TLS itself.
    pub speaks_tls: bool,
    /// Where applications reach the gateway, without `/v1`; known once its public listener is.
    pub public_url: OnceLock<String>,
    pub meters: Arc<Meters>,
    /// Cancelled when the process stops, so that answers without an end get one.
    pub stop: CancellationToken,
    pub started_at_ms: i64,
}

/// The names under which the admin API may be called. A page of another site that has its name resolve to this machine (DNS
/// rebinding) sends that name, and is refused.
#[derive(Clone, Debug)]
pub struct Hosts {
    listen: IpAddr,
    names: Vec<String>,
}

// === impl Hosts ===

impl Hosts {
    /// `names` beside loopback and the listen address.
    pub fn new(listen: SocketAddr, names: &[String]) -> Self {
        Self { listen: listen.ip(), names: names.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// `host` is a name or an address without a port.
    pub fn allow(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            // Bound to every address, any of them may be meant; an address cannot be rebound, only a name can.
            Ok(address) => address.is_loopback() || address == self.listen || self.listen.is_unspecified(),
            Err(_) => {
                let name = host.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || self.names.contains(&name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_answered() {
        let own = ["Gateway.Example.com".to_owned()];
        for (listen, host, expected) in [
            ("127.0.0.1:8081", "127.0.0.1", true),
            ("127.0.0.1:8081", "localhost", true),
            ("127.0.0.1:8081", "LOCALHOST.", true),
            ("127.0.0.1:8081", "[::1]", true),
            ("127.0.0.1:8081", "gateway.example.com", true),
            ("127.0.0.1:8081", "evil.example.com", false),
            ("127.0.0.1:8081", "localhost.evil.example.com", false),
            ("127.0.0.1:8081", "10.0.0.7", false),
            ("10.0.0.7:8081", "10.0.0.7", true),
            ("10.0.0.7:8081", "10.0.0.8", false),
            ("0.0.0.0:8081", "10.0.0.8", true),
            ("0.0.0.0:8081", "evil.example.com", false),
            ("127.0.0.1:8081", "", false),
        ] {
            let hosts = Hosts::new(listen.parse().expect("an address"), &own);
            assert_eq!(hosts.allow(host), expected, "{listen} {host}");
        }
    }
}
