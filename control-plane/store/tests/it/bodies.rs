//! Bodies of requests.

use gateway_store::Store;
use gateway_store::bodies::BodyRow;
use gateway_store::retention::Pruned;
use gateway_store::usage::Sender;

fn body(number: u64) -> BodyRow {
    BodyRow { id: format!("r{number:03}"), started_ms: 1000, document: vec![0, 255, u8::try_from(number).unwrap_or(0)] }
}

fn sender(boot: &str, at_ms: i64) -> Sender<'_> {
    Sender { node: "n", boot, at_ms }
}

pub(crate) async fn a_body_is_stored_once_and_losses_are_kept(store: &Store) {
    let rows: Vec<BodyRow> = (1..=300).map(body).collect();
    assert_eq!(store.ingest_bodies(sender("b", 5), 1, rows.clone(), 0).await.unwrap(), 300);
    assert_eq!(store.ingest_bodies(sender("b", 6), 1, rows, 7).await.unwrap(), 300);
    assert_eq!(store.ingest_bodies(sender("b", 6), 200, vec![body(200)], 3).await.unwrap(), 300);
    assert_eq!(store.ingest_bodies(sender("later", 6), 1, vec![body(301)], 2).await.unwrap(), 1);
    assert_eq!(store.bodies().await.unwrap(), (301, 9));
    assert_eq!(store.body("r255").await.unwrap(), Some(body(255)));
    assert_eq!(store.body("r302").await.unwrap(), None);
    assert_eq!(store.body("\0").await.unwrap(), None);
}

pub(crate) async fn bodies_are_kept_for_a_while(store: &Store) {
    for number in 1..=4 {
        let at_ms = i64::try_from(number).unwrap() * 1000;
        store.ingest_bodies(sender("b", at_ms), number, vec![body(number)], 0).await.unwrap();
    }
    assert_eq!(store.prune_bodies(3000).await.unwrap(), Pruned { n_rows: 2, n_days: 0 });
    assert_eq!(store.bodies().await.unwrap(), (2, 0));
}
