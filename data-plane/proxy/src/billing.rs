//! What a request may cost, and the money for it.

use std::sync::Arc;
use std::time::Instant;

use gateway_engine::limits::bill::{Bill, Refused};
use gateway_engine::limits::purse::Purse;
use gateway_engine::limits::{self, Asked, EXPECTED_OUTPUT, Permit, Scopes};
use gateway_engine::price;
use gateway_engine::resolve::Resolved;
use gateway_engine::selector::Spender;
use gateway_engine::shared::{self, AtCredentials, FundsAt};
use gateway_engine::snapshot::{Provider, Snapshot, Target};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::{Units, Usage};

use crate::account::Account;
use crate::clock;
use crate::leases::Leases;
use crate::limit_store::LimitStore;

/// The budgets that a request of this account counts in. Empty without budgets, at the price of a look.
pub(crate) fn purses(snapshot: &Snapshot, account: &Account, models: [&str; 2]) -> Vec<Arc<Purse>> {
    snapshot.budgets.of(spender(account, models))
}

/// Money for a request, from all of `purses` or from none. Waits a second at most where one of them has to be filled first.
pub(crate) async fn pay(leases: &Leases, purses: &[Arc<Purse>], nano: i64) -> Result<Bill, Box<Failure>> {
    if purses.is_empty() {
        return Ok(Bill::default());
    }
    let attempt = || Bill::reserve(purses, nano, clock::unix_ms());
    let refused = match attempt() {
        Err(refused) if refused.is_asked() => match Box::pin(leases.retry(attempt, Refused::is_asked)).await {
            Ok(bill) => return Ok(bill),
            Err(refused) => refused,
        },
        outcome => return outcome.map_err(|refused| refused.failure(clock::unix_ms())),
    };
    Err(refused.failure(clock::unix_ms()))
}

/// Those of the credential beside them, where that is known: of what passes as it is.
pub(crate) fn purses_at(
    snapshot: &Snapshot,
    account: &Account,
    models: [&str; 2],
    provider: &Provider,
) -> Vec<Arc<Purse>> {
    let mut purses = purses(snapshot, account, models);
    let of_credentials = snapshot.budgets.at_credentials(spender(account, models));
    purses.extend(shared::purses_of(&of_credentials, &provider.passing().account));
    purses
}

/// Fills what credentials may spend before one is picked, for nothing waits then. A second at most, and not at all where that is known.
pub(crate) async fn fund(leases: &Leases, resolved: &Resolved) {
    let attempt = || if resolved.is_funded() { Ok(()) } else { Err(()) };
    if attempt().is_err() {
        // Whoever picks one finds what there is.
        let _ = Box::pin(leases.retry(attempt, |_| true)).await;
    }
}

/// What the request may use, before anybody knows.
pub(crate) fn expected(asked: Asked, units: Units) -> Usage {
    let output = asked.max_output.unwrap_or(EXPECTED_OUTPUT);
    match units {
        Units::None => Usage { input: asked.n_input, output, ..Usage::default() },
        units => Usage::of_units(units),
    }
}

/// What the request costs at whichever target serves it: the most of them, so that a limit of its reply is a limit of its cost. 0 where
/// no price is known.
pub(crate) fn most(resolved: &Resolved, asked: Asked, units: Units) -> i64 {
    let usage = expected(asked, units);
    resolved.targets().filter_map(|target| cost(target, &usage)).max().unwrap_or(0)
}

/// Refused where a target could serve it at a price that nobody knows.
pub(crate) fn check_priced(resolved: &Resolved) -> Result<(), Box<Failure>> {
    let Some(target) = resolved.targets().find(|target| target.price.is_none()) else { return Ok(()) };
    let message = format!(
        "no price is known for `{}/{}`, and `unpriced` refuses such models; give it one in `prices`",
        target.provider.name, target.model
    );
    Err(Box::new(Failure::new(Code::NotAllowed, message)))
}

/// Everybody whose limits a request of this account takes.
pub(crate) fn scopes(snapshot: &Snapshot, account: &Account, models: [&str; 2]) -> Scopes {
    account.scopes().sharing(snapshot.shared_limits.of(spender(account, models), Instant::now))
}

/// The budgets of credentials that a request of this account counts in, when it is known with which it goes.
pub(crate) fn purses_of_credentials(snapshot: &Snapshot, account: &Account, models: [&str; 2]) -> FundsAt {
    snapshot.budgets.at_credentials(spender(account, models))
}

/// What this account may use of whichever credential is picked. Empty without such limits, at the price of a look.
pub(crate) fn at_credentials(snapshot: &Snapshot, account: &Account, models: [&str; 2], asked: Asked) -> AtCredentials {
    snapshot.shared_limits.at_credentials(spender(account, models), asked, Instant::now)
}

/// Of what passes as it is the credential is known: its limits are taken with all others.
pub(crate) fn scopes_at(snapshot: &Snapshot, account: &Account, models: [&str; 2], provider: &Provider) -> Scopes {
    let spender = spender(account, models);
    let at = snapshot.shared_limits.at_credentials(spender, Asked::default(), Instant::now);
    let mut shared = snapshot.shared_limits.of(spender, Instant::now);
    shared.extend(at.of(&provider.passing().account));
    account.scopes().sharing(shared)
}

/// Within everybody's limits, or nothing is paid. Waits for a quarter of a second at most where a rate is to be borrowed first; where
/// limits are counted for all nodes, as long as the settings say.
pub(crate) async fn admit(
    (leases, limit_store): (&Leases, &LimitStore),
    snapshot: &Snapshot,
    scopes: Scopes,
    asked: Asked,
    bill: Bill,
) -> Result<(Permit, Bill), Box<Failure>> {
    let admitted = match snapshot.settings.limit_store {
        Some(terms) => Box::pin(limit_store.admit(scopes, asked, terms)).await,
        None => admit_here(leases, scopes, asked).await,
    };
    match admitted {
        Ok(permit) => Ok((permit, bill)),
        Err(failure) => {
            bill.settle(0);
            Err(failure)
        }
    }
}

async fn admit_here(leases: &Leases, scopes: Scopes, asked: Asked) -> Result<Permit, Box<Failure>> {
    let admitted = match limits::admit(scopes, asked, Instant::now()) {
        Err(limits::Refused { short: Some((short, scopes)), .. }) => {
            Box::pin(leases.borrow(short)).await;
            limits::admit(scopes, asked, Instant::now())
        }
        outcome => outcome,
    };
    admitted.map_err(|refused| refused.failure)
}

fn spender<'a>(account: &'a Account, models: [&'a str; 2]) -> Spender<'a> {
    Spender { caller: &account.caller, standing: &account.standing, models }
}

fn cost(target: &Target, usage: &Usage) -> Option<i64> {
    price::cost(usage, target.price.as_ref()?)
}
