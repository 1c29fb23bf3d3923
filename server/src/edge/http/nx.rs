//! Nx's self-hosted cache, `GET|HEAD|PUT /{instance/}v1/cache/{hash}`: archives that are stored once and never change.
//! Source: the OpenAPI document in Nx's documentation, "Self-hosted caching", version 1.0.0.

use ::http::{Method, Response, StatusCode};
use tonic::body::Body;

use super::body::CacheRequest;
use super::cache::{bare, refusal, text};
use super::claims::Claims;
use super::dialect::Place;
use super::entry::{Entry, EntryName, Stored, get_or_put};
use super::path::{PathError, plain_key};
use crate::edge::service::Shared;

/// What a path names. Nx's hashes are decimal, of 64 bits; those of its plugins need not be.
pub(super) fn name(place: &Place<'_>) -> Result<EntryName, PathError> {
    EntryName::new("nx", place.instance, plain_key(place.rest)?)
}

/// Does what the method says with the entry.
pub(super) async fn call(
    shared: &Shared,
    claims: &Claims,
    place: &Place<'_>,
    request: CacheRequest,
) -> Response<Body> {
    if *request.method() != Method::PUT {
        return get_or_put(shared, name(place), request, "GET, HEAD, PUT").await;
    }
    let entry = match name(place) {
        Ok(name) => Entry::of(shared, name),
        Err(error) => return refusal(error),
    };
    match entry.put_once(claims, request).await {
        Ok(Stored::Now) => bare(StatusCode::OK),
        Ok(Stored::Before) => {
            let hash = place.rest;
            let message = format!("{hash} is stored already, and records never change");
            text(StatusCode::CONFLICT, &message)
        }
        Err(error) => refusal(error),
    }
}
