//! The cookie of a browser's session, and what tells a page of this gateway from any other page that the browser shows.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use zeroize::Zeroizing;

/// Writes that are signed in by cookie carry it, with any value.
pub(super) const CSRF: HeaderName = HeaderName::from_static("x-gateway-csrf");

/// The prefix has browsers refuse the cookie from anybody but this host over TLS (RFC 6265bis, section 4.1.3.2).
const SECURE_NAME: &str = "__Host-gateway_session";
const PLAIN_NAME: &str = "gateway_session";
/// What a browser remembers while it is at the identity provider.
const SECURE_ATTEMPT: &str = "__Host-gateway_oidc";
const PLAIN_ATTEMPT: &str = "gateway_oidc";
/// Longest of those.
const MAX_ATTEMPT: usize = 256;
const SECRET_LEN: usize = 32;
const SECRET_CHARS: usize = 43;

/// A new secret of 256 bits, in letters that a cookie takes.
pub(super) fn mint() -> Zeroizing<String> {
    let mut entropy = Zeroizing::new([0; SECRET_LEN]);
    rand::fill(&mut *entropy).expect("the system's random source works");
    Zeroizing::new(BASE64.encode(*entropy))
}

/// The secret that the browser shows. Two are none: one of them was put there by somebody else.
pub(super) fn secret(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut secrets: Vec<(&str, &str)> = pairs.filter(|(name, _)| [SECURE_NAME, PLAIN_NAME].contains(name)).collect();
    if secrets.iter().any(|(name, _)| *name == SECURE_NAME) {
        secrets.retain(|(name, _)| *name == SECURE_NAME);
    }
    match secrets[..] {
        [(_, secret)] if secret.len() == SECRET_CHARS => Some(Zeroizing::new(secret.to_owned())),
        _ => None,
    }
}

/// `Set-Cookie` that gives it, or with an empty secret takes it away.
pub(super) fn set(secret: &str, is_secure: bool, max_age_s: i64) -> HeaderValue {
    let (name, secure) = if is_secure { (SECURE_NAME, "; Secure") } else { (PLAIN_NAME, "") };
    let text = format!("{name}={secret}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::try_from(text).expect("letters and numbers only");
    value.set_sensitive(true);
    value
}

/// The same for what is remembered of a sign-in. It comes back with a step that another site begins, and so is not `Strict`.
pub(super) fn set_attempt(attempt: &str, is_secure: bool, max_age_s: i64) -> HeaderValue {
    let (name, secure) = if is_secure { (SECURE_ATTEMPT, "; Secure") } else { (PLAIN_ATTEMPT, "") };
    let text = format!("{name}={attempt}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::try_from(text).expect("letters, numbers and dots only");
    value.set_sensitive(true);
    value
}

/// What this browser remembers of its sign-in. Of two, one was put there by somebody else.
pub(super) fn attempt(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let found: Vec<&str> =
        pairs.filter(|(name, _)| [SECURE_ATTEMPT, PLAIN_ATTEMPT].contains(name)).map(|(_, text)| text).collect();
    match found[..] {
        [attempt] if attempt.len() <= MAX_ATTEMPT => Some(attempt.to_owned()),
        _ => None,
    }
}

/// Whether the page that had the browser send this is not one of `own`. Programs that are no browsers name no origin.
pub(super) fn is_foreign(headers: &HeaderMap, own: &Authority) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    elsewhere || headers.get_all(header::ORIGIN).iter().any(|origin| !is_of(origin, own))
}

/// Whether the browser reached us by TLS, be it through a proxy that ends it.
pub(super) fn came_by_tls(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// The scheme is left out of it: a proxy may end TLS before us.
fn is_of(origin: &HeaderValue, own: &Authority) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let Some(origin) = origin else { return false };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let Some(authority) = origin.authority() else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    authority.host().eq_ignore_ascii_case(own.host()) && port(authority) == port(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_told_apart() {
        for (origin, site, own, expected) in [
            ("", "", "127.0.0.1:8081", false),
            ("http://127.0.0.1:8081", "same-origin", "127.0.0.1:8081", false),
            ("https://gateway.example.com", "", "Gateway.example.com", false),
            ("https://gateway.example.com", "", "gateway.example.com:443", false),
            ("", "none", "localhost", false),
            ("http://127.0.0.1:8080", "same-site", "127.0.0.1:8081", true),
            ("http://127.0.0.1:8080", "", "127.0.0.1:8081", true),
            ("https://evil.example.com", "", "gateway.example.com", true),
            ("https://gateway.example.com.evil.example.com", "", "gateway.example.com", true),
            ("null", "", "localhost", true),
            ("file://", "", "localhost", true),
            ("", "cross-site", "localhost", true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_foreign(&headers, &own.parse().expect("an authority")), expected, "{origin} {site} at {own}");
        }
    }

    #[test]
    fn the_secret_is_found_among_other_cookies() {
        let minted = mint();
        assert_eq!(minted.len(), SECRET_CHARS);
        for (cookies, found) in [
            (format!("{PLAIN_NAME}={}", *minted), true),
            (format!("a=b; {SECURE_NAME}={}; c=d", *minted), true),
            (format!("{PLAIN_NAME}=x; {SECURE_NAME}={}", *minted), true),
            (format!("{PLAIN_NAME}={0}; {PLAIN_NAME}={0}", *minted), false),
            (format!("{PLAIN_NAME}=short"), false),
            (format!("other={}", *minted), false),
        ] {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(&cookies).expect("a header"))]);
            assert_eq!(secret(&headers).is_some(), found, "{cookies}");
        }
    }
}
