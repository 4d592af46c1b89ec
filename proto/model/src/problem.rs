//! A finding about a configuration: what, where, what to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where in a file, 1-based.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// Stable codes of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemCode")]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not YAML or JSON at all.
    Syntax,
    UnknownField,
    /// A field or kind of the design whose behaviour is not delivered in this version.
    UnsupportedYet,
    /// Wrong type or form.
    InvalidValue,
    MissingField,
    DuplicateName,
    /// Names something that does not exist.
    UnknownReference,
    /// Fields that exclude each other, or a combination that cannot work.
    Conflict,
    UnsetVariable,
    InsecureDestination,
    RestartNeeded,
    Deprecated,
}

/// One finding. `path` is the field path from the root: `providers[openai].timeouts.idle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    pub severity: Severity,
    pub code: Code,
    pub path: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

// === impl Problem ===

impl Problem {
    pub fn error(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, path: path.into(), message: message.into(), position: None }
    }

    pub fn warning(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, path, message) }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

// === impl Code ===

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// `gateway.yaml:12:5: error: models[smart].targets[0].provider: no provider is named `x` (unknown_reference)`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.position {
            write!(f, "{}:{}:{}: ", at.file, at.line, at.column)?;
        }
        let severity = if self.is_error() { "error" } else { "warning" };
        if self.path.is_empty() {
            write!(f, "{severity}: {} ({})", self.message, self.code)
        } else {
            write!(f, "{severity}: {}: {} ({})", self.path, self.message, self.code)
        }
    }
}
