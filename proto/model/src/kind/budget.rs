//! Money that may be spent in a window of time: `budget` in a key, a team, a user or an organization, and as a resource of its
//! own, which whatever it selects shares. Amounts are exact, in nano-dollars.

mod alert;
mod share;
mod window;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::Fault;
use crate::unit::Usd;

pub use alert::{Override, Percentages};
pub use share::Wish;
pub use window::{Bounds, Window};

/// What may be spent by whoever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub amount_usd: Usd,
    pub window: Window,
    #[serde(default, skip_serializing_if = "OnExhausted::is_refuse")]
    pub on_exhausted: OnExhausted,
    /// What each node may spend beyond its share in a window while no control plane answers. Default 0: never more than the amount.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub offline_allowance_usd: Usd,
    /// At which percentages of the amount `settings.alerts` are told, once in each window. Default `[80, 100]`; `[]`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_at: Option<Percentages>,
    /// Another amount for a while.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub exception: Option<Override>,
}

/// What happens to a request that the budget has no money left for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// 429 until the window ends.
    #[default]
    Refuse,
    /// The same, and a reply that streams ends with an error as soon as it would cost more than there is.
    Cut,
    /// It goes on; what is spent is counted and shown.
    Alert,
}

/// A budget that all requests share which match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRule {
    pub name: String,
    #[serde(rename = "match")]
    pub matcher: Match,
    pub amount_usd: Usd,
    pub window: Window,
    #[serde(default, skip_serializing_if = "OnExhausted::is_refuse")]
    pub on_exhausted: OnExhausted,
    /// What each node may spend beyond its share in a window while no control plane answers. Default 0: never more than the amount.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub offline_allowance_usd: Usd,
    /// At which percentages of the amount `settings.alerts` are told, once in each window. Default `[80, 100]`; `[]`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_at: Option<Percentages>,
    /// Another amount for a while.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub exception: Option<Override>,
}

/// Any of each list, and all of the lists that are given. At least one is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Names of keys, `*` for any characters; so are the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// Public model names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// With what an upstream is asked, as `provider`, or `provider#key` where that has several (`openai#team-a`). Such a limit or budget is
    /// taken when its credential is picked, and who has none left of it is passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
}

fn nothing() -> Usd {
    Usd(0)
}

fn is_nothing(amount: &Usd) -> bool {
    *amount == nothing()
}

// === impl Budget ===

impl Budget {
    /// The largest amount. Sums of several stay far below what an `i64` of nano-dollars holds.
    pub const MAX: Usd = Usd(1_000_000_000 * 1_000_000_000);

    pub fn is_hard(&self) -> bool {
        self.on_exhausted != OnExhausted::Alert
    }

    /// What may be spent by those who ask in this moment.
    pub fn amount_at(&self, now_ms: i64) -> Usd {
        match self.exception {
            Some(exception) if now_ms < exception.expires_at.0 => exception.amount_usd,
            _ => self.amount_usd,
        }
    }

    pub fn alert_at(&self) -> Percentages {
        self.alert_at.unwrap_or(Percentages::DEFAULT)
    }

    /// What is wrong with it: field and reason.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.amount_usd.0 == 0 {
            faults.push(("amount_usd", "must be more than 0; use `enabled: false` to shut a key"));
        } else if self.amount_usd > Self::MAX {
            faults.push(("amount_usd", "must be at most 1000000000"));
        }
        match self.exception.map(|exception| exception.amount_usd) {
            Some(Usd(0)) => faults.push(("override.amount_usd", "must be more than 0")),
            Some(amount) if amount > Self::MAX => {
                faults.push(("override.amount_usd", "must be at most 1000000000"));
            }
            _ => {}
        }
        if self.offline_allowance_usd > self.amount_usd {
            faults.push(("offline_allowance_usd", "must not be more than `amount_usd`"));
        }
        faults
    }
}

// === impl OnExhausted ===

impl OnExhausted {
    fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

// === impl BudgetRule ===

impl BudgetRule {
    pub fn budget(&self) -> Budget {
        Budget {
            amount_usd: self.amount_usd,
            window: self.window,
            on_exhausted: self.on_exhausted,
            offline_allowance_usd: self.offline_allowance_usd,
            alert_at: self.alert_at,
            exception: self.exception,
        }
    }
}

// === impl Match ===

impl Match {
    /// Its lists, by the names of their fields.
    pub fn lists(&self) -> [(&'static str, &[String]); 7] {
        [
            ("keys", &self.keys),
            ("teams", &self.teams),
            ("users", &self.users),
            ("organizations", &self.organizations),
            ("models", &self.models),
            ("tags", &self.tags),
            ("credentials", &self.credentials),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        let read = |amount: serde_json::Value| {
            serde_json::from_value::<Budget>(json!({"amount_usd": amount, "window": "monthly"}))
        };
        let cases = [(json!("0.000000001"), 1), (json!(0.1), 100_000_000), (json!(12), 12_000_000_000)];
        for (amount, nano) in cases {
            let budget = read(amount.clone()).expect("an amount");
            assert_eq!((budget.amount_usd.0, budget.faults()), (nano, vec![]), "{amount}");
            assert!(budget.is_hard());
        }
        for amount in [json!(-1), json!("1e3"), json!("0.0000000001"), json!("99999999999"), json!("much"), json!(null)]
        {
            assert!(read(amount.clone()).is_err(), "{amount}");
        }
        for amount in [json!(0), json!("1000000000.01")] {
            assert_eq!(read(amount.clone()).expect("a number").faults()[0].0, "amount_usd", "{amount}");
        }
        let stretched: Budget = serde_json::from_value(json!({"amount_usd": 1, "window": "daily",
            "override": {"amount_usd": 5, "expires_at": "2027-01-01T00:00:00Z"}}))
        .expect("a form");
        let until = stretched.exception.expect("one").expires_at.0;
        assert_eq!(
            (stretched.amount_at(until - 1), stretched.amount_at(until)),
            (Usd(5_000_000_000), Usd(1_000_000_000))
        );
        let nothing: Budget = serde_json::from_value(json!({"amount_usd": 1, "window": "daily",
            "override": {"amount_usd": 0, "expires_at": "2027-01-01T00:00:00Z"}}))
        .expect("a form");
        assert_eq!(nothing.faults()[0].0, "override.amount_usd");
        let generous = json!({"amount_usd": 1, "window": "once", "offline_allowance_usd": 2});
        let generous: Budget = serde_json::from_value(generous).expect("a form");
        assert_eq!(generous.faults()[0].0, "offline_allowance_usd");
    }
}
