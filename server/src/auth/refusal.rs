//! [`Refusal`]: why a call is not let do what it wants, in the words of both protocols.
//!
//! UNAUTHENTICATED (401) is for who may come again with other credentials, `PERMISSION_DENIED` (403) for who is known and may not.
//! Source: PROTOCOL.md, "Status codes"; RFC 9110, sections 11.6.1, 15.5.2 and 15.5.4.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use tonic::Status;
use tonic::body::Body;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::peer::Peer;
use super::role::Role;
use crate::edge::RETRY_AFTER as WAIT;
use crate::telemetry::Throttle;

/// Why a call is refused. Nothing that the caller showed is in the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The caller shows nothing.
    #[error("this cache asks who calls: send a bearer token, basic credentials or a certificate")]
    Missing,
    /// What the caller shows cannot be read.
    #[error("what authorization carries is neither a bearer token nor basic credentials")]
    Garbage,
    /// Nobody has this secret.
    #[error("nobody here has these credentials")]
    Unknown,
    /// Too many wrong secrets from this address.
    #[error("too many wrong credentials from this address; come again later")]
    TooMany,
    /// Somebody is known, and may not.
    #[error("{name} has the role {role}, and this needs {need}")]
    Denied {
        /// Who.
        name: Arc<str>,
        /// What he may do.
        role: Role,
        /// What he would have to be.
        need: Role,
    },
    /// Nobody is asked who he is, so only this machine may act.
    #[error("without auth.credentials_file only callers on this machine may do this")]
    NotLocal,
}

/// How many calls were refused, by reason.
#[derive(Debug, Default)]
pub struct RefusalCounts([AtomicU64; Refusal::REASONS.len()]);

impl Refusal {
    /// As the metric has them.
    pub const REASONS: [&str; 5] = ["missing", "malformed", "unknown", "too_many", "denied"];

    fn reason(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Garbage => 1,
            Self::Unknown => 2,
            Self::TooMany => 3,
            Self::Denied { .. } | Self::NotLocal => 4,
        }
    }

    /// What somebody who guesses leaves behind, and who is no admin and acts as one; the rest is of no interest to operators.
    pub(super) fn log(&self, peer: Option<&Arc<Peer>>) {
        static GUESSES: Throttle = Throttle::new();
        static ORDERS: Throttle = Throttle::new();
        let address = peer.and_then(|peer| peer.address).map(tracing::field::display);
        match self {
            Self::Garbage | Self::Unknown | Self::TooMany => {
                if let Some(suppressed) = GUESSES.admit() {
                    tracing::warn!(peer = address, reason = %self, suppressed, "credentials refused");
                }
            }
            Self::Denied { need: Role::Admin, .. } | Self::NotLocal => {
                if let Some(suppressed) = ORDERS.admit() {
                    tracing::warn!(peer = address, reason = %self, suppressed, "not from an admin");
                }
            }
            Self::Denied { .. } | Self::Missing => {
                tracing::debug!(peer = address, reason = %self, "call refused");
            }
        }
    }

    /// As a gRPC client reads it.
    pub(super) fn grpc(&self) -> Response<Body> {
        let text = self.to_string();
        let status = match self {
            Self::Missing | Self::Garbage | Self::Unknown => Status::unauthenticated(text),
            Self::Denied { .. } | Self::NotLocal => Status::permission_denied(text),
            Self::TooMany => {
                let details = ErrorDetails::with_retry_info(Some(WAIT));
                Status::with_error_details(tonic::Code::ResourceExhausted, text, details)
            }
        };
        status.into_http()
    }

    /// As an HTTP client reads it.
    pub(super) fn http(&self) -> Response<Body> {
        let code = match self {
            Self::Missing | Self::Garbage | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Denied { .. } | Self::NotLocal => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        };
        let mut response = Response::new(Body::new(format!("{self}\n")));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if code == StatusCode::UNAUTHORIZED {
            // Some clients read only the first, and most of those know no other scheme.
            let schemes = ["Basic realm=\"larder\", charset=\"UTF-8\"", "Bearer realm=\"larder\""];
            for scheme in schemes {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        } else if code == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from(WAIT.as_secs()));
        }
        response
    }
}

impl RefusalCounts {
    pub(super) fn count(&self, refusal: &Refusal) {
        self.0[refusal.reason()].fetch_add(1, Ordering::Relaxed);
    }

    /// Each reason and how often it was one.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::REASONS.into_iter().zip(counts)
    }
}
