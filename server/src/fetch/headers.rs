//! [`OriginHeaders`]: the headers that qualifiers ask to be sent to an origin. Pure.
//!
//! Bazel sends `http_header:NAME` for every URI and `http_header_url:INDEX:NAME` for one, which wins. Values are often
//! credentials: they are marked so that no log shows them, and none goes to another origin by a redirect.
//! Source: Bazel's `GrpcRemoteDownloader`.

use ::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT,
    HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

const EVERY_PREFIX: &str = "http_header:";
const ONE_PREFIX: &str = "http_header_url:";

/// What frames the request, or would have the origin answer with something else than the whole resource.
const RESERVED: [HeaderName; 19] = [
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    RANGE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// What tells nothing about who asks.
const HARMLESS: [HeaderName; 3] = [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT];

/// The headers that qualifiers ask for.
#[derive(Clone, Debug, Default)]
pub struct OriginHeaders {
    every: HeaderMap,
    one: Vec<(usize, HeaderName, HeaderValue)>,
}

/// Why a header cannot be sent. The value is never shown.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum HeaderError {
    /// No header can have this name.
    #[error("qualifier {qualifier:?} names no header that can be sent")]
    Name {
        /// Its beginning.
        qualifier: String,
    },
    /// No header can have this value.
    #[error("the value of qualifier {qualifier:?} cannot stand in a header")]
    Value {
        /// Its beginning.
        qualifier: String,
    },
    /// There is no such URI in the request.
    #[error("qualifier {qualifier:?} is for none of the {uris} URIs")]
    Index {
        /// Its beginning.
        qualifier: String,
        /// How many URIs there are.
        uris: usize,
    },
}

impl OriginHeaders {
    /// Takes the qualifier if it asks for a header. `uris` is how many URIs the request has.
    pub fn take(&mut self, qualifier: &str, value: &str, uris: usize) -> Result<bool, HeaderError> {
        let shown = || qualifier.chars().take(80).collect::<String>();
        if let Some(name) = qualifier.strip_prefix(EVERY_PREFIX) {
            let (name, value) = header(name, value, shown)?;
            // The last of several spellings of a name wins.
            self.every.insert(name, value);
            return Ok(true);
        }
        let Some(rest) = qualifier.strip_prefix(ONE_PREFIX) else { return Ok(false) };
        let no_name = || HeaderError::Name { qualifier: shown() };
        let (index, name) = rest.split_once(':').ok_or_else(no_name)?;
        let index = index.parse().ok().filter(|index| *index < uris);
        let index = index.ok_or_else(|| HeaderError::Index { qualifier: shown(), uris })?;
        let (name, value) = header(name, value, shown)?;
        self.one.push((index, name, value));
        Ok(true)
    }

    /// What is sent to the URI at this place in the request.
    pub fn of_uri(&self, index: usize) -> HeaderMap {
        let mut headers = self.every.clone();
        for (_, name, value) in self.one.iter().filter(|(of, ..)| *of == index) {
            headers.insert(name, value.clone());
        }
        headers
    }

    /// What of them may go to an origin that the request did not name.
    pub fn harmless(headers: &HeaderMap) -> HeaderMap {
        let kept = headers.iter().filter(|(name, _)| HARMLESS.contains(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn header(
    name: &str,
    value: &str,
    shown: impl Fn() -> String,
) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let name: Option<HeaderName> = name.parse().ok();
    let name = name.filter(|name| !RESERVED.contains(name));
    let name = name.ok_or_else(|| HeaderError::Name { qualifier: shown() })?;
    let value: Option<HeaderValue> = value.trim().parse().ok();
    let mut value = value.ok_or_else(|| HeaderError::Value { qualifier: shown() })?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(qualifiers: &[(&str, &str)]) -> Result<OriginHeaders, HeaderError> {
        let mut headers = OriginHeaders::default();
        for (name, value) in qualifiers {
            headers.take(name, value, 2)?;
        }
        Ok(headers)
    }

    fn check(qualifiers: &[(&str, &str)], index: usize, expect: &[(&str, &str)]) {
        let headers = take(qualifiers).unwrap().of_uri(index);
        let mut sent: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(sent, expect, "{index}");
    }

    #[test]
    fn what_is_for_one_uri_wins() {
        let qualifiers = [
            ("http_header_url:0:authorization", "for 0"),
            ("http_header:Authorization", "for all"),
            ("http_header:X-Thing", " a, b "),
            ("http_header_url:1:x-other", "1"),
        ];
        check(&qualifiers, 0, &[("authorization", "for 0"), ("x-thing", "a, b")]);
        let at_1 = [("authorization", "for all"), ("x-other", "1"), ("x-thing", "a, b")];
        check(&qualifiers, 1, &at_1);
        check(&[("checksum.sri", "x"), ("http_headers", "y")], 0, &[]);
    }

    fn check_refused(qualifier: &str, value: &str, words: &str) {
        let error = take(&[(qualifier, value)]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn what_would_change_the_request_is_refused() {
        for name in
            ["Host", "content-length", "Transfer-Encoding", "connection", "Range", "Keep-Alive", ""]
        {
            check_refused(&format!("http_header:{name}"), "secret", "names no header");
        }
        check_refused("http_header:a b", "secret", "names no header");
        check_refused("http_header:x\r\ny", "secret", "names no header");
        check_refused("http_header:x", "secret\r\nHost: y", "cannot stand in a header");
        check_refused("http_header_url:2:x", "secret", "for none of the 2 URIs");
        check_refused("http_header_url:-1:x", "secret", "for none of the 2 URIs");
        check_refused("http_header_url:x", "secret", "names no header");
    }

    #[test]
    fn credentials_are_not_shown_and_stay_at_their_origin() {
        let headers = take(&[
            ("http_header:Authorization", "Bearer secret"),
            ("http_header:Cookie", "secret"),
            ("http_header:X-JFrog-Art-Api", "secret"),
            ("http_header:Accept", "application/octet-stream"),
        ]);
        let headers = headers.unwrap();
        assert!(!format!("{headers:?}").contains("secret"));
        let harmless = OriginHeaders::harmless(&headers.of_uri(0));
        assert_eq!(harmless.len(), 1);
        assert_eq!(harmless[ACCEPT], "application/octet-stream");
    }

    proptest! {
        #[test]
        fn any_qualifier_is_read_or_refused(name in "(http_header(_url)?:[0-9]?:?)?\\PC{0,30}", value in "\\PC{0,30}") {
            let mut headers = OriginHeaders::default();
            if headers.take(&name, &value, 1) == Ok(true) {
                let sent = headers.of_uri(0);
                prop_assert!(sent.values().all(HeaderValue::is_sensitive));
                prop_assert!(RESERVED.iter().all(|reserved| !sent.contains_key(reserved)));
            }
        }
    }
}
