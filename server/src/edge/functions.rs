//! Which digest functions are served, and which one a request means.

use larder_protos::{Digest, DigestFunction, ParseError, reapi};
use thiserror::Error;

/// The functions that are served. SHA-1, MD5 and git's SHA-1 are not: who can forge a collision could poison a build.
pub(crate) const SERVED: [DigestFunction; 5] = [
    DigestFunction::Sha256,
    DigestFunction::Blake3,
    DigestFunction::Sha384,
    DigestFunction::Sha512,
    DigestFunction::Sha256Tree,
];

/// Why the digests of a request cannot be understood.
#[derive(Debug, Error)]
pub(crate) enum FunctionError {
    #[error("digest function {function} is not served here")]
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

/// The function that a request's `digest_function` field names, if it names one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said(Option<DigestFunction>);

impl Said {
    /// Reads the field; zero says nothing.
    pub(crate) fn by(digest_function: i32) -> Result<Self, FunctionError> {
        let said = DigestFunction::from_proto(digest_function)?;
        said.map(check_served).transpose().map(Self)
    }

    /// Parses a digest of the request, whose length tells the function where the field did not.
    pub(crate) fn parse(self, digest: &reapi::Digest) -> Result<Digest, FunctionError> {
        let function = match self.0 {
            Some(function) => function,
            None => by_hex_digits(digest.hash.len())?,
        };
        Ok(Digest::from_proto(digest, function)?)
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

/// The function that hashes of this length mean where nothing is said, as for the callers that never say.
pub(crate) fn by_hex_digits(hex_digits: usize) -> Result<DigestFunction, FunctionError> {
    let function = DigestFunction::inferred_from(hex_digits);
    check_served(function.ok_or(FunctionError::NoSuchLength { hex_digits })?)
}

/// Refuses functions that are not served.
pub(crate) fn check_served(function: DigestFunction) -> Result<DigestFunction, FunctionError> {
    if SERVED.contains(&function) {
        Ok(function)
    } else {
        Err(FunctionError::NotServed { function })
    }
}
