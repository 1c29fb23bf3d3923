//! `/debug/pprof/…`: where the CPU and the memory go, while the setting `debug_profiles` is on. The paths are those that pprof's
//! users know. HEAD tells what GET would, and looks at nothing.

use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures_util::stream;

use super::Admin;
use crate::auth::Orderer;
use crate::profile::{Profile, ProfileError, Profiler, SECONDS};

/// As elsewhere where pprof is served.
const SECONDS_DEFAULT: u64 = 30;

const OFF: &str = "profiles are off: set debug_profiles";

/// What is looked at.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Cpu,
    Heap,
}

/// How it is shown.
#[derive(Clone, Copy, Debug)]
enum Form {
    Pprof,
    Picture,
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Cpu { seconds: u64 },
    Heap,
}

/// What is wrong with a query.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
enum QueryError {
    #[error("seconds is no number")]
    Seconds,
    #[error("seconds stands there twice")]
    Twice,
    #[error("{pair:?} is not seconds=N")]
    NotSeconds { pair: String },
    #[error("{pair:?}: this takes no parameters")]
    None { pair: String },
}

/// Why a request gets no profile.
enum Refused {
    Off,
    Query(QueryError),
    Profile(ProfileError),
    Compression(std::io::Error),
}

impl Kind {
    /// What a query asks of it.
    fn asked(self, query: &str) -> Result<Asked, QueryError> {
        let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
        let Some(pair) = pairs.next() else {
            return Ok(match self {
                Self::Cpu => Asked::Cpu { seconds: SECONDS_DEFAULT },
                Self::Heap => Asked::Heap,
            });
        };
        if matches!(self, Self::Heap) {
            return Err(QueryError::None { pair: pair.to_owned() });
        }
        let not_seconds = |pair: &str| QueryError::NotSeconds { pair: pair.to_owned() };
        let seconds = pair.strip_prefix("seconds=").ok_or_else(|| not_seconds(pair))?;
        let seconds = seconds.parse().map_err(|_| QueryError::Seconds)?;
        match pairs.next() {
            None => Ok(Asked::Cpu { seconds }),
            Some(more) if more.starts_with("seconds=") => Err(QueryError::Twice),
            Some(more) => Err(not_seconds(more)),
        }
    }
}

impl Asked {
    async fn of(self, profiler: &Profiler, by: &Orderer) -> Result<Profile, ProfileError> {
        match self {
            Self::Cpu { seconds } => profiler.cpu(by, seconds).await,
            Self::Heap => profiler.heap(by).await,
        }
    }
}

impl Form {
    fn headers(self, kind: Kind) -> Vec<(HeaderName, &'static str)> {
        let file = match kind {
            Kind::Cpu => "attachment; filename=\"profile.pb.gz\"",
            Kind::Heap => "attachment; filename=\"heap.pb.gz\"",
        };
        match self {
            Self::Pprof => {
                vec![(CONTENT_TYPE, "application/octet-stream"), (CONTENT_DISPOSITION, file)]
            }
            Self::Picture => vec![(CONTENT_TYPE, "image/svg+xml")],
        }
    }

    fn body(self, profile: &Profile) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Pprof => profile.to_pprof(),
            Self::Picture => Ok(profile.to_flamegraph().into_bytes()),
        }
    }
}

impl Refused {
    fn code_and_text(&self) -> (StatusCode, String) {
        match self {
            Self::Off => (StatusCode::NOT_FOUND, OFF.to_owned()),
            Self::Query(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            Self::Profile(error) => {
                let code = match error {
                    ProfileError::Length { .. } => StatusCode::BAD_REQUEST,
                    ProfileError::Busy => StatusCode::CONFLICT,
                    ProfileError::Ending => StatusCode::SERVICE_UNAVAILABLE,
                    ProfileError::NoHeap => StatusCode::NOT_IMPLEMENTED,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                (code, format!("{error}{cause}"))
            }
            Self::Compression(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Says in the log whose order came to nothing, and what the server could not do.
    fn logged(self, by: &Orderer) -> Self {
        let (code, reason) = self.code_and_text();
        let (order, caller, peer) = ("profile", by.name(), by.address());
        if code == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(order, caller, peer, error = reason, "an admin's order failed");
        } else {
            tracing::info!(order, caller, peer, reason, "an admin's order is refused");
        }
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, text) = self.code_and_text();
        (code, format!("{text}\n")).into_response()
    }
}

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/debug/pprof/profile", route(Kind::Cpu, Form::Pprof))
        .route("/debug/pprof/flamegraph", route(Kind::Cpu, Form::Picture))
        .route("/debug/pprof/heap", route(Kind::Heap, Form::Pprof))
        .route("/debug/pprof/heap/flamegraph", route(Kind::Heap, Form::Picture))
}

fn route(kind: Kind, form: Form) -> MethodRouter<Arc<Admin>> {
    let look = async move |State(admin): State<Arc<Admin>>, by: Orderer, uri: Uri| {
        profile(&admin, &by, kind, form, &uri).await.map_err(|refused| refused.logged(&by))
    };
    let tell = async move |State(admin): State<Arc<Admin>>, uri: Uri| {
        let (_, _) = asked(&admin, kind, &uri)?;
        // Of no length: how long the profile would be nobody knows.
        let nothing = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
        Ok::<_, Refused>(answer(kind, form, nothing))
    };
    get(look).head(tell)
}

async fn profile(
    admin: &Admin,
    by: &Orderer,
    kind: Kind,
    form: Form,
    uri: &Uri,
) -> Result<Response, Refused> {
    let (profiler, asked) = asked(admin, kind, uri)?;
    let profile = asked.of(profiler, by).await.map_err(Refused::Profile)?;
    Ok(answer(kind, form, form.body(&profile).map_err(Refused::Compression)?.into()))
}

fn asked<'a>(admin: &'a Admin, kind: Kind, uri: &Uri) -> Result<(&'a Profiler, Asked), Refused> {
    let profiler = admin.profiler.as_ref().ok_or(Refused::Off)?;
    let asked = kind.asked(uri.query().unwrap_or_default()).map_err(Refused::Query)?;
    if let Asked::Cpu { seconds } = asked
        && !SECONDS.contains(&seconds)
    {
        return Err(Refused::Profile(ProfileError::Length { seconds }));
    }
    Ok((profiler, asked))
}

fn answer(kind: Kind, form: Form, body: Body) -> Response {
    let mut response = Response::new(body);
    for (name, value) in form.headers(kind) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_seconds_once_and_nothing_else() {
        let pair = |pair: &str| pair.to_owned();
        for (kind, query, expect) in [
            (Kind::Cpu, "", Ok(Asked::Cpu { seconds: 30 })),
            (Kind::Cpu, "seconds=5", Ok(Asked::Cpu { seconds: 5 })),
            (Kind::Cpu, "seconds=5&", Ok(Asked::Cpu { seconds: 5 })),
            (Kind::Cpu, "seconds=", Err(QueryError::Seconds)),
            (Kind::Cpu, "seconds=1.5", Err(QueryError::Seconds)),
            (Kind::Cpu, "seconds=5&seconds=5", Err(QueryError::Twice)),
            (Kind::Cpu, "second=5", Err(QueryError::NotSeconds { pair: pair("second=5") })),
            (Kind::Cpu, "seconds=5&debug=1", Err(QueryError::NotSeconds { pair: pair("debug=1") })),
            (Kind::Heap, "", Ok(Asked::Heap)),
            (Kind::Heap, "seconds=5", Err(QueryError::None { pair: pair("seconds=5") })),
        ] {
            assert_eq!(kind.asked(query), expect, "{kind:?} {query}");
        }
    }
}
