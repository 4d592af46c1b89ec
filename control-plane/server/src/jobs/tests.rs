//! What the job does that gives back what nodes hold that are gone, at times of the test's own.

use gateway_model::kind::budget::Wish;
use gateway_store::audit::AuditRow;
use gateway_store::ledger::{Ask, Charge, Holder};
use gateway_store::membership::{Candidate, TokenRow};
use gateway_store::usage::{Sender, UsageRow};

use super::*;

const BUDGET: &str = "budget/b";
const REVOKED_MS: i64 = 1_800_000_000_000;

fn audit(action: &str) -> AuditRow {
    AuditRow { at_ms: 1, actor: "test".to_owned(), action: action.to_owned(), ..AuditRow::default() }
}

/// A node that holds 60 of 100 and has told that it spent 25 of them.
async fn node_that_spends(store: &Store) {
    let token = TokenRow {
        id: "join_1".to_owned(),
        digest: vec![1; 32],
        sealed: None,
        labels: "{}".to_owned(),
        uses: 1,
        uses_left: 1,
        created_by: "test".to_owned(),
        created_at_ms: 1,
        expires_at_ms: i64::MAX,
    };
    store.add_token(&token, audit("token")).await.expect("stored");
    let candidate = Candidate {
        token_digest: vec![1; 32],
        node_id: "n".to_owned(),
        serial: "s".to_owned(),
        not_after_ms: i64::MAX,
        version: "1".to_owned(),
        labels: "{}".to_owned(),
        at_ms: 1,
        abandoned_before_ms: 0,
    };
    store.enrol(&candidate, |_| audit("enrol")).await.expect("stored");
    assert_eq!(granted(store, "boot1", 60).await, 60);
    let charge = Charge { budget: BUDGET.to_owned(), start_ms: 0, nano_usd: 25 };
    let row = UsageRow { id: "r1".to_owned(), charges: vec![charge], ..UsageRow::default() };
    store.ingest_usage(Sender { node: "n", boot: "boot1", at_ms: 1 }, 0, 1, &[row]).await.expect("stored");
}

async fn granted(store: &Store, boot: &str, needs: i64) -> i64 {
    let wish = Wish { needs, waiting: 0, burn: 0 };
    let ask = Ask { budget: BUDGET.to_owned(), start_ms: 0, from_ms: 0, amount: 100, has: 0, wish, n_nodes: 1 };
    let holder = Holder { node: "n", boot, at_ms: 1 };
    store.grant(holder, &[], &[ask]).await.expect("answered")[0].granted
}

async fn balance(store: &Store) -> (i64, i64) {
    let balance = store.balance(BUDGET, 0).await.expect("answered");
    (balance.spent, balance.leased)
}

/// Runs the duty as this replica at this time, until it has run once, and says what came of it.
async fn run(store: &Store, replica: &str, now_ms: i64) -> String {
    let meters = Arc::new(Meters::new());
    let duty = REAP.run(store.clone(), replica.to_owned(), Arc::clone(&meters), move |store| reap(store, now_ms));
    let _job = Job::spawn(duty);
    let ran = || meters.render().lines().find(|line| line.starts_with("gateway_job_runs_total{")).map(str::to_owned);
    for _ in 0..2000 {
        if let Some(ran) = ran() {
            return ran;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never ran: {}", meters.render());
}

#[tokio::test]
async fn what_a_dead_node_holds_is_free_once_nothing_of_it_can_come() {
    let store = Store::open("sqlite::memory:").await.expect("memory can hold a database");
    node_that_spends(&store).await;
    run(&store, "a", i64::MAX).await;
    assert_eq!(balance(&store).await, (25, 35), "it is one of the fleet, however long it has been silent");
    store.revoke("n", REVOKED_MS, audit("revoke")).await.expect("stored");
    run(&store, "a", REVOKED_MS + REAP_AFTER_MS).await;
    assert_eq!(balance(&store).await, (25, 35), "its last words may be on their way");
    let ran = run(&store, "b", REVOKED_MS + REAP_AFTER_MS + 1).await;
    assert!(ran.contains("elsewhere"), "another control plane sees to it: {ran}");
    assert_eq!(balance(&store).await, (25, 35));
    let ran = run(&store, "a", REVOKED_MS + REAP_AFTER_MS + 1).await;
    assert!(ran.contains("done"), "{ran}");
    assert_eq!(balance(&store).await, (25, 0), "what it told is spent, and the rest is free");
    assert_eq!(granted(&store, "boot2", 75).await, 75, "for others");
}
