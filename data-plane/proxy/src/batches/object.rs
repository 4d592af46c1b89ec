//! A batch and a file as the gateway keeps them, and as clients are told of them, in OpenAI's words
//! (<https://platform.openai.com/docs/api-reference/batch/object>, <https://platform.openai.com/docs/api-reference/files/object>).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::pipeline::Owner;

/// What is kept of a file, beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) id: String,
    /// The id of the key that may use it.
    pub(super) owner: String,
    pub(super) filename: String,
    /// `batch`, or `batch_output`.
    pub(super) purpose: String,
    pub(super) bytes: u64,
    /// Unix seconds, as everything here.
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Validating,
    InProgress,
    Finalizing,
    Completed,
    Failed,
    Expired,
    Cancelling,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) id: String,
    /// The id of the key that made it; its requests are that key's.
    pub(super) owner: String,
    /// What an owner for whom another system spoke might use when it was made; a key is asked itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) models: Vec<String>,
    pub(super) endpoint: String,
    pub(super) input_file_id: String,
    pub(super) completion_window: String,
    pub(super) metadata: Option<Map<String, Value>>,
    /// The provider that its requests are for, where the header that made it named one.
    pub(super) provider: Option<String>,
    pub(super) status: Status,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) in_progress_at: Option<i64>,
    pub(super) finalizing_at: Option<i64>,
    pub(super) completed_at: Option<i64>,
    pub(super) failed_at: Option<i64>,
    pub(super) expired_at: Option<i64>,
    pub(super) cancelling_at: Option<i64>,
    pub(super) cancelled_at: Option<i64>,
    /// What became of it once all is answered: it ran out, was cancelled, or neither.
    pub(super) output_file_id: Option<String>,
    pub(super) error_file_id: Option<String>,
    pub(super) errors: Vec<Fault>,
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) total: usize,
    pub(super) completed: usize,
    pub(super) failed: usize,
}

/// What is wrong with a line of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    pub(super) code: String,
    /// Counted from 1; `None`: the whole file.
    pub(super) line: Option<usize>,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

// === impl File ===

impl File {
    pub(super) fn told(&self) -> Value {
        json!({
            "id": self.id, "object": "file", "bytes": self.bytes, "created_at": self.created_at,
            "expires_at": self.expires_at, "filename": self.filename, "purpose": self.purpose, "status": "processed",
            "status_details": null,
        })
    }
}

// === impl Status ===

impl Status {
    /// Nothing changes any more.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Expired | Self::Cancelled)
    }
}

// === impl Batch ===

impl Batch {
    /// Whom its requests are for.
    pub(super) fn owner(&self) -> Owner {
        Owner { id: self.owner.as_str().into(), models: self.models.clone() }
    }

    /// Enters a status, and notes when, in Unix seconds.
    pub(super) fn enter(&mut self, status: Status, now: i64) {
        self.status = status;
        let at = match status {
            Status::Validating => return,
            Status::InProgress => &mut self.in_progress_at,
            Status::Finalizing => &mut self.finalizing_at,
            Status::Completed => &mut self.completed_at,
            Status::Failed => &mut self.failed_at,
            Status::Expired => &mut self.expired_at,
            Status::Cancelling => &mut self.cancelling_at,
            Status::Cancelled => &mut self.cancelled_at,
        };
        *at = Some(now);
    }

    pub(super) fn fail(&mut self, faults: Vec<Fault>, now: i64) {
        self.errors = faults;
        self.enter(Status::Failed, now);
    }

    pub(super) fn told(&self) -> Value {
        let errors = match self.errors.as_slice() {
            [] => Value::Null,
            faults => json!({"object": "list", "data": faults}),
        };
        json!({
            "id": self.id, "object": "batch", "endpoint": self.endpoint, "errors": errors,
            "input_file_id": self.input_file_id, "completion_window": self.completion_window, "status": self.status,
            "output_file_id": self.output_file_id, "error_file_id": self.error_file_id, "created_at": self.created_at,
            "in_progress_at": self.in_progress_at, "expires_at": self.expires_at,
            "finalizing_at": self.finalizing_at, "completed_at": self.completed_at, "failed_at": self.failed_at,
            "expired_at": self.expired_at, "cancelling_at": self.cancelling_at, "cancelled_at": self.cancelled_at,
            "request_counts": self.counts, "metadata": self.metadata,
        })
    }
}

/// `24h` and the like, in seconds: up to seven days.
pub(super) fn window(text: &str) -> Option<i64> {
    const LONGEST: i64 = 7 * 24 * 60 * 60;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_plain = number.bytes().all(|digit| digit.is_ascii_digit());
    let seconds = number.parse::<i64>().ok().filter(|_| is_plain)?.checked_mul(unit)?;
    (1..=LONGEST).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let cases = [
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("1s", Some(1)),
            ("90m", Some(5_400)),
            ("8d", None),
            ("0h", None),
            ("-1h", None),
            ("+1h", None),
            ("h", None),
            ("", None),
            ("24", None),
            ("24é", None),
            ("99999999999999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(window(text), expected, "{text}");
        }
    }
}
