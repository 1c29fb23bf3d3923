//! [`CachePath`]: what a URL's path names.

use larder_protos::{Hash, InstanceName, ParseError};
use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::key_value;
use crate::edge::functions::{FunctionError, Functions};

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
    #[error("this server knows the paths /{{instance/}}ac/{{hash}} and /{{instance/}}cas/{{hash}}")]
    Unknown,
    #[error(
        "over HTTP the paths under /kv/ are the key-value space, so an instance name cannot begin with kv"
    )]
    Reserved,
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
}

impl CachePath {
    /// Parses a URL's path; what stands before `ac` or `cas` is the instance name.
    pub(crate) fn parse(path: &str, functions: &Functions) -> Result<Self, PathError> {
        let decoded = percent_decode_str(path.strip_prefix('/').ok_or(PathError::Unknown)?);
        let decoded = decoded.decode_utf8().map_err(|_| PathError::Unknown)?;
        let (prefix, hex) = decoded.rsplit_once('/').ok_or(PathError::Unknown)?;
        let (instance, kind) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        // Percent-encoded it comes here; to serve it would give one instance two meanings.
        if instance.split('/').next() == Some(key_value::SEGMENT) {
            return Err(PathError::Reserved);
        }
        let kind = match kind {
            "ac" => Kind::ActionResult,
            "cas" => Kind::Blob,
            _ => return Err(PathError::Unknown),
        };
        let instance = InstanceName::parse(instance)?;
        let hash = Hash::parse(functions.of(&instance).by_hex_digits(hex.len())?, hex)?;
        Ok(Self { instance, kind, hash })
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::DigestFunction;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(path: &str, expect: Option<(&str, Kind)>) {
        let parsed = CachePath::parse(&path.replace("HEX", HEX), &Functions::default());
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
        check("/cas/HEX/", None);
        check("/cas/HEX0", None);
        check("/cas/../etc/passwd", None);
        check("/CAS/HEX", None);
        check("/HEX", None);
        check("/", None);
        check("", None);
        check("/cas/E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", None);
        check("/a%FFb/cas/HEX", None);
        check("/kv/cas/HEX", None);
        check("/k%76/a/cas/HEX", None);
        check("/a/kv/cas/HEX", Some(("a/kv", Kind::Blob)));
    }
}
