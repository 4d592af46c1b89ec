//! Resolved → targets in the order in which to try them, without those that are better left alone. A strategy only orders; it
//! does not call.

pub(crate) mod weighted;
pub(crate) mod priority;
mod rank;

use std::sync::Arc;
use std::time::Instant;

use crate::health::{Seat, Skip};
use crate::resolve::Resolved;
use crate::snapshot::{Group, Order, Target};

/// What of a request some strategies go by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Tokens that it brings, and at most wants back; estimates will do.
    pub n_input: u64,
    pub n_output: u64,
    /// The same for requests that belong together.
    pub(crate) affinity: u64,
}

/// A target that is to be asked, with its place there.
#[derive(Debug)]
pub struct Choice {
    pub target: Arc<Target>,
    pub seat: Seat,
}

/// Targets in the order in which to try them: in each group first the one that the strategy names, then those beside it; first
/// the model's own groups, then its fallbacks'. Each target comes once, and turns are taken only in groups that are reached.
///
/// Who is to be left alone is passed over. Where nobody else is left, those that cool down are asked all the same, and where
/// all of several are open, these too: better a request that may fail than one that must.
#[derive(Debug)]
pub struct Plan<'a> {
    resolved: &'a Resolved,
    shape: Shape,
    now: Instant,
    /// The group that is being tried.
    group: usize,
    course: Course,
    has_chosen: bool,
    /// Of `skipped`, those that have been looked at again.
    n_again: usize,
    /// Who was passed over, and why.
    pub skipped: Vec<(Arc<Target>, Skip)>,
}

/// How far a group has been tried.
#[derive(Debug)]
enum Course {
    /// The strategy has not been asked.
    New,
    /// Whose turn it was, and the next of the others.
    Turn { first: usize, next: usize },
    /// The lowest is next; infinite: it has been.
    Scores(Vec<f64>),
}

/// Begins a plan. Its first target costs a few atomic operations and one reference count; strategies that judge every request
/// also a number per target.
pub fn plan(resolved: &Resolved, shape: Shape, now: Instant) -> Plan<'_> {
    let shape = Shape { affinity: resolved.affinity, ..shape };
    Plan { resolved, shape, now, group: 0, course: Course::New, has_chosen: false, n_again: 0, skipped: Vec::new() }
}

// === impl Shape ===

impl Shape {
    pub fn new(n_input: u64, n_output: u64) -> Self {
        Self { n_input, n_output, affinity: 0 }
    }
}

// === impl Choice ===

impl Choice {
    /// The same target once more, which has failed: unless its breaker has opened by that.
    pub fn again(target: Arc<Target>, now: Instant) -> Result<Self, Skip> {
        match Seat::take(&target.health, target.breaker, now) {
            Ok(seat) => Ok(Self { target, seat }),
            // The pause that it asked for is what has just been waited for.
            Err(Skip::CoolingDown(_)) => Ok(Self::forced(target, now)),
            Err(skip) => Err(skip),
        }
    }

    fn forced(target: Arc<Target>, now: Instant) -> Self {
        let seat = Seat::force(&target.health, target.breaker, now);
        Self { target, seat }
    }
}

// === impl Plan ===

impl Iterator for Plan<'_> {
    type Item = Choice;

    fn next(&mut self) -> Option<Choice> {
        while let Some(target) = self.next_target() {
            match Seat::take(&target.health, target.breaker, self.now) {
                Ok(seat) => {
                    self.has_chosen = true;
                    return Some(Choice { target, seat });
                }
                Err(skip) => self.skipped.push((target, skip)),
            }
        }
        self.next_again()
    }
}

impl Plan<'_> {
    /// What follows is asked for at this time.
    pub fn at(&mut self, now: Instant) -> &mut Self {
        self.now = now;
        self
    }

    /// Whoever the strategies name next, well or not.
    fn next_target(&mut self) -> Option<Arc<Target>> {
        loop {
            let group = self.resolved.model.groups.get(self.group)?;
            match self.next_place(group) {
                Some(place) if !self.came_before(&group.members[place]) => {
                    return Some(Arc::clone(&group.members[place]));
                }
                Some(_) => {}
                None => (self.group, self.course) = (self.group + 1, Course::New),
            }
        }
    }

    fn next_place(&mut self, group: &Group) -> Option<usize> {
        let permits = |place: &usize| self.resolved.permits(&group.members[*place]);
        if let Course::New = self.course {
            let scores = rank::scores(group, &self.shape, self.now, rand::random::<f64>);
            self.course = match scores {
                Some(scores) => Course::Scores(scores),
                None => {
                    let first = turn(group, permits)?;
                    self.course = Course::Turn { first, next: 0 };
                    return Some(first);
                }
            };
        }
        match &mut self.course {
            Course::New => None,
            Course::Turn { first, next } => {
                let place = (*next..group.members.len()).filter(|place| place != first).find(permits)?;
                *next = place + 1;
                Some(place)
            }
            Course::Scores(scores) => {
                let left = scores.iter().enumerate().filter(|(_, score)| score.is_finite());
                let left = left.filter(|(place, _)| permits(place));
                let (place, _) = left.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
                scores[place] = f64::INFINITY;
                Some(place)
            }
        }
    }

    /// Of those that were passed over, the next that may be asked after all.
    fn next_again(&mut self) -> Option<Choice> {
        while let Some((target, skip)) = self.skipped.get(self.n_again) {
            self.n_again += 1;
            let is_panic = !self.has_chosen && self.skipped.len() > 1;
            if matches!(skip, Skip::CoolingDown(_)) || is_panic {
                return Some(Choice::forced(Arc::clone(target), self.now));
            }
        }
        None
    }

    /// Fallbacks may name what has been tried already. Only the way after a failure is long enough for this to cost anything.
    fn came_before(&self, target: &Target) -> bool {
        let groups = &self.resolved.model.groups[..self.group];
        groups.iter().flat_map(|group| &group.members).any(|earlier| earlier.is_same(target))
    }
}

/// The first permitted member from the one whose turn it is.
fn turn(group: &Group, permits: impl Fn(&usize) -> bool) -> Option<usize> {
    let in_turn = match &group.order {
        Order::Turns(turns) => (0..turns.n_turns()).map(|_| turns.take()).find(|place| permits(place)),
        _ => None,
    };
    in_turn.or_else(|| (0..group.members.len()).find(permits))
}

#[cfg(test)]
mod tests;
