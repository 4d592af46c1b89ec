//! Who calls, whether they may, and what that takes of limits and budgets.

use std::sync::Arc;

use bytes::Bytes;
use gateway_dialects::registry;
use gateway_engine::count;
use gateway_engine::identity::{self, Call, Caller};
use gateway_engine::issuers;
use gateway_engine::limits::central::WhenAway;
use gateway_engine::limits::{Asked, Rates};
use gateway_engine::resolve::Resolved;
use gateway_engine::snapshot::Snapshot;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Units;
use gateway_model::policy::Unpriced;
use http::Request;
use hyper::body::Incoming;

use super::heard::{Owner, Said};
use super::{Gateway, Head, estimate};
use crate::aborts::Halt;
use crate::account::Account;
use crate::billing;
use crate::clock;
use crate::ingress::{self, Errand, Operation};
use crate::presented::Presented;
use crate::record::Record;
use crate::state::Config;

// === impl Gateway ===

impl Gateway {
    /// Looks at the token of another system, where such are keys, before anything is identified by it.
    pub(super) async fn look(&self, operation: &Operation, request: &mut Request<Incoming>) {
        let means = {
            let config = self.live.load();
            let issuers = config.snapshot.settings.issuers.as_ref();
            issuers.map(|issuers| (Arc::clone(issuers), Arc::clone(&config.peppers)))
        };
        let Some((issuers, peppers)) = means else { return };
        let is_gemini = matches!(
            operation,
            Operation::Chat(Dialect::GeminiGenerate) | Operation::CountTokens(Dialect::GeminiGenerate)
        );
        if is_gemini || request.uri().path().starts_with("/v1beta/models") {
            let query = request.uri().query().map(str::to_owned);
            ingress::gemini::key_to_header(query.as_deref(), request.headers_mut());
        }
        Box::pin(self.foreign.look(&issuers, request.headers(), &self.live.keys, &peppers)).await;
    }

    pub(super) fn caller(&self, config: &Config, head: &Head, body: &Said) -> Result<Account, Box<Failure>> {
        match body {
            Said::For(owner, _) => self.still(config, owner),
            Said::Coming(_) | Said::Here(_) => self.identified(config, head.presented()),
        }
    }

    /// Who calls, once there is a configuration to know anybody by.
    pub(crate) fn identified(&self, config: &Config, presented: Presented<'_>) -> Result<Account, Box<Failure>> {
        if config.ready {
            return self.identify(config, presented);
        }
        let message = "this node has no configuration yet; it serves as soon as it has reached its control plane";
        Err(Box::new(Failure::new(Code::NoConfig, message)))
    }

    /// Somebody who was identified before, for what is done behind their request: they must still be one that may call.
    pub(crate) fn still(&self, config: &Config, owner: &Owner) -> Result<Account, Box<Failure>> {
        let settings = &config.snapshot.settings;
        if settings.auth_off && self.on_loopback {
            return Ok(Account::alone(Caller::anonymous()));
        }
        let caller = match issuers::is_foreign(&owner.id) {
            true => issuers::revived(&owner.id, &owner.models, settings.issuers.as_deref())?,
            false => identity::still(&owner.id, &self.live.keys, clock::unix_ms())?,
        };
        Account::new(caller, &config.snapshot.tenants)
    }

    /// Who calls, and that they may ask this from where they are. Every operation that needs a caller asks here.
    pub(crate) fn identify(&self, config: &Config, presented: Presented<'_>) -> Result<Account, Box<Failure>> {
        let credential = identity::credential(presented.headers)?;
        let settings = &config.snapshot.settings;
        if settings.auth_off && self.on_loopback {
            return Ok(Account::alone(Caller::anonymous()));
        }
        let Some(credential) = credential else {
            let message = "no API key was sent; use `Authorization: Bearer <key>`, `x-api-key`, `api-key` or \
                `x-goog-api-key`";
            return Err(Box::new(Failure::new(Code::MissingCredential, message)));
        };
        let foreign = settings.issuers.as_ref();
        let foreign =
            foreign.and_then(|issuers| self.foreign.caller(issuers, credential, &self.live.keys, &config.peppers));
        let known = || identity::identify(credential, &self.live.keys, &config.peppers, clock::unix_ms());
        let caller = foreign.unwrap_or_else(known)?;
        let account = Account::new(caller, &config.snapshot.tenants)?;
        account.may_call(presented.behind(&settings.trusted_proxies))?;
        Ok(account)
    }

    /// What ends this request's stream before its end.
    pub(crate) fn halt(&self, config: &Config, record: &Record) -> Halt {
        self.aborts.halt((&self.live, config), record.revocable(), &self.ending)
    }

    /// Rates and places are for all nodes together.
    pub(crate) fn shared(&self, asked: Asked) -> Asked {
        let n_nodes = self.live.standing.n_nodes();
        let is_away = n_nodes > 1 && self.leases.are_away();
        let away = is_away.then_some(WhenAway::LocalShare);
        Asked { n_nodes, yields: self.leases.yields(), away, ..asked }
    }

    /// Paid for, and within everybody's limits. How much is left of them is told in the reply.
    pub(super) async fn admitted(
        &self,
        operation @ (errand, _): (Errand, Dialect),
        snapshot: &Snapshot,
        account: &Account,
        resolved: &mut Resolved,
        (body, facts): (&Bytes, &Facts),
        record: &mut Record,
    ) -> Result<Option<Rates>, Box<Failure>> {
        let mut asked = self.shared(asked(errand, body, facts));
        let units = match errand {
            Errand::Task(form) => registry::family(form.task()).units_of_request(body),
            Errand::Chat | Errand::CountTokens => Units::None,
        };
        let unpriced = account.unpriced().or_else(|| resolved.unpriced()).unwrap_or(snapshot.settings.unpriced);
        if unpriced == Unpriced::Refuse && errand != Errand::CountTokens {
            billing::check_priced(resolved)?;
        }
        record.flags_unpriced(unpriced == Unpriced::Flag);
        record.held_against(resolved.first());
        if snapshot.settings.receipts {
            record.receipted(body);
        }
        let models: [&str; 2] = [&facts.model, &resolved.model.name];
        let (purses, funds) = match errand {
            Errand::CountTokens => Default::default(),
            _ => {
                (billing::purses(snapshot, account, models), billing::purses_of_credentials(snapshot, account, models))
            }
        };
        let scopes = billing::scopes(snapshot, account, models);
        if errand != Errand::CountTokens && (!purses.is_empty() || !funds.is_empty() || scopes.count_input()) {
            asked.n_input = estimate::n_input(operation, resolved, (body, facts));
            record.estimated(asked.n_input);
        }
        let pays_there = !funds.is_empty();
        let mut beside = billing::at_credentials(snapshot, account, models, asked);
        if pays_there {
            beside = beside.paying(funds, billing::expected(asked, units), clock::unix_ms());
        }
        resolved.within(beside);
        if pays_there {
            billing::fund(&self.leases, resolved).await;
        }
        let most = if purses.is_empty() { 0 } else { billing::most(resolved, asked, units) };
        let bill = billing::pay(&self.leases, &purses, most).await?;
        let (permit, bill) = billing::admit((&self.leases, &self.limit_store), snapshot, scopes, asked, bill).await?;
        let rates = permit.rates();
        if errand == Errand::CountTokens {
            record.costs_nothing();
        }
        record.charged_by(units);
        record.billed(bill, &self.leases);
        if pays_there {
            record.grows_there(&self.leases);
        }
        record.admitted(permit);
        Ok(rates)
    }
}

// === impl Head ===

impl Head {
    /// What comes with a body is sent by `POST`.
    pub(crate) fn presented(&self) -> Presented<'_> {
        Presented { headers: &self.headers, call: Call { method: "POST", path: &self.path, from: self.from } }
    }
}

/// What a request of this sort may use.
fn asked(errand: Errand, body: &Bytes, facts: &Facts) -> Asked {
    let n_input = count::estimated(facts, body.len());
    match errand {
        // Nobody is charged for it.
        Errand::CountTokens => Asked { max_output: Some(0), ..Asked::default() },
        Errand::Chat => {
            let of_all = |of_one: u64| of_one.saturating_mul(facts.n_choices.unwrap_or(1).max(1));
            Asked { n_input, max_output: facts.max_output_tokens.map(of_all), ..Asked::default() }
        }
        // What it answers is no text.
        Errand::Task(_) => Asked { n_input, max_output: Some(0), ..Asked::default() },
    }
}
