//! What all nodes and the lender have counted of a rate is what was used of it, to the token: nothing is lost on the way, and nothing is
//! counted twice.

use super::*;
use crate::limits::limit::Limit;
use crate::limits::{Permit, owed, rate};

#[derive(Clone, Debug)]
enum Event {
    /// To a node comes a request of so many tokens, which allows for so many more or does not say.
    Ask(usize, u64, Option<u64>),
    /// One of those that run ends with so many tokens in and out; `None`: nobody says.
    End(usize, Option<(u64, u64)>),
    /// What was admitted long ago is known to be done.
    Owe(usize, u64, u64),
    Talk(usize),
}

/// A request that was let pass.
struct Open {
    node: usize,
    asked: Asked,
    borrowed: u64,
    permit: Permit,
}

/// One fleet, all of whose events are in one moment, so that nothing fills up meanwhile.
struct Fleet {
    world: World,
    open: Vec<Open>,
    /// Of each rate, in parts: what has come of the requests that are over.
    used: Vec<u128>,
    is_lent: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let node = || 0..6_usize;
    let output = prop::option::weighted(0.7, 0..300_u64);
    let used = prop::option::weighted(0.8, (0..200_u64, prop_oneof![0..100_u64, 0..3000_u64]));
    prop_oneof![
        8 => (node(), 0..120_u64, output).prop_map(|(node, n_input, output)| Event::Ask(node, n_input, output)),
        5 => (0..100_usize, used).prop_map(|(which, used)| Event::End(which, used)),
        1 => (node(), 0..500_u64, 0..500_u64).prop_map(|(node, input, output)| Event::Owe(node, input, output)),
        5 => node().prop_map(Event::Talk),
    ]
}

fn settlement(input: u64, output: u64) -> Settlement {
    Settlement { usage: Usage { input, output, ..Usage::default() } }
}

// === impl Fleet ===

impl Fleet {
    fn new(n_nodes: u32, written: &Document, is_lent: bool) -> Self {
        let mut world = World::of(n_nodes, written, Asked::default());
        for second in 0..100 {
            world.now_ms = second * 1000;
            (0..world.nodes.len()).filter(|_| is_lent).for_each(|node| world.talk(node, false));
        }
        Self { world, open: Vec::new(), used: vec![0; written.rates().count()], is_lent }
    }

    fn asked(&self, n_input: u64, max_output: Option<u64>) -> Asked {
        Asked { n_input, max_output, n_nodes: self.world.nodes.len() as u32, yields: self.is_lent, ..Asked::default() }
    }

    fn rates(&self, node: usize) -> &[Limit] {
        &self.world.nodes[node].limits.rates
    }

    fn scopes(&self, node: usize) -> Scopes {
        Scopes::of_key(Arc::clone(&self.world.nodes[node].limits))
    }

    fn happen(&mut self, event: &Event) {
        let (now, n_nodes) = (self.world.now(), self.world.nodes.len());
        match *event {
            Event::Ask(node, n_input, max_output) => {
                let (node, asked) = (node % n_nodes, self.asked(n_input, max_output));
                if let Ok(permit) = admit(self.scopes(node), asked, now) {
                    self.open.push(Open { node, asked, borrowed: permit.borrowed, permit });
                }
            }
            Event::End(which, used) if !self.open.is_empty() => {
                let open = self.open.swap_remove(which % self.open.len());
                let used = used.map(|(input, output)| settlement(input, output));
                let counts = self.counts(&open, used.as_ref());
                self.used.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
                match used {
                    Some(used) => open.permit.settle(used),
                    None => drop(open.permit),
                }
            }
            Event::End(..) => {}
            Event::Owe(node, input, output) => {
                let node = node % n_nodes;
                let (asked, used) = (self.asked(0, Some(0)), settlement(input, output));
                let permit = owed(self.scopes(node), asked, now);
                let mut counts = self.counts(&Open { node, asked, borrowed: 0, permit }, Some(&used));
                owed(self.scopes(node), asked, now).settle(used);
                // It was a request when it was admitted.
                self.rates(node)
                    .iter()
                    .zip(&mut counts)
                    .for_each(|(limit, n)| *n *= u128::from(limit.measure != Measure::Requests));
                self.used.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            }
            Event::Talk(node) => self.world.talk(node % n_nodes, false),
        }
    }

    /// What a request comes to of each rate, in parts: what it has used, or else what it has taken.
    fn counts(&self, open: &Open, used: Option<&Settlement>) -> Vec<u128> {
        let each = self.rates(open.node).iter().enumerate().map(|(position, limit)| {
            let parts = limit.parts(open.asked);
            u128::from(match used.filter(|_| limit.measure != Measure::Requests) {
                Some(used) => limit.used(used) * parts,
                None if open.borrowed >> position & 1 == 1 => limit.wanted(open.asked) * parts,
                None => limit.taken(open.asked),
            })
        });
        each.collect()
    }

    /// What is counted of each rate, in parts: by the lender as lent, by each node of what it keeps, less what is lent and not used.
    fn counted(&self) -> Vec<u128> {
        let (now, asked) = (self.world.now(), self.asked(0, None));
        let of_node = |limit: &Limit| {
            let (occupied, interval) = (limit.rate.occupied(rate::moment(now)), limit.rate.interval());
            assert_eq!(occupied % interval, 0, "whole ones");
            let loan = limit.loan();
            let unused = loan.left.load(Ordering::Relaxed) + loan.returned.load(Ordering::Relaxed);
            i128::from(occupied / interval) - i128::from(unused) * i128::from(limit.parts(asked))
        };
        let of_all = |position: usize| {
            let limit = &self.rates(0)[position];
            let n_lent = self.world.lender.n_lent(&format!("vk_1 {}", limit.written().name()), now);
            let nodes: i128 = (0..self.world.nodes.len()).map(|node| of_node(&self.rates(node)[position])).sum();
            u128::try_from(nodes + i128::from(n_lent) * i128::from(limit.parts(asked))).expect("not below nothing")
        };
        (0..self.used.len()).map(of_all).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_counted_is_what_was_used(
        n_nodes in 1..=6_u32,
        is_lent in any::<bool>(),
        (rpm, tpm, input_tpm) in (1..200_u64, 20..3000_u64, 20..3000_u64),
        events in prop::collection::vec(event(), 1..150),
    ) {
        let written =
            Document { rpm: Some(rpm), tpm: Some(tpm), input_tpm: Some(input_tpm), ..Document::default() };
        let mut fleet = Fleet::new(n_nodes, &written, is_lent);
        for event in &events {
            fleet.happen(event);
            let mut used = fleet.used.clone();
            for open in &fleet.open {
                used.iter_mut().zip(fleet.counts(open, None)).for_each(|(sum, n)| *sum += n);
            }
            prop_assert_eq!(fleet.counted(), used, "after {:?}", event);
        }
        fleet.open.clear();
        prop_assert!(fleet.world.nodes.iter().all(|node| node.limits.n_open() == 0));
    }
}

/// Requests that use ten times what they were thought to: over half an hour a fleet lets no more be used than one node does, whose
/// debts stop it.
#[test]
fn what_is_used_beyond_what_was_thought_is_paid_before_more_is_lent() {
    const TPM: u64 = 6000;
    const SECONDS: u64 = 1800;
    let written = Document { tpm: Some(TPM), ..Document::default() };
    let asked = Asked { n_input: 20, max_output: Some(10), ..Asked::default() };
    let usage = Usage { input: 20, output: 280, ..Usage::default() };
    let used = |n_nodes: u32| {
        let mut world = World::of(n_nodes, &written, asked);
        for second in 0..SECONDS {
            world.now_ms = second * 1000;
            for node in 0..n_nodes as usize {
                world.talk(node, false);
                for _ in 0..3 {
                    if world.ask_that_uses(node, usage) == Outcome::Short {
                        world.talk(node, false);
                        world.ask_that_uses(node, usage);
                    }
                }
            }
        }
        world.passed.iter().filter(|at| **at >= 2 * MINUTE_MS).count() as f64 * usage.total() as f64
    };
    let (alone, together) = (used(1), used(5));
    let part = together / alone;
    eprintln!(
        "figure: rate_limit_accuracy: requests that use ten times their estimate: {:.1} % of what one node lets be used",
        part * 100.0
    );
    assert!((0.9..=1.02).contains(&part), "{together} of {alone}");
}
