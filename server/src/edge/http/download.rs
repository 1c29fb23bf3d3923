//! `GET` and `HEAD`.

use std::sync::Arc;

use ::http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_NONE_MATCH, RANGE, VARY,
};
use ::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use futures_util::TryStreamExt;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use larder_action_cache::ActionEntry;
use larder_cas::{Encoding, Payload, RequestCx, RequestMemory, blocking, zstd_codec};
use larder_protos::Digest;
use tonic::body::Body;

use super::accept::Accepted;
use super::body::CacheRequest;
use super::cache::{Target, bare, refusal, text};
use super::conditions::{Condition, Tag};
use super::range::Wanted;
use crate::auth::Peer;
use crate::edge::budget::Hold;
use crate::edge::held_body::held;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::working_set::{
    download_bytes, encoded_bytes, message_bytes, plain_download_bytes,
};
use crate::telemetry::Tally;

/// What answers depend on beside their path.
const VARIES_BY: &str = "accept-encoding";

/// The blob, or the range of it that is asked for.
pub(super) async fn blob(target: &Target<'_>, request: &CacheRequest) -> Response<Body> {
    let digest = if reads_whole(request) { target.to_read().await } else { target.present().await };
    match digest {
        Ok(Some(digest)) => blob_of(target.shared, &target.partition, digest, request).await,
        Ok(None) => bare(StatusCode::NOT_FOUND),
        Err(error) => refusal(error),
    }
}

/// Whether the blob is read whatever else is asked, so that reading it tells whether it is present.
fn reads_whole(request: &CacheRequest) -> bool {
    let asks_more = [IF_MATCH, IF_NONE_MATCH, RANGE];
    request.method() == Method::GET
        && !asks_more.iter().any(|name| request.headers().contains_key(name))
}

/// The same for a blob whose digest is known.
pub(super) async fn blob_of(
    shared: &Shared,
    partition: &Partition,
    digest: Digest,
    request: &CacheRequest,
) -> Response<Body> {
    let (headers, tag) = (request.headers(), Tag::of(digest.hash()));
    match tag.condition(headers) {
        Condition::Met => {}
        Condition::NotModified => return tagged(bare(StatusCode::NOT_MODIFIED), tag.strong()),
        Condition::Failed => return tagged(bare(StatusCode::PRECONDITION_FAILED), tag.strong()),
    }
    let accepted = Accepted::of(headers);
    if !accepted.identity && !accepted.zstd {
        return not_acceptable();
    }
    let size_bytes = digest.size_bytes();
    let wanted = wanted(request, &tag, accepted, size_bytes);
    if wanted == Wanted::Unsatisfiable {
        let mut response = tagged(bare(StatusCode::RANGE_NOT_SATISFIABLE), tag.strong());
        insert(&mut response, CONTENT_RANGE, &format!("bytes */{size_bytes}"));
        return response;
    }
    let takes_zstd = wanted == Wanted::Whole && accepted.zstd;
    if request.method() == Method::HEAD && !takes_zstd {
        let mut response = tagged(bare(StatusCode::OK), tag.strong());
        describe(&mut response, Some(size_bytes));
        return response;
    }
    let cx = if takes_zstd { RequestCx::RAW_OR_ZSTD } else { RequestCx::RAW };
    let key = partition.blob(digest);
    let needed_bytes = match wanted {
        Wanted::Part { first, last } => plain_download_bytes(last - first + 1, size_bytes),
        _ if takes_zstd => download_bytes(size_bytes) + encoded_bytes(size_bytes),
        _ => plain_download_bytes(size_bytes, size_bytes),
    };
    let hold = match shared.budget.hold(Peer::of(request.extensions()).cloned(), needed_bytes).await
    {
        Ok(hold) => hold,
        Err(error) => return refusal(error),
    };
    let found = shared.blobs.get(&cx, &key, wanted.byte_range()).await;
    let payload = match found {
        Ok(Some(payload)) if takes_zstd && accepted.identity => {
            payload.into_smaller(shared.zstd_level).await
        }
        Ok(Some(payload)) if takes_zstd => Ok(payload.into_zstd(shared.zstd_level)),
        Ok(Some(payload)) => Ok(payload.into_raw()),
        Ok(None) => return bare(StatusCode::NOT_FOUND),
        Err(error) => return refusal(error),
    };
    match payload {
        Ok(payload) => {
            let is_zstd = payload.encoding() == Encoding::Zstd;
            let tag = if is_zstd { tag.weak() } else { tag.strong() };
            held(tagged(respond(payload, wanted, size_bytes), tag), hold)
        }
        Err(error) => refusal(error),
    }
}

/// The action result, if everything that it names is present.
pub(super) async fn action_result(target: &Target<'_>, request: &CacheRequest) -> Response<Body> {
    let accepted = Accepted::of(request.headers());
    if !accepted.identity && !accepted.zstd {
        return not_acceptable();
    }
    let key = target.partition.action(target.hash);
    let hold = target.shared.budget.nothing(Peer::of(request.extensions()).cloned());
    let cx = RequestCx::raw_within(RequestMemory::counted_by(Arc::<Hold>::clone(&hold)));
    let found = target.shared.actions.get(&cx, &key).await;
    if let Ok(found) = &found {
        Tally::of(request.extensions()).note_lookup(found.as_ref().map(ActionEntry::result));
    }
    match found {
        Ok(Some(entry)) => {
            let mut body = entry.encoded().clone();
            if let Err(error) = hold.cover(message_bytes(body.len() as u64)).await {
                return refusal(error);
            }
            // They are small, and most clients would only decode them: encoded only for those who insist.
            if !accepted.identity {
                let (size_bytes, level) = (body.len(), target.shared.zstd_level);
                let encode = move || zstd_codec::encode(&body, level);
                body = match blocking::run_sized(size_bytes, encode).await {
                    Ok(frame) => frame,
                    Err(error) => return refusal(error),
                };
            }
            let length_bytes = body.len() as u64;
            let mut response = Response::new(Body::new(Full::new(body)));
            response.headers_mut().insert(VARY, HeaderValue::from_static(VARIES_BY));
            describe(&mut response, Some(length_bytes));
            if !accepted.identity {
                insert(&mut response, CONTENT_ENCODING, "zstd");
            }
            held(response, hold)
        }
        Ok(None) => bare(StatusCode::NOT_FOUND),
        Err(error) => refusal(error),
    }
}

/// The part that is asked for. Only GET has parts, and only of the bytes themselves.
fn wanted(request: &CacheRequest, tag: &Tag, accepted: Accepted, size_bytes: u64) -> Wanted {
    let headers = request.headers();
    match headers.get(RANGE).and_then(|range| range.to_str().ok()) {
        Some(range)
            if request.method() == Method::GET
                && accepted.identity
                && tag.allows_range(headers) =>
        {
            Wanted::parse(range, size_bytes)
        }
        _ => Wanted::Whole,
    }
}

fn respond(payload: Payload, wanted: Wanted, whole_bytes: u64) -> Response<Body> {
    let zstd = payload.encoding() == Encoding::Zstd;
    let length_bytes = match payload.bytes() {
        Some(bytes) => Some(bytes.len() as u64),
        None => (!zstd).then_some(payload.size_bytes()),
    };
    let body = match payload.bytes() {
        Some(bytes) => Body::new(Full::new(bytes.clone())),
        None => Body::new(StreamBody::new(payload.into_stream().map_ok(Frame::data))),
    };
    let mut response = Response::new(body);
    describe(&mut response, length_bytes);
    if zstd {
        insert(&mut response, CONTENT_ENCODING, "zstd");
    }
    if let Wanted::Part { first, last } = wanted {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{whole_bytes}"));
    }
    response
}

/// Nothing that there is may be sent.
fn not_acceptable() -> Response<Body> {
    let words = "accept-encoding rules out identity, and zstd, which is all there is beside it";
    let mut response = text(StatusCode::NOT_ACCEPTABLE, words);
    response.headers_mut().insert(VARY, HeaderValue::from_static(VARIES_BY));
    response
}

/// With what caches and resumed downloads go by.
fn tagged(mut response: Response<Body>, tag: HeaderValue) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    headers.insert(VARY, HeaderValue::from_static(VARIES_BY));
    response
}

/// The headers that every body has, but for what it varies by.
fn describe(response: &mut Response<Body>, length_bytes: Option<u64>) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(length_bytes) = length_bytes {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length_bytes));
    }
}

fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("digits and ASCII words");
    response.headers_mut().insert(name, value);
}
