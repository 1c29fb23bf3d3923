//! [`Plan`]: what of a request an origin can be asked for, and with which qualifiers. Pure.

use larder_protos::DigestFunction;
use larder_protos::Hash;

use super::error::AssetError;
use super::identity::{Identity, Kind, Qualifiers};
use crate::fetch::{Integrity, Origin, OriginHeaders};

/// What the bytes must hash to.
pub(super) const CHECKSUM: &str = "checksum.sri";

/// Bazel's: one content under two of these is two things.
const CANONICAL_ID: &str = "bazel.canonical_id";

/// What an origin can be asked for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) identity: Identity,
    /// The places of the URIs that have an origin.
    pub(super) uris: Vec<usize>,
    /// What the bytes must hash to.
    pub(super) integrity: Option<Integrity>,
    pub(super) headers: OriginHeaders,
    /// Under which qualifiers what comes is kept. A checksum says all about the bytes; where there is none, they may depend
    /// on the headers too, credentials among them.
    kept: Qualifiers,
}

impl Plan {
    /// Reads the qualifiers as an origin needs them; `None` where no URI has an origin.
    pub(super) fn of(identity: &Identity) -> Result<Option<Self>, AssetError> {
        let could = |(index, uri): (usize, &String)| Origin::could_fetch(uri).then_some(index);
        let uris: Vec<_> = identity.uris.iter().enumerate().filter_map(could).collect();
        if uris.is_empty() {
            return Ok(None);
        }
        let (mut integrity, mut headers) = (None, OriginHeaders::default());
        let (mut kept, mut names) = (Qualifiers::new(), Vec::new());
        for (name, value) in &identity.qualifiers {
            if name == CHECKSUM {
                integrity = Some(Integrity::parse(value)?);
            } else if name == CANONICAL_ID {
                kept.insert(name.clone(), value.clone());
            } else if !headers.take(name, value, identity.uris.len())? {
                names.push(name.chars().take(80).collect());
            }
        }
        if !names.is_empty() {
            return Err(AssetError::Unsupported { names });
        }
        match &integrity {
            Some(integrity) => kept.extend([(CHECKSUM.to_owned(), integrity.canonical())]),
            None => kept.clone_from(&identity.qualifiers),
        }
        Ok(Some(Self { identity: identity.clone(), uris, integrity, headers, kept }))
    }

    /// The URI at this place of the request.
    pub(super) fn uri(&self, index: usize) -> &str {
        &self.identity.uris[index]
    }

    /// Under which key is kept what comes from the URI at this place.
    pub(super) fn key(&self, index: usize) -> Hash {
        self.identity.key_with(Kind::Fetched, self.uri(index), &self.kept)
    }

    /// By which function the bytes must be hashed besides the one of their digest.
    pub(super) fn second_function(&self) -> Option<DigestFunction> {
        let function = self.integrity.as_ref()?.function();
        (function != self.identity.function).then_some(function)
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::InstanceName;

    use super::*;

    const SHA256: (&str, &str) =
        ("checksum.sri", "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");

    fn plan(uris: &[&str], pairs: &[(&str, &str)]) -> Result<Option<Plan>, AssetError> {
        Plan::of(&Identity {
            instance: InstanceName::default(),
            function: DigestFunction::Sha256,
            uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            qualifiers: pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        })
    }

    #[test]
    fn only_urls_have_an_origin() {
        let uris = ["urn:x", "https://a/", "git://a", "HTTP://b/", "file:///etc/passwd"];
        assert_eq!(plan(&uris, &[SHA256]).unwrap().unwrap().uris, [1, 3]);
        // What is never asked of an origin may have any qualifiers.
        assert!(plan(&["urn:x"], &[("vcs.commit", "1")]).unwrap().is_none());
    }

    #[test]
    fn qualifiers_that_nobody_can_check_are_refused_by_name() {
        let refused = plan(&["https://a/"], &[("vcs.commit", "1"), SHA256, ("directory", "x")]);
        let AssetError::Unsupported { names } = refused.unwrap_err() else {
            panic!("another error")
        };
        assert_eq!(names, ["directory", "vcs.commit"]);
    }

    #[test]
    fn credentials_are_part_of_what_has_no_checksum_only() {
        let key = |pairs: &[(&str, &str)]| plan(&["https://a/"], pairs).unwrap().unwrap().key(0);
        let (one, other) = (("http_header:cookie", "1"), ("http_header:cookie", "2"));
        assert_eq!(key(&[SHA256, one]), key(&[SHA256, other]));
        assert_eq!(key(&[SHA256, one]), key(&[SHA256]));
        assert_ne!(key(&[one]), key(&[other]));
        assert_ne!(key(&[one]), key(&[]));
        assert_ne!(key(&[SHA256]), key(&[SHA256, ("bazel.canonical_id", "x")]));
    }
}
