//! Resolved → targets in the order in which to try them, without those that are better left alone. A strategy only orders; it
//! does not call.

pub(crate) mod weighted;
pub(crate) mod priority;
mod rank;
mod key;

use std::sync::Arc;
use std::time::Instant;

use gateway_ir::facts::Facts;
use gateway_ir::failure::Failure;
use gateway_ir::needs::Needs;

use self::key::{Terms, Tried};
use crate::count;
use crate::fit::{self, Unfit};
use crate::health::{Seat, Skip};
use crate::limits::quota;
use crate::resolve::Resolved;
use crate::snapshot::{Group, Order, Target};

/// Tokens of an answer that may be as long as it likes, where targets are compared by price.
const EXPECTED_OUTPUT: u64 = 500;

/// What of a request some strategies go by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Tokens that it brings, and at most wants back; estimates will do.
    pub n_input: u64,
    pub n_output: u64,
    /// It wants a stream.
    pub stream: bool,
    /// What it needs of a model; `None` where any will do.
    needs: Option<Needs>,
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
/// Who is to be left alone is passed over, and who is known not to be up to the request. Where nobody else is left, those that cool down are asked all the same, and where
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
    /// Whom the requests that belong together have always had, where there is such a one.
    pinned: Option<Arc<Target>>,
    /// Who was chosen last, where it has several keys.
    last: Option<Tried>,
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
    Plan {
        resolved,
        shape,
        now,
        group: 0,
        course: Course::New,
        has_chosen: false,
        pinned: None,
        last: None,
        n_again: 0,
        skipped: Vec::new(),
    }
}

/// Where nobody was asked because nobody is up to the request: what to tell the client. `None` where it is for another reason.
pub fn nobody_fits(model: &str, skipped: &[(Arc<Target>, Skip)]) -> Option<Box<Failure>> {
    let unfit = skipped.iter().map(|(target, skip)| match skip {
        Skip::Unfit(unfit) => Some((format!("{}/{}", target.provider.name, target.model), *unfit)),
        _ => None,
    });
    let unfit = unfit.collect::<Option<Vec<_>>>().filter(|unfit| !unfit.is_empty())?;
    Some(fit::refusal(model, &unfit))
}

/// What a group's strategy gives one of its members; `None` where it gives nobody anything, or cannot judge this one. Chance is left
/// out.
pub(crate) fn score(resolved: &Resolved, group: &Group, place: usize, shape: Shape, now: Instant) -> Option<f64> {
    let shape = Shape { affinity: resolved.affinity, ..shape };
    Some(rank::scores(group, &shape, now, || 0.5)?[place]).filter(|score| *score < rank::LAST)
}

// === impl Choice ===

impl Choice {
    /// Nobody is asked after all: nothing was taken of any limit.
    pub fn unused(self) {
        self.seat.unused();
    }
}

// === impl Shape ===

impl Shape {
    /// A request of so many bytes, by its facts.
    pub fn of(facts: &Facts, n_bytes: usize) -> Self {
        Self::new(count::estimated(facts, n_bytes), facts.max_output_tokens.unwrap_or(EXPECTED_OUTPUT))
    }

    pub fn new(n_input: u64, n_output: u64) -> Self {
        Self { n_input, n_output, ..Self::default() }
    }

    #[must_use]
    pub fn streaming(self, stream: bool) -> Self {
        Self { stream, ..self }
    }

    /// It is a conversation with these needs: models that are known not to be up to it are passed over.
    #[must_use]
    pub fn needing(self, needs: Needs) -> Self {
        Self { needs: Some(needs), ..self }
    }

    fn unfit(&self, target: &Target) -> Option<Unfit> {
        target.fit.unfit(self.needs?, self.n_input)
    }
}

// === impl Plan ===

impl Iterator for Plan<'_> {
    type Item = Choice;

    fn next(&mut self) -> Option<Choice> {
        if let Some(choice) = self.by_another_key() {
            return Some(choice);
        }
        while let Some(target) = self.next_target() {
            if let Some(unfit) = self.shape.unfit(&target) {
                self.skipped.push((target, Skip::Unfit(unfit)));
                continue;
            }
            let mut tried = Tried::new(target);
            let chosen = key::take(&mut tried, self.terms(), &mut self.skipped);
            if chosen.is_some() {
                self.has_chosen = true;
                self.last = (!tried.target.by_key.is_empty()).then_some(tried);
                return chosen;
            }
        }
        self.next_again()
    }
}

impl<'a> Plan<'a> {
    /// The same target once more, which has failed: unless its breaker has opened by that, or its limits are reached.
    pub fn again(&self, target: Arc<Target>, now: Instant) -> Result<Choice, Skip> {
        key::again(target, Terms { now, ..self.terms() })
    }

    fn terms(&self) -> Terms<'a> {
        let n_tokens = quota::expected(self.shape.n_input, self.shape.n_output);
        Terms { only: self.resolved.only_key(), n_tokens, beside: &self.resolved.beside, now: self.now }
    }

    /// Where requests that belong together keep to one target: whether the one that serves is that one.
    pub fn keeps(&self, served: &Target) -> Option<bool> {
        self.pinned.as_ref().map(|pinned| pinned.is_same(served))
    }

    /// What follows is asked for at this time.
    pub fn at(&mut self, now: Instant) -> &mut Self {
        self.now = now;
        self
    }

    /// The target that has just failed, if that was its key's doing and it has another one.
    fn by_another_key(&mut self) -> Option<Choice> {
        let mut tried = self.last.take().filter(|tried| tried.is_by_key(self.now))?;
        let chosen = key::take(&mut tried, self.terms(), &mut self.skipped);
        self.last = chosen.is_some().then_some(tried);
        chosen
    }

    /// Whoever the strategies name next, well or not.
    fn next_target(&mut self) -> Option<Arc<Target>> {
        loop {
            let group = self.resolved.model.groups.get(self.group)?;
            match self.next_place(group) {
                Some(place) if !self.came_before(&group.members[place]) => {
                    if self.pinned.is_none() && matches!(group.order, Order::Sticky) {
                        self.pinned = Some(Arc::clone(&group.members[place]));
                    }
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
        let is_panic = !self.has_chosen && self.n_unwell() > 1;
        let is_broken = |(_, skip): &(_, Skip)| matches!(skip, Skip::Open(_) | Skip::OnTrial);
        if is_panic && self.n_again == 0 && self.skipped.iter().any(is_broken) {
            // From anywhere: were the same one always asked first, whoever is back behind it would not be found.
            let first = rand::random_range(0..self.skipped.len());
            self.skipped.rotate_left(first);
        }
        while let Some((target, skip)) = self.skipped.get(self.n_again) {
            self.n_again += 1;
            let is_last_resort = match skip {
                Skip::CoolingDown(_) => true,
                Skip::Unfit(unfit) => !self.has_chosen && unfit.is_doubtful(),
                Skip::Open(_) | Skip::OnTrial => is_panic,
                // What is full stays so, whoever asks.
                Skip::Full(_) | Skip::Busy | Skip::Queued | Skip::Spent(_) | Skip::Unfunded => false,
            };
            if is_last_resort && let Ok(choice) = key::forced(Arc::clone(target), self.terms()) {
                return Some(choice);
            }
        }
        None
    }

    /// Of those that were passed over, the ones that could serve if they were well.
    fn n_unwell(&self) -> usize {
        let is_unwell = |skip: &Skip| matches!(skip, Skip::Open(_) | Skip::OnTrial | Skip::CoolingDown(_));
        self.skipped.iter().filter(|(_, skip)| is_unwell(skip)).count()
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
