//! A hundred thousand keys in one change.

use std::time::Instant;

use gateway_model::kind::{Class, Kind};
use gateway_store::{Store, StoredItem};
use gateway_testing::figure::note;

use crate::engine::{commit, delete, file_url, item, postgres_url, upsert};

const N_KEYS: usize = 100_000;
const LIMIT_S: f64 = 60.0;

fn key(number: usize) -> StoredItem {
    let mut digest = vec![0; 32];
    digest[..8].copy_from_slice(&(number as u64).to_be_bytes());
    StoredItem { digest: Some(digest), pepper_version: 1, ..item(Kind::Key, &format!("key-{number:06}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_in_one_commit() {
    let directory = tempfile::tempdir().unwrap();
    let urls = [Some(("SQLite", file_url(&directory))), postgres_url().map(|url| ("Postgres", url))];
    for (engine, url) in urls.into_iter().flatten() {
        let store = Store::open(&url).await.unwrap();
        let keys: Vec<StoredItem> = (0..N_KEYS).map(key).collect();
        let begun = Instant::now();
        store.commit(commit(keys.iter().cloned().map(upsert).collect())).await.unwrap();
        let took_s = begun.elapsed().as_secs_f64();
        note("import_100k_keys", &format!("one commit of 100,000 new keys, {engine}"), took_s, "s", LIMIT_S);
        assert!(took_s < LIMIT_S);
        assert_eq!(store.snapshot(Class::Identity).await.unwrap().items.len(), N_KEYS);
        store.commit(commit(keys.into_iter().take(5_000).map(delete).collect())).await.unwrap();
        assert_eq!(store.snapshot(Class::Identity).await.unwrap().items.len(), N_KEYS - 5_000);
        assert_eq!(store.changes(Class::Identity, 1, 1).await.unwrap().len(), 5_000);
    }
}
