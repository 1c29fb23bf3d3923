//! The parsers of an HTTP request's path and headers, for [`crate::fuzzing`].

use ::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE,
};
use larder_protos::{Digest, DigestFunction};

use super::accept::Accepted;
use super::conditions::Tag;
use super::dialect::{Dialect, Place};
use super::path::CachePath;
use super::range::Wanted;
use super::url_path::UrlPath;
use super::{body, gradle, key_value, nx, turborepo, webdav};
use crate::edge::functions::Functions;

/// A request: the first byte says how long its path is, the rest is the value of each header that is read.
pub fn http_request(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (path, value) = rest.split_at(rest.len().min(usize::from(*length)));
    if let Ok(path) = std::str::from_utf8(path) {
        url(path);
    }
    if let Ok(value) = HeaderValue::from_bytes(value) {
        let headers = HeaderMap::from_iter([
            (CONTENT_ENCODING, value.clone()),
            (CONTENT_LENGTH, value.clone()),
            (ACCEPT_ENCODING, value.clone()),
            (IF_MATCH, value.clone()),
            (IF_NONE_MATCH, value.clone()),
            (IF_RANGE, value.clone()),
        ]);
        let tag = Tag::of(Digest::empty(DigestFunction::Sha256).hash());
        let _ = (Accepted::of(&headers), tag.condition(&headers), tag.allows_range(&headers));
        let _ = body::encoding(&headers);
        let _ = body::length_bytes(&headers);
        for size_bytes in [0, 1, 1_000, u64::MAX] {
            let Ok(text) = value.to_str() else { break };
            if let Wanted::Part { first, last } = Wanted::parse(text, size_bytes) {
                assert!(first <= last && last < size_bytes, "{text:?} of {size_bytes} B");
            }
        }
    }
}

/// A path and a query: what they name lies in the keyspace of their dialect.
fn url(url: &str) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let Ok(path) = UrlPath::parse(path) else { return };
    let segments = || path.as_str().split('/').filter(|_| !path.as_str().is_empty());
    assert!(segments().all(|segment| !["", ".", ".."].contains(&segment)), "{path:?}");
    let Some(place) = Place::of(path.as_str()) else { return };
    let (space, name) = match place.dialect {
        Dialect::Cache => {
            let _ = CachePath::parse(&place, &Functions::default());
            return;
        }
        Dialect::KeyValue => ("kv", key_value::name(&place).ok()),
        Dialect::Gradle => ("gradle", gradle::name(&place).ok()),
        Dialect::Turborepo => ("turborepo", turborepo::name(&place, Some(query)).ok()),
        Dialect::Nx => ("nx", nx::name(&place).ok()),
        Dialect::Sccache => ("sccache", webdav::name(&place).ok()),
    };
    let Some(name) = name else { return };
    let keyspace = format!("uploads/{space}/{}", place.instance);
    assert_eq!(name.key().keyspace.as_str(), keyspace.trim_end_matches('/'), "{url:?}");
}
