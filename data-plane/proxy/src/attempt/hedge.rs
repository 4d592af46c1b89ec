//! A second target asked beside the first, where that is late: whoever answers first serves, the other one is let go and charged.

use std::time::Duration;

use gateway_ir::json;
use tokio::time::timeout;

use super::Outbound;
use super::course::{Asked, Course};
use super::told::Told;
use crate::ingress::Errand;
use crate::record::Record;

// === impl Outbound ===

impl Outbound<'_> {
    /// The rule for a second target beside this one, and how long that is waited for alone. Nothing is asked twice that is kept by
    /// somebody, or does something: its answer may be late, and it may be done all the same.
    pub(super) fn hedge(&self, asked: &Asked) -> Option<Duration> {
        let hedge = asked.policy.hedge.filter(|_| self.errand == Errand::Chat && self.terms.may_hedge)?;
        if self.terms.once_each || acts(self.body) {
            return None;
        }
        self.retries.earn_beside(hedge.max_percent);
        hedge.after.or_else(|| asked.target.health.late(self.stream))
    }

    /// Asks `first`, and after `patience` another target beside it, where there is one and requests may still be asked twice. The
    /// one that answered with its answer, or the one that failed last.
    pub(super) async fn hedged(
        &self,
        mut first: Asked,
        patience: Duration,
        course: &mut Course<'_>,
        record: &mut Record,
    ) -> (Asked, Told) {
        let id = record.id().to_owned();
        let mut one = Box::pin(self.chat(&first.target, first.lane, &first.policy, first.deadline, &id));
        if let Ok(told) = timeout(patience, &mut one).await {
            drop(one);
            return (first, told);
        }
        let Some(mut second) = self.second(course, record).await else {
            let told = one.await;
            return (first, told);
        };
        let mut other = Box::pin(self.chat(&second.target, second.lane, &second.policy, second.deadline, &id));
        let (is_first, told) = tokio::select! {
            told = &mut one => (true, told),
            told = &mut other => (false, told),
        };
        let now = std::time::Instant::now();
        match (is_first, told) {
            (true, Ok(answer)) => {
                drop((one, other));
                second.lost(record);
                (first, Ok(answer))
            }
            (false, Ok(answer)) => {
                drop((one, other));
                first.lost(record);
                (second, Ok(answer))
            }
            (true, Err(failure)) => {
                drop(one);
                first.failed(&failure, now, record);
                record.waits_for_upstream();
                let told = other.await;
                (second, told)
            }
            (false, Err(failure)) => {
                drop(other);
                second.failed(&failure, now, record);
                record.waits_for_upstream();
                let told = one.await;
                (first, told)
            }
        }
    }

    /// Who is asked beside the first, if it has a place at once.
    async fn second(&self, course: &mut Course<'_>, record: &mut Record) -> Option<Asked> {
        if !self.retries.spend_beside() {
            return None;
        }
        let choice = course.next()?;
        let (mut policy, deadline) = self.bounds(&choice.target, course);
        policy.queue = Duration::ZERO;
        let second = self.seated(choice, (policy, deadline), course, record).await?;
        record.beside();
        Some(second)
    }
}

/// Whether the vendor does something for the request beside answering it: keeps it, searches, runs code, calls a server.
pub(super) fn acts(body: &[u8]) -> bool {
    let mut acts = false;
    let scanned = json::scan_object(body, |member| {
        let value = body.get(member.value.clone()).unwrap_or_default();
        let is_said = !matches!(value, b"null" | b"false" | b"[]" | b"{}");
        acts |= match member.name {
            b"tools" => has_own_tools(value),
            b"store" | b"background" | b"mcp_servers" | b"web_search_options" | b"container" | b"plugins" => is_said,
            _ => false,
        };
    });
    // What is not understood may do anything.
    acts || scanned.is_err()
}

/// Whether one of the tools is the vendor's: whatever is no function of the client's.
fn has_own_tools(tools: &[u8]) -> bool {
    let Ok(tools) = serde_json::from_slice::<Vec<serde_json::Map<String, serde_json::Value>>>(tools) else {
        return tools != b"null";
    };
    tools.iter().any(|tool| match tool.get("type").and_then(serde_json::Value::as_str) {
        Some(kind) => !matches!(kind, "function" | "custom"),
        // Anthropic's may leave the type out, Gemini's are named by their member.
        None => !tool.contains_key("name") && tool.keys().any(|name| !FUNCTIONS.contains(&name.as_str())),
    })
}

const FUNCTIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_something_is_never_asked_twice() {
        let cases = [
            (r#"{"model":"m","messages":[]}"#, false),
            (r#"{"tools":[{"type":"function","function":{"name":"f"}}],"store":false}"#, false),
            (r#"{"tools":[{"name":"f","input_schema":{}},{"type":"custom","name":"g"}]}"#, false),
            (r#"{"tools":[{"functionDeclarations":[{"name":"f"}]}]}"#, false),
            (r#"{"tools":null,"mcp_servers":[]}"#, false),
            (r#"{"store":true}"#, true),
            (r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#, true),
            (r#"{"tools":[{"type":"function"},{"type":"mcp"}]}"#, true),
            (r#"{"tools":[{"googleSearch":{}}]}"#, true),
            (r#"{"mcp_servers":[{"url":"x"}]}"#, true),
            (r#"{"web_search_options":{"user_location":null}}"#, true),
            (r#"{"tools":"all"}"#, true),
        ];
        for (body, expected) in cases {
            assert_eq!(acts(body.as_bytes()), expected, "{body}");
        }
    }
}
