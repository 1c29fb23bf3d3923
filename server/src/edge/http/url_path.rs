//! [`UrlPath`]: a URL's path, decoded once and free of tricks.
//!
//! Whoever reads a path reads it here, so that no two ways of writing one mean different things to different readers.

use std::borrow::Cow;

use larder_cas::ErrorClass;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::edge::status::EdgeError;

/// The longest path, decoded: an instance name, the longest key, and what stands between them.
pub(super) const MAX_PATH_BYTES: usize = 1_536;

/// How much of a path an error shows.
const SHOWN_CHARS: usize = 80;

/// A decoded path: segments that are neither empty nor dots, without control characters. What encodes a slash is one.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct UrlPath {
    /// Without the slash at either end.
    path: String,
    /// It ends in a slash.
    is_folder: bool,
}

/// Why a path is not read at all.
#[derive(Debug, Error)]
pub(super) enum UrlPathError {
    #[error("the path has {actual_bytes} B, over the limit of {limit_bytes} B")]
    TooLong { actual_bytes: usize, limit_bytes: usize },
    #[error("the path {shown:?} {fault}")]
    Malformed { shown: String, fault: &'static str },
}

impl UrlPath {
    /// Decodes and checks the path of a request.
    pub(super) fn parse(raw: &str) -> Result<Self, UrlPathError> {
        let malformed = |fault| UrlPathError::Malformed { shown: shown(raw), fault };
        // Most paths have nothing to decode, and nothing but visible ASCII.
        let decoded: Cow<'_, str> = if raw.contains('%') {
            percent_decode_str(raw).decode_utf8().map_err(|_| malformed("is not UTF-8"))?
        } else {
            raw.into()
        };
        if decoded.len() > MAX_PATH_BYTES {
            let (actual_bytes, limit_bytes) = (decoded.len(), MAX_PATH_BYTES);
            return Err(UrlPathError::TooLong { actual_bytes, limit_bytes });
        }
        // Without an end before the last byte, so that many are looked at in one instruction.
        let is_visible =
            decoded.bytes().fold(true, |all, byte| all & (b' '..=b'~').contains(&byte));
        if !is_visible && decoded.chars().any(char::is_control) {
            return Err(malformed("has a control character"));
        }
        let path = decoded.strip_prefix('/').ok_or_else(|| malformed("does not begin with /"))?;
        let (path, is_folder) = match path.strip_suffix('/') {
            Some(folder) => (folder, true),
            None => (path, path.is_empty()),
        };
        if decoded.contains("//") {
            return Err(malformed("has an empty segment"));
        }
        if path.contains('.') && path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(malformed("has a segment of dots"));
        }
        Ok(Self { path: path.to_owned(), is_folder })
    }

    /// The path without the slashes at its ends.
    pub(super) fn as_str(&self) -> &str {
        &self.path
    }

    /// Whether it ends in a slash.
    pub(super) fn is_folder(&self) -> bool {
        self.is_folder
    }
}

/// The beginning of what a client sent, for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

impl EdgeError for UrlPathError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Caller
    }

    fn own_http_code(&self) -> Option<http::StatusCode> {
        matches!(self, Self::TooLong { .. }).then_some(http::StatusCode::URI_TOO_LONG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expect: Result<(&str, bool), &str>) {
        let parsed = UrlPath::parse(raw);
        let parsed = match &parsed {
            Ok(path) => Ok((path.as_str(), path.is_folder())),
            Err(error) => Err(error.to_string()),
        };
        match (parsed, expect) {
            (Err(text), Err(words)) => assert!(text.contains(words), "{raw}: {text}"),
            (parsed, expect) => assert_eq!(parsed, expect.map_err(str::to_owned), "{raw}"),
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_has_no_tricks() {
        check("/", Ok(("", true)));
        check("/a", Ok(("a", false)));
        check("/a/b/", Ok(("a/b", true)));
        check("/a%2Fb%2f", Ok(("a/b", true)));
        check("/%2541", Ok(("%41", false)));
        check("/a/...", Ok(("a/...", false)));
        check("/caf%C3%A9", Ok(("café", false)));
        check("", Err("does not begin with /"));
        check("*", Err("does not begin with /"));
        check("//", Err("empty segment"));
        check("//a", Err("empty segment"));
        check("/a//b", Err("empty segment"));
        check("/a%2F/b", Err("empty segment"));
        check("/a//", Err("empty segment"));
        check("/.", Err("dots"));
        check("/a/../b", Err("dots"));
        check("/a/%2e%2E/b", Err("dots"));
        check("/a/.%2e", Err("dots"));
        check("/a%00b", Err("control character"));
        check("/a%0d%0ab", Err("control character"));
        check("/a%C2%85b", Err("control character"));
        check("/a%FFb", Err("UTF-8"));
        check("/%C0%AE%C0%AE/b", Err("UTF-8"));
        check(&format!("/{}", "a".repeat(MAX_PATH_BYTES - 1)), Ok((&"a".repeat(1_535), false)));
        check(&format!("/{}", "a".repeat(MAX_PATH_BYTES)), Err("1537 B, over the limit of 1536 B"));
        check(&format!("/{}", "%41".repeat(1_535)), Ok((&"A".repeat(1_535), false)));
    }
}
