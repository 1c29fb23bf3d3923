//! From errors to status codes, for both protocols: the only place that chooses one, and that logs an error.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::http::StatusCode;
use larder_action_cache::{MalformedResult, OutlineError};
use larder_cas::{ErrorClass, StoreError};
use larder_disk::DiskError;
use larder_protos::ParseError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::budget::BudgetError;
use super::functions::FunctionError;
use crate::telemetry::Throttle;

/// How long a client should wait before it tries again to store what there was no room for.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error that a client may see, whichever protocol it speaks.
pub(crate) trait EdgeError: Error {
    /// Who must act.
    fn class(&self) -> ErrorClass;

    /// The status, where the class alone does not decide it.
    fn own_status(&self) -> Option<Status> {
        None
    }

    /// The store's error that this one passes on, if it does.
    fn store_error(&self) -> Option<&StoreError> {
        None
    }

    /// Whether the client sent more than is taken: what HTTP has a code for.
    fn is_too_large(&self) -> bool {
        self.store_error().is_some_and(|error| {
            matches!(
                error,
                StoreError::OverSizeLimit { .. }
                    | StoreError::OverMemoryLimit { .. }
                    | StoreError::Disk { source: DiskError::TooLarge { .. } }
            )
        })
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
        ErrorClass::Capacity if is_lasting(&error) => Code::ResourceExhausted,
        ErrorClass::Capacity => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
            let code = Code::ResourceExhausted;
            return Status::with_error_details(code, client_text(&error), details);
        }
        // The damaged copy is dropped: who tries again meets a miss, or a copy from elsewhere.
        ErrorClass::Corrupt => Code::Aborted,
        ErrorClass::Dependency => Code::Unavailable,
        ErrorClass::Internal => Code::Internal,
    };
    Status::new(code, client_text(&error))
}

/// Whether there is no room until an operator makes some, so that to come again does not help.
fn is_lasting<E: EdgeError>(error: &E) -> bool {
    let disk = |error: &StoreError| {
        matches!(error, StoreError::Disk { source: DiskError::TooManyPartitions { .. } })
    };
    error.store_error().is_some_and(disk)
}

/// The error on HTTP: its code, and its text for the body.
pub(crate) fn http_status<E: EdgeError>(error: E) -> (StatusCode, String) {
    log(&error);
    if let Some(code) = error.own_http_code() {
        return (code, error.to_string());
    }
    let code = match error.class() {
        _ if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorClass::Caller | ErrorClass::Interrupted => StatusCode::BAD_REQUEST,
        ErrorClass::Capacity => StatusCode::INSUFFICIENT_STORAGE,
        ErrorClass::Corrupt | ErrorClass::Dependency => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, client_text(&error))
}

/// Refusals come as fast as clients ask: one line of each kind a second stands for all.
static FOR_CAPACITY: Throttle = Throttle::new();
static FOR_CORRUPT: Throttle = Throttle::new();
static FOR_DEPENDENCY: Throttle = Throttle::new();

/// ERROR means that a human must look; what callers do wrong is theirs to see.
fn log<E: EdgeError>(error: &E) {
    let class = error.class();
    let error = Causes(error);
    let throttled = |throttle: &Throttle| {
        if let Some(suppressed) = throttle.admit() {
            tracing::warn!(%error, suppressed, "request not served");
        }
    };
    match class {
        ErrorClass::Caller | ErrorClass::Interrupted => tracing::debug!(%error, "request refused"),
        ErrorClass::Capacity => throttled(&FOR_CAPACITY),
        ErrorClass::Corrupt => throttled(&FOR_CORRUPT),
        ErrorClass::Dependency => throttled(&FOR_DEPENDENCY),
        ErrorClass::Internal => tracing::error!(%error, "request failed"),
    }
}

/// What the client is told. The server's paths are not for it, nor is what only an operator can mend.
fn client_text<E: EdgeError>(error: &E) -> String {
    match error.store_error() {
        Some(StoreError::Disk { source }) => match source {
            DiskError::Io { operation, source, .. } => {
                format!("the disk tier could not {operation} a file: {source}")
            }
            DiskError::TooLarge { .. }
            | DiskError::Full { .. }
            | DiskError::TooManyPartitions { .. }
            | DiskError::Closed => error.to_string(),
            _ => "the disk tier refused it; the server's log says why".to_owned(),
        },
        _ => error.to_string(),
    }
}

/// An error and what caused it, down to what the system said. A cause that its effect tells already is left out.
struct Causes<'a>(&'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut effect = self.0.to_string();
        f.write_str(&effect)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !effect.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            effect = text;
            next = cause.source();
        }
        Ok(())
    }
}

impl EdgeError for StoreError {
    fn class(&self) -> ErrorClass {
        StoreError::class(self)
    }

    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }

    fn own_status(&self) -> Option<Status> {
        match self {
            Self::OutOfRange { .. } => Some(Status::out_of_range(self.to_string())),
            // Of the second there are no chunks: clients that are told so read the blob whole, and give up on any other code.
            Self::ChunkAbsent { .. } | Self::TooLargeToCut { .. } => {
                Some(Status::not_found(self.to_string()))
            }
            // What broke off is the caller's stream as the edge read it, so the edge's own status comes back.
            Self::UploadBrokeOff { source, .. } => source.downcast_ref::<Status>().cloned(),
            _ => None,
        }
    }

    fn own_http_code(&self) -> Option<StatusCode> {
        matches!(self, Self::NoMemory { .. }).then_some(StatusCode::SERVICE_UNAVAILABLE)
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

    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Malformed { .. } => None,
            Self::Store { source } => Some(source),
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use larder_disk::{Keyspace, RecordKey};
    use larder_protos::{Digest, DigestFunction};

    use super::*;

    fn no_room() -> StoreError {
        let source = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let path = PathBuf::from("/data/packs/00000001");
        DiskError::Io { operation: "append to", path, source: source.into() }.into()
    }

    #[test]
    fn the_log_has_the_cause_and_the_path() {
        assert_eq!(
            Causes(&no_room()).to_string(),
            "the disk tier: append to /data/packs/00000001: No space left on device (os error 28)"
        );
    }

    #[test]
    fn clients_get_the_cause_without_the_path() {
        let text =
            "the disk tier could not append to a file: No space left on device (os error 28)";
        let status = grpc_status(no_room());
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
        assert_eq!(http_status(no_room()), (StatusCode::INSUFFICIENT_STORAGE, text.to_owned()));
        let outlined = OutlineError::Store { source: no_room() };
        assert_eq!(grpc_status(outlined).message(), text);
        let reason = "a sync of /data/packs/00000001".into();
        let poisoned = StoreError::from(DiskError::Poisoned { reason });
        assert!(!grpc_status(poisoned).message().contains('/'));
    }

    fn check_permanent(error: impl Fn() -> StoreError, grpc: Code, http: StatusCode) {
        let status = grpc_status(error());
        assert_eq!(status.code(), grpc, "{status}");
        assert!(status.get_details_retry_info().is_none(), "{status}");
        assert_eq!(http_status(error()).0, http, "{status}");
    }

    #[test]
    fn what_can_never_be_is_not_to_be_tried_again() {
        assert!(grpc_status(no_room()).get_details_retry_info().is_some());
        let in_memory = || StoreError::OverMemoryLimit { size_bytes: 2, limit_bytes: 1 };
        let no_memory = || StoreError::NoMemory { needed_bytes: 2, limit_bytes: 1 };
        assert!(grpc_status(no_memory()).get_details_retry_info().is_some());
        assert_eq!(http_status(no_memory()).0, StatusCode::SERVICE_UNAVAILABLE);
        check_permanent(in_memory, Code::InvalidArgument, StatusCode::PAYLOAD_TOO_LARGE);
        let keyspace = Keyspace::new("").expect("a short name");
        let key = RecordKey::blob(&keyspace, &Digest::of(DigestFunction::Sha256, b""));
        let on_disk = || DiskError::TooLarge { key: key.clone(), size_bytes: 2, limit_bytes: 1 };
        let on_disk = || on_disk().into();
        check_permanent(on_disk, Code::InvalidArgument, StatusCode::PAYLOAD_TOO_LARGE);
        let partitions = || DiskError::TooManyPartitions { limit: 1 }.into();
        check_permanent(partitions, Code::ResourceExhausted, StatusCode::INSUFFICIENT_STORAGE);
    }
}
