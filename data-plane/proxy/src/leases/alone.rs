//! The ledger of a node that has no control plane: in memory, and in one small file. What is handed out is in the file before it is
//! spent, so that a node that is killed has spent no more than its next start believes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use gateway_engine::limits::purse::Purses;
use gateway_model::kind::budget::{Budget, Wish};
use gateway_wire::v1::{Lease, LeaseAccount, LeaseAsk, LeaseGrant};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use super::teller::Teller;
use super::{EVERY, Leases};
use crate::clock;
use crate::private_file;
use crate::warnings::Warnings;

const FILE: &str = "budgets.json";
const VERSION: u32 = 1;
/// What the warning is known by.
const SUBJECT: &str = "budgets";

pub(super) struct Ledger {
    path: Option<PathBuf>,
    warnings: Arc<Warnings>,
    /// By budget, and by the start of its window.
    windows: BTreeMap<(String, i64), Window>,
    written: Stored,
}

/// Nano-dollars of one window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Spent, or held at their end, by earlier processes.
    before: i64,
    granted: i64,
    returned: i64,
    spent: i64,
}

/// What the file holds: what is spent at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stored {
    version: u32,
    budgets: BTreeMap<String, BTreeMap<i64, i64>>,
}

pub(super) async fn run(leases: Arc<Leases>, teller: Teller, mut ledger: Ledger) {
    let mut teller = teller.telling_all();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !leases.ending.is_cancelled() {
        ledger = hear_all(&leases, &mut teller, ledger).await;
        let later = teller.waits(Instant::now());
        tokio::select! {
            () = leases.noted.notified() => {}
            () = tokio::time::sleep(later.unwrap_or(EVERY)) => {}
            _ = tick.tick() => teller.look(Instant::now(), clock::unix_ms()),
            () = leases.ending.cancelled() => {}
        }
    }
    teller.give_back_all();
    hear_all(&leases, &mut teller, ledger).await;
}

async fn hear_all(leases: &Leases, teller: &mut Teller, mut ledger: Ledger) -> Ledger {
    while let Some(ask) = teller.next(Instant::now()) {
        let answer = ledger.answer(&ask, &leases.purses, clock::unix_ms());
        let write = move || {
            ledger.write();
            ledger
        };
        ledger = match tokio::task::spawn_blocking(write).await {
            Ok(ledger) => ledger,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        teller.answered(&answer, clock::unix_ms());
        leases.answered();
    }
    ledger
}

// === impl Ledger ===

impl Ledger {
    /// With what earlier processes left in this directory. A file that cannot be read is a warning: then nothing was spent.
    pub(super) fn open(data_dir: Option<&Path>, warnings: &Arc<Warnings>) -> Self {
        let path = data_dir.map(|dir| dir.join(FILE));
        let written = path.as_deref().map_or_else(|| Ok(Stored::default()), read).unwrap_or_else(|error| {
            let text = format!("what was spent of budgets cannot be read, and is taken for nothing: {error}");
            tracing::error!("{text}");
            warnings.set(SUBJECT, text);
            Stored::default()
        });
        let of_budget = |(budget, windows): (&String, &BTreeMap<i64, i64>)| {
            let window = |(start_ms, nano): (&i64, &i64)| {
                ((budget.clone(), *start_ms), Window { before: *nano, ..Window::default() })
            };
            windows.iter().map(window).collect::<Vec<_>>()
        };
        let windows = written.budgets.iter().flat_map(of_budget).collect();
        Self { path, warnings: Arc::clone(warnings), windows, written }
    }

    fn answer(&mut self, ask: &LeaseAsk, purses: &Purses, now_ms: i64) -> LeaseGrant {
        for account in &ask.accounts {
            self.hear(account);
        }
        let asks = ask.accounts.iter().filter(|account| account.asks);
        let leases = asks.filter_map(|account| {
            let terms = purses.find(&account.budget)?.terms();
            Some(self.grant(account, terms, now_ms))
        });
        let leases = leases.collect();
        LeaseGrant { sequence: ask.sequence, unix_ms: now_ms, leases, ..LeaseGrant::default() }
    }

    fn hear(&mut self, account: &LeaseAccount) {
        let window = self.windows.entry((account.budget.clone(), account.window_start_ms)).or_default();
        window.returned = window.returned.max(account.returned_nano_usd);
        window.spent = window.spent.max(account.spent_nano_usd);
        // What was spent beyond is as good as granted.
        window.granted = window.granted.max(window.spent.saturating_add(window.returned));
    }

    fn grant(&mut self, account: &LeaseAccount, terms: Budget, now_ms: i64) -> Lease {
        let bounds = terms.window.at(now_ms);
        let from_ms = terms.window.counted_from(now_ms);
        self.windows.retain(|(budget, start_ms), window| {
            *budget != account.budget || *start_ms >= from_ms || window.holds() > 0
        });
        let counted = self.windows.range((account.budget.clone(), from_ms)..=(account.budget.clone(), i64::MAX));
        let counted = counted.filter(|(_, window)| window.used() > 0);
        let (mut used, mut oldest_ms) = (0_i64, bounds.start_ms);
        for ((_, start_ms), window) in counted {
            used = used.saturating_add(window.used());
            oldest_ms = oldest_ms.min(*start_ms);
        }
        let wish = Wish { needs: account.needs_nano_usd, waiting: account.wants_nano_usd, burn: account.burn_nano_usd };
        let more = wish.share(terms.amount_at(now_ms).0.saturating_sub(used), 1);
        let window = self.windows.entry((account.budget.clone(), bounds.start_ms)).or_default();
        window.granted = window.granted.saturating_add(more);
        Lease {
            budget: account.budget.clone(),
            window_start_ms: bounds.start_ms,
            window_end_ms: bounds.end_ms,
            granted_nano_usd: window.granted,
            refused_nano_usd: if more == 0 { wish.needs } else { 0 },
            free_at_ms: terms.window.freed_at(oldest_ms).unwrap_or(0),
        }
    }

    /// Returns when the disk has it.
    fn write(&mut self) {
        let mut budgets: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
        for ((budget, start_ms), window) in self.windows.iter().filter(|(_, window)| window.used() > 0) {
            budgets.entry(budget.clone()).or_default().insert(*start_ms, window.used());
        }
        let stored = Stored { version: VERSION, budgets };
        let Some(path) = self.path.as_deref().filter(|_| stored.budgets != self.written.budgets) else { return };
        let text = serde_json::to_vec_pretty(&stored).unwrap_or_default();
        match private_file::write(path, &text) {
            Ok(()) => {
                self.written = stored;
                self.warnings.clear(SUBJECT);
            }
            Err(error) => {
                let path = path.display();
                let text = format!(
                    "what is spent of budgets cannot be kept in `{path}`, and is gone with the process: {error}"
                );
                tracing::warn!("{text}");
                self.warnings.set(SUBJECT, text);
            }
        }
    }
}

fn read(path: &Path) -> Result<Stored, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Stored::default()),
        Err(error) => return Err(format!("`{}`: {error}", path.display())),
    };
    let stored: Stored = serde_json::from_slice(&text).map_err(|error| format!("`{}`: {error}", path.display()))?;
    match stored.version {
        VERSION => Ok(stored),
        other => Err(format!("`{}` is of version {other}, this is {VERSION}", path.display())),
    }
}

// === impl Window ===

impl Window {
    /// Granted and neither spent nor given back.
    fn holds(self) -> i64 {
        self.granted.saturating_sub(self.returned).saturating_sub(self.spent)
    }

    fn used(self) -> i64 {
        self.before.saturating_add(self.granted.saturating_sub(self.returned))
    }
}
