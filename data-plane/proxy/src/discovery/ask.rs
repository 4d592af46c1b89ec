//! One provider, asked for its models: over the connector that guards addresses, with the credential that its requests carry, within
//! bounds of time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gateway_dialects::listing::{NoList, ollama_details, read};
use gateway_engine::snapshot::Provider;
use gateway_ir::offer::{Format, Known, Offer};
use gateway_providers::endpoint::Listing;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Uri};
use tokio::time::timeout;

use crate::body::{Pieces, RequestBody};
use crate::clock;
use crate::tokens::Tokens;
use crate::upstream::{Client, Origin};

/// For all pages and details of one provider together.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// Of all answers of one provider together.
const MAX_BYTES: usize = 10 * 1024 * 1024;
const MAX_MODELS: usize = 5000;
const MAX_PAGES: usize = 50;
/// Models of an Ollama whose details are asked for, how long those of one may be, and how many are asked at a time.
const MAX_DETAILS: usize = 200;
const MAX_DETAILS_BYTES: usize = 512 * 1024;
const DETAILS_AT_ONCE: usize = 4;

/// Asks. Its connections are its own.
pub(super) struct Asker {
    tls: Arc<rustls::ClientConfig>,
    tokens: Arc<Tokens>,
}

/// One round of questions to a provider.
struct Round<'a> {
    client: Client,
    tokens: &'a Tokens,
    provider: &'a Provider,
    origin: Origin,
}

// === impl Asker ===

impl Asker {
    pub(super) fn new(tls: Arc<rustls::ClientConfig>, tokens: Arc<Tokens>) -> Self {
        Self { tls, tokens }
    }

    /// The models of a provider, or why there are none: a sentence for people, without the provider's name.
    pub(super) async fn ask(&self, provider: &Provider) -> Result<Vec<Offer>, String> {
        let Some(listing) = provider.endpoint.listing() else { return Ok(Vec::new()) };
        let (host, authority) = (Arc::clone(listing.host()), listing.authority().clone());
        let origin = Origin { host, authority, ..Origin::of(&provider.endpoint) };
        let round = Round { client: Client::new(Arc::clone(&self.tls)), tokens: &self.tokens, provider, origin };
        let asked = timeout(PATIENCE, round.offers(listing)).await;
        asked.unwrap_or_else(|_| Err(format!("no whole answer within {PATIENCE:?}")))
    }
}

// === impl Round ===

impl Round<'_> {
    async fn offers(&self, listing: &Listing) -> Result<Vec<Offer>, String> {
        let (mut offers, mut after, mut n_left) = (Vec::new(), None, MAX_BYTES);
        for _ in 0..MAX_PAGES {
            let uri = listing.uri(after.as_deref()).ok_or("its list has no address")?;
            let answer = self.get(Method::GET, uri, Bytes::new(), n_left).await?;
            n_left -= answer.len();
            let page = read(listing.format, &answer).map_err(|NoList| "the answer holds no list of models")?;
            offers.extend(page.offers);
            if offers.len() > MAX_MODELS {
                return Err(format!("it lists more than {MAX_MODELS} models"));
            }
            if page.next.is_none() || page.next == after {
                break;
            }
            after = page.next;
        }
        if listing.format == Format::Ollama
            && let Some(uri) = listing.details_uri()
        {
            self.details(&uri, &mut offers).await;
        }
        Ok(offers)
    }

    /// A model whose details cannot be had is listed without them.
    async fn details(&self, uri: &Uri, offers: &mut [Offer]) {
        let asked = offers.iter().take(MAX_DETAILS).map(|offer| {
            let body = serde_json::json!({"model": offer.model}).to_string();
            async move {
                let answer = self.get(Method::POST, uri.clone(), body.into(), MAX_DETAILS_BYTES).await;
                answer.ok().and_then(|answer| ollama_details(&answer).ok()).unwrap_or_default()
            }
        });
        let asked: Vec<_> = asked.collect();
        let known: Vec<Known> = stream::iter(asked).buffered(DETAILS_AT_ONCE).collect().await;
        for (offer, known) in offers.iter_mut().zip(known) {
            offer.known = known;
        }
    }

    /// A JSON answer of at most `limit` bytes.
    async fn get(&self, method: Method, uri: Uri, body: Bytes, limit: usize) -> Result<Bytes, String> {
        let mut request = Request::new(RequestBody::from(Pieces::from(body)));
        *request.uri_mut() = uri;
        *request.headers_mut() = self.provider.endpoint.headers().clone();
        if method == Method::GET {
            request.headers_mut().remove(CONTENT_TYPE);
        }
        *request.method_mut() = method;
        if let Some(source) = self.provider.endpoint.token_source() {
            let token = self.tokens.get(source).await.map_err(|failure| failure.message.to_string())?;
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        if let Some(signer) = self.provider.endpoint.signer() {
            let slices = request.body().as_slices();
            let signature = signer.sign(request.method(), request.uri(), slices, clock::unix_seconds());
            request.headers_mut().extend(signature);
        }
        let response = self.client.send(&self.origin, Box::new(request), CONNECT).await;
        let response = response.map_err(|failure| failure.message.to_string())?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("it answered with status {}", status.as_u16()));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            return Err("the answer is not JSON".to_owned());
        }
        let mut body = response.into_body();
        let mut answer = Vec::new();
        while let Some(bytes) = body.data().await {
            answer.extend_from_slice(&bytes?);
            if answer.len() > limit {
                return Err(format!("the answers are larger than {} MiB together", MAX_BYTES >> 20));
            }
        }
        Ok(answer.into())
    }
}
