//! What a key may do and from where, as people write it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::textual;

/// What a key may do beside naming models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything that applications can do: neither `models` nor `endpoints` hold it back. The admin API takes another key.
    Admin,
    /// Every operation.
    User,
    /// What reads and makes nothing: `GET` and `HEAD`, without WebSockets.
    ReadOnly,
}

/// A method and a path, `*` for any characters: `POST /v1/chat/completions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

/// Addresses: one, or a network in CIDR form (RFC 4632, RFC 4291).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange(IpNet);

/// What becomes of open streams of a key that is revoked: removed, disabled, expired, or of somebody who is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevokeMode {
    /// They go on to their end.
    #[default]
    Drain,
    /// They end within a second, with an error. So do open WebSockets.
    Abort,
}

// === impl Role ===

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::ReadOnly => "read-only",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Admin, Self::User, Self::ReadOnly].into_iter().find(|role| role.name() == name)
    }
}

// === impl RevokeMode ===

impl RevokeMode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Abort => "abort",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Drain, Self::Abort].into_iter().find(|mode| mode.name() == name)
    }
}

// === impl Endpoint ===

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "a method and a path like `POST /v1/chat/completions`";
        let (method, path) = text.split_once(' ').ok_or(WANTED)?;
        let is_method = method == "*" || !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_path = path.starts_with(['/', '*']) && !path.contains(char::is_whitespace);
        if is_method && is_path { Ok(Self(text.to_owned())) } else { Err(WANTED) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl IpRange ===

impl IpRange {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| Self(network.trunc())).map_err(|_| "an address like `10.0.0.1` or `2001:db8::/32`")
    }

    /// An IPv4 address that comes in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One address is written as one.
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

textual!(Endpoint, "an endpoint", {
    "type": "string", "pattern": "^(\\*|[A-Z]+) [/*][^ ]*$",
    "description": "A method and a path, `*` for any characters: POST /v1/chat/completions."
});
textual!(IpRange, "an address", {
    "type": "string", "description": "An IP address or a network: 10.0.0.1, 10.0.0.0/8, 2001:db8::/32."
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_method_and_a_path() {
        for fine in ["GET /v1/models", "* /v1/*", "POST *"] {
            assert_eq!(Endpoint::parse(fine).map(|endpoint| endpoint.to_string()).as_deref(), Ok(fine));
        }
        for bad in ["", "/v1/models", "GET", "GET ", "get /v1/models", "GET v1", "GET /a b", " /v1"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_networks() {
        let cases = [
            ("10.0.0.0/8", "10.0.0.0/8", &["10.1.2.3", "::ffff:10.1.2.3"][..], &["11.0.0.1", "::1"][..]),
            ("10.1.2.3/8", "10.0.0.0/8", &["10.9.9.9"], &[]),
            ("127.0.0.1", "127.0.0.1", &["127.0.0.1"], &["127.0.0.2"]),
            ("2001:db8::/32", "2001:db8::/32", &["2001:db8::5"], &["2001:db9::5", "10.0.0.1"]),
            ("0.0.0.0/0", "0.0.0.0/0", &["1.2.3.4"], &["::1"]),
        ];
        for (text, shown, inside, outside) in cases {
            let range = IpRange::parse(text).expect(text);
            assert_eq!(range.to_string(), shown);
            let has = |address: &&str| range.contains(address.parse().expect("an address"));
            assert!(inside.iter().all(has) && !outside.iter().any(has), "{text}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/x", "localhost", "::1/129"] {
            assert!(IpRange::parse(bad).is_err(), "{bad}");
        }
    }
}
