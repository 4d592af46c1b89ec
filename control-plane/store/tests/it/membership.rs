//! The authority, join tokens and members.

use gateway_store::Store;
use gateway_store::audit::AuditRow;
use gateway_store::membership::{AuthorityRow, Candidate, Enrolled, MemberRow, Revoked, TokenRow};
use gateway_store::nodes::NodeRow;
use gateway_store::replicas::Replicas;

fn audit(action: &str) -> AuditRow {
    AuditRow { at_ms: 1, actor: "test".to_owned(), action: action.to_owned(), ..AuditRow::default() }
}

fn token(number: u8, uses: u64) -> TokenRow {
    TokenRow {
        id: format!("join_{number}"),
        digest: vec![number; 32],
        sealed: None,
        labels: r#"{"zone":"a"}"#.to_owned(),
        uses,
        uses_left: uses,
        created_by: "master".to_owned(),
        created_at_ms: 1,
        expires_at_ms: 100,
    }
}

fn candidate(token: u8, node_id: &str, at_ms: i64) -> Candidate {
    Candidate {
        token_digest: vec![token; 32],
        node_id: node_id.to_owned(),
        serial: format!("serial-{at_ms}"),
        not_after_ms: at_ms + 7,
        version: "1.2.3".to_owned(),
        labels: "{}".to_owned(),
        at_ms,
        abandoned_before_ms: at_ms - 30,
    }
}

async fn enrol(store: &Store, candidate: Candidate) -> Enrolled {
    store.enrol(&candidate, |member| audit(&format!("enrol {}", member.node_id))).await.unwrap()
}

/// A node of the fleet, for tests of what nodes have.
pub(crate) async fn member(store: &Store, node_id: &str) {
    let number = u8::try_from(100 + node_id.len()).unwrap();
    store.add_token(&token(number, 1), audit("create")).await.unwrap();
    assert!(matches!(enrol(store, candidate(number, node_id, 50)).await, Enrolled::Member(_)));
}

pub(crate) async fn revoke(store: &Store, node_id: &str, at_ms: i64) {
    assert_eq!(store.revoke(node_id, at_ms, audit("revoke")).await.unwrap(), Revoked::Now);
}

async fn uses_left(store: &Store, now_ms: i64) -> Vec<u64> {
    store.tokens("", now_ms, 10).await.unwrap().iter().map(|token| token.uses_left).collect()
}

pub(crate) async fn the_first_authority_stays(store: &Store) {
    assert!(store.authority().await.unwrap().is_none());
    let authority =
        |byte| AuthorityRow { certificate: vec![byte], sealed: vec![byte, byte], created_at_ms: byte.into() };
    let (one, other) = tokio::join!(async { store.keep_authority(&authority(1)).await }, async {
        store.keep_authority(&authority(2)).await
    });
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one == other && Some(one) == store.authority().await.unwrap(), "whoever was first");
}

pub(crate) async fn a_token_is_used_as_often_as_it_may_be(store: &Store) {
    for row in [token(1, 2), token(2, 0), token(3, 1)] {
        store.add_token(&row, audit("create")).await.unwrap();
    }
    let enrolled = enrol(store, candidate(1, "node_a", 50)).await;
    let expected = MemberRow {
        node_id: "node_a".to_owned(),
        serial: "serial-50".to_owned(),
        not_after_ms: 57,
        labels: r#"{"zone":"a"}"#.to_owned(),
        token_id: "join_1".to_owned(),
        enrolled_at_ms: 50,
        revoked_at_ms: None,
    };
    assert_eq!(enrolled, Enrolled::Member(expected.clone()));
    assert_eq!(store.member("node_a").await.unwrap(), Some(expected));
    assert_eq!(store.node("node_a").await.unwrap().map(|node| node.first_seen_ms), Some(50));
    // Taken, over, unknown: nothing is used and nothing is written.
    assert_eq!(enrol(store, candidate(1, "node_a", 50)).await, Enrolled::Taken);
    assert_eq!(enrol(store, candidate(1, "node_b", 100)).await, Enrolled::NoToken);
    assert_eq!(enrol(store, candidate(9, "node_b", 50)).await, Enrolled::NoToken);
    assert_eq!(uses_left(store, 50).await, [1, 0, 1]);
    assert!(matches!(enrol(store, candidate(1, "node_b", 50)).await, Enrolled::Member(_)));
    assert_eq!(enrol(store, candidate(1, "node_c", 50)).await, Enrolled::NoToken);
    for number in 0..3 {
        assert!(matches!(enrol(store, candidate(2, &format!("node_any_{number}"), 50)).await, Enrolled::Member(_)));
    }
    assert_eq!(uses_left(store, 50).await, [0, 1], "the one that is used up is not shown");
    assert_eq!(uses_left(store, 100).await, [0; 0]);
    assert!(store.delete_token("join_3", audit("delete")).await.unwrap());
    assert!(!store.delete_token("join_3", audit("delete")).await.unwrap());
    assert_eq!(enrol(store, candidate(3, "node_d", 50)).await, Enrolled::NoToken);
    let actions: Vec<String> = store.audit(None, 4).await.unwrap().into_iter().map(|entry| entry.row.action).collect();
    assert_eq!(actions, ["delete", "enrol node_any_2", "enrol node_any_1", "enrol node_any_0"]);
}

pub(crate) async fn many_at_once_use_a_token_once(store: &Store) {
    store.add_token(&token(1, 3), audit("create")).await.unwrap();
    let attempts = (0..16).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { enrol(&store, candidate(1, &format!("node_{number}"), 50)).await })
    });
    let mut n_members = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        n_members += usize::from(matches!(attempt.await.unwrap(), Enrolled::Member(_)));
    }
    assert_eq!(n_members, 3);
    assert_eq!(store.members(100).await.unwrap().len(), 3);
    assert_eq!(store.audit_break().await.unwrap(), None);
}

pub(crate) async fn a_revoked_member_stays_out(store: &Store) {
    store.add_token(&token(1, 0), audit("create")).await.unwrap();
    enrol(store, candidate(1, "node_a", 50)).await;
    let renewed = MemberRow {
        node_id: "node_a".to_owned(),
        serial: "second".to_owned(),
        not_after_ms: 90,
        labels: "{}".to_owned(),
        ..MemberRow::default()
    };
    assert!(store.renew(&renewed, audit("renew")).await.unwrap());
    let member = store.member("node_a").await.unwrap().unwrap();
    assert_eq!((member.serial.as_str(), member.not_after_ms, member.enrolled_at_ms), ("second", 90, 50));
    assert_eq!(member.labels, r#"{"zone":"a"}"#, "what its token gave it stays");

    assert_eq!(store.revoke("node_none", 60, audit("revoke")).await.unwrap(), Revoked::Unknown);
    assert_eq!(store.revoke("node_a", 60, audit("revoke")).await.unwrap(), Revoked::Now);
    assert_eq!(store.revoke("node_a", 61, audit("revoke")).await.unwrap(), Revoked::Before);
    assert_eq!(store.member("node_a").await.unwrap().unwrap().revoked_at_ms, Some(60));
    assert!(!store.renew(&renewed, audit("renew")).await.unwrap());
    let late = Candidate { abandoned_before_ms: 1000, ..candidate(1, "node_a", 60) };
    assert_eq!(enrol(store, late).await, Enrolled::Taken, "also when its certificate has long run out");
    assert_eq!(store.revoked().await.unwrap(), ["node_a"]);
    // Nodes that the database was restored without: one that renews, one that has only connected.
    assert!(store.renew(&MemberRow { node_id: "node_b".to_owned(), ..renewed }, audit("renew")).await.unwrap());
    store
        .upsert_node(&NodeRow { id: "node_c".to_owned(), labels: "{}".to_owned(), ..NodeRow::default() })
        .await
        .unwrap();
    assert_eq!(enrol(store, candidate(1, "node_c", 60)).await, Enrolled::Taken);
    assert_eq!(store.revoke("node_c", 60, audit("revoke")).await.unwrap(), Revoked::Now);
}

pub(crate) async fn what_is_over_is_forgotten(store: &Store) {
    let standing = TokenRow { sealed: Some(vec![7]), expires_at_ms: 200, ..token(2, 0) };
    for row in [token(1, 0), standing.clone()] {
        store.add_token(&row, audit("create")).await.unwrap();
    }
    assert!(store.standing_token(199).await.unwrap() == Some(standing));
    assert!(store.standing_token(200).await.unwrap().is_none());
    for (node_id, at_ms) in [("node_old", 10), ("node_revoked", 10), ("node_new", 50)] {
        enrol(store, candidate(1, node_id, at_ms)).await;
    }
    store.revoke("node_revoked", 20, audit("revoke")).await.unwrap();
    // The name of a member that was away for too long is free.
    let again = Candidate { abandoned_before_ms: 18, ..candidate(1, "node_old", 48) };
    assert!(matches!(enrol(store, again).await, Enrolled::Member(_)));
    assert_eq!(store.prune_membership(101, 56).await.unwrap(), 2);
    let left: Vec<String> = store.members(10).await.unwrap().into_iter().map(|member| member.node_id).collect();
    assert_eq!(left, ["node_new", "node_revoked"]);
    assert_eq!(uses_left(store, 0).await.len(), 1);
}

pub(crate) async fn a_new_epoch_is_announced(store: &Store) {
    let (before, mut watch) = (store.heads().await.unwrap(), store.watch());
    let after = store.new_epoch(|heads| audit(&heads.epoch)).await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.topology, after.identity), (before.topology, before.identity));
    assert_eq!(store.heads().await.unwrap(), after);
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), after);
    assert_eq!(store.audit(None, 1).await.unwrap()[0].row.action, after.epoch);
}

pub(crate) async fn replicas_know_of_each_other(store: &Store) {
    let replicas = |n_replicas, n_nodes| Replicas { n_replicas, n_nodes };
    assert_eq!(store.beat("a", 3, 100, 90).await.unwrap(), replicas(1, 3));
    assert_eq!(store.beat("b", 4, 105, 95).await.unwrap(), replicas(2, 7));
    assert_eq!(store.beat("a", 5, 110, 100).await.unwrap(), replicas(2, 9));
    assert_eq!(store.beat("a", 5, 120, 110).await.unwrap(), replicas(1, 5), "the other has been silent");
    store.beat("b", 1, 120, 110).await.unwrap();
    store.leave("b").await.unwrap();
    assert_eq!(store.beat("a", 5, 121, 111).await.unwrap(), replicas(1, 5));
}
