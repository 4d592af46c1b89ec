//! Google's error object: `{"error": {"code", "message", "status", "details": […]}}`, alone or as the only element of a list.

use std::time::Duration;

use gateway_ir::failure::{Code, Failure, Retry};
use serde_json::Value;

use crate::refused;

pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let mut failure = refused::decode(status, body);
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return failure };
    let details = details(&body);
    failure.retry_after = details.iter().find_map(|detail| delay(detail.get("retryDelay")?.as_str()?));
    // A wrong key is a bad request for Google; for us it is a credential that another target may not share.
    if details.iter().any(|detail| detail["reason"] == "API_KEY_INVALID") {
        failure.code = Code::UpstreamCredential;
        failure.retry = Retry::OnlyElsewhere;
    }
    failure
}

fn details(body: &Value) -> Vec<&Value> {
    let error = body.get("error").or_else(|| body.get(0)?.get("error"));
    error.and_then(|error| error.get("details")?.as_array()).into_iter().flatten().collect()
}

/// `34s`, `1.5s`.
fn delay(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}
