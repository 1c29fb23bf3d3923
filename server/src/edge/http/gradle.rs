//! Gradle's build cache, `GET|HEAD|PUT /{instance/}gradle/{32 hex}`: archives that only Gradle reads.
//! Source: `HttpBuildCache` in Gradle's user manual, "Build Cache".

use ::http::Response;
use tonic::body::Body;

use super::body::CacheRequest;
use super::dialect::Place;
use super::entry::{EntryName, get_or_put};
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
    get_or_put(shared, name(place), request, "GET, HEAD, PUT").await
}
