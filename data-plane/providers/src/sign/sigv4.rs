//! AWS Signature Version 4, <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Pure:
//! the time is an argument.

use std::fmt;
use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use gateway_model::secret::Secret;
use http::{HeaderName, HeaderValue, Method, Uri};

/// Signs requests to one service in one region.
#[derive(Clone)]
pub struct Signer {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
    pub region: String,
    pub service: &'static str,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

// === impl Signer ===

impl Signer {
    /// The headers to add to a request with `body` to `uri`, at `unix_seconds`. The `host` header must be the URI's authority.
    pub fn sign<'b>(
        &self,
        method: &Method,
        uri: &Uri,
        body: impl IntoIterator<Item = &'b [u8]>,
        unix_seconds: i64,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut hash = digest::Context::new(&digest::SHA256);
        body.into_iter().for_each(|piece| hash.update(piece));
        let body_hash = hex(hash.finish().as_ref());
        let at = timestamp(unix_seconds);
        let (day, scope) = (&at[..8], format!("{}/{}/{}/aws4_request", &at[..8], self.region, self.service));
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut signed: Vec<(&'static str, &str)> =
            vec![("host", host), ("x-amz-content-sha256", &body_hash), ("x-amz-date", &at)];
        if let Some(token) = &self.session_token {
            signed.push(("x-amz-security-token", token.expose()));
        }
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let (path, query) = (canonical_path(uri.path()), canonical_query(uri.query().unwrap_or_default()));
        let mut canonical = format!("{method}\n{path}\n{query}\n");
        for (name, value) in &signed {
            writeln!(canonical, "{name}:{value}").expect("writing to a string cannot fail");
        }
        write!(canonical, "\n{names}\n{body_hash}").expect("writing to a string cannot fail");
        let canonical_hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("{ALGORITHM}\n{at}\n{scope}\n{canonical_hash}");
        let key = self.key(day);
        let signature = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes()).as_ref());
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        );
        let headers =
            signed.into_iter().filter(|(name, _)| *name != "host").chain([("authorization", authorization.as_str())]);
        headers
            .filter_map(|(name, value)| {
                // What no header can carry was refused when the configuration was compiled.
                let mut value = HeaderValue::from_str(value).ok()?;
                value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
                Some((HeaderName::from_static(name), value))
            })
            .collect()
    }

    fn key(&self, day: &str) -> Vec<u8> {
        let first = format!("AWS4{}", self.secret_access_key.expose()).into_bytes();
        [day, self.region.as_str(), self.service, "aws4_request"].into_iter().fold(first, |key, part| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}/{})", self.region, self.service)
    }
}

/// Every segment is encoded once more: services other than S3 want the path that travels, encoded.
fn canonical_path(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len() + 8);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            canonical.push(char::from(byte));
        } else {
            write!(canonical, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    canonical
}

/// Parameters in the order of their names, each with its `=`.
fn canonical_query(query: &str) -> String {
    let mut parameters: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    parameters.sort_unstable();
    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// `20250130T120000Z`.
fn timestamp(unix_seconds: i64) -> String {
    let (day, second) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let (year, month, date) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{date:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a count of days since 1970, in the Gregorian calendar: years begin in March, so that the leap day is
/// the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_aws_reads_them() {
        for (unix_seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(timestamp(unix_seconds), expected);
        }
    }

    #[test]
    fn the_key_is_the_documented_one() {
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            region: "us-east-1".to_owned(),
            service: "iam",
        };
        // The vector of AWS's own documentation.
        assert_eq!(hex(&signer.key("20150830")), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
        let uri: Uri = "https://example.test/model/a.b-v1%3A0/converse".parse().expect("a URI");
        let headers = signer.sign(&Method::POST, &uri, [b"{}".as_slice()], 1_440_938_160);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-amz-content-sha256", "x-amz-date", "authorization"]);
        assert!(headers[2].1.is_sensitive());
        assert_eq!(canonical_path(uri.path()), "/model/a.b-v1%253A0/converse");
        let shown = headers[2].1.to_str().expect("text");
        let start = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
            SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=";
        assert!(shown.starts_with(start) && shown.len() == start.len() + 64, "{shown}");
        let other = signer.sign(&Method::POST, &uri, [b"{ }".as_slice()], 1_440_938_160);
        assert_ne!(other[2].1, headers[2].1, "the body counts");
        let other = signer.sign(&Method::GET, &uri, [b"{}".as_slice()], 1_440_938_160);
        assert_ne!(other[2].1, headers[2].1, "the method counts");
        assert_eq!(canonical_query("b=2&a&c=%20"), "a=&b=2&c=%20");
    }
}
