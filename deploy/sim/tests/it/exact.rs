//! Limits and budgets of a fleet to the token and to the nano-dollar, whatever goes wrong between nodes and control plane.

mod control;
mod node;
mod world;

use gateway_store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use node::End;
use world::{Case, Fate, Step};

const N_CASES: u32 = 256;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
    ]
}

/// `is_capped`: no reply is longer than its request allows for.
fn step(is_capped: bool) -> impl Strategy<Value = Step> {
    let any = || 0..64_usize;
    let most = if is_capped { 100 } else { 400 };
    let end = prop_oneof![
        6 => (0..=100_u64).prop_map(End::Used),
        2 => (100..=most as u64).prop_map(End::Used),
        1 => Just(End::Refunded),
        1 => Just(End::Dropped),
    ];
    prop_oneof![
        30 => (any(), any(), 1..40_u64, 1..40_u64).prop_map(|(node, client, input, output)| Step::Ask { node, client, input, output }),
        16 => (any(), any(), end).prop_map(|(node, which, end)| Step::End { node, which, end }),
        3 => (any(), any(), 0..=most as i64).prop_map(|(node, which, part)| Step::Grow { node, which, part }),
        22 => (any(), fate()).prop_map(|(node, fate)| Step::Talk { node, fate }),
        10 => (any(), 1..6_usize, fate()).prop_map(|(node, n_events, fate)| Step::Deliver { node, n_events, fate }),
        4 => any().prop_map(|which| Step::Arrive { which }),
        5 => (1..20_u64).prop_map(Step::Seconds),
        2 => prop_oneof![1..3_600_000_u64, 1..60_000_u64].prop_map(Step::Away),
        3 => any().prop_map(|node| Step::Kill { node }),
        1 => any().prop_map(|node| Step::Expel { node }),
        1 => Just(Step::Restart),
        2 => (any(), prop_oneof![-2000..2000_i64, -90_000_000..90_000_000_i64]).prop_map(|(node, ms)| Step::NodeClock { node, ms }),
        1 => (-7_200_000..7_200_000_i64).prop_map(Step::ControlClock),
        2 => (50..200_i64).prop_map(Step::Amend),
        1 => any().prop_map(|client| Step::Revoke { client }),
        3 => any().prop_map(|node| Step::Hear { node }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (1..=6_usize, 1..=4_usize, any::<bool>(), any::<bool>());
    let amounts = (1..20_000_i64, 1..20_000_i64, prop_oneof![3 => Just(0), 1 => 1..500_i64]);
    let rates = (1..=60_u64, 1..=60_u64);
    (sizes, amounts, rates).prop_flat_map(
        |((n_nodes, n_clients, is_capped, is_settled), (shared, own, allowance), (rpm, tpm))| {
            prop::collection::vec(step(is_capped), 1..90).prop_map(move |steps| Case {
                n_nodes,
                n_clients,
                is_capped,
                is_settled,
                shared,
                own,
                allowance,
                rpm: rpm * n_nodes as u64,
                // A node's part holds any of the requests.
                tpm: (100 + 10 * tpm) * n_nodes as u64,
                steps,
            })
        },
    )
}

/// One to six nodes, one to four clients of a limit and a budget each, who share another budget, and a control plane on its database:
/// all of them the real ones, with messages between them. Nodes are killed with requests under way, or put out for good; messages are lost,
/// late, said twice and not answered; the control plane begins anew; clocks step; budgets change and keys end.
///
/// At every moment, of each window of each budget: what was spent and what is set aside is no more than the largest amount that it had,
/// and, beyond that, only what is stated: what replies cost beyond what was set aside for them (nothing where `max_tokens` caps them), the
/// allowance of each boot of a node for when no control plane answers, and what a node that was put out had spent and never told.
///
/// In any stretch of time, of each rate: no more is let pass than the rate fills up in it, the whole of it once, what is lent for a second,
/// what replies used beyond what was asked for, and for each node that was killed its part once more with what it had yielded.
///
/// In the end nothing is open or set aside anywhere, the ledger has nothing out in any window, and what it counts as spent is, to the
/// nano-dollar, the sum of the events, each of which counted once.
#[test]
fn a_fleet_spends_what_it_may_and_counts_what_it_spends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = runtime.block_on(Store::open("sqlite::memory:")).expect("memory can hold a database");
    let number = std::cell::Cell::new(0_u32);
    let config = Config { cases: N_CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&case(), |case| {
        number.set(number.get() + 1);
        runtime.block_on(world::run(&store, number.get(), &case)).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
