//! Objects in a store that speaks S3: compressed lines of JSON, named by the day and the first record, so that a batch that is
//! put twice is one object.

use gateway_model::kind::exporter::{Bucket, Exporter};
use gateway_model::secret::Secret;
use gateway_providers::sign::sigv4::Signer;
use http::{Method, Uri};

use super::sink::{Batch, Call, Sink, gzip, lines, root};
use crate::clock::date;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(super) struct S3;

impl Sink for S3 {
    fn most(&self) -> usize {
        2000
    }

    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String> {
        let bucket = exporter.s3.as_ref().ok_or("it has no bucket")?;
        // By path, not by host: other stores than Amazon's have no names for buckets.
        let root = root(exporter, &default_url(bucket));
        let url = format!("{root}/{}/{}", bucket.bucket, object(&bucket.prefix, batch));
        let uri: Uri = url.parse().map_err(|_| "the address is not understood".to_owned())?;
        let secret = bucket.secret_access_key.clone().ok_or("it has no key")?;
        let signer = Signer {
            access_key_id: bucket.access_key_id.clone(),
            secret_access_key: secret,
            session_token: None,
            region: bucket.region.clone(),
            service: "s3",
        };
        let body = gzip(lines(batch.events).as_bytes())?;
        let mut headers = vec![("content-type", "application/gzip".to_owned())];
        for (name, value) in signer.sign(&Method::PUT, &uri, [body.as_slice()], batch.now_ms / 1000) {
            let known = ["authorization", "x-amz-date", "x-amz-content-sha256"];
            if let (Some(name), Ok(value)) = (known.into_iter().find(|known| name == *known), value.to_str()) {
                headers.push((name, value.to_owned()));
            }
        }
        Ok(Call { method: Method::PUT, url: Secret::new(url), headers, body })
    }
}

pub(super) fn default_url(bucket: &Bucket) -> String {
    format!("https://s3.{}.amazonaws.com", bucket.region)
}

/// `prefix/2027/01/15/1800000000000-<id>.ndjson.gz`. Letters that an address would have to be told of otherwise are not in it.
fn object(prefix: &str, batch: &Batch<'_>) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let first = batch.events.first().map_or("", |event| &event.id);
    let first: String = first.chars().filter(is_plain).take(100).collect();
    let day = date(batch.stored_ms.div_euclid(DAY_MS)).replace('-', "/");
    let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
    format!("{prefix}{slash}{day}/{}-{first}.ndjson.gz", batch.stored_ms)
}
