//! [`Functions`]: which digest functions are served, and which one a request to an instance means.
//!
//! A hash of 64 hex digits may be SHA-256's, BLAKE3's or SHA256TREE's, one of 40 SHA-1's or git's. The protocol gives the
//! older function of each length to whoever does not say; an instance may be given another, for clients that never say.
//! On such an instance the older function is no longer announced, since the names of its blobs mean the other one.

use std::collections::BTreeMap;

use larder_protos::{Digest, DigestFunction, InstanceName, ParseError, reapi};
use thiserror::Error;

use crate::config::Config;

/// Why the digests of a request cannot be understood.
#[derive(Debug, Error)]
pub(crate) enum FunctionError {
    #[error(
        "digest function {function} is not served here; weak_digest_functions does not list it"
    )]
    NotServed { function: DigestFunction },
    #[error("no digest function has hashes of {hex_digits} hex digits")]
    NoSuchLength { hex_digits: usize },
    #[error("the request has no {field}")]
    NoDigest { field: &'static str },
    #[error(transparent)]
    Parse {
        #[from]
        source: ParseError,
    },
}

/// The digest functions of this server.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// Those of [`DigestFunction::WEAK`] that are served all the same.
    weak: Vec<DigestFunction>,
    /// By instance, what its unmarked hashes mean; lengths that are not listed have the protocol's meaning.
    defaults: BTreeMap<InstanceName, Vec<DigestFunction>>,
}

/// The digest functions as one instance has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InstanceFunctions<'a> {
    functions: &'a Functions,
    defaults: &'a [DigestFunction],
}

/// What a request's `digest_function` field says, and what its instance means where it says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    said: Option<DigestFunction>,
    instance: InstanceFunctions<'a>,
}

impl Functions {
    /// As the settings have them.
    pub(crate) fn new(config: &Config) -> Self {
        let mut defaults = BTreeMap::<_, Vec<_>>::new();
        for default in &config.default_digest_function {
            defaults.entry(default.instance.clone()).or_default().push(default.function);
        }
        let weak = config.weak_digest_functions.iter().map(|weak| weak.0).collect();
        Self { weak, defaults }
    }

    /// The functions of an instance.
    pub(crate) fn of(&self, instance: &InstanceName) -> InstanceFunctions<'_> {
        let defaults = self.defaults.get(instance).map_or(&[][..], Vec::as_slice);
        InstanceFunctions { functions: self, defaults }
    }

    /// Refuses functions that are not served.
    pub(crate) fn check_served(
        &self,
        function: DigestFunction,
    ) -> Result<DigestFunction, FunctionError> {
        if function.is_weak() && !self.weak.contains(&function) {
            return Err(FunctionError::NotServed { function });
        }
        Ok(function)
    }
}

impl<'a> InstanceFunctions<'a> {
    /// Reads a request's `digest_function` field; zero says nothing.
    pub(crate) fn said(self, digest_function: i32) -> Result<Said<'a>, FunctionError> {
        let said = DigestFunction::from_proto(digest_function)?;
        let said = said.map(|function| self.functions.check_served(function)).transpose()?;
        Ok(Said { said, instance: self })
    }

    /// The function that hashes of this length mean where nothing is said; it may be one that is not served.
    pub(crate) fn unmarked(self, hex_digits: usize) -> Option<DigestFunction> {
        let mut defaults = self.defaults.iter().copied();
        let default = defaults.find(|function| 2 * function.hash_len_bytes() == hex_digits);
        default.or_else(|| DigestFunction::inferred_from(hex_digits))
    }

    /// The same where it must be one that is served.
    pub(crate) fn by_hex_digits(self, hex_digits: usize) -> Result<DigestFunction, FunctionError> {
        let function = self.unmarked(hex_digits);
        self.functions.check_served(function.ok_or(FunctionError::NoSuchLength { hex_digits })?)
    }

    /// The function that a request asks for whose digests are the server's to make; where it says nothing, what 64 digits mean.
    pub(crate) fn asked(self, digest_function: i32) -> Result<DigestFunction, FunctionError> {
        match self.said(digest_function)?.said {
            Some(function) => Ok(function),
            None => self.by_hex_digits(2 * DigestFunction::Sha256.hash_len_bytes()),
        }
    }

    /// Those that work in every form, messages and names without a function among them; what is meant first comes first.
    pub(crate) fn announced(self) -> Vec<DigestFunction> {
        let works = |function: &DigestFunction| {
            let hex_digits = 2 * function.hash_len_bytes();
            let is_named = !function.is_inferable() || self.unmarked(hex_digits) == Some(*function);
            is_named && self.functions.check_served(*function).is_ok()
        };
        let mut announced: Vec<_> = DigestFunction::ALL.into_iter().filter(works).collect();
        announced.sort_by_key(|function| !self.defaults.contains(function));
        announced
    }
}

impl Said<'_> {
    /// The same for all further digests once one has told the function.
    pub(crate) fn settled(self, function: DigestFunction) -> Self {
        Self { said: Some(function), ..self }
    }

    /// Parses a digest of the request, whose length tells the function where the field did not.
    pub(crate) fn parse(self, digest: &reapi::Digest) -> Result<Digest, FunctionError> {
        Ok(Digest::from_proto(digest, self.function_of(digest.hash.len())?)?)
    }

    /// The function of a hash of the request that has so many digits.
    pub(crate) fn function_of(self, hex_digits: usize) -> Result<DigestFunction, FunctionError> {
        match self.said {
            Some(function) => Ok(function),
            None => self.instance.by_hex_digits(hex_digits),
        }
    }

    /// The same for a digest that must be there.
    pub(crate) fn require(
        self,
        field: &'static str,
        digest: Option<&reapi::Digest>,
    ) -> Result<Digest, FunctionError> {
        self.parse(digest.ok_or(FunctionError::NoDigest { field })?)
    }
}

#[cfg(test)]
mod tests {
    use DigestFunction::{Blake3, GitSha1, Md5, Sha1, Sha256, Sha256Tree, Sha384, Sha512};

    use super::*;

    fn instance(name: &str) -> InstanceName {
        InstanceName::parse(name).expect("a good name")
    }

    fn functions(weak: &[DigestFunction], defaults: &[(&str, DigestFunction)]) -> Functions {
        let mut functions = Functions { weak: weak.to_vec(), defaults: BTreeMap::new() };
        for (name, function) in defaults {
            functions.defaults.entry(instance(name)).or_default().push(*function);
        }
        functions
    }

    #[test]
    fn every_instance_announces_what_works_there() {
        let plain = functions(&[], &[]);
        let strong = [Sha256, Sha384, Sha512, Blake3, Sha256Tree];
        assert_eq!(plain.of(&instance("")).announced(), strong);
        let both = functions(&[Sha1, Md5, GitSha1], &[("buck", Blake3), ("git/x", GitSha1)]);
        assert_eq!(both.of(&instance("")).announced(), DigestFunction::ALL);
        assert_eq!(
            both.of(&instance("buck")).announced(),
            [Blake3, Sha1, Md5, Sha384, Sha512, Sha256Tree, GitSha1]
        );
        assert_eq!(
            both.of(&instance("git/x")).announced(),
            [GitSha1, Sha256, Md5, Sha384, Sha512, Blake3, Sha256Tree]
        );
    }

    fn check(hex_digits: usize, of: &str, expect: Result<DigestFunction, &str>) {
        let functions = functions(&[GitSha1], &[("", Blake3), ("tree", Sha256Tree), ("", GitSha1)]);
        let meant = functions.of(&instance(of)).by_hex_digits(hex_digits);
        match (meant, expect) {
            (Ok(function), expect) => assert_eq!(Ok(function), expect, "{hex_digits} of {of:?}"),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (Err(error), Ok(_)) => panic!("{hex_digits} of {of:?}: {error}"),
        }
    }

    #[test]
    fn an_unmarked_hash_means_what_its_instance_says() {
        check(64, "", Ok(Blake3));
        check(40, "", Ok(GitSha1));
        check(96, "", Ok(Sha384));
        check(64, "tree", Ok(Sha256Tree));
        check(64, "other", Ok(Sha256));
        check(40, "other", Err("SHA1 is not served here"));
        check(32, "", Err("MD5 is not served here"));
        check(63, "", Err("of 63 hex digits"));
    }

    #[test]
    fn what_the_message_says_goes_over_the_instance() {
        let functions = functions(&[], &[("", Blake3)]);
        let empty = reapi::Digest { hash: "ab".repeat(32), size_bytes: 1 };
        let parsed = |field| {
            let said = functions.of(&instance("")).said(field)?;
            Ok::<_, FunctionError>(said.parse(&empty)?.function())
        };
        assert_eq!(parsed(0).expect("the instance's"), Blake3);
        assert_eq!(parsed(Sha256.to_proto()).expect("said"), Sha256);
        assert_eq!(parsed(Sha256Tree.to_proto()).expect("said"), Sha256Tree);
        parsed(GitSha1.to_proto()).expect_err("a weak one");
        parsed(4).expect_err("nobody serves VSO");
    }
}
