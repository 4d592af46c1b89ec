//! The one form in which the admin API says no: `{"error": {"code", "message", "problems"}}`.
//!
//! Handlers return [`ApiError`]; refusals of the write path and failures of the store turn into one here and nowhere else.

use axum::Json;
use axum::response::{IntoResponse, Response};
use gateway_model::problem::Problem;
use gateway_store::Error as StoreError;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::change::Refusal;
use crate::passwords::TooMany;
use crate::permission::Permission;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    problems: Vec<Problem>,
    retry_after_s: Option<u64>,
    database: Option<&'static str>,
}

/// Put beside an answer that is what it is for want of the database: what is amiss with that.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatabaseFailed(pub(super) &'static str);

// === impl ApiError ===

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), problems: Vec::new(), retry_after_s: None, database: None }
    }

    /// The request itself makes no sense.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "the master key is missing or wrong, or nobody is signed in; send the key as `Authorization: Bearer gw_master_…`, or sign in";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn forbidden() -> Self {
        let message = "a virtual key is for applications; the admin API takes the master key";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Who is signed in has not got what this takes.
    pub(crate) fn missing(permission: Permission) -> Self {
        let message = format!(
            "this takes the permission `{}`, which your role has not; ask an owner or an admin",
            permission.name()
        );
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// A write that a page of another origin may have made the browser send.
    pub(crate) fn foreign() -> Self {
        let message = "a page may only write from this gateway's own origin, with the header `x-gateway-csrf`; sign in there, or send the \
            master key as `Authorization: Bearer gw_master_…` from a program";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Not who they say. Which of both is wrong is not said.
    pub(crate) fn wrong_password() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this is not the e-mail address and the password of anybody here",
        )
    }

    /// Known elsewhere, and nobody here.
    pub(crate) fn unknown_person(message: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Who is signed in says another password than theirs. They stay signed in.
    pub(crate) fn other_password() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "`current` is not your password; nothing was changed")
    }

    /// The identity provider has let nobody in.
    pub(crate) fn refused_there() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the identity provider has not signed you in; begin again")
    }

    /// A word for it: one of those above and below.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Whether it says that nobody knows who asks.
    pub(crate) fn is_of_a_stranger(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    pub(crate) fn misdirected() -> Self {
        let message = "this is not a name of this gateway; call it by its address, or start it with --admin-host NAME";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {} MiB; send it in parts", limit >> 20);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub(crate) fn internal() -> Self {
        let message = "the control plane failed on this request; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message, "problems": self.problems}});
        let mut response = (self.status, Json(body)).into_response();
        if let Some(kind) = self.database {
            response.extensions_mut().insert(DatabaseFailed(kind));
        }
        let headers = response.headers_mut();
        let unavailable = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        if let Some(seconds) = self.retry_after_s.or(unavailable) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<TooMany> for ApiError {
    fn from(TooMany { retry_after_s }: TooMany) -> Self {
        let message = format!("too many tries to sign in; wait {retry_after_s} s");
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
        Self { retry_after_s: Some(retry_after_s), ..refused }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let database = error.failure();
        match error {
            StoreError::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", message),
            StoreError::Exists { .. } => Self::new(StatusCode::CONFLICT, "exists", message),
            StoreError::NoRevision { .. } => Self::not_found(message),
            other => {
                // What the database itself says is for operators, not for callers.
                tracing::error!(error = &other as &dyn std::error::Error, "the store failed");
                Self { database, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message) }
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Invalid { problems, .. } => {
                Self { problems, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message) }
            }
            Refusal::NotFound { .. } | Refusal::NothingBefore => Self::not_found(message),
            Refusal::Exists { .. } | Refusal::Taken { .. } => Self::new(StatusCode::CONFLICT, "exists", message),
            Refusal::OtherStrategy { .. } => Self::new(StatusCode::CONFLICT, "strategy_mismatch", message),
            Refusal::Moved { .. } | Refusal::Busy => Self::new(StatusCode::CONFLICT, "conflict", message),
            Refusal::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "forbidden", message),
            Refusal::Renamed { .. } => Self::malformed(message),
            Refusal::Unreadable { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message),
            Refusal::Store(error) => error.into(),
            Refusal::Vault(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a sealed secret cannot be opened");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            }
        }
    }
}
