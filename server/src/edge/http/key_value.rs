//! The raw key-value space, `GET|HEAD|PUT|DELETE /{instance/}kv/{any path}`: for ccache and others whose entries are no action results.
//! The path is the key and the body the value.

use ::http::{Method, Response, StatusCode};
use tonic::body::Body;

use super::body::CacheRequest;
use super::cache::{bare, refusal};
use super::dialect::Place;
use super::entry::{Entry, EntryName, get_or_put};
use super::path::PathError;
use crate::edge::service::Shared;

/// The longest key.
pub(super) const MAX_KEY_BYTES: usize = 1_024;

/// What a path names.
pub(super) fn name(place: &Place<'_>) -> Result<EntryName, PathError> {
    if place.rest.is_empty() || place.rest.len() > MAX_KEY_BYTES {
        return Err(PathError::key(place.rest, "a path of 1 to 1024 B"));
    }
    EntryName::new("kv", place.instance, place.rest)
}

/// Does what the method says with the entry.
pub(super) async fn call(
    shared: &Shared,
    place: &Place<'_>,
    request: CacheRequest,
) -> Response<Body> {
    if *request.method() != Method::DELETE {
        return get_or_put(shared, name(place), request, "GET, HEAD, PUT, DELETE").await;
    }
    let entry = match name(place) {
        Ok(name) => Entry::of(shared, name),
        Err(error) => return refusal(error),
    };
    match entry.delete().await {
        Ok(true) => bare(StatusCode::OK),
        Ok(false) => bare(StatusCode::NOT_FOUND),
        Err(error) => refusal(error),
    }
}
