//! Address of a control plane's fleet listener, as people write it: `https://host:port`.

use std::fmt;
use std::str::FromStr;

/// Where to dial. Which control plane answers there is decided by its certificate, never by this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetUrl {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

// === impl FleetUrl ===

impl FromStr for FleetUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{text}` {what}; write it like https://control.example.com:8082");
        let rest = text.strip_prefix("https://").ok_or_else(|| wrong("does not begin with https://"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(wrong("holds more than a host and a port"));
        }
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| wrong("names no port"))?;
        let port = port.parse().map_err(|_| wrong("names no port"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => {
                address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("holds no IPv6 address"))?.to_string()
            }
            None if host.is_empty() || host.contains([':', '[', ']']) || host.contains(char::is_whitespace) => {
                return Err(wrong("names no host"));
            }
            None => host.to_owned(),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for FleetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_over_tls() {
        for (text, expected) in [
            ("https://127.0.0.1:8082", Ok("https://127.0.0.1:8082")),
            ("https://control.example.com:443/", Ok("https://control.example.com:443")),
            ("https://[::1]:8082", Ok("https://[::1]:8082")),
            ("http://127.0.0.1:8082", Err("does not begin with https://")),
            ("127.0.0.1:8082", Err("does not begin with https://")),
            ("https://control.example.com", Err("names no port")),
            ("https://control:70000", Err("names no port")),
            ("https://:8082", Err("names no host")),
            ("https://::1:8082", Err("names no host")),
            ("https://[x]:8082", Err("holds no IPv6 address")),
            ("https://user@control:8082", Err("holds more than a host and a port")),
            ("https://control:8082/fleet", Err("holds more than a host and a port")),
        ] {
            let parsed = text.parse::<FleetUrl>().map(|url| url.to_string());
            match expected {
                Ok(expected) => assert_eq!(parsed.as_deref(), Ok(expected), "{text}"),
                Err(expected) => {
                    let error = parsed.expect_err(text);
                    assert!(error.contains(expected) && error.contains("https://control.example.com:8082"), "{error}");
                }
            }
        }
    }
}
