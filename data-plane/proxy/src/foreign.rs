//! What tokens of other systems have in common, however they are found to be good: they are remembered by their digests, for a while and
//! not without bound, and who knows more of them is asked over connections of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use gateway_engine::issuers::Place;
use http::{Request, StatusCode};
use tokio::time::{Instant, timeout};

use crate::body::RequestBody;
use crate::upstream::{Client, Origin};

/// A token, without itself: the digest of all of it, so that no other one is taken for it.
pub(crate) type Name = [u8; 32];

/// What came of tokens, by their digests; each holds for what it was found with.
pub(crate) struct Remembered<B, T> {
    found: papaya::HashMap<Name, Found<B, T>>,
    n_found: AtomicUsize,
}

struct Found<B, T> {
    by: Arc<B>,
    until: Instant,
    what: T,
}

const MAX_REMEMBERED: usize = 10_000;
const CONNECT: Duration = Duration::from_secs(3);
const MAX_ANSWER: usize = 256 * 1024;

/// What is answered there, within this time in all; otherwise why nothing was.
pub(crate) async fn answer(
    client: &Client,
    place: &Place,
    request: Request<RequestBody>,
    whole: Duration,
) -> Result<(StatusCode, Vec<u8>), String> {
    let origin = Origin {
        tls: place.tls,
        host: Arc::clone(&place.host),
        authority: bytes::Bytes::from(place.authority.clone()),
        port: place.port,
        allow_private: place.allow_private,
        only_h1: true,
        is_metadata_server: false,
    };
    let asked = timeout(whole, async {
        let response = client.send(&origin, Box::new(request), CONNECT).await.map_err(|failure| failure.to_string())?;
        let status = response.status();
        let (mut body, mut answer) = (response.into_body(), Vec::new());
        while let Some(bytes) = body.data().await {
            answer.extend_from_slice(&bytes.map_err(|_| "its answer broke off".to_owned())?);
            if answer.len() > MAX_ANSWER {
                return Err("its answer is too large".to_owned());
            }
        }
        Ok((status, answer))
    });
    asked.await.unwrap_or_else(|_| Err(format!("it does not answer within {whole:?}")))
}

/// What is remembered of a token, in place of itself.
pub(crate) fn name(token: &str) -> Name {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

// === impl Remembered ===

impl<B, T> Remembered<B, T> {
    pub(crate) fn has(&self, name: &Name, is_same: impl Fn(&Arc<B>) -> bool) -> bool {
        self.get(name, is_same, |_| ()).is_some()
    }

    /// What was found with the same means as there are now.
    pub(crate) fn get<R>(
        &self,
        name: &Name,
        is_same: impl Fn(&Arc<B>) -> bool,
        read: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let found = self.found.pin();
        let found = found.get(name).filter(|found| Instant::now() < found.until && is_same(&found.by))?;
        Some(read(&found.what))
    }

    pub(crate) fn keep(&self, name: Name, by: &Arc<B>, how_long: Duration, what: T) {
        let found = self.found.pin();
        if self.n_found.load(Ordering::Relaxed) >= MAX_REMEMBERED {
            let now = Instant::now();
            found.retain(|_, one| now < one.until);
            if found.len() >= MAX_REMEMBERED {
                found.clear();
            }
            self.n_found.store(found.len(), Ordering::Relaxed);
        }
        if found.insert(name, Found { by: Arc::clone(by), until: Instant::now() + how_long, what }).is_none() {
            self.n_found.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<B, T> Default for Remembered<B, T> {
    fn default() -> Self {
        Self { found: papaya::HashMap::new(), n_found: AtomicUsize::new(0) }
    }
}
