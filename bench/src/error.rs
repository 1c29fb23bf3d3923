//! [`BenchError`]: why the program ends; [`CallError`]: why one operation counts as an error and the load goes on.

use std::fmt;
use std::io;
use std::time::Duration;

use larder_protos::rpc::CODE_NAMES;
use thiserror::Error;

use crate::scenario::Kind;

/// One operation that went wrong: refused, cut off, or answered with other bytes than were stored.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("{path}: {}, {message:?}", CodeName(*code))]
    Status { path: &'static str, code: i32, message: String },
    #[error("{path}: HTTP status {status}")]
    HttpStatus { path: String, status: u16 },
    #[error("{what}: not what was stored")]
    Different { what: &'static str },
    #[error("an answer that is no gRPC message of its kind, at byte {at}")]
    Framing { at: u64 },
    #[error("no answer within {} s", limit.as_secs())]
    Silent { limit: Duration },
    #[error("the server names no address for HTTP: say http=URL")]
    NoHttp,
    #[error("the connection")]
    Http2(#[from] h2::Error),
    #[error("the connection")]
    Http1(#[from] hyper::Error),
    #[error("the connection")]
    Io(#[from] io::Error),
    #[error("the request")]
    Request(#[from] http::Error),
    #[error("the answer")]
    Decode(#[from] prost::DecodeError),
}

/// A code of gRPC as its documentation names it, or its number.
struct CodeName(i32);

impl fmt::Display for CodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|code| CODE_NAMES.get(code)) {
            Some(name) => f.write_str(name),
            None => write!(f, "status {}", self.0),
        }
    }
}

/// What ends the program with code 1.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Tls(#[from] crate::wire::TlsError),
    #[error("connecting to {address} {way}")]
    Connect { address: String, way: &'static str, source: CallError },
    #[error("storing what {scenario} needs at {server}")]
    Prepare { scenario: Kind, server: String, source: CallError },
    #[error("loading {server} with {scenario}")]
    Load { scenario: Kind, server: String, source: CallError },
    #[error("process {pid}")]
    Process { pid: u32, source: io::Error },
    #[error("measuring {limit}")]
    Limit { limit: &'static str, source: io::Error },
    #[error("{path}")]
    File { path: String, source: io::Error },
    #[error("{path}, line {line}: {source}")]
    Session { path: String, line: usize, source: crate::session::SessionError },
    #[error("the logs")]
    BazelLog(#[from] crate::session::BazelLogError),
    #[error("the report")]
    Report(#[from] io::Error),
    #[error("the report")]
    Json(#[from] serde_json::Error),
    #[error("{scenario} could not be measured at {server}")]
    Unmeasured { scenario: Kind, server: String },
    #[error("{operations} operations went wrong")]
    Operations { operations: u64 },
}
