//! [`FetchError`]: why nothing came from an origin. No message shows more of a URI than its host: paths and queries of
//! origins carry tokens.

use std::io;
use std::sync::Arc;

use larder_protos::Hash;
use thiserror::Error;

use super::integrity::Integrity;

/// What a client can make of a [`FetchError`]. Source: the comment on `FetchBlobResponse.status` in `remote_asset.proto`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FetchFault {
    /// The origin does not have it.
    NotFound,
    /// The origin refuses, or may not be asked.
    Denied,
    /// It took too long.
    Deadline,
    /// There is too much of it, or too much was asked.
    Exhausted,
    /// It did not work out, or is not what it should be.
    Aborted,
}

/// Why nothing came from an origin. Cloning is cheap.
#[derive(Clone, Debug, Error)]
pub enum FetchError {
    /// Neither http nor https.
    #[error("URIs of the scheme {scheme:?} are not fetched; http and https are")]
    Scheme {
        /// Of the URI, or of a redirect.
        scheme: String,
    },
    /// It looks like a URL and is none.
    #[error("the URI is no URL: {source}")]
    Url {
        /// What the parser says.
        source: url::ParseError,
    },
    /// The URL has a user name or a password.
    #[error(
        "the URL of {host} has a user name or a password in it; send them as http_header qualifiers"
    )]
    UserInfo {
        /// Where to.
        host: String,
    },
    /// No request can have this URL.
    #[error("the URL of {host} cannot stand in a request")]
    Request {
        /// Where to.
        host: String,
    },
    /// The host may not be asked.
    #[error("{host} is not among the hosts that may be asked (fetch.allow)")]
    Host {
        /// With its port, if that is not the scheme's.
        host: String,
    },
    /// The host is at an address that must not be connected to.
    #[error("{host} is at a {kind} address, which is not connected to (fetch.allow_addresses)")]
    Address {
        /// Where to.
        host: String,
        /// What kind of address.
        kind: &'static str,
    },
    /// An https origin redirects to http.
    #[error("{host} redirects from https to http")]
    Downgrade {
        /// Who redirects.
        host: String,
    },
    /// There is no checksum and one is asked for.
    #[error("without checksum.sri nothing is fetched here (fetch.unchecked)")]
    Unchecked,
    /// The name has no address.
    #[error("the name {host} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// No connection, or no TLS over it.
    #[error("{host} cannot be connected to: {source}")]
    Connect {
        /// Where to.
        host: String,
        /// What the system or TLS said.
        source: Arc<io::Error>,
    },
    /// The exchange broke off.
    #[error("the exchange with {host} broke off: {source}")]
    Exchange {
        /// With whom.
        host: String,
        /// What hyper says.
        source: Arc<hyper::Error>,
    },
    /// Not 200, and no redirect.
    #[error("{host} answers {code}")]
    Code {
        /// Who.
        host: String,
        /// The status code.
        code: ::http::StatusCode,
    },
    /// A redirect without a location that can be followed.
    #[error("{host} redirects to no URL")]
    Location {
        /// Who redirects.
        host: String,
    },
    /// Too many redirects.
    #[error("{host} redirects once more, over the limit of {limit}")]
    Redirects {
        /// The last one.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The body is too large.
    #[error("the body from {host} is over the limit of {limit_bytes} B")]
    TooLarge {
        /// From whom.
        host: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The bytes are not those meant.
    #[error("the bytes from {host} hash to {actual:?}, not to {}", expected.canonical())]
    Mismatch {
        /// From whom.
        host: String,
        /// What checksum.sri asks for.
        expected: Integrity,
        /// What came.
        actual: Hash,
    },
    /// Nothing came for a while.
    #[error("nothing came from {host} for {seconds} s")]
    Idle {
        /// From whom.
        host: String,
        /// For how long.
        seconds: u64,
    },
    /// It took longer than it may.
    #[error("the fetch took longer than its {milliseconds} ms")]
    Timeout {
        /// The limit.
        milliseconds: u128,
    },
}

impl FetchError {
    /// What a client can make of it.
    pub fn fault(&self) -> FetchFault {
        match self {
            Self::Scheme { .. }
            | Self::Url { .. }
            | Self::Request { .. }
            | Self::UserInfo { .. }
            | Self::Host { .. }
            | Self::Address { .. }
            | Self::Downgrade { .. }
            | Self::Unchecked => FetchFault::Denied,
            Self::Code { code, .. } => match code.as_u16() {
                404 | 410 => FetchFault::NotFound,
                401 | 403 | 407 | 451 => FetchFault::Denied,
                408 | 504 => FetchFault::Deadline,
                429 => FetchFault::Exhausted,
                _ => FetchFault::Aborted,
            },
            Self::TooLarge { .. } => FetchFault::Exhausted,
            Self::Idle { .. } | Self::Timeout { .. } => FetchFault::Deadline,
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Exchange { .. }
            | Self::Location { .. }
            | Self::Redirects { .. }
            | Self::Mismatch { .. } => FetchFault::Aborted,
        }
    }
}

impl FetchFault {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NotFound, Self::Denied, Self::Deadline, Self::Exhausted, Self::Aborted];

    /// As a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Deadline => "deadline",
            Self::Exhausted => "exhausted",
            Self::Aborted => "aborted",
        }
    }
}
