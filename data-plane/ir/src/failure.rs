//! Everything that can go wrong with a request, as a value: what, whose fault, whether another attempt makes sense.
//!
//! A failure is made where the fact is known, consumed by the retry decision, and rendered once, in the caller's dialect.

use std::borrow::Cow;
use std::time::Duration;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    Gateway,
    Upstream,
}

/// Whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The request itself is at fault, or trying again could do harm.
    Never,
    /// Worth trying, elsewhere first.
    Elsewhere,
    /// Only another target may do (its credential was refused, it lacks the model).
    OnlyElsewhere,
}

/// The closed table of failure codes. `code.row()` has everything else that is known of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    MissingCredential,
    InvalidCredential,
    ConflictingCredentials,
    NotAllowed,
    InvalidRequest,
    UnsupportedParameter,
    UnsupportedMediaType,
    BodyTooLarge,
    /// Every model that could serve has a smaller window.
    ContextTooLong,
    RequestTimeout,
    UnknownPath,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    RateLimited,
    /// What is left of a budget is not known here, and who knows does not answer.
    BudgetUnavailable,
    NoConfig,
    NoProviderCredential,
    /// Where responses are kept does not answer.
    StoreAway,
    /// Who says whether the caller's token is good does not answer.
    IssuerAway,
    ShuttingDown,
    Internal,
    /// The upstream said no; `Failure::status` has its status.
    UpstreamRefused,
    UpstreamCredential,
    UpstreamRateLimited,
    UpstreamOverloaded,
    UpstreamError,
    UpstreamUnreachable,
    UpstreamGarbage,
    /// The upstream's stream ended without saying that it had finished.
    UpstreamCut,
    /// No place at the upstream became free in time.
    QueueTimeout,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    TotalTimeout,
    DestinationRefused,
    /// All that could serve are left alone for a while; the message says which and why.
    NoTarget,
    ClientGone,
}

/// What is fixed for a code: HTTP status, the OpenAI `type`, the stable `code`, the kind of NY clients (`error_kind`).
pub struct Row {
    pub code: Code,
    pub name: &'static str,
    pub status: u16,
    pub kind: &'static str,
    pub error_kind: &'static str,
    pub origin: Origin,
    pub retry: Retry,
}

macro_rules! rows {
    ($($code:ident $name:literal $status:literal $kind:literal $error_kind:literal $origin:ident $retry:ident;)*) => {
        /// One row per code, in the order of [`Code`].
        pub const ROWS: &[Row] = &[$(Row { code: Code::$code, name: $name, status: $status, kind: $kind, error_kind: $error_kind,
            origin: Origin::$origin, retry: Retry::$retry }),*];
    };
}

rows! {
    MissingCredential "missing_api_key" 401 "authentication_error" "auth_failed" Client Never;
    InvalidCredential "invalid_api_key" 401 "authentication_error" "auth_failed" Client Never;
    ConflictingCredentials "conflicting_credentials" 400 "invalid_request_error" "invalid_request" Client Never;
    NotAllowed "not_allowed" 403 "permission_error" "auth_failed" Client Never;
    InvalidRequest "invalid_request" 400 "invalid_request_error" "invalid_request" Client Never;
    UnsupportedParameter "unsupported_parameter" 400 "invalid_request_error" "invalid_request" Client Never;
    UnsupportedMediaType "unsupported_media_type" 415 "invalid_request_error" "invalid_request" Client Never;
    BodyTooLarge "request_too_large" 413 "invalid_request_error" "payload_too_large" Client Never;
    ContextTooLong "context_length_exceeded" 413 "invalid_request_error" "payload_too_large" Client Never;
    RequestTimeout "request_timeout" 408 "invalid_request_error" "invalid_request" Client Never;
    UnknownPath "unknown_path" 404 "invalid_request_error" "invalid_request" Client Never;
    MethodNotAllowed "method_not_allowed" 405 "invalid_request_error" "invalid_request" Client Never;
    ModelNotFound "model_not_found" 404 "not_found_error" "model_not_found" Client Never;
    NotFound "not_found" 404 "not_found_error" "invalid_request" Client Never;
    RateLimited "rate_limit_exceeded" 429 "rate_limit_exceeded" "rate_limited" Client Never;
    BudgetUnavailable "budget_unavailable" 429 "rate_limit_exceeded" "rate_limited" Gateway Never;
    NoConfig "no_config" 503 "gateway_error" "internal_error" Gateway Never;
    NoProviderCredential "no_provider_credential" 503 "gateway_error" "internal_error" Gateway OnlyElsewhere;
    StoreAway "store_unavailable" 503 "gateway_error" "internal_error" Gateway Never;
    IssuerAway "token_unverified" 503 "gateway_error" "auth_failed" Gateway Never;
    ShuttingDown "shutting_down" 503 "gateway_error" "internal_error" Gateway Never;
    Internal "internal_error" 500 "gateway_error" "internal_error" Gateway Never;
    UpstreamRefused "upstream_refused" 400 "invalid_request_error" "invalid_request" Upstream Never;
    UpstreamCredential "upstream_credential" 401 "authentication_error" "auth_failed" Upstream OnlyElsewhere;
    UpstreamRateLimited "upstream_rate_limited" 429 "rate_limit_error" "rate_limited" Upstream Elsewhere;
    UpstreamOverloaded "upstream_overloaded" 529 "overloaded_error" "provider_error" Upstream Elsewhere;
    UpstreamError "upstream_error" 502 "provider_error" "provider_error" Upstream Elsewhere;
    UpstreamUnreachable "upstream_unreachable" 502 "provider_error" "network_error" Upstream Elsewhere;
    UpstreamGarbage "upstream_garbage" 502 "provider_error" "provider_error" Upstream Elsewhere;
    UpstreamCut "upstream_stream_error" 502 "provider_error" "network_error" Upstream Elsewhere;
    QueueTimeout "queue_timeout" 503 "upstream_timeout" "provider_timeout" Gateway Never;
    ConnectTimeout "connect_timeout" 504 "upstream_timeout" "provider_timeout" Upstream Elsewhere;
    FirstByteTimeout "first_byte_timeout" 504 "upstream_timeout" "provider_timeout" Upstream Elsewhere;
    IdleTimeout "idle_timeout" 504 "upstream_timeout" "provider_timeout" Upstream Elsewhere;
    TotalTimeout "total_timeout" 504 "upstream_timeout" "provider_timeout" Upstream Never;
    DestinationRefused "destination_refused" 502 "gateway_error" "network_error" Gateway OnlyElsewhere;
    NoTarget "no_target_available" 503 "provider_error" "provider_error" Upstream Never;
    ClientGone "client_gone" 499 "client_gone" "network_error" Client Never;
}

/// A request that failed. Boxed where it travels in a `Result`, because it is rare and large.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: Code,
    /// For people: what happened, to what, what to do. Never a secret, never a body.
    pub message: Cow<'static, str>,
    /// The field at fault, in the caller's words (`messages[0].content`).
    pub param: Option<String>,
    /// Status to answer with; differs from the row's where an upstream said its own.
    pub status: u16,
    pub retry: Retry,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    /// `error.type` and `error.code` as the upstream said them, where it did.
    pub upstream_type: Option<String>,
    pub upstream_code: Option<String>,
    /// Of the status line that an upstream answered with, where one came; 200 where the reply went wrong behind it.
    pub upstream_status: Option<u16>,
    /// What was exceeded, for limits: `rpm`.
    pub limit_kind: Option<&'static str>,
}

// === impl Code ===

impl Code {
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }
}

// === impl Failure ===

impl Failure {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let row = code.row();
        Self {
            code,
            message: message.into(),
            param: None,
            status: row.status,
            retry: row.retry,
            retry_after: None,
            upstream_type: None,
            upstream_code: None,
            upstream_status: None,
            limit_kind: None,
        }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// It was said by an upstream, or found in what that said, with this status.
    #[must_use]
    pub fn said_with(mut self, upstream_status: u16) -> Self {
        self.upstream_status = Some(upstream_status);
        self
    }

    pub fn origin(&self) -> Origin {
        self.code.row().origin
    }

    /// What an upstream's status means for us. `message` is the upstream's own text.
    ///
    /// 408, 409, 425, 429 and 5xx may be tried elsewhere; 401 and 403 concern our credential; other 4xx are the caller's.
    pub fn from_upstream_status(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        let code = match status {
            401 | 403 => Code::UpstreamCredential,
            429 => Code::UpstreamRateLimited,
            529 => Code::UpstreamOverloaded,
            408 | 409 | 425 | 500..=599 => Code::UpstreamError,
            400..=499 => Code::UpstreamRefused,
            _ => return Self::new(Code::UpstreamGarbage, message),
        };
        Self::new(code, message).with_status(status)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_codes() {
        for (position, row) in ROWS.iter().enumerate() {
            assert_eq!(row.code as usize, position, "{}", row.name);
        }
        assert_eq!(Code::ClientGone as usize + 1, ROWS.len());
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }
}
