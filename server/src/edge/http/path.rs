//! [`CachePath`]: which blob or action result a path names, and [`PathError`]: why a path names nothing.

use larder_cas::ErrorClass;
use larder_protos::{Hash, InstanceName, ParseError};
use thiserror::Error;

use super::dialect::Place;
use super::url_path::{UrlPathError, shown};
use crate::edge::functions::{FunctionError, Functions};
use crate::edge::status::EdgeError;

/// A blob or an action result, named by its hash alone.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct CachePath {
    pub(crate) instance: InstanceName,
    pub(crate) kind: Kind,
    pub(crate) hash: Hash,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Blob,
    ActionResult,
}

/// Why a path names nothing here.
#[derive(Debug, Error)]
pub(crate) enum PathError {
    #[error(
        "this server knows the paths ac/{{hash}}, cas/{{hash}}, kv/{{key}}, gradle/{{key}}, v1/cache/{{hash}}, v8/artifacts/{{hash}} and sccache/{{key}}, with or without an instance name before them"
    )]
    Unknown,
    #[error("the key {shown:?} is not {expected}")]
    Key { shown: String, expected: &'static str },
    #[error(transparent)]
    Function {
        #[from]
        source: FunctionError,
    },
    #[error(transparent)]
    Parse {
        #[from]
        source: ParseError,
    },
    #[error(transparent)]
    Url {
        #[from]
        source: UrlPathError,
    },
}

impl CachePath {
    /// Parses what is in the cache's own dialect.
    pub(super) fn parse(place: &Place<'_>, functions: &Functions) -> Result<Self, PathError> {
        let (kind, hex) = place.rest.split_once('/').ok_or(PathError::Unknown)?;
        let kind = match kind {
            "ac" => Kind::ActionResult,
            "cas" => Kind::Blob,
            _ => return Err(PathError::Unknown),
        };
        let instance = InstanceName::parse(place.instance)?;
        let hash = Hash::parse(functions.of(&instance).by_hex_digits(hex.len())?, hex)?;
        Ok(Self { instance, kind, hash })
    }
}

impl PathError {
    /// The refusal of a key that is not what its dialect has.
    pub(super) fn key(key: &str, expected: &'static str) -> Self {
        Self::Key { shown: shown(key), expected }
    }
}

/// A key of letters, digits, `-` and `_`, as the tools have them that hash what goes into a task.
pub(super) fn plain_key(key: &str) -> Result<&str, PathError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=128).contains(&key.len()) && key.bytes().all(is_plain) {
        return Ok(key);
    }
    Err(PathError::key(key, "1 to 128 letters, digits, - and _"))
}

impl EdgeError for PathError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Caller
    }

    fn own_http_code(&self) -> Option<http::StatusCode> {
        match self {
            Self::Unknown => Some(http::StatusCode::NOT_FOUND),
            Self::Url { source } => source.own_http_code(),
            Self::Key { .. } | Self::Function { .. } | Self::Parse { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::DigestFunction;

    use super::super::dialect::Dialect;
    use super::super::url_path::UrlPath;
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(path: &str) -> Result<CachePath, PathError> {
        let path = UrlPath::parse(path)?;
        let place = Place::of(path.as_str()).filter(|place| place.dialect == Dialect::Cache);
        CachePath::parse(&place.ok_or(PathError::Unknown)?, &Functions::default())
    }

    fn check(path: &str, expect: Option<(&str, Kind)>) {
        let parsed = parse(&path.replace("HEX", HEX));
        let expect = expect.map(|(instance, kind)| CachePath {
            instance: InstanceName::parse(instance).expect("a good name"),
            kind,
            hash: Hash::parse(DigestFunction::Sha256, HEX).expect("a good hash"),
        });
        assert_eq!(parsed.ok(), expect, "{path}");
    }

    #[test]
    fn paths_name_blobs_and_results_of_an_instance() {
        check("/cas/HEX", Some(("", Kind::Blob)));
        check("/ac/HEX", Some(("", Kind::ActionResult)));
        check("/main/ac/HEX", Some(("main", Kind::ActionResult)));
        check("/a/b/c/cas/HEX", Some(("a/b/c", Kind::Blob)));
        check("/a%2Db/cas/HEX", Some(("a-b", Kind::Blob)));
        check("/cas/HEX0", None);
        check("/cas/../etc/passwd", None);
        check("/CAS/HEX", None);
        check("/HEX", None);
        check("/", None);
        check("", None);
        check("/cas/E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", None);
        check("/a%FFb/cas/HEX", None);
        check("/uploads/cas/HEX", None);
        check("/kv/cas/HEX", None);
        check("/k%76/a/cas/HEX", None);
        check("/a/kv/cas/HEX", None);
    }
}
