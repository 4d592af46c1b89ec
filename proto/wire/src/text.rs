//! The words for enumerations where people read messages: in JSON and in tables.

use serde::Serializer;

use crate::v1::{Class, SettledBy, Status};

// === impl SettledBy ===

impl SettledBy {
    /// `None` for what was never admitted, and so never settled.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::Exact => Some("exact"),
            Self::Estimated => Some("estimated"),
            Self::Nothing => Some("nothing"),
            Self::Recovery => Some("recovery"),
        }
    }
}

// === impl Class ===

impl Class {
    /// Empty for a class that this version does not know.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Topology => "topology",
            Self::Identity => "identity",
        }
    }
}

// === impl Status ===

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::AppliedWithQuarantine => "applied_with_quarantine",
        }
    }
}

pub(crate) fn settled_by<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    match SettledBy::try_from(*value).ok().and_then(SettledBy::word) {
        Some(word) => serializer.serialize_str(word),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{LogRecord, SettledBy, TokenUsage};

    #[test]
    fn a_record_in_json_has_the_names_of_the_contract() {
        let tokens = Some(TokenUsage { input: 7, ..TokenUsage::default() });
        let record = LogRecord { id: "x".into(), tokens, settled_by: SettledBy::Exact.into(), ..LogRecord::default() };
        let json = serde_json::to_value(&record).expect("a record is JSON");
        assert_eq!(json["tokens"]["input"], 7);
        assert_eq!(json["settled_by"], "exact");
        assert!(serde_json::to_value(LogRecord::default()).expect("a record is JSON")["settled_by"].is_null());
    }
}
