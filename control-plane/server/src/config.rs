//! Process settings of a control plane: what its flags and its environment say. What people configure at run time is in
//! `gateway_model`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use gateway_model::secret::Secret;
pub use gateway_tls::Files as TlsFiles;

/// How to start a control plane.
#[derive(Clone, Debug)]
pub struct Options {
    /// Database, master key and key-encryption key. Made if it is missing, with mode 0700.
    pub data_dir: PathBuf,
    /// `sqlite://path`. `None`: `gateway.db` in the data directory.
    pub database_url: Option<String>,
    /// ClickHouse for the records of requests: `http://user:password@host:8123/database`. `None`: they are in the database.
    pub logs_database: Option<Secret>,
    /// Address of the admin API. One that is not loopback is the operator's consent to be reached from outside.
    pub admin_listen: SocketAddr,
    /// Host names under which the admin API is reached, beside loopback and the listen address.
    pub admin_hosts: Vec<String>,
    /// The admin listener speaks TLS with these. `None`: it does not.
    pub admin_tls: Option<TlsFiles>,
    /// Address of the fleet listener. `None`: no node on another machine can join.
    pub fleet_listen: Option<SocketAddr>,
    /// Names or addresses under which nodes reach the fleet listener; the first one stands in its URL.
    pub fleet_hosts: Vec<String>,
    /// Key-encryption key that several replicas share. `None`: `kek.key` in the data directory, made if the database is new.
    pub kek_file: Option<PathBuf>,
    /// Master key that several replicas share. `None`: the environment's, else `master.key` in the data directory.
    pub master_key_file: Option<PathBuf>,
    /// Where applications reach the gateway, for the dashboard: `https://gateway.example.com`. `None`: not known here.
    pub public_url: Option<String>,
    /// Of the client that the identity provider knows this gateway as. `None`: it is a public client.
    pub oidc_client_secret: Option<Secret>,
}

/// Environment variable that brings the master key from outside.
pub const MASTER_KEY: &str = "GATEWAY_MASTER_KEY";

/// Environment variable that names the file of the key-encryption key.
pub const KEK_FILE: &str = "GATEWAY_KEK_FILE";

/// Environment variable that brings the address of the ClickHouse for the records of requests.
pub const LOGS_DATABASE: &str = "GATEWAY_LOGS_DATABASE";

pub const DEFAULT_FLEET_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8082);
pub const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// Shortest master key that is accepted from outside; ours has 256 bits.
const MIN_MASTER_KEY: usize = 20;

// === impl Options ===

impl Options {
    /// SQLite in the data directory, its own keys, and no fleet listener.
    pub fn new(data_dir: PathBuf, admin_listen: SocketAddr) -> Self {
        Self {
            data_dir,
            database_url: None,
            logs_database: None,
            admin_listen,
            admin_hosts: Vec::new(),
            admin_tls: None,
            fleet_listen: None,
            fleet_hosts: Vec::new(),
            oidc_client_secret: None,
            kek_file: None,
            master_key_file: None,
            public_url: None,
        }
    }
}

/// The master key from the environment, where there is one. Too short, or set to nothing, is an error: it is never verified
/// against an empty key.
pub(crate) fn master_key() -> anyhow::Result<Option<Secret>> {
    let Some(key) = std::env::var(MASTER_KEY).ok().map(Secret::new) else { return Ok(None) };
    check_master_key(MASTER_KEY, &key)?;
    Ok(Some(key))
}

/// Whether a key from `place` is fit to be the master key.
pub(crate) fn check_master_key(place: &str, key: &Secret) -> anyhow::Result<()> {
    anyhow::ensure!(
        key.expose().chars().count() >= MIN_MASTER_KEY,
        "{place} holds fewer than {MIN_MASTER_KEY} characters; give a longer master key, or take it away to have one made"
    );
    anyhow::ensure!(
        key.expose().chars().all(|c| c.is_ascii_graphic()),
        "{place} holds characters that cannot stand in an HTTP header; use letters, digits and punctuation only"
    );
    Ok(())
}

/// An environment variable, for `${NAME}` in the configuration file.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_secret_refuses_start() {
        for (key, accepted) in
            [("", false), ("short", false), ("has a space in the middle of it", false), ("0123456789abcdefghij", true)]
        {
            let checked = check_master_key(MASTER_KEY, &Secret::new(key));
            assert_eq!(checked.is_ok(), accepted, "{key}");
            assert!(!format!("{checked:?}").contains("has a space"), "the key must not show");
        }
    }
}
