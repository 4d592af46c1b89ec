//! Many tellers and one ledger, with nodes that die and answers that are lost; and what one teller says when.

use std::collections::BTreeMap;

use gateway_engine::limits::purse::{Hold, Short};
use gateway_model::kind::budget::{Budget, OnExhausted, Window, Wish};
use gateway_model::unit::Usd;
use gateway_wire::v1::Lease;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000_000;
const BUDGET: &str = "budget/b";

fn terms(amount: i64) -> Budget {
    let (window, on_exhausted) = (Window::Monthly, OnExhausted::Refuse);
    let (alert_at, exception) = (None, None);
    Budget { amount_usd: Usd(amount), window, on_exhausted, offline_allowance_usd: Usd(0), alert_at, exception }
}

/// A ledger of one budget, by boot: granted, returned.
#[derive(Debug)]
struct Ledger {
    amount: i64,
    boots: BTreeMap<String, (i64, i64)>,
    n_nodes: u32,
}

struct Node {
    purses: Arc<Purses>,
    purse: Arc<Purse>,
    teller: Teller,
    holds: Vec<Hold>,
    spent: i64,
}

// === impl Ledger ===

impl Ledger {
    fn answer(&mut self, ask: &LeaseAsk) -> LeaseGrant {
        let mut leases = Vec::new();
        for account in &ask.accounts {
            let (_, returned) = self.boots.entry(ask.boot_id.clone()).or_default();
            *returned = (*returned).max(account.returned_nano_usd);
            let used: i64 = self.boots.values().map(|(granted, returned)| granted - returned).sum();
            let (granted, _) = self.boots.get_mut(&ask.boot_id).expect("made above");
            if !account.asks {
                continue;
            }
            let arrives = (*granted - account.granted_nano_usd).max(0);
            let rest = |nano: i64| (nano - arrives).max(0);
            let wish = Wish {
                needs: rest(account.needs_nano_usd),
                waiting: rest(account.wants_nano_usd),
                burn: account.burn_nano_usd,
            };
            let more = wish.share(self.amount - used, self.n_nodes);
            *granted += more;
            let window = Window::Monthly.at(NOW);
            leases.push(Lease {
                budget: BUDGET.to_owned(),
                window_start_ms: window.start_ms,
                window_end_ms: window.end_ms,
                granted_nano_usd: *granted,
                refused_nano_usd: if more == 0 { wish.needs } else { 0 },
                free_at_ms: window.end_ms,
            });
        }
        LeaseGrant { sequence: ask.sequence, unix_ms: NOW, leases, ..LeaseGrant::default() }
    }
}

// === impl Node ===

impl Node {
    fn new(number: usize, amount: i64) -> Self {
        let purses = Arc::new(Purses::default());
        purses.on_noted(|| {});
        let identity = Arc::new(Identity::of(&format!("node_{number}"), format!("boot{number}")));
        let teller = Teller::new(Arc::clone(&purses), identity, Box::new(|_| false));
        let purse = purses.purse(BUDGET, terms(amount));
        Self { purses, purse, teller, holds: Vec::new(), spent: 0 }
    }

    fn reserve(&mut self, nano: i64) {
        self.holds.extend(self.purse.reserve(nano, NOW));
    }

    fn settle(&mut self, part: i64) {
        if let Some(hold) = self.holds.pop() {
            let used = hold.nano() * part / 100;
            self.spent += used;
            hold.settle(used);
        }
    }

    /// What is said, in as many messages as it takes; `loses` says which answers never come.
    fn talk(&mut self, ledger: &mut Ledger, now: Instant, loses: bool) {
        while let Some(ask) = self.teller.next(now) {
            let answer = ledger.answer(&ask);
            if loses {
                // The connection breaks, and another one begins.
                let greeting = self.teller.greeting();
                self.teller.answered(&ledger.answer(&greeting), NOW);
                return;
            }
            self.teller.answered(&answer, NOW);
        }
    }

    /// As a node ends: until there is nothing more to say. An answer that was lost is heard of first, which may bring something to give back.
    fn end(&mut self, ledger: &mut Ledger, now: Instant) {
        for _ in 0..10 {
            self.teller.give_back_all();
            let Some(ask) = self.teller.next(now) else { return };
            self.teller.answered(&ledger.answer(&ask), NOW);
        }
        panic!("it does not end");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(usize, i64),
    Settle(usize, i64),
    Talk(usize, bool),
    Look(usize, u64),
    /// Killed with all that it holds; another one comes in its place.
    Die(usize),
}

const N_NODES: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..N_NODES;
    prop_oneof![
        6 => (node(), 0..60_i64).prop_map(|(node, nano)| Step::Reserve(node, nano)),
        4 => (node(), 0..=100_i64).prop_map(|(node, part)| Step::Settle(node, part)),
        6 => (node(), prop::bool::weighted(0.1)).prop_map(|(node, loses)| Step::Talk(node, loses)),
        2 => (node(), 0..40_u64).prop_map(|(node, seconds)| Step::Look(node, seconds)),
        1 => node().prop_map(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is lost, killed or idle: what all nodes have spent is never above the amount, and nobody holds what the ledger
    /// believes to be free.
    #[test]
    fn nodes_never_spend_more_than_the_amount(steps in prop::collection::vec(step(), 1..200), amount in 1..2000_i64) {
        let mut ledger = Ledger { amount, boots: BTreeMap::new(), n_nodes: N_NODES as u32 };
        let mut nodes: Vec<Node> = (0..N_NODES).map(|number| Node::new(number, amount)).collect();
        let (mut now, mut n_boots, mut spent_by_dead) = (Instant::now(), N_NODES, 0);
        for step in steps {
            match step {
                Step::Reserve(node, nano) => nodes[node].reserve(nano),
                Step::Settle(node, part) => nodes[node].settle(part),
                Step::Talk(node, loses) => nodes[node].talk(&mut ledger, now, loses),
                Step::Look(node, seconds) => {
                    now += Duration::from_secs(seconds);
                    nodes[node].teller.look(now, NOW);
                }
                Step::Die(node) => {
                    let dead = std::mem::replace(&mut nodes[node], Node::new(n_boots, amount));
                    n_boots += 1;
                    // What was open may have been spent.
                    spent_by_dead += dead.spent + dead.holds.iter().map(Hold::nano).sum::<i64>();
                }
            }
            let open: i64 = nodes.iter().flat_map(|node| &node.holds).map(Hold::nano).sum();
            let spent: i64 = nodes.iter().map(|node| node.spent).sum();
            prop_assert!(spent + open + spent_by_dead <= amount);
        }
        for node in &mut nodes {
            while !node.holds.is_empty() {
                node.settle(50);
            }
            node.end(&mut ledger, now);
            let account = node.purse.accounts().last().copied().unwrap_or_default();
            prop_assert_eq!((account.left.max(0), account.n_open), (0, 0), "at its end a node keeps nothing");
            prop_assert_eq!(account.spent, node.spent, "what is counted is the sum of what was settled");
            prop_assert!(!node.purses.is_away(NOW));
        }
        let overdue = |node: &&Node| node.purse.accounts().iter().any(|account| account.left > 0);
        prop_assert_eq!(nodes.iter().filter(overdue).count(), 0);
        let held: i64 = ledger.boots.values().map(|(granted, returned)| granted - returned).sum();
        prop_assert!(held <= amount, "{:?}", ledger);
    }
}

#[test]
fn what_is_too_little_for_each_is_put_together() {
    let mut ledger = Ledger { amount: 10, boots: BTreeMap::new(), n_nodes: 2 };
    let (mut one, mut two) = (Node::new(1, 10), Node::new(2, 10));
    let now = Instant::now();
    for node in [&mut one, &mut two] {
        assert_eq!(node.purse.reserve(5, NOW).err(), Some(Short::Asked));
        node.talk(&mut ledger, now, false);
        node.reserve(3);
        node.settle(100);
    }
    // Each has two left, and four are asked for.
    assert_eq!(one.purse.reserve(4, NOW).err(), Some(Short::Asked));
    one.talk(&mut ledger, now, false);
    assert!(matches!(one.purse.reserve(4, NOW), Err(Short::Exhausted { .. })));
    let now = now + SELDOM;
    one.talk(&mut ledger, now, false);
    assert_eq!(two.purse.reserve(4, NOW).err(), Some(Short::Asked));
    two.talk(&mut ledger, now, false);
    assert!(two.purse.reserve(4, NOW).is_ok());
}

#[test]
fn a_purse_that_nobody_uses_gives_back_after_half_a_minute() {
    let mut ledger = Ledger { amount: 1000, boots: BTreeMap::new(), n_nodes: 1 };
    let mut node = Node::new(1, 1000);
    let now = Instant::now();
    assert!(node.purse.reserve(5, NOW).is_err());
    node.talk(&mut ledger, now, false);
    node.reserve(5);
    node.settle(100);
    for (seconds, held) in [(10, 40), (29, 40), (60, 5)] {
        let now = now + Duration::from_secs(seconds);
        node.teller.look(now, NOW);
        node.talk(&mut ledger, now, false);
        let (granted, returned) = ledger.boots["boot1"];
        assert_eq!(granted - returned, held, "after {seconds} seconds");
    }
    // It must not begin anew: what it was granted and gave back is not granted again.
    assert!(node.purse.reserve(5, NOW).is_err());
    node.talk(&mut ledger, now + Duration::from_secs(61), false);
    assert!(node.purse.reserve(5, NOW).is_ok());
    let account = *node.purse.accounts().last().expect("a window");
    assert_eq!(account.granted - account.returned - account.left, 10);
}

/// What was granted by an answer that never came was with nobody until more was asked for, which an idle node does not.
#[test]
fn what_an_answer_granted_that_was_lost_is_heard_of_and_goes_back() {
    for is_the_end in [false, true] {
        let mut ledger = Ledger { amount: 1000, boots: BTreeMap::new(), n_nodes: 1 };
        let (mut node, now) = (Node::new(1, 1000), Instant::now());
        assert!(node.purse.reserve(5, NOW).is_err());
        node.talk(&mut ledger, now, true);
        assert_eq!(ledger.boots["boot1"], (40, 0), "it was granted");
        // The request has gone, and no other one comes.
        for seconds in [1, 40, 80] {
            match is_the_end {
                false => node.teller.look(now + Duration::from_secs(seconds), NOW),
                true => node.teller.give_back_all(),
            }
            node.talk(&mut ledger, now + Duration::from_secs(seconds), false);
        }
        assert_eq!(ledger.boots["boot1"], (40, 40), "and is free for others: {is_the_end}");
    }
}
