//! `GET` and `HEAD`.

use std::sync::Arc;

use ::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    RANGE, VARY,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use futures_util::TryStreamExt;
use http_body_util::StreamBody;
use hyper::body::Frame;
use larder_cas::{Encoding, Payload, RequestCx, RequestMemory};
use larder_protos::Digest;
use tonic::body::Body;

use super::body::CacheRequest;
use super::cache::{Target, bare, refusal};
use super::range::Wanted;
use crate::edge::budget::Hold;
use crate::edge::held_body::held;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::working_set::{download_bytes, message_bytes};

/// The blob, or the range of it that is asked for.
pub(super) async fn blob(target: &Target<'_>, request: &CacheRequest) -> Response<Body> {
    match target.present().await {
        Ok(Some(digest)) => blob_of(target.shared, &target.partition, digest, request).await,
        Ok(None) => bare(StatusCode::NOT_FOUND),
        Err(error) => refusal(error),
    }
}

/// The same for a blob whose digest is known.
pub(super) async fn blob_of(
    shared: &Shared,
    partition: &Partition,
    digest: Digest,
    request: &CacheRequest,
) -> Response<Body> {
    let size_bytes = digest.size_bytes();
    let header = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let wanted = header.map_or(Wanted::Whole, |header| Wanted::parse(header, size_bytes));
    if wanted == Wanted::Unsatisfiable {
        let mut response = bare(StatusCode::RANGE_NOT_SATISFIABLE);
        insert(&mut response, CONTENT_RANGE, &format!("bytes */{size_bytes}"));
        return response;
    }
    if request.method() == Method::HEAD {
        let mut response = bare(StatusCode::OK);
        describe(&mut response, Some(size_bytes));
        return response;
    }
    let takes_zstd = wanted == Wanted::Whole && accepts_zstd(request.headers());
    let cx = if takes_zstd { RequestCx::RAW_OR_ZSTD } else { RequestCx::RAW };
    let key = partition.blob(digest);
    let sent_bytes = match wanted {
        Wanted::Part { first, last } => last - first + 1,
        Wanted::Whole | Wanted::Unsatisfiable => size_bytes,
    };
    let hold = match shared.budget.hold(download_bytes(sent_bytes)).await {
        Ok(hold) => hold,
        Err(error) => return refusal(error),
    };
    match shared.blobs.get(&cx, &key, wanted.byte_range()).await {
        Ok(Some(payload)) => {
            let payload = if takes_zstd { payload } else { payload.into_raw() };
            held(respond(payload, wanted, size_bytes), hold)
        }
        Ok(None) => bare(StatusCode::NOT_FOUND),
        Err(error) => refusal(error),
    }
}

/// The action result, if everything that it names is present.
pub(super) async fn action_result(target: &Target<'_>) -> Response<Body> {
    let key = target.partition.action(target.hash);
    let hold = target.shared.budget.nothing();
    let cx = RequestCx::raw_within(RequestMemory::counted_by(Arc::<Hold>::clone(&hold)));
    match target.shared.actions.get(&cx, &key).await {
        Ok(Some(entry)) => {
            let encoded = entry.encoded().clone();
            let size_bytes = encoded.len() as u64;
            if let Err(error) = hold.cover(message_bytes(size_bytes)).await {
                return refusal(error);
            }
            let mut response = Response::new(Body::new(http_body_util::Full::new(encoded)));
            describe(&mut response, Some(size_bytes));
            held(response, hold)
        }
        Ok(None) => bare(StatusCode::NOT_FOUND),
        Err(error) => refusal(error),
    }
}

fn respond(payload: Payload, wanted: Wanted, whole_bytes: u64) -> Response<Body> {
    let zstd = payload.encoding() == Encoding::Zstd;
    let length_bytes = match payload.bytes() {
        Some(bytes) => Some(bytes.len() as u64),
        None => (!zstd).then_some(payload.size_bytes()),
    };
    let frames = payload.into_stream().map_ok(Frame::data);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    describe(&mut response, length_bytes);
    if zstd {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    }
    if let Wanted::Part { first, last } = wanted {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{whole_bytes}"));
    }
    response
}

/// The headers that every body has.
fn describe(response: &mut Response<Body>, length_bytes: Option<u64>) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(length_bytes) = length_bytes {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length_bytes));
    }
}

fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("digits and ASCII words");
    response.headers_mut().insert(name, value);
}

/// Whether zstd is listed and not ruled out by a weight of zero.
fn accepts_zstd(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|codings| codings.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=");
        let ruled_out = weight.parse().is_ok_and(|weight: f32| weight <= 0.0);
        name.trim().eq_ignore_ascii_case("zstd") && !ruled_out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept_encoding: &'static str, expect: bool) {
        let value = HeaderValue::from_static(accept_encoding);
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value)]);
        assert_eq!(accepts_zstd(&headers), expect, "{accept_encoding:?}");
    }

    #[test]
    fn zstd_is_sent_where_it_is_accepted() {
        check("zstd", true);
        check("gzip, ZSTD;q=0.5", true);
        check("gzip,zstd ;q=1", true);
        check("zstd;q=0", false);
        check("zstd;q=0.000", false);
        check("gzip, deflate", false);
        check("", false);
        check("*", false);
    }
}
