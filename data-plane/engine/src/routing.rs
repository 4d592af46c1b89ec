//! Resolved → targets in the order in which to try them. A strategy only orders; it does not call, and it does not know health.

pub(crate) mod weighted;
pub(crate) mod priority;

use std::sync::Arc;

use crate::resolve::Resolved;
use crate::snapshot::{Group, Target};

/// Targets in the order in which to try them: in each group first the one whose turn it is, then those beside it; first the
/// model's own groups, then its fallbacks'. Each target comes once, and turns are taken only in groups that are reached.
#[derive(Debug)]
pub struct Plan<'a> {
    resolved: &'a Resolved,
    /// The group that is being tried.
    group: usize,
    /// Whose turn it was there; `None` before it has been asked.
    turn: Option<usize>,
    /// The next of the group's members, after that one.
    member: usize,
}

/// Begins a plan. Its first target costs one atomic addition, where there is a choice at all, and one reference count.
pub fn plan(resolved: &Resolved) -> Plan<'_> {
    Plan { resolved, group: 0, turn: None, member: 0 }
}

// === impl Plan ===

impl Iterator for Plan<'_> {
    type Item = Arc<Target>;

    fn next(&mut self) -> Option<Arc<Target>> {
        loop {
            let group = self.resolved.model.groups.get(self.group)?;
            let place = match self.turn {
                None => {
                    self.turn = self.take_turn(group);
                    self.turn
                }
                Some(turn) => self.take_member(group, turn),
            };
            match place {
                Some(place) if !self.came_before(&group.members[place]) => {
                    return Some(Arc::clone(&group.members[place]));
                }
                Some(_) => {}
                None => (self.group, self.turn, self.member) = (self.group + 1, None, 0),
            }
        }
    }
}

impl Plan<'_> {
    /// The first permitted member from the one whose turn it is.
    fn take_turn(&self, group: &Group) -> Option<usize> {
        let permits = |place: &usize| self.resolved.permits(&group.members[*place]);
        let turns = (0..group.n_turns()).map(|_| group.take_turn());
        turns.into_iter().find(permits).or_else(|| (0..group.members.len()).find(permits))
    }

    /// The next permitted member behind the one whose turn it was.
    fn take_member(&mut self, group: &Group, turn: usize) -> Option<usize> {
        let from = self.member;
        let left = (from..group.members.len()).filter(|place| *place != turn);
        let place = left.into_iter().find(|place| self.resolved.permits(&group.members[*place]))?;
        self.member = place + 1;
        Some(place)
    }

    /// Fallbacks may name what has been tried already. Only the way after a failure is long enough for this to cost anything.
    fn came_before(&self, target: &Target) -> bool {
        let groups = &self.resolved.model.groups[..self.group];
        groups.iter().flat_map(|group| &group.members).any(|earlier| earlier.is_same(target))
    }
}

#[cfg(test)]
mod tests;
