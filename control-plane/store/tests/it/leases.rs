//! What only one of several control planes may do.

use gateway_store::Store;

pub(crate) async fn a_lease_has_one_holder(store: &Store) {
    let lease = store.lease("tidy", "a", 1000, 5000).await.unwrap().unwrap();
    assert_eq!((lease.fencing, lease.expires_at_ms), (1, 6000));
    assert_eq!(store.lease("tidy", "b", 1000, 5999).await.unwrap(), None);
    // Other jobs are other leases, and one's own can be prolonged.
    assert!(store.lease("logs", "b", 1000, 5000).await.unwrap().is_some());
    assert_eq!(store.lease("tidy", "a", 1000, 5500).await.unwrap().unwrap().fencing, 1);
    assert_eq!(store.lease("tidy", "b", 1000, 6400).await.unwrap(), None);
    // 16 at once ask for one that is free.
    let asking: Vec<_> = (0..16)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.lease("rush", &format!("holder-{number}"), 1000, 1).await.unwrap() })
        })
        .collect();
    let mut n_held = 0;
    for asked in asking {
        n_held += usize::from(asked.await.unwrap().is_some());
    }
    assert_eq!(n_held, 1);
}

pub(crate) async fn a_lease_that_is_over_goes_on_with_a_higher_number(store: &Store) {
    let first = store.lease("tidy", "a", 1000, 0).await.unwrap().unwrap();
    let second = store.lease("tidy", "b", 1000, 1000).await.unwrap().unwrap();
    assert_eq!((first.fencing, second.fencing), (1, 2));
    // The first holder comes late; what it gives back is not its own any more.
    store.release(&first).await.unwrap();
    assert_eq!(store.lease("tidy", "c", 1000, 1500).await.unwrap(), None);
    store.release(&second).await.unwrap();
    assert_eq!(store.lease("tidy", "c", 1000, 1500).await.unwrap().unwrap().fencing, 3);
    // Even the same holder begins anew once it was over.
    assert_eq!(store.lease("tidy", "c", 1000, 2500).await.unwrap().unwrap().fencing, 4);
}
