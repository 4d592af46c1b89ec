//! What nodes tell one another about responses that are being made, through the store that they share: that somebody makes it still,
//! and that it is to be cancelled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use tokio::time::{Instant, sleep};

use super::run::abandoned;
use crate::clock;
use crate::conversations::{Entry, Kept, Key, Store, Turn};

/// Who has not signed for so long has ended.
const LEASE_MS: i64 = 30_000;
/// From one look for a word to cancel to the next, and how many looks a signature lasts.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS: u32 = 10;
/// What a client that cancels waits for the node that makes the response.
const PATIENCE: Duration = Duration::from_secs(10);

const ALIVE: &str = "alive";
const CANCELLED: &str = "cancelled";

/// Signs for a response for as long as this is polled; returns when another node was told to cancel it. A store that no other node
/// sees needs neither.
pub(super) async fn attend(store: &dyn Store, key: &Key) {
    if store.place() == "node" {
        return std::future::pending().await;
    }
    loop {
        store.put(key.beside(ALIVE), word(LEASE_MS));
        for _ in 0..LOOKS {
            sleep(LOOK).await;
            if let Ok(Some(_)) = store.get(&key.beside(CANCELLED), clock::unix_ms()).await {
                return;
            }
        }
    }
}

/// Tells whoever makes the response to cancel it, and waits until it has.
pub(crate) async fn cancel(store: &dyn Store, key: &Key) -> Result<(), Box<Failure>> {
    if store.place() == "node" {
        return Ok(());
    }
    store.put(key.beside(CANCELLED), word(LEASE_MS));
    let until = Instant::now() + PATIENCE;
    while let Some(entry) = store.get(key, clock::unix_ms()).await?.as_deref() {
        if !matches!(entry.kept, Kept::Running(_)) || is_left(store, key).await? {
            return Ok(());
        }
        if Instant::now() >= until {
            let message = "the node that makes this response was told to cancel it and has not answered; ask again";
            return Err(Box::new(Failure::new(Code::StoreAway, message)));
        }
        sleep(LOOK / 10).await;
    }
    Ok(())
}

/// As it stands where this node does not make it, and `turn` is what was found: as another node has it, or as it was left.
pub(crate) async fn latest(store: &dyn Store, key: &Key, turn: &Turn) -> Result<Turn, Box<Failure>> {
    let found: Option<Arc<Entry>> = store.get(key, clock::unix_ms()).await?;
    match found.as_deref() {
        // It has ended meanwhile.
        Some(Entry { kept: Kept::Here(turn), .. }) => Ok(turn.clone()),
        Some(entry) if is_left(store, key).await? => {
            let turn = abandoned(turn);
            store.put(key.clone(), Entry { kept: Kept::Here(turn.clone()), until_ms: entry.until_ms });
            Ok(turn)
        }
        _ => Ok(turn.clone()),
    }
}

/// Nobody makes it any more.
async fn is_left(store: &dyn Store, key: &Key) -> Result<bool, Box<Failure>> {
    Ok(store.place() == "node" || store.get(&key.beside(ALIVE), clock::unix_ms()).await?.is_none())
}

/// That it is there says it.
fn word(for_ms: i64) -> Entry {
    let turn = Turn { response: Bytes::new(), input: Bytes::new() };
    Entry { kept: Kept::Here(turn), until_ms: clock::unix_ms().saturating_add(for_ms) }
}
