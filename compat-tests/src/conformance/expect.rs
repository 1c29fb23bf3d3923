//! What cases expect. Each function ends the case with a sentence: what was expected for what, and what was seen instead.

use std::fmt::{Debug, Display};

use bazel_remote_apis::build::bazel::remote::{asset::v1 as asset, execution::v2 as reapi};
use bazel_remote_apis::google::bytestream::{QueryWriteStatusResponse, WriteResponse};
use tonic::{Code, Status};

use super::context::Answer;
use super::outcome::{Halt, Outcome, violated};

/// A code as the specification writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A failed call in a line.
pub(crate) fn status_text(status: &Status) -> String {
    let name = code_name(status.code());
    let message = status.message().lines().next().unwrap_or("");
    let message: String = message.chars().take(200).collect();
    if message.is_empty() { name.to_owned() } else { format!("{name} ({message})") }
}

/// An answer in a line.
pub(crate) fn answer_text<T: Seen>(answer: &Answer<T>) -> String {
    match answer {
        Ok(value) => {
            let seen = value.seen();
            if seen.is_empty() { "OK".to_owned() } else { format!("OK with {seen}") }
        }
        Err(status) => status_text(status),
    }
}

/// What there is to say of an answer that is OK.
pub(crate) trait Seen {
    fn seen(&self) -> String;
}

/// The call succeeds; gives what it answered.
pub(crate) fn ok<T: Seen>(answer: Answer<T>, what: impl Display) -> Result<T, Halt> {
    answer
        .or_else(|status| violated(format!("expected OK for {what}, got {}", status_text(&status))))
}

/// The call is refused with this code.
pub(crate) fn code<T: Seen>(answer: &Answer<T>, expected: Code, what: impl Display) -> Outcome {
    one_of(answer, &[expected], what)
}

/// The call ends with one of these codes, OK perhaps among them.
pub(crate) fn one_of<T: Seen>(
    answer: &Answer<T>,
    expected: &[Code],
    what: impl Display,
) -> Outcome {
    let actual = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
    if expected.contains(&actual) {
        return Ok(());
    }
    let names: Vec<_> = expected.iter().map(|code| code_name(*code)).collect();
    let names = names.join(" or ");
    violated(format!("expected {names} for {what}, got {}", answer_text(answer)))
}

/// The call is refused. With which code is another rule's matter; but a server that hangs, or a connection that ends, refuses
/// nothing.
pub(crate) fn refused<T: Seen>(answer: &Answer<T>, what: impl Display) -> Outcome {
    const NO_ANSWER: [Code; 3] = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];
    match answer {
        Err(status) if !NO_ANSWER.contains(&status.code()) => Ok(()),
        _ => violated(format!("expected a refusal of {what}, got {}", answer_text(answer))),
    }
}

/// The status of one blob in a batch; none means OK.
pub(crate) fn batch_code(
    status: Option<&bazel_remote_apis::google::rpc::Status>,
    expected: Code,
    what: impl Display,
) -> Outcome {
    let code = status.map_or(Code::Ok, |status| Code::from(status.code));
    let message = status.map_or("", |status| status.message.as_str());
    let answer = match code {
        Code::Ok => Ok(()),
        code => Err(Status::new(code, message)),
    };
    one_of(&answer, &[expected], what)
}

/// The two are equal.
pub(crate) fn equal<T: PartialEq + Debug>(actual: T, expected: T, what: impl Display) -> Outcome {
    if actual == expected {
        Ok(())
    } else {
        violated(format!("expected {expected:?} for {what}, got {actual:?}"))
    }
}

/// It is so; where not, `found` says what was expected and what was seen.
pub(crate) fn that(holds: bool, found: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { violated(found()) }
}

/// The bytes are the ones expected.
pub(crate) fn bytes(actual: &[u8], expected: &[u8], what: impl Display) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    let (expected_size, actual_size) = (expected.len(), actual.len());
    if expected_size != actual_size {
        return violated(format!("expected {expected_size} B for {what}, got {actual_size} B"));
    }
    let differs = actual.iter().zip(expected).take_while(|(a, b)| a == b).count();
    violated(format!(
        "expected the {expected_size} B as uploaded for {what}, got bytes that differ from byte {differs} on"
    ))
}

impl Seen for () {
    fn seen(&self) -> String {
        String::new()
    }
}

impl Seen for Vec<u8> {
    fn seen(&self) -> String {
        format!("{} bytes", self.len())
    }
}

impl Seen for String {
    fn seen(&self) -> String {
        self.clone()
    }
}

impl Seen for WriteResponse {
    fn seen(&self) -> String {
        format!("committed_size {}", self.committed_size)
    }
}

impl Seen for QueryWriteStatusResponse {
    fn seen(&self) -> String {
        format!("committed_size {}, complete {}", self.committed_size, self.complete)
    }
}

impl Seen for Vec<reapi::Digest> {
    fn seen(&self) -> String {
        format!("{} digests", self.len())
    }
}

impl Seen for Vec<reapi::Directory> {
    fn seen(&self) -> String {
        format!("{} directories", self.len())
    }
}

fn codes<'a>(
    statuses: impl Iterator<Item = Option<&'a bazel_remote_apis::google::rpc::Status>>,
) -> String {
    let codes: Vec<_> = statuses
        .map(|status| code_name(Code::from(status.map_or(0, |status| status.code))))
        .collect();
    format!("statuses [{}]", codes.join(", "))
}

impl Seen for reapi::BatchUpdateBlobsResponse {
    fn seen(&self) -> String {
        codes(self.responses.iter().map(|response| response.status.as_ref()))
    }
}

impl Seen for reapi::BatchReadBlobsResponse {
    fn seen(&self) -> String {
        codes(self.responses.iter().map(|response| response.status.as_ref()))
    }
}

impl Seen for reapi::ActionResult {
    fn seen(&self) -> String {
        let (files, directories) = (self.output_files.len(), self.output_directories.len());
        format!("an action result of {files} files and {directories} directories")
    }
}

impl Seen for reapi::ServerCapabilities {
    fn seen(&self) -> String {
        "capabilities".to_owned()
    }
}

impl Seen for reapi::SplitBlobResponse {
    fn seen(&self) -> String {
        format!("{} chunks", self.chunk_digests.len())
    }
}

impl Seen for reapi::SpliceBlobResponse {
    fn seen(&self) -> String {
        self.blob_digest.as_ref().map_or("no digest".to_owned(), |digest| digest.hash.clone())
    }
}

impl Seen for asset::FetchBlobResponse {
    fn seen(&self) -> String {
        codes([self.status.as_ref()].into_iter())
    }
}

impl Seen for asset::FetchDirectoryResponse {
    fn seen(&self) -> String {
        codes([self.status.as_ref()].into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(outcome: Outcome) -> String {
        match outcome {
            Err(Halt::Violated(found)) => found,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn failures_say_what_was_expected_and_seen() {
        let empty: Answer<Vec<u8>> = Ok(Vec::new());
        let absent: Answer<Vec<u8>> = Err(Status::not_found("blob x is absent\nsecond line"));
        let table = [
            (
                code(&empty, Code::OutOfRange, "read_offset 101 of a 100 B blob"),
                "expected OUT_OF_RANGE for read_offset 101 of a 100 B blob, got OK with 0 bytes",
            ),
            (
                ok(absent.clone(), "a read").map(drop),
                "expected OK for a read, got NOT_FOUND (blob x is absent)",
            ),
            (
                refused(&empty, "a bad name"),
                "expected a refusal of a bad name, got OK with 0 bytes",
            ),
            (bytes(&[1], &[1, 2], "a read"), "expected 2 B for a read, got 1 B"),
            (
                bytes(&[1, 3], &[1, 2], "a read"),
                "expected the 2 B as uploaded for a read, got bytes that differ from byte 1 on",
            ),
            (equal(1, 2, "committed_size"), "expected 2 for committed_size, got 1"),
        ];
        for (outcome, expect) in table {
            assert_eq!(found(outcome), expect);
        }
        assert_eq!(code(&absent, Code::NotFound, "x"), Ok(()));
        assert_eq!(one_of(&empty, &[Code::Ok, Code::NotFound], "x"), Ok(()));
    }

    #[test]
    fn a_server_that_is_gone_refuses_nothing() {
        for (status, expect) in [
            (Status::invalid_argument(""), true),
            (Status::unimplemented(""), true),
            (Status::unknown(""), true),
            (Status::unavailable(""), false),
            (Status::deadline_exceeded(""), false),
        ] {
            assert_eq!(refused::<()>(&Err(status.clone()), "x").is_ok(), expect, "{status}");
        }
    }
}
