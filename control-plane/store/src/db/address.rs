//! The address of a database: which engine it names, and how it is told to the driver. It may hold a password, so nothing of it but
//! its scheme is ever shown.

use std::fmt::Write as _;
use std::path::Path;

use gateway_model::secret::Secret;

use crate::db::Engine;
use crate::error::Error;

/// What the driver understands after the `?` of a Postgres address. It would warn of any other, with its value.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];
const APPLICATION: &str = "application_name";
const NOTIFY: &str = "notify";

/// An address that was read.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) engine: Engine,
    /// For the driver.
    pub(super) url: Secret,
    /// `:memory:`, where each connection would be a database of its own.
    pub(super) in_memory: bool,
    /// Postgres only: whether commits are announced and listened for.
    pub(super) notify: bool,
}

// === impl Address ===

impl Address {
    /// `sqlite::memory:`, `sqlite://path`, `postgres://…`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let scheme = text.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => Ok(Self::sqlite(text)),
            "postgres" | "postgresql" => Self::postgres(text),
            _ => Err(Error::Address(scheme.to_owned())),
        }
    }

    fn sqlite(text: &str) -> Self {
        let in_memory = text == "sqlite::memory:";
        let url = if in_memory || text.contains('?') { text.to_owned() } else { format!("{text}?mode=rwc") };
        Self { engine: Engine::Sqlite, url: Secret::new(url), in_memory, notify: false }
    }

    fn postgres(text: &str) -> Result<Self, Error> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut kept = Vec::new();
        let mut notify = true;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                (NOTIFY, "on") => notify = true,
                (NOTIFY, "off") => notify = false,
                _ if PARAMETERS.contains(&name) => kept.push(pair),
                // Not named: a password with a bare `?` in it looks like one.
                _ => return Err(Error::Parameter { known: PARAMETERS.join(", ") }),
            }
        }
        // So that an operator can tell our connections apart.
        let own = format!("{APPLICATION}=gateway");
        if !kept.iter().any(|pair| pair.starts_with(APPLICATION)) {
            kept.push(&own);
        }
        let url = Secret::new(format!("{base}?{}", kept.join("&")));
        Ok(Self { engine: Engine::Postgres, url, in_memory: false, notify })
    }
}

/// The address of a database file.
pub(crate) fn file_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            url.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_the_address() {
        assert_eq!(file_url(Path::new("/data/a b?#%.db")), "sqlite:///data/a%20b%3F%23%25.db");
    }

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("sqlite::memory:", Some(("sqlite::memory:", false))),
            ("sqlite:///a.db", Some(("sqlite:///a.db?mode=rwc", false))),
            ("sqlite:///a.db?mode=ro", Some(("sqlite:///a.db?mode=ro", false))),
            ("postgres://u:p@h/d", Some(("postgres://u:p@h/d?application_name=gateway", true))),
            (
                "postgresql://h/d?notify=off&sslmode=require&application_name=a",
                Some(("postgresql://h/d?sslmode=require&application_name=a", false)),
            ),
            ("postgres://h/d?notify=on", Some(("postgres://h/d?application_name=gateway", true))),
            ("postgres://h/d?notify=maybe", None),
            ("postgres://u:pass?w0rd@h/d", None),
            ("mysql://u:w0rd@h/d", None),
            ("", None),
        ] {
            match Address::parse(text) {
                Ok(address) => {
                    assert_eq!(Some((address.url.expose(), address.notify)), expected, "{text}");
                    assert!(!format!("{address:?}").contains("u:p"));
                }
                Err(error) => {
                    assert_eq!(expected, None, "{text}");
                    assert!(!error.to_string().contains("w0rd"), "{error}");
                }
            }
        }
    }
}
