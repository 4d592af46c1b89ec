//! Looking at batches that nobody may ask about, at the provider that runs them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gateway_engine::snapshot::Target;
use gateway_providers::endpoint::encoded;
use http::{Request, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::settle;
use super::watch::{IDLE, MAX_AGE_MS, Open};
use crate::body::Pieces;
use crate::pipeline::Gateway;
use crate::{attempt, clock};

/// Batches that are looked at at once, how long that may take, and what is said of one, in bytes.
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_SAID: usize = 1024 * 1024;

/// Looks, until the node stops.
pub(crate) async fn look(gateway: Arc<Gateway>) {
    loop {
        let first = gateway.live.load().snapshot.settings.passthrough.batch_look;
        let left = match first.is_zero() || !gateway.live.load().ready {
            true => IDLE.min(Duration::from_secs(1)),
            false => {
                let (due, left) = gateway.settled.watch.due(clock::unix_ms(), first);
                let looks = stream::iter(due).map(|batch| look_at(&gateway, batch));
                looks.buffer_unordered(AT_ONCE).collect::<()>().await;
                left
            }
        };
        tokio::select! {
            () = sleep(left) => {}
            () = gateway.settled.watch.changed.notified() => {}
            () = gateway.draining.cancelled() => return,
        }
    }
}

/// What cannot be had now is tried again in its time.
async fn look_at(gateway: &Arc<Gateway>, batch: Open) {
    match timeout(PATIENCE, said(gateway, &batch)).await {
        Ok(Ok(Some(told))) => settle::looked(gateway, &batch, &told).await,
        Ok(Ok(None)) => gateway.settled.watch.over(&batch.account, &batch.id),
        Ok(Err(reason)) => tracing::warn!("the batch `{}` cannot be looked at: {reason}", batch.name()),
        Err(_) => {
            tracing::warn!("the batch `{}` cannot be looked at: no whole answer within {PATIENCE:?}", batch.name())
        }
    }
    if clock::unix_ms().saturating_sub(batch.made_ms) > MAX_AGE_MS {
        tracing::warn!("the batch `{}` is looked at no more: it was made too long ago", batch.name());
        gateway.settled.watch.over(&batch.account, &batch.id);
    }
}

/// What its provider says of it; `None` where that knows nothing of it.
async fn said(gateway: &Gateway, batch: &Open) -> Result<Option<Vec<u8>>, String> {
    let config = gateway.live.pin();
    let Some(provider) = config.snapshot.provider(&batch.account) else {
        return Err("its provider is not configured any more".to_owned());
    };
    let tail = format!("/batches/{}", encoded(&batch.id));
    let uri = provider.endpoint.under_api(&tail, None).ok_or("its id is none that a URL may hold")?;
    let mut request = Box::new(Request::new(Pieces::default().into()));
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(provider.endpoint.headers());
    let (policy, clients) = (provider.passing_policy(), (&gateway.client, &*gateway.tokens));
    let target = Target::passing(provider, "");
    let response = attempt::send(clients, &target, request, &policy, Instant::now() + PATIENCE).await;
    let response = response.map_err(|failure| failure.message.to_string())?;
    match response.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if !status.is_success() => return Err(format!("the upstream answered with {status}")),
        _ => {}
    }
    let (mut body, mut told) = (response.into_body(), Vec::new());
    while let Some(bytes) = body.data().await {
        told.extend_from_slice(&bytes?);
        if told.len() > MAX_SAID {
            return Err("the answer is larger than 1 MiB".to_owned());
        }
    }
    Ok(Some(told))
}
