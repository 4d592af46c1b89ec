//! Money: what is reserved of budgets until it is known what the request cost, and what of that is told to the ledger.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gateway_engine::limits::bill::{Bill, Refused};
use gateway_engine::price;
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use gateway_wire::v1;

use tokio::time::timeout;

use super::Record;
use crate::clock;
use crate::leases::{Leases, PATIENCE};
use crate::telemetry::spool::Event;

/// What a reply that grows needs to be paid for.
pub(super) struct Growing {
    leases: Arc<Leases>,
    /// For the ledger's answer.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Of the budgets of credentials, for attempts under way, by their numbers. Empty without such budgets.
#[derive(Default)]
pub(super) struct SetAside {
    charges: Vec<(usize, v1::Charge)>,
    /// The spool has been told of one.
    is_told: bool,
}

/// Bytes of a reply after which it is looked whether it costs more than was reserved: some 256 tokens.
pub(super) const STEP: u64 = 1024;

// === impl Record ===

impl Record {
    /// From here on the request is paid for. Said before it is admitted.
    pub(crate) fn billed(&mut self, bill: Bill, leases: &Arc<Leases>) {
        if !bill.is_empty() {
            self.due = STEP;
            self.growing = Some(Box::new(Growing { leases: Arc::clone(leases), waiting: None }));
        }
        self.bill = bill;
    }

    /// Whoever answers may be paid for by budgets of its credential, of which more is taken as the reply grows.
    pub(crate) fn grows_there(&mut self, leases: &Arc<Leases>) {
        let growing = || Box::new(Growing { leases: Arc::clone(leases), waiting: None });
        self.growing.get_or_insert_with(growing);
    }

    /// Whether it is time to look at what the reply costs. One comparison; never true without a budget.
    pub(crate) fn is_due(&self) -> bool {
        self.n_output_bytes >= self.due
    }

    /// Takes of each budget what the reply has cost by now, and what two more steps will. Where one of them cuts and has too little it waits
    /// for the ledger, a second at most; then the failure is why the reply ends.
    pub(crate) fn poll_top_up(&mut self, context: &mut Context<'_>) -> Poll<Option<Box<Failure>>> {
        loop {
            if let Some(waiting) = self.growing.as_mut().and_then(|growing| growing.waiting.as_mut()) {
                ready!(waiting.as_mut().poll(context));
            }
            let now_ms = clock::unix_ms();
            let grown = self.grow(now_ms);
            let Some(growing) = &mut self.growing else { return Poll::Ready(None) };
            let has_waited = growing.waiting.take().is_some();
            match grown {
                Err(refused) if refused.is_asked() && !has_waited => {
                    let answer = growing.leases.next_answer();
                    growing.waiting = Some(Box::pin(async { timeout(PATIENCE, answer).await.unwrap_or_default() }));
                }
                Err(refused) => {
                    let mut failure = refused.failure(now_ms);
                    failure.message = format!("the reply was ended: {}", failure.message).into();
                    return Poll::Ready(Some(failure));
                }
                Ok(()) => {
                    self.due = self.n_output_bytes.saturating_add(STEP);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn grow(&mut self, now_ms: i64) -> Result<(), Refused> {
        let cost = |n_bytes| self.cost_by_now(n_bytes);
        let ahead = cost(self.n_output_bytes.saturating_add(2 * STEP));
        let Some((used, ahead)) = cost(self.n_output_bytes).zip(ahead) else { return Ok(()) };
        self.bill.grow(used, ahead, now_ms)?;
        // Who answers is charged for what it answers.
        let here = |nano: i64| nano.saturating_sub(self.charged_beside);
        let (used, ahead) = (here(used), here(ahead));
        self.bill_there.grow(used, ahead, now_ms)
    }

    /// Of so many bytes of content, and of what was told before by others; `None` without a price.
    fn cost_by_now(&self, n_bytes: u64) -> Option<i64> {
        let (estimate, _) = self.unsaid(n_bytes);
        let usage = match self.usage {
            // What is told at the beginning of a stream does not know its end.
            Some((told, _)) => Usage { output: told.output.max(estimate.output), ..told },
            None => estimate,
        };
        let cost = price::cost(&usage, self.target.as_ref()?.price.as_ref()?)?;
        Some(cost.saturating_add(self.charged_beside))
    }

    /// The prompt as it was counted at admission.
    pub(crate) fn estimated(&mut self, n_input: u64) {
        self.n_input = Some(n_input);
    }

    /// The attempt of this number is about to be made, and is paid for by its credential's budgets as well. Said before it is made, so
    /// that it is charged also if the process dies; and of who comes after one that was, so that the one who is asked is charged.
    pub(crate) fn attempt_funded(&mut self, number: usize, bill: &Bill) {
        if !self.admitted || bill.is_empty() && !self.set_aside.is_told {
            return;
        }
        let charges = bill.holds().map(|(budget, start, nano)| (number, charge(budget, start, nano)));
        self.set_aside.charges.extend(charges);
        self.set_aside.is_told = true;
        self.tell_reserved();
    }

    /// The attempt of this number is charged to nobody, also if the process dies.
    pub(super) fn attempt_unfunded(&mut self, number: usize) {
        if self.set_aside.remove(number) {
            self.tell_reserved();
        }
    }

    /// From here on this is charged if the process dies, in place of what was said before.
    pub(super) fn tell_reserved(&self) {
        self.sinks.spool.started(Event { charges: self.reserved().into(), ..self.event() });
    }

    /// Who answers is paid for by this.
    pub(super) fn pays_there(&mut self, bill: Bill) {
        if !bill.is_empty() {
            self.due = self.due.min(STEP);
        }
        self.bill_there = bill;
    }

    /// What is charged if the process dies before the request has ended.
    pub(super) fn reserved(&self) -> Vec<v1::Charge> {
        let halted = self.halted_bill().into_iter().flat_map(Bill::holds);
        let holds = self.bill.holds().chain(self.bill_there.holds()).chain(halted);
        let holds = holds.map(|(budget, window_start_ms, nano_usd)| charge(budget, window_start_ms, nano_usd));
        holds.chain(self.set_aside.charges.iter().map(|(_, charge)| charge.clone())).collect()
    }

    /// So much of each budget that it counts in.
    pub(super) fn charges(&self, nano_usd: i64) -> Vec<v1::Charge> {
        charges(&[&self.bill, &self.bill_there], nano_usd)
    }

    /// An event of its own has charged so much, beside what the request's own will.
    pub(super) fn charged_beside(&mut self, nano_usd: i64) {
        self.charged_beside = self.charged_beside.saturating_add(nano_usd);
    }

    pub(super) fn settle_bill(&mut self, nano_usd: i64) {
        std::mem::take(&mut self.bill).settle(nano_usd.saturating_add(self.charged_beside));
        std::mem::take(&mut self.bill_there).settle(nano_usd);
    }
}

// === impl SetAside ===

impl SetAside {
    /// Who answers holds it by a bill.
    pub(super) fn clear(&mut self) {
        self.charges.clear();
    }

    /// Whether there was anything.
    fn remove(&mut self, number: usize) -> bool {
        let n_before = self.charges.len();
        self.charges.retain(|(of, _)| *of != number);
        self.charges.len() < n_before
    }
}

/// So much of each budget of these bills.
pub(super) fn charges(bills: &[&Bill], nano_usd: i64) -> Vec<v1::Charge> {
    let holds = bills.iter().flat_map(|bill| bill.holds());
    holds.map(|(budget, window_start_ms, _)| charge(budget, window_start_ms, nano_usd)).collect()
}

fn charge(budget: &str, window_start_ms: i64, nano_usd: i64) -> v1::Charge {
    v1::Charge { budget: budget.to_owned(), window_start_ms, nano_usd }
}
