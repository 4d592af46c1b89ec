//! Strategies that judge each request anew: a number per target, the lowest comes first.

use std::time::Instant;

use gateway_ir::usage::Usage;

use super::Shape;
use crate::price;
use crate::snapshot::{Group, Order, Target, steady_hash};

/// Behind all that can be judged: targets without a price, or without a latency. Times a little more it is still no infinity, which
/// would mean that the target has been asked.
pub(super) const LAST: f64 = f64::MAX / 4.0;
/// Behind these: targets of weight 0.
const RESERVE: f64 = f64::MAX;
/// Measurements closer than this are the same: traffic is spread over them.
const JITTER: f64 = 0.05;

/// A number for each member of a group. `None`: the strategy does not judge. Costs a few nanoseconds per member, without a lock.
pub(super) fn scores(group: &Group, shape: &Shape, now: Instant, random: fn() -> f64) -> Option<Vec<f64>> {
    let each = |score: &dyn Fn(&Target, f64) -> f64| {
        let members = group.members.iter().zip(&group.weights);
        let score = |(target, weight): (&std::sync::Arc<Target>, &u32)| match weight {
            0 => RESERVE,
            weight => score(target, f64::from(*weight)),
        };
        members.map(score).collect::<Vec<f64>>()
    };
    Some(match &group.order {
        Order::Listed | Order::Turns(_) => return None,
        // The least of exponential variables falls to each in proportion to its rate.
        Order::Random => each(&|_, weight| exponential(random()) / weight),
        Order::LeastBusy => {
            each(&|target, weight| (f64::from(target.health.in_flight()) + 1.0 + random() * 1e-3) / weight)
        }
        Order::LeastLatency => each(&|target, _| latency(target, shape, now) * (1.0 + JITTER * (2.0 * random() - 1.0))),
        Order::Cheapest => each(&|target, _| cost(target, shape)),
        Order::Balanced { latency: of_latency, cost: of_cost, capability } => {
            let latencies = normal(each(&|target, _| latency(target, shape, now)));
            let costs = normal(each(&|target, _| cost(target, shape)));
            let boosts = group.members.iter().map(|target| boost(target, shape) * capability);
            let sides = latencies.iter().zip(costs).zip(boosts);
            let scores = sides.map(|((latency, cost), boost)| latency * of_latency + cost * of_cost - boost);
            let weighed = scores.zip(&group.weights);
            weighed.map(|(score, weight)| if *weight == 0 { RESERVE } else { score }).collect()
        }
        // Rendezvous: whoever leaves or comes moves no session but its own.
        Order::Sticky => each(&|target, weight| {
            let names = [target.provider.name.as_bytes(), b"/", target.model.as_bytes()];
            exponential(steady_hash(shape.affinity, names) as f64 / u64::MAX as f64) / weight
        }),
    })
}

fn exponential(uniform: f64) -> f64 {
    -uniform.max(f64::MIN_POSITIVE).ln()
}

/// Microseconds to the first byte of a stream, or to all of another reply. What was never measured is tried by one request at a time.
fn latency(target: &Target, shape: &Shape, now: Instant) -> f64 {
    match target.health.latency_us(shape.stream, now) {
        0.0 if target.health.in_flight() == 0 => 0.0,
        0.0 => LAST,
        measured => measured,
    }
}

/// Nano-dollars, should the answer be as long as it may.
fn cost(target: &Target, shape: &Shape) -> f64 {
    let usage = Usage { input: shape.n_input, output: shape.n_output, ..Usage::default() };
    let cost = target.price.as_ref().and_then(|price| price::cost(&usage, price));
    cost.map_or(LAST, |nano| nano as f64)
}

/// A tenth for each need of the request that the model is known to meet; where it is known to meet none, a tenth less for each.
fn boost(target: &Target, shape: &Shape) -> f64 {
    const EACH: f64 = 0.1;
    let needs = shape.needs.unwrap_or_default();
    let (n_needs, n_met) = (needs.names().count() as f64, target.fit.meets(needs).names().count() as f64);
    if n_met > 0.0 { n_met * EACH } else { -n_needs * EACH }
}

/// From 0 for the least to 1 for the most; what is not known counts as the most.
fn normal(mut values: Vec<f64>) -> Vec<f64> {
    let known = values.iter().copied().filter(|value| *value < LAST);
    let (least, most) = known.fold((f64::MAX, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    let span = (most - least).max(f64::MIN_POSITIVE);
    for value in &mut values {
        *value = if *value < LAST { (*value - least) / span } else { 1.0 };
    }
    values
}
