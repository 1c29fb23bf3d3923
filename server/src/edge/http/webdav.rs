//! sccache's WebDAV, `/{instance/}sccache/{path}`: GET, HEAD, PUT, DELETE and PROPFIND of files, PROPFIND and MKCOL of folders.
//!
//! Folders are virtual: each of them is there, empty as far as one can see. sccache asks for a folder before it writes
//! into it, and needs a time of it. Source: RFC 4918.

use std::fmt::Write as _;
use std::time::SystemTime;

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tonic::body::Body;

use super::body::CacheRequest;
use super::cache::{bare, method_not_allowed, refusal};
use super::dialect::Place;
use super::entry::{Entry, EntryName};
use super::key_value::MAX_KEY_BYTES;
use super::path::PathError;
use crate::edge::service::Shared;

const OF_A_FILE: &str = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND";
const OF_A_FOLDER: &str = "OPTIONS, PROPFIND, MKCOL";

/// What stands in an address as it is; all else is percent-encoded, so that nothing needs escaping in XML.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a path names.
pub(super) fn name(place: &Place<'_>) -> Result<EntryName, PathError> {
    if place.rest.is_empty() || place.rest.len() > MAX_KEY_BYTES {
        return Err(PathError::key(place.rest, "a path of 1 to 1024 B"));
    }
    EntryName::new("sccache", place.instance, place.rest)
}

/// Does what the method says with the folder or file of `path`, which has no slash at its ends.
pub(super) async fn call(
    shared: &Shared,
    path: &str,
    is_folder: bool,
    place: &Place<'_>,
    request: CacheRequest,
) -> Response<Body> {
    if is_folder || place.rest.is_empty() {
        return folder(path, request.method());
    }
    let entry = match name(place) {
        Ok(name) => Entry::of(shared, name),
        Err(error) => return refusal(error),
    };
    match request.method().as_str() {
        "GET" | "HEAD" => entry.get(&request).await,
        "PUT" => put(&entry, request).await,
        "DELETE" => match entry.delete().await {
            Ok(true) => bare(StatusCode::NO_CONTENT),
            Ok(false) => bare(StatusCode::NOT_FOUND),
            Err(error) => refusal(error),
        },
        "PROPFIND" => properties(&entry, path).await,
        "OPTIONS" => options(OF_A_FILE),
        _ => method_not_allowed(OF_A_FILE),
    }
}

fn folder(path: &str, method: &Method) -> Response<Body> {
    match method.as_str() {
        "PROPFIND" => described(&multistatus(path, &Found::Folder)),
        "MKCOL" => bare(StatusCode::CREATED),
        "OPTIONS" => options(OF_A_FOLDER),
        _ => method_not_allowed(OF_A_FOLDER),
    }
}

async fn put(entry: &Entry<'_>, request: CacheRequest) -> Response<Body> {
    let existed = match entry.value().await {
        Ok(value) => value.is_some(),
        Err(error) => return refusal(error),
    };
    match entry.put(request, Vec::new()).await {
        Ok(()) if existed => bare(StatusCode::NO_CONTENT),
        Ok(()) => bare(StatusCode::CREATED),
        Err(error) => refusal(error),
    }
}

async fn properties(entry: &Entry<'_>, path: &str) -> Response<Body> {
    let value = match entry.value().await {
        Ok(value) => value.unwrap_or_default(),
        Err(error) => return refusal(error),
    };
    let Some(digest) = value.digest else { return bare(StatusCode::NOT_FOUND) };
    let found = Found::File { size_bytes: digest.size_bytes(), stored: value.stored };
    described(&multistatus(path, &found))
}

fn options(allowed: &'static str) -> Response<Body> {
    let mut response = bare(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allowed));
    headers.insert(HeaderName::from_static("dav"), HeaderValue::from_static("1"));
    response
}

fn described(document: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(document.to_owned()));
    *response.status_mut() = StatusCode::MULTI_STATUS;
    let xml = HeaderValue::from_static("application/xml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, xml);
    response
}

/// What a path turned out to be.
enum Found {
    Folder,
    File { size_bytes: u64, stored: Option<SystemTime> },
}

/// The answer to PROPFIND about one folder or file.
fn multistatus(path: &str, found: &Found) -> String {
    let mut href = format!("/{}", utf8_percent_encode(path, PLAIN));
    let mut properties = String::new();
    let modified = match found {
        Found::Folder => {
            href.push('/');
            properties.push_str("<D:resourcetype><D:collection/></D:resourcetype>");
            // It was there before anything else.
            Some(SystemTime::UNIX_EPOCH)
        }
        Found::File { size_bytes, stored } => {
            let length = format!("<D:getcontentlength>{size_bytes}</D:getcontentlength>");
            properties.push_str("<D:resourcetype/>");
            properties.push_str(&length);
            *stored
        }
    };
    if let Some(modified) = modified {
        let time = httpdate::fmt_http_date(modified);
        let written = write!(properties, "<D:getlastmodified>{time}</D:getlastmodified>");
        written.expect("a string takes all");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>{href}</D:href>\
         <D:propstat><D:prop>{properties}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>";
    const TAIL: &str =
        "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>\n";

    fn check(path: &str, found: Found, href: &str, properties: &str) {
        let expect = format!("{HEAD}{href}</D:href><D:propstat><D:prop>{properties}{TAIL}");
        assert_eq!(multistatus(path, &found), expect);
    }

    #[test]
    fn what_is_found_is_described() {
        check(
            "sccache/a",
            Found::Folder,
            "/sccache/a/",
            "<D:resourcetype><D:collection/></D:resourcetype><D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified>",
        );
        let stored = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000));
        check(
            "sccache/a&b<c>'\"]]>/ü",
            Found::File { size_bytes: 7, stored },
            "/sccache/a%26b%3Cc%3E%27%22%5D%5D%3E/%C3%BC",
            "<D:resourcetype/><D:getcontentlength>7</D:getcontentlength><D:getlastmodified>Wed, 18 Nov 2026 11:06:40 GMT</D:getlastmodified>",
        );
        check(
            "sccache/a",
            Found::File { size_bytes: 0, stored: None },
            "/sccache/a",
            "<D:resourcetype/><D:getcontentlength>0</D:getcontentlength>",
        );
    }
}
