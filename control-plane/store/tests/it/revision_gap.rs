//! Many writers in two processes, and readers that ask for what follows the last revision they have seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway_model::kind::{Class, Kind};
use gateway_store::{Error, Store, StoredItem};
use gateway_testing::figure::{note, note_at_least};

use crate::engine::{commit, file_url, item, postgres_url, upsert};

const TEST: &str = "revision_gap_concurrent_writers";
const WRITERS: usize = 16;
/// Of each writer in each of the two processes: 1,024 in all.
const COMMITS: u64 = 32;
/// A reader looks again after so long even if it is told nothing.
const LOOK: Duration = Duration::from_millis(20);

/// What a reader saw: revision, name, content.
type Seen = Vec<(u64, String, u64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revision_gap_concurrent_writers_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    check("SQLite", &file_url(&directory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revision_gap_concurrent_writers_postgres() {
    let Some(url) = postgres_url() else { return };
    check("Postgres", &url).await;
    // Asking alone must be enough.
    let url = postgres_url().expect("it was there a moment ago");
    check("Postgres without NOTIFY", &format!("{url}?notify=off")).await;
}

async fn check(engine: &str, url: &str) {
    let stores = [Store::open(url).await.unwrap(), Store::open(url).await.unwrap()];
    let begun = Instant::now();
    let n_writing = Arc::new(AtomicUsize::new(2 * WRITERS));
    let mut writers = Vec::new();
    for writer in 0..2 * WRITERS {
        writers.push(tokio::spawn(write(stores[writer % 2].clone(), writer, Arc::clone(&n_writing))));
    }
    let mut readers = Vec::new();
    for store in &stores {
        for class in Class::ALL {
            readers.push((class, tokio::spawn(read(store.clone(), class, Arc::clone(&n_writing)))));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let took = begun.elapsed();
    let heads = stores[0].heads().await.unwrap();
    let mut n_wrong = 0;
    for (class, reader) in readers {
        let seen = reader.await.unwrap();
        n_wrong += wrong(&seen, heads.of(class));
    }
    let n_commits = 2 * WRITERS as u64 * COMMITS;
    assert_eq!(heads.topology + heads.identity, n_commits + n_commits.div_ceil(3));
    note(
        TEST,
        &format!("revisions skipped or out of order, {engine}, {n_commits} commits"),
        n_wrong as f64,
        "revisions",
        0.0,
    );
    assert_eq!(n_wrong, 0);
    let rate = n_commits as f64 / took.as_secs_f64();
    note_at_least(TEST, &format!("commits per second of 32 writers, {engine}"), rate.round(), "1/s", 20.0);
    assert!(rate > 20.0);
}

/// Revisions that are missing or in the wrong place, and contents of one item that go back.
fn wrong(seen: &Seen, newest: u64) -> usize {
    let mut revisions: Vec<u64> = seen.iter().map(|(revision, _, _)| *revision).collect();
    revisions.dedup();
    let mut n_wrong = usize::from(!revisions.iter().copied().eq(1..=newest));
    let mut last = BTreeMap::new();
    for (_, name, content) in seen {
        n_wrong += usize::from(last.insert(name, *content).is_some_and(|before| before >= *content));
    }
    n_wrong
}

/// One commit of three writes both classes; each writes two items that always say the same.
async fn write(store: Store, writer: usize, n_writing: Arc<AtomicUsize>) {
    for turn in 0..COMMITS {
        let number = writer as u64 * COMMITS + turn;
        let pair = |kind| {
            ["a", "b"].map(|half| {
                let name = format!("w{writer}-{half}");
                let id = format!("{}-{name}", Kind::name(kind));
                upsert(StoredItem { id, document: turn.to_string(), ..item(kind, &name) })
            })
        };
        let mut edits = Vec::new();
        if number.is_multiple_of(3) || number.is_multiple_of(2) {
            edits.extend(pair(Kind::Provider));
        }
        if number.is_multiple_of(3) || number % 2 == 1 {
            edits.extend(pair(Kind::Key));
        }
        loop {
            match store.commit(commit(edits.clone())).await {
                Ok(_) => break,
                // On SQLite the other process may be faster for longer than one waits.
                Err(Error::Locked) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    n_writing.fetch_sub(1, Ordering::SeqCst);
}

async fn read(store: Store, class: Class, n_writing: Arc<AtomicUsize>) -> Seen {
    let mut seen = Seen::new();
    let mut hint = store.watch();
    loop {
        let is_last = n_writing.load(Ordering::SeqCst) == 0;
        let last = seen.last().map_or(0, |(revision, _, _)| *revision);
        let changes = store.changes(class, last, 7).await.unwrap();
        if changes.is_empty() {
            if is_last {
                return seen;
            }
            let _ = tokio::time::timeout(LOOK, hint.changed()).await;
        }
        seen.extend(changes.into_iter().map(|change| {
            (change.revision, change.item.name, change.item.document.parse().expect("a number was written"))
        }));
        if seen.len() % 64 < 2 {
            one_moment(&store, class).await;
        }
    }
}

/// A snapshot is of one revision: pairs agree, and nothing in it is newer than it says.
async fn one_moment(store: &Store, class: Class) {
    let snapshot = store.snapshot(class).await.unwrap();
    let contents: BTreeMap<&str, &str> =
        snapshot.items.iter().map(|item| (item.name.as_str(), item.document.as_str())).collect();
    for item in &snapshot.items {
        let twin = item.name.replace("-a", "-b");
        assert_eq!(contents.get(twin.as_str()), contents.get(item.name.replace("-b", "-a").as_str()), "{twin}");
        assert!(item.revision <= snapshot.revision);
    }
}
