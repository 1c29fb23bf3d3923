//! The parsers of an HTTP request's path and headers, for [`crate::fuzzing`].

use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};

use super::path::CachePath;
use super::range::Wanted;
use super::{body, key_value};
use crate::edge::functions::Functions;

/// A request: the first byte says how long its path is, the rest is the value of each header that is read.
pub fn http_request(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (path, value) = rest.split_at(rest.len().min(usize::from(*length)));
    if let Ok(path) = std::str::from_utf8(path) {
        let named = CachePath::parse(path, &Functions::default());
        assert!(named.is_err() || key_value::key(path).is_none(), "{path:?} means two things");
    }
    if let Ok(value) = HeaderValue::from_bytes(value) {
        let headers = HeaderMap::from_iter([
            (CONTENT_ENCODING, value.clone()),
            (CONTENT_LENGTH, value.clone()),
        ]);
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
