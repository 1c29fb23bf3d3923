//! [`AssetError`]: what is wrong with a request of Remote Asset.

use larder_cas::ErrorClass;
use larder_protos::Digest;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::edge::status::EdgeError;
use crate::fetch::{HeaderError, IntegrityError};

/// What is wrong with a request of Remote Asset; always the caller's to mend.
#[derive(Debug, Error)]
pub(super) enum AssetError {
    #[error("the request has no URI")]
    NoUri,
    #[error("the request has {uris} URIs, over the limit of {limit}")]
    TooManyUris { uris: usize, limit: usize },
    #[error("URI {index} is empty")]
    EmptyUri { index: usize },
    #[error("URI {index} has {actual_bytes} B, over the limit of {limit_bytes} B")]
    LongUri { index: usize, actual_bytes: usize, limit_bytes: usize },
    #[error("the request has {qualifiers} qualifiers, over the limit of {limit}")]
    TooManyQualifiers { qualifiers: usize, limit: usize },
    #[error("qualifier {index} has no name")]
    NamelessQualifier { index: usize },
    #[error("qualifier {index} has {actual_bytes} B, over the limit of {limit_bytes} B")]
    LongQualifier { index: usize, actual_bytes: usize, limit_bytes: usize },
    #[error("qualifier {shown:?} is given twice")]
    TwoQualifiers { shown: String },
    #[error("qualifiers that no origin is asked with: {}", quoted(names))]
    Unsupported { names: Vec<String> },
    #[error("{field} of {seconds} s and {nanos} ns is no time")]
    Time { field: &'static str, seconds: i64, nanos: i32 },
    #[error("checksum.sri is not that of blob {digest}")]
    OtherChecksum { digest: Digest },
    #[error("{field}: blob {digest} is absent; store it before it is pushed")]
    Absent { field: &'static str, digest: Digest },
    #[error(
        "{uris} URIs for {references} references take {needed_bytes} B, over the limit of {limit_bytes} B"
    )]
    TooMuch { uris: usize, references: usize, needed_bytes: usize, limit_bytes: usize },
    #[error(transparent)]
    Integrity {
        #[from]
        source: IntegrityError,
    },
    #[error(transparent)]
    Header {
        #[from]
        source: HeaderError,
    },
}

/// Escaped: they come from clients, and errors are logged.
fn quoted(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

impl EdgeError for AssetError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Caller
    }

    /// The protocol asks for one violation a qualifier.
    fn own_status(&self) -> Option<Status> {
        let Self::Unsupported { names } = self else { return None };
        let mut details = ErrorDetails::new();
        for name in names {
            details
                .add_bad_request_violation("qualifiers.name", format!("\"{name}\" not supported"));
        }
        Some(Status::with_error_details(Code::InvalidArgument, self.to_string(), details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_stays_on_its_line() {
        let names = vec!["a\nERROR \u{1b}[31mforged".to_owned(), "b".to_owned()];
        let text = AssetError::Unsupported { names }.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.ends_with(r#"forged", "b""#), "{text}");
    }

    #[test]
    fn each_unsupported_qualifier_is_a_violation() {
        let names = vec!["vcs.commit".to_owned(), "directory".to_owned()];
        let status = AssetError::Unsupported { names }.own_status().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_details_bad_request().unwrap();
        let violations: Vec<_> = details
            .field_violations
            .iter()
            .map(|violation| (violation.field.as_str(), violation.description.as_str()))
            .collect();
        let expect = [
            ("qualifiers.name", "\"vcs.commit\" not supported"),
            ("qualifiers.name", "\"directory\" not supported"),
        ];
        assert_eq!(violations, expect);
    }
}
