//! Gradle's build cache, `GET|HEAD|PUT /{instance/}gradle/{32 hex}`: archives that only Gradle reads.
//! Source: `HttpBuildCache` in Gradle's user manual, "Build Cache".

use ::http::{Method, Response, StatusCode};
use tonic::body::Body;

use super::body::CacheRequest;
use super::cache::{bare, method_not_allowed, refusal};
use super::dialect::Place;
use super::entry::{Entry, EntryName};
use super::path::PathError;
use crate::edge::service::Shared;

/// What a path names. The key is the MD5 of all that goes into a task.
pub(super) fn name(place: &Place<'_>) -> Result<EntryName, PathError> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if place.rest.len() != 32 || !place.rest.bytes().all(is_hex) {
        return Err(PathError::key(place.rest, "32 lower-case hex digits"));
    }
    EntryName::new("gradle", place.instance, place.rest)
}

/// Does what the method says with the entry.
pub(super) async fn call(
    shared: &Shared,
    place: &Place<'_>,
    request: CacheRequest,
) -> Response<Body> {
    let entry = match name(place) {
        Ok(name) => Entry::of(shared, name),
        Err(error) => return refusal(error),
    };
    match *request.method() {
        Method::GET | Method::HEAD => entry.get(&request).await,
        Method::PUT => match entry.put(request, Vec::new()).await {
            Ok(()) => bare(StatusCode::OK),
            Err(error) => refusal(error),
        },
        _ => method_not_allowed("GET, HEAD, PUT"),
    }
}
