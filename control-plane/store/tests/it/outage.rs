//! A database that goes away and comes back.

use std::time::{Duration, Instant};

use gateway_model::kind::Kind;
use gateway_store::{Error, Store};
use gateway_testing::Postgres;
use gateway_testing::figure::note;
use gateway_testing::postgres::Stop;

use crate::engine::{commit, item, upsert};

const TEST: &str = "postgres_away";
const PATIENCE: Duration = Duration::from_secs(30);

async fn write(store: &Store) -> Result<u64, Error> {
    store.commit(commit(vec![upsert(item(Kind::Provider, "p"))])).await.map(|committed| committed.topology)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_said_soon_and_mends_by_itself() {
    let Some(mut postgres) = tokio::task::block_in_place(Postgres::launch) else { return };
    let url = tokio::task::block_in_place(|| postgres.database());
    let (one, other) = (Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap());
    assert_eq!(write(&one).await.unwrap(), 1);
    for revision in 2..=3 {
        tokio::task::block_in_place(|| postgres.stop(Stop::Immediate));
        let asked = Instant::now();
        let (heads, written, pinged) = tokio::join!(one.heads(), write(&one), one.ping());
        for refused in [heads.unwrap_err(), written.unwrap_err(), pinged.unwrap_err()] {
            assert!(refused.is_transient(), "{refused:?}");
        }
        note(TEST, "slowest refusal while the server is down", asked.elapsed().as_secs_f64(), "s", 5.0);
        assert!(asked.elapsed() < Duration::from_secs(5));

        tokio::task::block_in_place(|| postgres.start());
        let back = Instant::now();
        let written = loop {
            match write(&one).await {
                Ok(written) => break written,
                Err(error) => assert!(error.is_transient() && back.elapsed() < PATIENCE, "{error:?}"),
            }
        };
        assert_eq!(written, revision);
        note(TEST, "first write after the server is back", back.elapsed().as_secs_f64(), "s", 5.0);
        assert!(back.elapsed() < Duration::from_secs(5));
        // The other process hears of it without being told to ask.
        let mut watch = other.watch();
        let heard = tokio::time::timeout(PATIENCE, watch.wait_for(|heads| heads.topology >= revision));
        heard.await.unwrap().unwrap();
    }
}
