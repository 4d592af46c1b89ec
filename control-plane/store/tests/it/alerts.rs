//! What people are told of budgets: once, and as often as it takes.

use gateway_store::Store;
use gateway_store::alerts::{Acknowledged, Alert, Delivery};
use gateway_store::audit::AuditRow;

fn alert(percent: u16, window_ms: i64) -> Alert {
    let id = format!("alert_{window_ms}_{percent}");
    Alert { id, budget: "team/search".to_owned(), window_ms, percent, at_ms: 5, acknowledged: None }
}

fn delivery(id: &str, made_ms: i64) -> Delivery {
    Delivery { id: id.to_owned(), destination: "ops".to_owned(), body: "{}".to_owned(), made_ms, n_attempts: 0 }
}

async fn due(store: &Store, now_ms: i64) -> Vec<String> {
    store.deliveries_due(now_ms, 10_000).await.unwrap().into_iter().map(|delivery| delivery.id).collect()
}

pub(crate) async fn a_part_of_a_window_is_told_once(store: &Store) {
    // Control planes that see it at the same time.
    let raised = (0..6).map(|number| {
        let store = store.clone();
        tokio::spawn(
            async move { store.raise_alert(&alert(80, 100), &[delivery(&format!("d{number}"), 5)]).await.unwrap() },
        )
    });
    let mut n_raised = 0;
    for raised in raised.collect::<Vec<_>>() {
        n_raised += usize::from(raised.await.unwrap());
    }
    assert_eq!((n_raised, due(store, 10).await.len()), (1, 1));
    assert!(store.raise_alert(&alert(100, 100), &[]).await.unwrap(), "another part");
    assert!(store.raise_alert(&alert(80, 200), &[]).await.unwrap(), "another window");
    assert!(!store.raise_alert(&alert(80, 100), &[]).await.unwrap());
    assert_eq!(store.alerts(2).await.unwrap(), [alert(100, 100), alert(80, 100)]);
    assert_eq!(store.prune_alerts(0, 6).await.unwrap(), 3);
    assert_eq!(due(store, 10).await.len(), 1, "what waits is not forgotten");
}

pub(crate) async fn what_was_not_taken_is_sent_again(store: &Store) {
    store.raise_alert(&alert(80, 100), &[delivery("a", 5), delivery("b", 6)]).await.unwrap();
    assert_eq!(
        (due(store, 5).await, due(store, 6).await),
        (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
    store.postpone_delivery("a", "503", 50).await.unwrap();
    store.delivered("b", 20).await.unwrap();
    assert_eq!((due(store, 49).await.len(), due(store, 50).await.len()), (0, 1));
    assert_eq!(store.deliveries_due(50, 1).await.unwrap()[0].n_attempts, 1);
    let health = store.delivery_health().await.unwrap().remove(0);
    assert_eq!((health.n_waiting, health.n_delivered, health.n_lost), (1, 1, 0));
    assert_eq!((health.delivered_ms, health.error.as_str()), (Some(20), "503"));
    store.give_up_delivery("a", "gone", 90).await.unwrap();
    store.delivered("a", 95).await.unwrap();
    let health = store.delivery_health().await.unwrap().remove(0);
    assert_eq!((health.n_waiting, health.n_delivered, health.n_lost, health.error.as_str()), (0, 1, 1, "gone"));
    assert_eq!(store.prune_alerts(91, 0).await.unwrap(), 2);
    assert!(store.delivery_health().await.unwrap().is_empty());
}

pub(crate) async fn no_more_than_so_many_wait(store: &Store) {
    let many: Vec<Delivery> = (0..1002).map(|number| delivery(&format!("d{number:04}"), 10 + number)).collect();
    store.raise_alert(&alert(80, 100), &many).await.unwrap();
    let waiting = due(store, 5000).await;
    assert_eq!((waiting.len(), waiting[0].as_str()), (1000, "d0002"), "the oldest give way");
    assert_eq!(store.delivery_health().await.unwrap()[0].n_lost, 2);
}

pub(crate) async fn an_alert_that_somebody_sees_to_is_sent_no_more(store: &Store) {
    let (eighty, hundred) = (alert(80, 100), alert(100, 100));
    let of = |alert: &Alert, destination: &str| delivery(&format!("{}.{destination}", alert.id), 5);
    store.raise_alert(&eighty, &[of(&eighty, "ops"), of(&eighty, "people")]).await.unwrap();
    store.raise_alert(&hundred, &[of(&hundred, "ops")]).await.unwrap();
    store.delivered(&format!("{}.people", eighty.id), 9).await.unwrap();
    let by = |name: &str, at_ms| Acknowledged { by: format!("user:{name}"), at_ms };
    let row = || AuditRow { action: "acknowledge".to_owned(), kind: "alert".to_owned(), ..AuditRow::default() };
    let seen = store.acknowledge_alert(&eighty.id, &by("ada", 20), row()).await.unwrap();
    assert_eq!(seen, Some(Alert { acknowledged: Some(by("ada", 20)), ..eighty.clone() }));
    assert_eq!(due(store, 50).await, [format!("{}.ops", hundred.id)], "of the other part it is");
    let health = store.delivery_health().await.unwrap().remove(0);
    assert_eq!((health.n_delivered, health.n_lost), (1, 0), "what was sent was sent, and nothing is lost");
    // Who comes after changes nothing, and what is not there is not.
    let again = store.acknowledge_alert(&eighty.id, &by("bob", 30), row()).await.unwrap();
    assert_eq!(again, seen);
    for id in ["", "alert_", "alert_100_8", "\0"] {
        assert_eq!(store.acknowledge_alert(id, &by("ada", 40), row()).await.unwrap(), None, "{id}");
    }
    assert_eq!(store.audit(None, 10).await.unwrap().len(), 1, "it is written down once");
    assert_eq!(store.acknowledged("team/search", 100, 80).await.unwrap(), Some(by("ada", 20)));
    assert_eq!(store.acknowledged("team/search", 100, 100).await.unwrap(), None);
    assert_eq!(store.alerts(1).await.unwrap()[0].acknowledged, None);
}
