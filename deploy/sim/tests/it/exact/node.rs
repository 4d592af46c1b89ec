//! A node as its clients and the control plane see it: the real limits, purses, teller and borrower, and a spool that outlives it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use gateway_engine::limits::bill::Bill;
use gateway_engine::limits::purse::{Purse, Purses};
use gateway_engine::limits::{Asked, Limits, Owner, Permit, Scopes, Settlement, admit};
use gateway_model::kind::budget::Budget;
use gateway_model::limits::Limits as Document;
use gateway_proxy::leases::{Borrower, Talk, Teller};
use gateway_proxy::telemetry::identity::Identity;
use gateway_wire::v1::{Charge, UsageBatch, UsageEvent};

/// Nano-dollars of a token.
pub(super) const PRICE: i64 = 7;
/// Of what a boot had not settled when it died, behind its own.
const RECOVERED: u32 = 1 << 16;

pub(super) struct Node {
    pub(super) id: String,
    boot: String,
    pub(super) purses: Arc<Purses>,
    pub(super) teller: Teller,
    pub(super) borrower: &'static Borrower,
    n_nodes: &'static (dyn Fn() -> u32 + Send + Sync),
    pub(super) talk: Option<Talk<'static>>,
    shared: Arc<Purse>,
    clients: Vec<Client>,
    pub(super) open: Vec<Open>,
    lanes: Vec<Lane>,
    /// Boots before this one of whose usage something is to be delivered.
    owed: Arc<Mutex<BTreeSet<String>>>,
    /// Its clock less the true time.
    pub(super) ahead_ms: i64,
}

struct Client {
    limits: Arc<Limits>,
    /// `None` once the node has heard that there is no such key any more.
    purse: Option<Arc<Purse>>,
}

/// A request that was let pass.
pub(super) struct Open {
    pub(super) id: String,
    pub(super) asked: Asked,
    bill: Bill,
    permit: Permit,
    /// What was set aside for it at admission, which is what it costs if the node dies.
    pub(super) paid: i64,
    pub(super) charges: Vec<Charge>,
    /// Its place among all that were let pass.
    pub(super) place: usize,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// So much was used, in hundredths of what it asked for.
    Used(u64),
    /// No upstream answered.
    Refunded,
    /// Nobody says.
    Dropped,
}

/// Events in the order in which they are delivered.
struct Lane {
    boot: String,
    number: u32,
    events: Vec<UsageEvent>,
    n_acked: usize,
}

/// What a budget is called, and what it allows.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) shared: (String, Budget),
    /// Of each client.
    pub(super) own: Vec<(String, Option<Budget>)>,
    pub(super) limits: Document,
}

// === impl Node ===

impl Node {
    pub(super) fn new(id: &str, boot: String, n_nodes: u32, terms: &Terms, now: Instant) -> Self {
        let purses = Arc::new(Purses::default());
        purses.on_noted(|| {});
        let owed = Arc::<Mutex<BTreeSet<String>>>::default();
        let is_owed = Arc::clone(&owed);
        let owes = Box::new(move |boot: &str| is_owed.lock().expect("one thread").contains(boot));
        let identity = Arc::new(Identity::of(id, boot.clone()));
        let clients = terms.own.iter().map(|(name, budget)| Client {
            limits: Arc::new(Limits::new(Owner::key(&name.as_str().into()), &terms.limits)),
            purse: budget.map(|budget| purses.purse(name, budget)),
        });
        Self {
            id: id.to_owned(),
            teller: Teller::new(Arc::clone(&purses), identity, owes),
            // A connection borrows both, and a node is as good as the process.
            borrower: Box::leak(Box::new(Borrower::new(now))),
            n_nodes: Box::leak(Box::new(move || n_nodes)),
            talk: None,
            shared: purses.purse(&terms.shared.0, terms.shared.1),
            clients: clients.collect(),
            purses,
            open: Vec::new(),
            lanes: vec![Lane::new(boot.clone(), 0, Vec::new())],
            boot,
            owed,
            ahead_ms: 0,
        }
    }

    /// Killed with all that runs. What comes in its place finds on the disk what was not delivered, and of what had not ended what was set
    /// aside for it.
    pub(super) fn killed(&mut self, boot: String, terms: &Terms, now: Instant) -> Vec<Open> {
        let next = Self::new(&self.id, boot, (self.n_nodes)(), terms, now);
        let mut dead = std::mem::replace(self, next);
        let recovered = dead.open.iter().map(|open| event(&open.id, open.charges.clone())).collect();
        dead.lanes.push(Lane::new(dead.boot.clone(), RECOVERED, recovered));
        let own = self.lanes.pop().expect("made with it");
        self.lanes.extend(dead.lanes.into_iter().filter(|lane| !lane.is_done()));
        self.lanes.push(own);
        self.ahead_ms = dead.ahead_ms;
        self.note_owed();
        dead.open
    }

    pub(super) fn connect(&mut self, now: Instant) {
        self.talk = Some(Talk::new(self.borrower, self.n_nodes, now));
    }

    /// These are the terms from now on. A key that is gone makes no more requests.
    pub(super) fn hear(&mut self, terms: &Terms) {
        self.shared = self.purses.purse(&terms.shared.0, terms.shared.1);
        for (client, (name, budget)) in self.clients.iter_mut().zip(&terms.own) {
            client.purse = budget.map(|budget| self.purses.purse(name, budget));
        }
    }

    /// Money, then limits; all or nothing.
    pub(super) fn ask(&mut self, client: usize, asked: Asked, now_ms: i64, now: Instant) -> Option<&mut Open> {
        let Client { limits, purse } = &self.clients[client];
        let purses = [Arc::clone(purse.as_ref()?), Arc::clone(&self.shared)];
        let paid = PRICE * wanted(asked) as i64;
        let bill = Bill::reserve(&purses, paid, now_ms + self.ahead_ms).ok()?;
        let asked = Asked { n_nodes: (self.n_nodes)(), yields: self.borrower.yields(|| now), ..asked };
        let permit = match admit(Scopes::of_key(Arc::clone(limits)), asked, now) {
            Ok(permit) => permit,
            Err(refused) => {
                bill.settle(0);
                let (short, _) = refused.short?;
                drop(self.borrower.note(short));
                return None;
            }
        };
        let charges = bill.holds().map(|(budget, start_ms, nano)| charge(budget, start_ms, nano)).collect();
        self.open.push(Open { id: String::new(), asked, bill, permit, paid, charges, place: 0 });
        self.open.last_mut()
    }

    /// Its reply has cost so many hundredths of what was set aside by now.
    pub(super) fn grow(&mut self, which: usize, part: i64, now_ms: i64) {
        let Some(which) = which.checked_rem(self.open.len()) else { return };
        let open = &mut self.open[which];
        let used = open.paid * part / 100;
        // A budget that does not cut owes what is not there.
        open.bill.grow(used, used + 5 * PRICE, now_ms + self.ahead_ms).expect("these do not cut");
    }

    /// One of those that run ends: as it was let pass, what it cost in truth, and how many tokens it used.
    pub(super) fn end(&mut self, which: usize, end: End) -> Option<(Ended, u64)> {
        let which = which.checked_rem(self.open.len())?;
        let Open { id, asked, bill, permit, paid, place, .. } = self.open.swap_remove(which);
        let mut holds: Vec<Charge> = bill.holds().map(|(budget, start, nano)| charge(budget, start, nano)).collect();
        let tokens = match end {
            End::Used(part) => {
                let of = |n: u64| n * part / 100;
                let mut settlement = Settlement::default();
                settlement.usage.input = of(asked.n_input);
                settlement.usage.output = of(asked.max_output.unwrap_or_default());
                let n_tokens = settlement.usage.total();
                let cost = PRICE * n_tokens as i64;
                holds.iter_mut().for_each(|hold| hold.nano_usd = cost);
                bill.settle(cost);
                permit.settle(settlement);
                n_tokens
            }
            End::Refunded => {
                holds.iter_mut().for_each(|hold| hold.nano_usd = 0);
                bill.settle(0);
                permit.settle(Settlement::default());
                0
            }
            // What was set aside by now is spent.
            End::Dropped => wanted(asked),
        };
        self.lanes.last_mut().expect("one of its own").events.push(event(&id, holds.clone()));
        Some((Ended { charges: holds, paid, place }, tokens))
    }

    /// The next of what is to be delivered, the oldest boot first.
    pub(super) fn batch(&self, n_events: usize) -> Option<UsageBatch> {
        let lane = self.lanes.iter().find(|lane| !lane.is_done())?;
        Some(UsageBatch {
            node_id: self.id.clone(),
            boot_id: lane.boot.clone(),
            lane: lane.number,
            first_seq: lane.n_acked as u64 + 1,
            events: lane.events[lane.n_acked..].iter().take(n_events).cloned().collect(),
        })
    }

    pub(super) fn acknowledged(&mut self, boot: &str, number: u32, up_to: u64) {
        let lane = self.lanes.iter_mut().find(|lane| (lane.boot.as_str(), lane.number) == (boot, number));
        let lane = lane.expect("what was delivered");
        lane.n_acked = lane.n_acked.max(up_to as usize);
        self.note_owed();
    }

    fn note_owed(&self) {
        let owing = self.lanes.iter().filter(|lane| !lane.is_done() && lane.boot != self.boot);
        *self.owed.lock().expect("one thread") = owing.map(|lane| lane.boot.clone()).collect();
    }

    /// All that it has to tell and has not heard the answer of.
    pub(super) fn undelivered(&self) -> impl Iterator<Item = UsageEvent> {
        let told = self.lanes.iter().flat_map(|lane| lane.events[lane.n_acked..].iter().cloned());
        told.chain(self.open.iter().map(|open| event(&open.id, open.charges.clone())))
    }

    /// Nothing runs, and nothing is set aside for anybody.
    pub(super) fn is_quiet(&self) -> bool {
        let totals = self.purses.totals();
        self.clients.iter().all(|client| client.limits.n_open() == 0) && (totals.n_open, totals.left) == (0, 0)
    }
}

/// What came of a request.
pub(super) struct Ended {
    pub(super) charges: Vec<Charge>,
    pub(super) paid: i64,
    pub(super) place: usize,
}

pub(super) fn wanted(asked: Asked) -> u64 {
    asked.n_input + asked.max_output.unwrap_or_default()
}

fn charge(budget: &str, window_start_ms: i64, nano_usd: i64) -> Charge {
    Charge { budget: budget.to_owned(), window_start_ms, nano_usd }
}

fn event(id: &str, charges: Vec<Charge>) -> UsageEvent {
    UsageEvent { id: id.to_owned(), charges, ..UsageEvent::default() }
}

// === impl Lane ===

impl Lane {
    fn new(boot: String, number: u32, events: Vec<UsageEvent>) -> Self {
        Self { boot, number, events, n_acked: 0 }
    }

    fn is_done(&self) -> bool {
        self.n_acked >= self.events.len()
    }
}
