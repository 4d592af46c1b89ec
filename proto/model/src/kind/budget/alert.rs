//! At which parts of its amount a budget is told of, and for how long it has another amount.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::unit::{Timestamp, Usd};

const MOST: usize = 8;
const LARGEST: u16 = 1000;

/// Percentages of an amount, each above the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentages {
    // A budget is copied around, and has few of them.
    all: [u16; MOST],
    n: usize,
}

/// In place of the amount, until it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    pub amount_usd: Usd,
    /// From then on the budget's own amount holds again.
    pub expires_at: Timestamp,
}

// === impl Percentages ===

impl Percentages {
    /// What is told where nothing is said.
    pub const DEFAULT: Self = Self { all: [80, 100, 0, 0, 0, 0, 0, 0], n: 2 };

    fn parse(given: &[u16]) -> Result<Self, String> {
        let is_fine = given.len() <= MOST
            && given.iter().all(|percent| (1..=LARGEST).contains(percent))
            && given.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_fine {
            return Err(format!(
                "must be at most {MOST} whole percentages from 1 to {LARGEST}, each above the one before it, like [50, 80, 100]"
            ));
        }
        let mut all = [0; MOST];
        all[..given.len()].copy_from_slice(given);
        Ok(Self { all, n: given.len() })
    }

    pub fn each(&self) -> &[u16] {
        &self.all[..self.n]
    }

    /// Those that so much of so much has reached.
    pub fn reached(&self, spent: i64, amount: i64) -> impl Iterator<Item = u16> {
        let percent = |percent: &u16| i128::from(*percent);
        self.each().iter().copied().filter(move |given| i128::from(spent) * 100 >= i128::from(amount) * percent(given))
    }
}

impl Serialize for Percentages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.each().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Percentages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Vec::<u16>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Percentages {
    fn schema_name() -> Cow<'static, str> {
        "Percentages".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": LARGEST},
            "maxItems": MOST,
            "description": "Percentages of the amount, each above the one before it."
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentages_rise() {
        for (given, is_fine) in [
            (json!([]), true),
            (json!([50, 80, 100, 120]), true),
            (json!([1, 1000]), true),
            (json!([0]), false),
            (json!([80, 80]), false),
            (json!([100, 50]), false),
            (json!([1001]), false),
            (json!([-1]), false),
            (json!([50.5]), false),
            (json!([1, 2, 3, 4, 5, 6, 7, 8, 9]), false),
            (json!("80"), false),
        ] {
            let read = serde_json::from_value::<Percentages>(given.clone());
            assert_eq!(read.is_ok(), is_fine, "{given}");
            if let Ok(read) = read {
                assert_eq!(json!(read), given);
            }
        }
    }

    #[test]
    fn a_part_is_reached_exactly() {
        let reached = |spent, amount| Percentages::DEFAULT.reached(spent, amount).collect::<Vec<_>>();
        assert_eq!(reached(79, 100), Vec::<u16>::new());
        assert_eq!((reached(80, 100), reached(99, 100)), (vec![80], vec![80]));
        assert_eq!((reached(100, 100), reached(i64::MAX, 1)), (vec![80, 100], vec![80, 100]));
        assert_eq!(reached(0, 1), Vec::<u16>::new());
    }
}
