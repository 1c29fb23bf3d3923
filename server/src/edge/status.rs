//! From errors to status codes, for both protocols: the only place that chooses one, and that logs an error.

use std::fmt::Display;
use std::time::Duration;

use ::http::StatusCode;
use larder_action_cache::{MalformedResult, OutlineError};
use larder_cas::{ErrorClass, StoreError};
use larder_protos::ParseError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::budget::BudgetError;
use super::functions::FunctionError;

/// How long a client should wait before it tries again to store what there was no room for.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error that a client may see, whichever protocol it speaks.
pub(crate) trait EdgeError: Display {
    /// Who must act.
    fn class(&self) -> ErrorClass;

    /// The status, where the class alone does not decide it.
    fn own_status(&self) -> Option<Status> {
        None
    }

    /// The HTTP code, where the class alone does not decide it.
    fn own_http_code(&self) -> Option<StatusCode> {
        None
    }
}

/// The error on gRPC.
pub(crate) fn grpc_status<E: EdgeError>(error: E) -> Status {
    log(&error);
    if let Some(status) = error.own_status() {
        return status;
    }
    let code = match error.class() {
        ErrorClass::Caller => Code::InvalidArgument,
        ErrorClass::Interrupted => Code::Cancelled,
        ErrorClass::Capacity => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            let code = Code::ResourceExhausted;
            return Status::with_error_details(code, error.to_string(), details);
        }
        // The damaged copy is dropped: who tries again meets a miss, or a copy from elsewhere.
        ErrorClass::Corrupt => Code::Aborted,
        ErrorClass::Dependency => Code::Unavailable,
        ErrorClass::Internal => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// The error on HTTP: its code, and its text for the body.
pub(crate) fn http_status<E: EdgeError>(error: E) -> (StatusCode, String) {
    log(&error);
    if let Some(code) = error.own_http_code() {
        return (code, error.to_string());
    }
    let code = match error.class() {
        ErrorClass::Caller | ErrorClass::Interrupted => StatusCode::BAD_REQUEST,
        ErrorClass::Capacity => StatusCode::INSUFFICIENT_STORAGE,
        ErrorClass::Corrupt | ErrorClass::Dependency => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, error.to_string())
}

/// ERROR means that a human must look; what callers do wrong is theirs to see.
fn log<E: EdgeError>(error: &E) {
    match error.class() {
        ErrorClass::Caller | ErrorClass::Interrupted => tracing::debug!(%error, "request refused"),
        ErrorClass::Capacity | ErrorClass::Corrupt | ErrorClass::Dependency => {
            tracing::warn!(%error, "request not served");
        }
        ErrorClass::Internal => tracing::error!(%error, "request failed"),
    }
}

impl EdgeError for StoreError {
    fn class(&self) -> ErrorClass {
        StoreError::class(self)
    }

    fn own_status(&self) -> Option<Status> {
        match self {
            Self::OutOfRange { .. } => Some(Status::out_of_range(self.to_string())),
            // What broke off is the caller's stream as the edge read it, so the edge's own status comes back.
            Self::UploadBrokeOff { source, .. } => source.downcast_ref::<Status>().cloned(),
            _ => None,
        }
    }
}

impl EdgeError for BudgetError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Capacity
    }

    fn own_status(&self) -> Option<Status> {
        match self {
            // To come again would not help.
            Self::TooLarge { .. } => Some(Status::resource_exhausted(self.to_string())),
            Self::Busy { .. } => None,
        }
    }

    fn own_http_code(&self) -> Option<StatusCode> {
        Some(match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        })
    }
}

impl EdgeError for OutlineError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Malformed { .. } => ErrorClass::Caller,
            Self::Store { source } => source.class(),
        }
    }
}

impl EdgeError for MalformedResult {
    fn class(&self) -> ErrorClass {
        ErrorClass::Caller
    }
}

impl EdgeError for FunctionError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Caller
    }
}

impl EdgeError for ParseError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Caller
    }
}
