//! [`Integrity`]: what `checksum.sri` says the bytes must hash to. Pure.
//!
//! Source: W3C, Subresource Integrity. Several hashes may be given; those of the strongest function decide, and one of them
//! must match. Where a browser ignores what it cannot read, this refuses it: an ignored hash would be a check left out.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use larder_protos::{DigestFunction, Hash};
use thiserror::Error;

/// Nobody needs more.
const MAX_HASHES: usize = 64;

/// The functions, the strongest first.
const FUNCTIONS: [(&str, DigestFunction); 3] = [
    ("sha512", DigestFunction::Sha512),
    ("sha384", DigestFunction::Sha384),
    ("sha256", DigestFunction::Sha256),
];

/// One of these hashes must match. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Integrity {
    function: DigestFunction,
    /// Sorted, so that the same demand is the same text.
    hashes: Vec<Hash>,
}

/// Why a `checksum.sri` cannot be checked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum IntegrityError {
    /// No hash at all.
    #[error("checksum.sri has no hash")]
    Empty,
    /// More than anybody needs.
    #[error("checksum.sri has {hashes} hashes, over the limit of {MAX_HASHES}")]
    TooMany {
        /// How many.
        hashes: usize,
    },
    /// Not one of the functions.
    #[error("checksum.sri: {shown:?} is no hash by sha256, sha384 or sha512")]
    Function {
        /// Its beginning.
        shown: String,
    },
    /// Not base64, or not of the function's length.
    #[error("checksum.sri: {shown:?} is not the base64 of a {function}")]
    Hash {
        /// Its beginning.
        shown: String,
        /// The function it names.
        function: DigestFunction,
    },
}

impl Integrity {
    /// Reads hashes such as `sha256-47DEQpj8…=`, with white space between them.
    pub fn parse(text: &str) -> Result<Self, IntegrityError> {
        let hashes = text.split_ascii_whitespace().map(parse_one);
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(IntegrityError::TooMany { hashes: hashes.len() });
        }
        let strongest = |(_, function): &(_, DigestFunction)| {
            hashes.iter().any(|hash| hash.function() == *function)
        };
        let (_, function) = FUNCTIONS.into_iter().find(strongest).ok_or(IntegrityError::Empty)?;
        let mut hashes: Vec<_> =
            hashes.into_iter().filter(|hash| hash.function() == function).collect();
        hashes.sort();
        hashes.dedup();
        Ok(Self { function, hashes })
    }

    /// By which function the bytes must be hashed.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Whether bytes with this hash are those meant.
    pub fn admits(&self, actual: &Hash) -> bool {
        self.hashes.contains(actual)
    }

    /// The same text for the same demand.
    pub fn canonical(&self) -> String {
        let hashes: Vec<_> = self.hashes.iter().map(Hash::to_string).collect();
        format!("{}-{}", self.function.path_segment(), hashes.join(" "))
    }
}

fn parse_one(text: &str) -> Result<Hash, IntegrityError> {
    let shown = || text.chars().take(40).collect();
    let unknown = || IntegrityError::Function { shown: shown() };
    let (name, rest) = text.split_once('-').ok_or_else(unknown)?;
    let known = FUNCTIONS.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    let (_, function) = known.ok_or_else(unknown)?;
    // What follows a question mark are options, of which the specification defines none.
    let encoded = rest.split_once('?').map_or(rest, |(encoded, _)| encoded);
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(encoded).ok();
    let hash = decoded.and_then(|bytes| Hash::from_bytes(function, &bytes));
    hash.ok_or_else(|| IntegrityError::Hash { shown: shown(), function })
}

#[cfg(test)]
mod tests {
    use larder_protos::Digest;
    use proptest::prelude::*;

    use super::*;

    // By `openssl dgst -binary | base64`, of "abc".
    const SHA256: &str = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    const SHA384: &str = "sha384-ywB1P0WjXou1oD1pmsZQBycsMqsO3tFjGotgWkP/W+2AhgcroefMI1i67KE0yCWn";
    const SHA512: &str = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";

    fn check(text: &str, blob: &[u8], expect: Result<bool, &str>) {
        let admits = Integrity::parse(text)
            .map(|integrity| integrity.admits(Digest::of(integrity.function(), blob).hash()));
        match (admits, expect) {
            (Ok(admits), Ok(expect)) => assert_eq!(admits, expect, "{text}"),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (admits, expect) => panic!("{text}: {admits:?}, not {expect:?}"),
        }
    }

    #[test]
    fn the_strongest_function_decides() {
        for hash in [SHA256, SHA384, SHA512] {
            check(hash, b"abc", Ok(true));
            check(hash, b"abd", Ok(false));
            check(&format!("\t{hash}?some=option\n"), b"abc", Ok(true));
        }
        check(&format!("{SHA256} {SHA512}"), b"abc", Ok(true));
        // The weaker hash is right and the stronger one wrong, and the other way round.
        let wrong256 = format!("sha256-{}=", "A".repeat(43));
        let wrong512 = format!("sha512-{}==", "A".repeat(86));
        check(&format!("{SHA256} {wrong512}"), b"abc", Ok(false));
        check(&format!("{wrong256} {SHA512}"), b"abc", Ok(true));
        check(&format!("{wrong256} {SHA256}"), b"abc", Ok(true));
        check(SHA256.trim_end_matches('='), b"abc", Ok(true));
        check(&SHA256.replace("sha256", "SHA256"), b"abc", Ok(true));
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        check("", b"", Err("has no hash"));
        check("  \n", b"", Err("has no hash"));
        check("md5-rL0Y20zC+Fzt72VPzMSk2A==", b"", Err("is no hash by"));
        check("sha1-C+7Hteo/D9vJXQ3UfzxbwnXaijM=", b"", Err("is no hash by"));
        check(&format!("{SHA256} nonsense"), b"", Err("is no hash by"));
        check("sha256-", b"", Err("is not the base64 of a SHA256"));
        check("sha256-????", b"", Err("is not the base64"));
        check("sha512-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", b"", Err("of a SHA512"));
        check(&format!("{SHA256} ").repeat(65), b"", Err("65 hashes"));
    }

    #[test]
    fn the_same_demand_is_the_same_text() {
        let canonical = |text: &str| Integrity::parse(text).unwrap().canonical();
        assert_eq!(canonical(&format!("{SHA256} {SHA512}")), canonical(SHA512));
        assert_eq!(canonical(&format!("{SHA256} {SHA256}?x")), canonical(SHA256));
        assert_ne!(canonical(SHA256), canonical(SHA384));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(sha(256|384|512)-)?[ -~]{0,100}") {
            if let Ok(integrity) = Integrity::parse(&text) {
                prop_assert!(!integrity.hashes.is_empty());
            }
        }
    }
}
