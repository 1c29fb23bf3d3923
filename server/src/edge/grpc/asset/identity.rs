//! [`Identity`]: what names an asset, and the keys that follow from it. Pure.
//!
//! Two requests mean one asset where instance, kind, digest function, URI and the set of qualifiers are the same; the order
//! of qualifiers makes no difference. The protocol leaves it to servers to match fewer qualifiers than were pushed: here all
//! must match.

use std::collections::BTreeMap;

use larder_protos::asset::Qualifier;
use larder_protos::{Digest, DigestFunction, Hash, InstanceName};

use super::error::AssetError;

/// Mirrors of one thing; each is one more entry to look up or to store.
const MAX_URIS: usize = 64;
const MAX_URI_BYTES: usize = 8 * 1024;
const MAX_QUALIFIERS: usize = 64;
/// Of name and value together; tokens are the longest of them.
const MAX_QUALIFIER_BYTES: usize = 16 * 1024;

/// What kind of thing a URI stands for, and who said so: these share nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A blob that was pushed.
    Blob,
    /// A directory that was pushed.
    Directory,
    /// A blob that came from an origin.
    Fetched,
}

/// The qualifiers of a request, by name.
pub(super) type Qualifiers = BTreeMap<String, String>;

/// What names an asset in a request.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) instance: InstanceName,
    pub(super) function: DigestFunction,
    pub(super) uris: Vec<String>,
    pub(super) qualifiers: Qualifiers,
}

/// The URIs of a request.
pub(super) fn check_uris(uris: &[String]) -> Result<(), AssetError> {
    if uris.is_empty() {
        return Err(AssetError::NoUri);
    }
    if uris.len() > MAX_URIS {
        return Err(AssetError::TooManyUris { uris: uris.len(), limit: MAX_URIS });
    }
    for (index, uri) in uris.iter().enumerate() {
        let (actual_bytes, limit_bytes) = (uri.len(), MAX_URI_BYTES);
        match actual_bytes {
            0 => return Err(AssetError::EmptyUri { index }),
            1..=MAX_URI_BYTES => {}
            _ => return Err(AssetError::LongUri { index, actual_bytes, limit_bytes }),
        }
    }
    Ok(())
}

/// The qualifiers of a request, whose names must be unique.
pub(super) fn qualifiers(given: Vec<Qualifier>) -> Result<Qualifiers, AssetError> {
    if given.len() > MAX_QUALIFIERS {
        let qualifiers = given.len();
        return Err(AssetError::TooManyQualifiers { qualifiers, limit: MAX_QUALIFIERS });
    }
    let mut qualifiers = Qualifiers::new();
    for (index, Qualifier { name, value }) in given.into_iter().enumerate() {
        let (actual_bytes, limit_bytes) = (name.len() + value.len(), MAX_QUALIFIER_BYTES);
        if name.is_empty() {
            return Err(AssetError::NamelessQualifier { index });
        }
        if actual_bytes > limit_bytes {
            return Err(AssetError::LongQualifier { index, actual_bytes, limit_bytes });
        }
        if qualifiers.contains_key(&name) {
            return Err(AssetError::TwoQualifiers { shown: name.chars().take(80).collect() });
        }
        qualifiers.insert(name, value);
    }
    Ok(qualifiers)
}

impl Identity {
    /// The key of what `uri` stands for, with all qualifiers.
    pub(super) fn key(&self, kind: Kind, uri: &str) -> Hash {
        self.key_with(kind, uri, &self.qualifiers)
    }

    /// The key of what `uri` stands for with these qualifiers.
    pub(super) fn key_with(&self, kind: Kind, uri: &str, qualifiers: &Qualifiers) -> Hash {
        let mut named = Named::default();
        named.add(&[kind.code()]);
        named.add(self.instance.as_str().as_bytes());
        named.add(uri.as_bytes());
        named.add_all(qualifiers);
        named.hash(self.function)
    }

    /// The qualifiers as an answer has them; those of headers may be secrets, which need not travel back.
    pub(super) fn told(&self) -> Vec<Qualifier> {
        let told = self.qualifiers.iter().filter(|(name, _)| !name.starts_with("http_header"));
        told.map(|(name, value)| Qualifier { name: name.clone(), value: value.clone() }).collect()
    }

    /// The same for requests that ask for the same, URI by URI.
    pub(super) fn of_request(&self) -> Hash {
        let mut named = Named::default();
        named.add(self.instance.as_str().as_bytes());
        named.add(&self.function.to_proto().to_le_bytes());
        named.add(&self.uris.len().to_le_bytes());
        for uri in &self.uris {
            named.add(uri.as_bytes());
        }
        named.add_all(&self.qualifiers);
        named.hash(DigestFunction::Sha256)
    }
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Blob => b'b',
            Self::Directory => b'd',
            Self::Fetched => b'f',
        }
    }
}

/// Texts, each after its length, so that no two lists of them are one text.
#[derive(Default)]
struct Named(Vec<u8>);

impl Named {
    fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
    }

    fn add_all(&mut self, qualifiers: &Qualifiers) {
        for (name, value) in qualifiers {
            self.add(name.as_bytes());
            self.add(value.as_bytes());
        }
    }

    /// By SHA-256 first: who can forge collisions of a weaker function cannot choose what that one hashes. The function is
    /// that of the digests in what the key leads to, as the action store has it.
    fn hash(&self, function: DigestFunction) -> Hash {
        let strong = *Digest::of(DigestFunction::Sha256, &self.0).hash();
        *Digest::of(function, strong.as_bytes()).hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Vec<Qualifier> {
        let qualifier = |(name, value): &(&str, &str)| Qualifier {
            name: (*name).into(),
            value: (*value).into(),
        };
        pairs.iter().map(qualifier).collect()
    }

    fn key(instance: &str, kind: Kind, uri: &str, pairs: &[(&str, &str)]) -> Hash {
        let identity = Identity {
            instance: InstanceName::parse(instance).unwrap(),
            function: DigestFunction::Sha256,
            uris: vec![uri.to_owned()],
            qualifiers: qualifiers(given(pairs)).unwrap(),
        };
        identity.key(kind, uri)
    }

    #[test]
    fn the_order_of_qualifiers_makes_no_difference_and_all_else_does() {
        let same = key("i", Kind::Blob, "u", &[("a", "1"), ("b", "2")]);
        assert_eq!(same, key("i", Kind::Blob, "u", &[("b", "2"), ("a", "1")]));
        for other in [
            key("j", Kind::Blob, "u", &[("a", "1"), ("b", "2")]),
            key("i", Kind::Directory, "u", &[("a", "1"), ("b", "2")]),
            key("i", Kind::Fetched, "u", &[("a", "1"), ("b", "2")]),
            key("i", Kind::Blob, "v", &[("a", "1"), ("b", "2")]),
            key("i", Kind::Blob, "u", &[("a", "2"), ("b", "1")]),
            key("i", Kind::Blob, "u", &[("a", "1")]),
            key("i", Kind::Blob, "u", &[]),
            key("i", Kind::Blob, "u", &[("a", "1b2")]),
            key("i", Kind::Blob, "u", &[("a", "1"), ("b", "2"), ("c", "")]),
        ] {
            assert_ne!(same, other);
        }
        assert_ne!(key("", Kind::Blob, "iu", &[]), key("i", Kind::Blob, "u", &[]));
    }

    fn check(pairs: &[(&str, &str)], expect: Result<usize, &str>) {
        match (qualifiers(given(pairs)), expect) {
            (Ok(qualifiers), Ok(count)) => assert_eq!(qualifiers.len(), count),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, expect) => panic!("{got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn names_of_qualifiers_are_unique_and_all_is_bounded() {
        check(&[], Ok(0));
        check(&[("a", ""), ("A", "")], Ok(2));
        check(&[("a", "1"), ("b", "2"), ("a", "1")], Err("\"a\" is given twice"));
        check(&[("", "1")], Err("qualifier 0 has no name"));
        let long = "x".repeat(MAX_QUALIFIER_BYTES);
        check(&[("a", &long)], Err("qualifier 0 has 16385 B, over the limit of 16384 B"));
        check(&[("a", "x"); 65], Err("65 qualifiers, over the limit of 64"));
    }

    #[test]
    fn uris_are_there_and_bounded() {
        let check = |uris: &[String], words: &str| {
            let text = check_uris(uris).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(words) && text.is_empty() == words.is_empty(), "{text}");
        };
        check(&["urn:any thing".to_owned()], "");
        check(&[], "no URI");
        check(&[String::new()], "URI 0 is empty");
        check(&["u".repeat(MAX_URI_BYTES)], "");
        check(&["u".repeat(MAX_URI_BYTES + 1)], "8193 B, over the limit of 8192 B");
        check(&vec!["u".to_owned(); 65], "65 URIs, over the limit of 64");
    }
}
