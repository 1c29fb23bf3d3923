//! Turborepo's remote cache, `/{instance/}v8/artifacts…`: artifacts by hash, apart for each team, with the time that a task took and its signature beside them.
//!
//! GET, HEAD, PUT and OPTIONS of an artifact, POST of a question about many, POST of events (counted by nobody here),
//! GET of the status. Source: Vercel's REST API, "Artifacts", version 8.

mod question;
mod team;

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use larder_cas::{ErrorClass, StoreError};
use thiserror::Error;
use tonic::body::Body;

use self::question::QuestionError;
use self::team::{Team, TeamError};
use super::body::{BodyError, CacheRequest};
use super::cache::{bare, method_not_allowed, refusal};
use super::dialect::Place;
use super::entry::{Entry, EntryName, Value};
use super::path::{PathError, plain_key};
use super::url_path::shown;
use crate::edge::service::Shared;
use crate::edge::status::EdgeError;

/// What is kept of an artifact beside its bytes: the header, what it holds, and how long it may be.
const KEPT: [(&str, Holds, usize); 4] = [
    (DURATION, Holds::Digits, 20),
    // A signature in base64.
    (TAG, Holds::Text, 600),
    // Which commit it was made from, and what was changed since.
    ("x-artifact-sha", Holds::Text, 128),
    ("x-artifact-dirty-hash", Holds::Text, 128),
];
const DURATION: &str = "x-artifact-duration";
const TAG: &str = "x-artifact-tag";

/// What a header holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holds {
    Digits,
    Text,
}

/// Why Turborepo is refused.
#[derive(Debug, Error)]
pub(super) enum TurborepoError {
    #[error("{header} {shown:?} is not {limit_bytes} B of {expected} at most")]
    Header { header: &'static str, shown: String, expected: &'static str, limit_bytes: usize },
    #[error(transparent)]
    Team {
        #[from]
        source: TeamError,
    },
    #[error(transparent)]
    Path {
        #[from]
        source: PathError,
    },
    #[error(transparent)]
    Question {
        #[from]
        source: QuestionError,
    },
    #[error(transparent)]
    Body {
        #[from]
        source: BodyError,
    },
    #[error(transparent)]
    Store {
        #[from]
        source: StoreError,
    },
}

/// Does what the method says with what the path names.
pub(super) async fn call(
    shared: &Shared,
    place: &Place<'_>,
    request: CacheRequest,
) -> Response<Body> {
    let method = request.method().clone();
    let answer = match (place.rest, &method) {
        (_, &Method::OPTIONS) => Ok(options(allowed(place.rest))),
        ("", &Method::POST) => question::answer(shared, place, request).await.map(json),
        ("status", &Method::GET | &Method::HEAD) => Ok(json(r#"{"status":"enabled"}"#.to_owned())),
        // Dropped, the events are drained.
        ("events", &Method::POST) => Ok(bare(StatusCode::OK)),
        ("" | "status" | "events", _) => Ok(method_not_allowed(allowed(place.rest))),
        (_, &Method::GET | &Method::HEAD) => get(shared, place, &request).await,
        (_, &Method::PUT) => put(shared, place, request).await,
        _ => Ok(method_not_allowed(allowed(place.rest))),
    };
    answer.unwrap_or_else(refusal)
}

/// The methods of what the end of a path names.
fn allowed(rest: &str) -> &'static str {
    match rest {
        "" | "events" => "OPTIONS, POST",
        "status" => "OPTIONS, GET, HEAD",
        _ => "OPTIONS, GET, HEAD, PUT",
    }
}

/// The artifact that a path and a query name.
pub(super) fn name(place: &Place<'_>, query: Option<&str>) -> Result<EntryName, TurborepoError> {
    Ok(artifact(place.instance, &Team::parse(query.unwrap_or_default())?, place.rest)?)
}

/// The artifact of a team.
fn artifact(instance: &str, team: &Team, hash: &str) -> Result<EntryName, PathError> {
    // Neither has a control character.
    EntryName::new("turborepo", instance, &format!("{team}\n{}", plain_key(hash)?))
}

async fn get(
    shared: &Shared,
    place: &Place<'_>,
    request: &CacheRequest,
) -> Result<Response<Body>, TurborepoError> {
    let entry = Entry::of(shared, name(place, request.uri().query())?);
    let Some(value) = entry.value().await? else { return Ok(bare(StatusCode::NOT_FOUND)) };
    let mut response = entry.send(&value, request).await;
    if response.status().is_success() {
        response.headers_mut().extend(given_back(&value));
    }
    Ok(response)
}

async fn put(
    shared: &Shared,
    place: &Place<'_>,
    request: CacheRequest,
) -> Result<Response<Body>, TurborepoError> {
    let entry = Entry::of(shared, name(place, request.uri().query())?);
    let properties = kept(request.headers())?;
    // A path may have quotes and backslashes.
    let urls = serde_json::json!({ "urls": [request.uri().path()] }).to_string();
    entry.put(request, properties).await?;
    let mut response = json(urls);
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// What the client says of an artifact.
fn kept(headers: &HeaderMap) -> Result<Vec<(String, String)>, TurborepoError> {
    let mut properties = Vec::new();
    for (header, holds, limit_bytes) in KEPT {
        let Some(value) = headers.get(header) else { continue };
        let (expected, is_of): (_, fn(u8) -> bool) = match holds {
            Holds::Digits => ("digits", |byte| byte.is_ascii_digit()),
            Holds::Text => ("visible characters", |byte| byte.is_ascii_graphic()),
        };
        let bytes = value.as_bytes();
        if !(1..=limit_bytes).contains(&bytes.len()) || !bytes.iter().all(|byte| is_of(*byte)) {
            let shown = shown(&String::from_utf8_lossy(bytes));
            return Err(TurborepoError::Header { header, shown, expected, limit_bytes });
        }
        properties.push((header.to_owned(), String::from_utf8_lossy(bytes).into_owned()));
    }
    Ok(properties)
}

/// The same on its way back.
fn given_back(value: &Value) -> HeaderMap {
    let headers = KEPT.into_iter().filter_map(|(header, _, _)| {
        let value = HeaderValue::from_str(value.property(header)?).ok()?;
        Some((HeaderName::from_static(header), value))
    });
    headers.collect()
}

/// What Turborepo asks before a request when told `--preflight`: whether it may send its credentials along.
fn options(allowed: &'static str) -> Response<Body> {
    let mut response = bare(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    for (name, value) in [
        ("access-control-allow-methods", allowed),
        (
            "access-control-allow-headers",
            "Authorization, Content-Type, User-Agent, x-artifact-duration, x-artifact-tag, x-artifact-sha, x-artifact-dirty-hash",
        ),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn json(document: String) -> Response<Body> {
    let mut response = Response::new(Body::new(document));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

impl EdgeError for TurborepoError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Header { .. } | Self::Team { .. } => ErrorClass::Caller,
            Self::Path { source } => source.class(),
            Self::Question { source } => source.class(),
            Self::Body { source } => source.class(),
            Self::Store { source } => source.class(),
        }
    }

    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Question { source } => source.store_error(),
            Self::Body { source } => source.store_error(),
            Self::Store { source } => Some(source),
            Self::Header { .. } | Self::Team { .. } | Self::Path { .. } => None,
        }
    }

    fn own_http_code(&self) -> Option<StatusCode> {
        match self {
            Self::Path { source } => source.own_http_code(),
            Self::Question { source } => source.own_http_code(),
            Self::Body { source } => source.own_http_code(),
            Self::Header { .. } | Self::Team { .. } | Self::Store { .. } => None,
        }
    }

    fn is_too_large(&self) -> bool {
        match self {
            Self::Question { source } => source.is_too_large(),
            Self::Body { source } => source.is_too_large(),
            other => other.store_error().is_some_and(EdgeError::is_too_large),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], expect: Result<usize, &str>) {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        match (kept(&headers.collect()), expect) {
            (Ok(properties), Ok(count)) => assert_eq!(properties.len(), count, "{properties:?}"),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (kept, expect) => panic!("{kept:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn what_is_kept_is_checked() {
        check(&[], Ok(0));
        check(&[("x-artifact-duration", "577"), ("x-artifact-client-ci", "any")], Ok(1));
        check(&[("x-artifact-tag", "bWFj+/=="), ("x-artifact-duration", "0")], Ok(2));
        check(&[("x-artifact-duration", "-1")], Err("x-artifact-duration \"-1\""));
        check(&[("x-artifact-duration", "")], Err("20 B of digits"));
        check(&[("x-artifact-duration", "111111111111111111111")], Err("20 B of digits"));
        check(&[("x-artifact-tag", "a b")], Err("600 B of visible characters"));
    }

    #[test]
    fn teams_instances_and_hashes_are_apart() {
        let name = |instance, query, rest| {
            let place =
                Place { dialect: super::super::dialect::Dialect::Turborepo, instance, rest };
            name(&place, query).map(|name| name.key().clone())
        };
        let keys = [
            name("", None, "a1"),
            name("", None, "a2"),
            name("", Some("teamId=x"), "a1"),
            name("", Some("slug=x"), "a1"),
            name("", Some("slug=y"), "a1"),
            name("i", Some("slug=x"), "a1"),
        ];
        let keys: std::collections::HashSet<_> = keys.into_iter().map(Result::unwrap).collect();
        assert_eq!(keys.len(), 6);
        for hash in ["", "a.b", "a/b", "ü"] {
            name("", None, hash).expect_err("no hash");
        }
    }
}
