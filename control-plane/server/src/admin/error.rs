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

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    problems: Vec<Problem>,
}

// === impl ApiError ===

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), problems: Vec::new() }
    }

    /// The request itself makes no sense.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "the master key is missing or wrong; send it as `Authorization: Bearer gw_master_…`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn forbidden() -> Self {
        let message = "a virtual key is for applications; the admin API takes the master key";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
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
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", message),
            StoreError::Exists { .. } => Self::new(StatusCode::CONFLICT, "exists", message),
            StoreError::NoRevision { .. } => Self::not_found(message),
            other => {
                // What the database itself says is for operators, not for callers.
                tracing::error!(error = &other as &dyn std::error::Error, "the store failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
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
            Refusal::Moved { .. } | Refusal::Busy => Self::new(StatusCode::CONFLICT, "conflict", message),
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
