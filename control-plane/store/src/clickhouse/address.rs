//! The address of a ClickHouse: `http://user:password@host:8123/database`. It may hold a password, so nothing of it but the host and
//! the database is ever shown.

use gateway_model::secret::Secret;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::error::Error;

/// An address that was read.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Without user, password and database.
    pub(super) url: Url,
    pub(super) database: String,
    pub(super) user: Option<HeaderValue>,
    pub(super) password: Option<HeaderValue>,
}

/// Where none is named, as ClickHouse calls it.
const DATABASE: &str = "default";

// === impl Address ===

impl Address {
    pub(super) fn parse(url: &Secret) -> Result<Self, Error> {
        let mut url = Url::parse(url.expose()).map_err(|_| Error::LogsAddress("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(Error::LogsAddress("it does not begin with http:// or https:// and a host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Error::LogsAddress(
                "nothing may follow the database; a `?` or `#` in a password is written %3F or %23",
            ));
        }
        let database = decoded(url.path().trim_matches('/'))?;
        if database.contains('/') {
            return Err(Error::LogsAddress("a database's name has no `/`"));
        }
        let database = if database.is_empty() { DATABASE.to_owned() } else { database };
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(header).transpose()?;
        let password = url.password().map(header).transpose()?;
        let is_cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        if !is_cleared {
            return Err(Error::LogsAddress("it has no host"));
        }
        url.set_path("/");
        Ok(Self { url, database, user, password })
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{host}:{port}/{}", self.database)
    }
}

/// Not shown by `Debug`.
fn header(text: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_bytes(decoded(text)?.as_bytes());
    let mut value = value.map_err(|_| Error::LogsAddress("the user or the password holds what no header can"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `%40` is an `@`.
fn decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).filter(|_| *first == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::LogsAddress("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("http://localhost:8123", Some(("http://localhost:8123/", "default", None, None))),
            ("http://localhost/logs", Some(("http://localhost/", "logs", None, None))),
            ("https://u:hush@host:8443/a%20b/", Some(("https://host:8443/", "a b", Some("u"), Some("hush")))),
            ("http://u:hush%40%3f%@host/d", Some(("http://host/", "d", Some("u"), Some("hush@?%")))),
            ("http://u@host/d", Some(("http://host/", "d", Some("u"), None))),
            ("http://u:hush@host/d?x=1", None),
            ("http://u:hush@host/d/e", None),
            ("http://u:hush%0a@host/d", None),
            ("tcp://u:hush@host:9000/d", None),
            ("hush", None),
        ] {
            match Address::parse(&Secret::new(text)) {
                Ok(address) => {
                    let [user, password] = [&address.user, &address.password]
                        .map(|value| value.as_ref().map(|value| value.to_str().expect("ASCII").to_owned()));
                    let read = (address.url.as_str(), address.database.as_str(), user.as_deref(), password.as_deref());
                    assert_eq!(Some(read), expected, "{text}");
                    assert!(!format!("{address:?} {}", address.told()).contains("hush"), "{address:?}");
                }
                Err(error) => {
                    assert_eq!(expected, None, "{text}");
                    assert!(!error.to_string().contains("hush"), "{error}");
                }
            }
        }
    }
}
