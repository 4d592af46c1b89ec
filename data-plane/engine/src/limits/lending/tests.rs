//! Nodes and a lender, with messages that are late or lost and nodes that hear of nobody: together they let no more pass than one would.

mod sums;

use std::sync::Arc;
use std::time::Instant;

use gateway_ir::usage::Usage;
use gateway_model::limits::{Limits as Document, Measure};
use proptest::prelude::*;

use super::*;
use crate::limits::{Asked, Limits, Owner, Scopes, Settlement, admit};

const LIMIT: u64 = 600;
const MINUTE_MS: u64 = 60_000;

struct Node {
    name: String,
    n_nodes: u32,
    limits: Arc<Limits>,
    asked: Asked,
    yields_until_ms: u64,
    /// When it was heard last that it is connected.
    is_connected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Refused, and it is worth asking for a loan.
    Short,
    Refused,
}

struct World {
    began: Instant,
    now_ms: u64,
    lender: Lender,
    nodes: Vec<Node>,
    /// When requests were let pass.
    passed: Vec<u64>,
}

// === impl World ===

impl World {
    fn new(n_nodes: u32) -> Self {
        Self::of(n_nodes, &Document { rpm: Some(LIMIT), ..Document::default() }, Asked::default())
    }

    /// All requests alike.
    fn of(n_nodes: u32, written: &Document, asked: Asked) -> Self {
        let began = Instant::now();
        let node = |number: u32| Node {
            name: format!("node{number}"),
            n_nodes,
            limits: Arc::new(Limits::new(Owner::key(&"vk_1".into()), written)),
            asked,
            yields_until_ms: 0,
            is_connected: false,
        };
        let nodes = (0..n_nodes).map(node).collect();
        Self { began, now_ms: 0, lender: Lender::new(began), nodes, passed: Vec::new() }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.now_ms)
    }

    /// One message and its answer; the answer comes or not.
    fn talk(&mut self, node: usize, is_lost: bool) {
        let now = self.now();
        let node = &mut self.nodes[node];
        if !std::mem::replace(&mut node.is_connected, true) {
            self.lender.connected(&node.name, now);
        }
        node.yields_until_ms = self.now_ms + YIELDS.as_millis() as u64;
        self.lender.yields(&node.name, node.n_nodes, now);
        for Borrowing { rate, amount, period, wanted, returned } in node.limits.borrowing(now) {
            let name = &format!("vk_1 {rate}");
            let lent = self.lender.lend(&Wanted { name, amount, period, wanted, returned }, now);
            if !is_lost {
                node.limits.lent(rate, lent, now);
            }
        }
    }

    fn ask(&mut self, node: usize) -> Outcome {
        let asked = self.nodes[node].asked;
        let usage = Usage { input: asked.n_input, output: asked.max_output.unwrap_or(0), ..Usage::default() };
        self.ask_that_uses(node, usage)
    }

    fn ask_that_uses(&mut self, node: usize, usage: Usage) -> Outcome {
        let now = self.now();
        let node = &self.nodes[node];
        let asked = Asked { n_nodes: node.n_nodes, yields: self.now_ms < node.yields_until_ms, ..node.asked };
        match admit(Scopes::of_key(Arc::clone(&node.limits)), asked, now) {
            Ok(permit) => {
                permit.settle(Settlement { usage });
                self.passed.push(self.now_ms);
                Outcome::Passed
            }
            Err(refused) if refused.short.is_some() => Outcome::Short,
            Err(_) => Outcome::Refused,
        }
    }

    /// Over any span: what the whole rate lets pass at once, what comes to that meanwhile, and what is lent for a second.
    fn check(&self) {
        // Of a span what is passed, less what comes meanwhile, is the difference of two of these: the least before is the worst to begin with.
        let above = |(n, at): (u64, &u64)| i128::from(n * MINUTE_MS) - i128::from(LIMIT * at);
        let most = i128::from(LIMIT * (MINUTE_MS + LASTS.as_millis() as u64));
        let mut least = i128::MAX;
        for (n, at) in (0..).zip(&self.passed) {
            least = least.min(above((n, at)));
            let span = above((n, at)) - least;
            assert!(span <= most, "{span} of {most} at {at} ms");
        }
    }
}

#[test]
fn one_node_has_nearly_all_of_what_others_do_not_use() {
    const N_NODES: u32 = 5;
    let mut world = World::new(N_NODES);
    let mut n_in_last_minute = 0;
    for step in 0..200_u64 {
        world.now_ms = step * 1000;
        (0..N_NODES as usize).for_each(|node| world.talk(node, false));
        for _ in 0..30 {
            if world.ask(0) == Outcome::Short {
                world.talk(0, false);
                world.ask(0);
            }
        }
    }
    n_in_last_minute += world.passed.iter().filter(|at| **at >= 140_000).count() as u64;
    world.check();
    let part = n_in_last_minute as f64 / LIMIT as f64;
    // What four others keep is eight of a hundred.
    assert!((0.90..=1.02).contains(&part), "{part} of the whole rate by one of {N_NODES}");
}

#[test]
fn without_a_lender_a_node_has_its_part() {
    let mut world = World::new(3);
    (0..3).for_each(|node| world.talk(node, true));
    let n_kept = (0..100).filter(|_| world.ask(0) == Outcome::Passed).count();
    assert_eq!(n_kept as u64, LIMIT / 3 / 10, "what it keeps");
    world.now_ms = YIELDS.as_millis() as u64;
    let n_at_once = (0..100).filter(|_| world.ask(0) == Outcome::Passed).count() as u64;
    assert!(n_at_once <= 4, "its part comes back with time: {n_at_once}");
    let mut n_in_a_minute = 0;
    for _ in 0..600 {
        world.now_ms += 100;
        n_in_a_minute += u64::from(world.ask(0) == Outcome::Passed);
    }
    assert!((198..=204).contains(&n_in_a_minute), "{n_in_a_minute} of {}", LIMIT / 3);
}

#[test]
fn small_and_short_rates_are_divided_evenly() {
    for (limit, period, n_nodes, expected) in
        [(600, 60, 3, true), (600, 1, 3, false), (29, 60, 3, false), (30, 60, 3, true), (600, 60, 1, false)]
    {
        assert_eq!(is_lent(limit, Duration::from_secs(period), n_nodes), expected, "{limit}/{period} of {n_nodes}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask(usize, u8),
    Talk(usize, bool),
    /// The node loses its connection, or the lender is another one.
    Cut(usize),
    NewLender,
    Wait(u64),
}

const N_NODES: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..N_NODES;
    prop_oneof![
        8 => (node(), 1..120_u8).prop_map(|(node, n)| Step::Ask(node, n)),
        10 => (node(), prop::bool::weighted(0.15)).prop_map(|(node, is_lost)| Step::Talk(node, is_lost)),
        1 => node().prop_map(Step::Cut),
        1 => Just(Step::NewLender),
        6 => (0..4000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn together_never_more_than_one_would(steps in prop::collection::vec(step(), 1..250)) {
        let mut world = World::new(N_NODES as u32);
        for step in steps {
            match step {
                Step::Ask(node, n) => (0..n).for_each(|_| {
                    world.ask(node);
                }),
                Step::Talk(node, is_lost) => world.talk(node, is_lost),
                Step::Cut(node) => world.nodes[node].is_connected = false,
                Step::NewLender => {
                    world.lender = Lender::new(world.now());
                    world.nodes.iter_mut().for_each(|node| node.is_connected = false);
                }
                Step::Wait(ms) => world.now_ms += ms,
            }
        }
        world.check();
    }
}

/// Requests of `load` times the limit, at random moments, to nodes at random, as often as each weighs.
struct Traffic<'a> {
    weighs: &'a [u64],
    load: f64,
    seed: u64,
    written: &'a Document,
    asked: Asked,
}

/// What is let pass once what was free at first is used: the most of all minutes, and in all; and the most messages of a node in a second.
#[derive(Clone, Copy, Debug)]
struct Passed {
    most: f64,
    n: f64,
    n_talks: u64,
}

/// Of the same requests what the fleet lets pass, and what one node alone.
fn passed(traffic: &Traffic<'_>) -> [Passed; 2] {
    const SECONDS: u64 = 240;
    let Traffic { weighs, load, seed, written, asked } = *traffic;
    let n_nodes = u32::try_from(weighs.len()).expect("few");
    let (mut fleet, mut one) = (World::of(n_nodes, written, asked), World::of(1, written, asked));
    // Knuth's generator (The Art of Computer Programming, volume 2, section 3.3.4), whose upper half is random enough.
    let mut state = seed;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let n_requests = (LIMIT as f64 * load * SECONDS as f64 / 60.0) as u64;
    let mut moments: Vec<u64> = (0..n_requests).map(|_| draw(SECONDS * 1000)).collect();
    moments.sort_unstable();
    let (mut talked_at, mut talks, mut n_talks) = (0, vec![0_u64; weighs.len()], 0);
    for at in moments {
        while talked_at + 1000 <= at && n_nodes > 1 {
            talked_at += 1000;
            fleet.now_ms = talked_at;
            (0..weighs.len()).for_each(|node| fleet.talk(node, false));
            talks.fill(1);
        }
        (fleet.now_ms, one.now_ms) = (at, at);
        let mut of_all = draw(weighs.iter().sum());
        let is_for = |weight: &u64| {
            let is_it = of_all < *weight;
            of_all = of_all.saturating_sub(*weight);
            is_it
        };
        let node = weighs.iter().position(is_for).expect("one of them");
        if fleet.ask(node) == Outcome::Short {
            talks[node] += 1;
            n_talks = talks[node].max(n_talks);
            fleet.talk(node, false);
            fleet.ask(node);
        }
        one.ask(0);
    }
    fleet.check();
    [(fleet, n_talks), (one, 0)].map(|(world, n_talks)| {
        let settled: Vec<u64> = world.passed.into_iter().filter(|at| *at >= 2 * MINUTE_MS).collect();
        let in_minute = |from: &u64| {
            let before = |end: u64| settled.partition_point(|at| *at < end);
            before(*from + MINUTE_MS) - before(*from)
        };
        let most = settled.iter().step_by(7).map(in_minute).max().unwrap_or(0) as f64;
        Passed { most, n: settled.len() as f64, n_talks }
    })
}

/// Of half the limit to ten times as much, by one node and by five, whichever of them the requests come to: alone exact, together within
/// two of a hundred, and of what one would let pass nothing is missing before the limit is near.
#[test]
fn rate_limit_accuracy() {
    let requests = Document { rpm: Some(LIMIT), ..Document::default() };
    let tokens = Document { tpm: Some(LIMIT * 100), ..Document::default() };
    let both = Document { rpm: requests.rpm, tpm: tokens.tpm, ..Document::default() };
    let asked = Asked { n_input: 60, max_output: Some(40), ..Asked::default() };
    for (name, written) in [("rpm", requests), ("tpm", tokens), ("rpm and tpm", both)] {
        for weighs in [&[1_u64][..], &[1; 5], &[16, 1, 1, 1, 1], &[1, 0, 0, 0, 0]] {
            for load in [0.5, 0.7, 0.9, 1.0, 2.0, 5.0, 10.0] {
                for seed in [42, 1] {
                    check_accuracy(name, &Traffic { weighs, load, seed, written: &written, asked });
                }
            }
        }
    }
}

fn check_accuracy(name: &str, traffic: &Traffic<'_>) {
    let Traffic { weighs, load, seed, .. } = traffic;
    // What idle nodes keep is missed where one is asked for all that there is.
    let least = match weighs {
        _ if *load < 1.0 => 0.98,
        [_, 0, ..] => 0.90,
        _ => 0.95,
    };
    let [together, alone] = passed(traffic);
    let part = together.n / alone.n;
    let case = format!("{name}, nodes {weighs:?}, {load}x, seed {seed}");
    if *seed == 42 {
        eprintln!(
            "figure: rate_limit_accuracy: {case}: {} in the fullest minute (alone {}), {:.1} % of what one passes, {} messages of a node in a second",
            together.most,
            alone.most,
            100.0 * part,
            together.n_talks
        );
    }
    if weighs.len() == 1 {
        assert_eq!((together.most, together.n), (alone.most, alone.n), "{case}");
    }
    assert!(together.most <= alone.most.max(LIMIT as f64 * 1.02), "{case}: {} in a minute", together.most);
    assert!(part >= least, "{case}: {} of {}", together.n, alone.n);
    // However many requests are refused.
    assert!(together.n_talks <= 50, "{case}: {} messages", together.n_talks);
}
