//! One rate and its state: what a request takes of it on this node, what it borrows, and what it gives back.

use std::sync::OnceLock;
use std::time::Duration;

use gateway_model::limits::{Measure, Period, Rate as Written};

use super::lending::{self, Loan};
use super::{Asked, EXPECTED_OUTPUT, Settlement, rate};

/// One rate and its state.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) measure: Measure,
    pub(super) period: Period,
    pub(super) rate: rate::Rate,
    /// Made when something is first borrowed: of most keys nothing ever is, and there are a hundred thousand of them.
    loan: OnceLock<Box<Loan>>,
}

/// Which of all rates a request borrows of, while they are walked through in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Borrowed {
    pub(super) bits: u64,
    pub(super) n_rates: u32,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(Written { measure, period, amount }: Written) -> Self {
        let span = Duration::from_secs(period.seconds());
        Self { measure, period, rate: rate::Rate::new(amount, span), loan: OnceLock::new() }
    }

    pub(super) fn loan(&self) -> &Loan {
        self.loan.get_or_init(Box::default)
    }

    pub(super) fn written(&self) -> Written {
        Written { measure: self.measure, period: self.period, amount: self.rate.limit() }
    }

    /// Says what is left of it on this node, or after how long there will be enough, and whether it may be borrowed.
    pub(super) fn take(&self, asked: Asked, now: u64, borrowed: &mut Borrowed) -> Result<u64, (Duration, bool)> {
        let (wanted, parts) = (self.wanted(asked), self.parts(asked));
        // Of what one keeps a large request takes no part: it would owe for long.
        let fits = !self.borrows(asked) || wanted.saturating_mul(parts) <= self.rate.limit();
        let taken =
            if fits { self.rate.take(self.taken(asked), now) } else { Err(self.rate.wait(self.rate.limit(), now)) };
        match taken {
            Ok(remaining) => {
                borrowed.next();
                Ok(remaining / parts)
            }
            Err(_) if self.borrows(asked) && borrowed.n_rates < u64::BITS && self.borrow(wanted, parts, now) => {
                borrowed.set();
                Ok(self.rate.left(now) / parts)
            }
            Err(wait) if self.borrows(asked) => {
                // What is owed is paid by what is lent, which comes together faster than this node's part.
                let wait = match self.owed(parts, now) {
                    0 => wait,
                    owed => Duration::from_nanos(self.rate.interval().saturating_mul(owed)),
                };
                let is_short = self.loan().want(self.missing(wanted, parts, now), now);
                Err((wait.max(Duration::from_nanos(1)), is_short))
            }
            Err(wait) => Err((wait.max(Duration::from_nanos(1)), false)),
        }
    }

    fn borrow(&self, wanted: u64, parts: u64, now: u64) -> bool {
        let is_lent = self.pay(parts, now) && self.loan().take(wanted, now);
        if is_lent {
            // Should it use more than it borrowed.
            self.rate.begin(now);
        }
        is_lent
    }

    /// Of what is lent, what this node owes is paid first: its part alone would take as many times as long, and others would pass
    /// meanwhile.
    fn pay(&self, parts: u64, now: u64) -> bool {
        let owed = self.owed(parts, now);
        let paid = self.loan().take_most(owed, now);
        self.rate.give_back(paid.saturating_mul(parts));
        paid == owed
    }

    fn owed(&self, parts: u64, now: u64) -> u64 {
        self.rate.owed(now).div_ceil(parts)
    }

    /// What to ask for. A large debt is paid little by little, so that the lender has as much.
    fn missing(&self, wanted: u64, parts: u64, now: u64) -> u64 {
        let (owed, most) = (self.owed(parts, now), (self.rate.limit() / 60).max(1));
        if owed > most { most } else { owed.saturating_add(wanted) }
    }

    /// Wants to borrow so much, if that is worth asking for and there is too little of it.
    pub(super) fn want(&self, asked: Asked, now: u64) -> bool {
        let missing = self.missing(self.wanted(asked), self.parts(asked), now);
        let is_there = || self.rate.wait(self.taken(asked), now).is_zero() || self.loan().has(missing, now);
        self.borrows(asked) && !is_there() && self.loan().want(missing, now)
    }

    /// Of a request that was admitted at `since` and not made.
    pub(super) fn give_back(&self, asked: Asked, borrowed: &mut Borrowed, since: u64) {
        match borrowed.next() {
            true => self.loan().give_back(self.wanted(asked)),
            false => self.rate.correct(self.taken(asked), 0, since),
        }
    }

    /// Whether this node has less of it than its part, and may borrow for this request.
    pub(super) fn borrows(&self, asked: Asked) -> bool {
        let period = Duration::from_secs(self.period.seconds());
        asked.yields
            && lending::is_lent(self.rate.limit(), period, asked.n_nodes())
            && !lending::is_too_large(self.wanted(asked), self.rate.limit(), asked.n_nodes())
    }

    /// What each counts for on this node.
    pub(super) fn parts(&self, asked: Asked) -> u64 {
        let period = Duration::from_secs(self.period.seconds());
        let is_lent = asked.yields && lending::is_lent(self.rate.limit(), period, asked.n_nodes());
        if is_lent { asked.n_nodes().saturating_mul(lending::KEEPS) } else { asked.n_nodes() }
    }

    pub(super) fn turn(&self, before: Option<Asked>, asked: Asked, now: u64) {
        if let Some(before) = before {
            self.rate.rescale(self.parts(before), self.parts(asked), now);
        }
    }

    /// What a request takes of the rate at admission.
    pub(super) fn taken(&self, asked: Asked) -> u64 {
        self.wanted(asked).saturating_mul(self.parts(asked)).min(self.rate.limit())
    }

    /// What a request is for at admission.
    pub(super) fn wanted(&self, asked: Asked) -> u64 {
        // No more than a tenth, so that small limits are not one request at a time.
        let output = || asked.max_output.unwrap_or_else(|| EXPECTED_OUTPUT.min(self.rate.limit() / 10));
        match self.measure {
            Measure::Requests => 1,
            Measure::InputTokens => asked.n_input,
            Measure::OutputTokens => output(),
            Measure::Tokens => asked.n_input.saturating_add(output()),
        }
    }

    pub(super) fn used(&self, settlement: &Settlement) -> u64 {
        match self.measure {
            Measure::Requests => 1,
            Measure::InputTokens => settlement.usage.prompt(),
            Measure::OutputTokens => settlement.usage.output,
            Measure::Tokens => settlement.usage.total(),
        }
    }

    /// Corrects what was taken at admission, which was `since`, by what came of the request.
    /// `now` says what each counts for by now, which need not be what it counted for then.
    pub(super) fn settle(&self, (asked, since): (Asked, u64), now: Asked, settlement: &Settlement, is_borrowed: bool) {
        // A request was made, whatever came of it: there is nothing to give back.
        if self.measure == Measure::Requests {
            return;
        }
        let used = self.used(settlement);
        let (parts, wanted) = (self.parts(now), self.wanted(asked));
        if is_borrowed {
            self.loan().give_back(wanted.saturating_sub(used));
            self.rate.correct(0, used.saturating_sub(wanted).saturating_mul(parts), since);
        } else {
            let taken = u128::from(self.taken(asked)) * u128::from(parts) / u128::from(self.parts(asked));
            self.rate.correct(u64::try_from(taken).unwrap_or(u64::MAX), used.saturating_mul(parts), since);
        }
    }
}

// === impl Borrowed ===

impl Borrowed {
    /// Whether the next rate was borrowed of.
    pub(super) fn next(&mut self) -> bool {
        let bit = self.n_rates;
        self.n_rates += 1;
        bit < u64::BITS && self.bits >> bit & 1 == 1
    }

    /// The next one is.
    pub(super) fn set(&mut self) {
        self.bits |= 1 << self.n_rates;
        self.n_rates += 1;
    }
}
