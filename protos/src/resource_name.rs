//! [`ReadName`] and [`WriteName`]: what a `ByteStream` call reads or writes.
//!
//! Source: "Uploading single files" and "Downloading" in the comment on `ContentAddressableStorage`.

use std::fmt;

use crate::error::shown;
use crate::{Compressor, Digest, DigestFunction, InstanceName, ParseError};

const READ_FORM: &str = "{instance/}blobs/{function/}{hash}/{size} or \
                         {instance/}compressed-blobs/zstd/{function/}{hash}/{size}";
const WRITE_FORM: &str = "{instance/}uploads/{id}/ before a read's form without instance";

/// The name of a blob to read. `Display` gives the canonical text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadName {
    /// The instance; may be empty.
    pub instance: InstanceName,
    /// The encoding wanted.
    pub compressor: Compressor,
    /// The blob.
    pub digest: Digest,
}

/// The name of an upload. `Display` gives the canonical text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriteName {
    /// The instance; may be empty.
    pub instance: InstanceName,
    /// What the client chose to tell its uploads apart.
    pub upload_id: String,
    /// The encoding sent.
    pub compressor: Compressor,
    /// The blob.
    pub digest: Digest,
}

impl ReadName {
    /// Parses a name. Where it does not tell the function, `unmarked` is asked, with the instance and the number of the
    /// hash's digits.
    pub fn parse(
        name: &str,
        unmarked: impl FnOnce(&InstanceName, usize) -> Option<DigestFunction>,
    ) -> Result<Self, ParseError> {
        let malformed = || ParseError::ResourceName { shown: shown(name), form: READ_FORM };
        // The first reserved word ends the instance name, which cannot hold one.
        let (instance, blob) =
            split_at_word(name, |word| word == "blobs" || word == "compressed-blobs")
                .ok_or_else(malformed)?;
        let instance = InstanceName::parse(instance)?;
        let parsed = BlobName::parse(name, blob, |digits| unmarked(&instance, digits), malformed)?;
        if parsed.tail.is_some() {
            return Err(malformed());
        }
        Ok(Self { instance, compressor: parsed.compressor, digest: parsed.digest })
    }
}

impl WriteName {
    /// Parses a name, as [`ReadName::parse`] does. What follows the size is ignored, as the specification asks.
    pub fn parse(
        name: &str,
        unmarked: impl FnOnce(&InstanceName, usize) -> Option<DigestFunction>,
    ) -> Result<Self, ParseError> {
        let malformed = || ParseError::ResourceName { shown: shown(name), form: WRITE_FORM };
        let (instance, upload) =
            split_at_word(name, |word| word == "uploads").ok_or_else(malformed)?;
        let instance = InstanceName::parse(instance)?;
        let mut parts = upload.splitn(3, '/').skip(1);
        let upload_id = parts.next().filter(|id| !id.is_empty()).ok_or_else(malformed)?;
        let blob = parts.next().ok_or_else(malformed)?;
        let parsed = BlobName::parse(name, blob, |digits| unmarked(&instance, digits), malformed)?;
        Ok(Self {
            instance,
            upload_id: upload_id.to_owned(),
            compressor: parsed.compressor,
            digest: parsed.digest,
        })
    }
}

impl fmt::Display for ReadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_instance(f, &self.instance)?;
        write_blob(f, self.compressor, &self.digest)
    }
}

impl fmt::Display for WriteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_instance(f, &self.instance)?;
        write!(f, "uploads/{}/", self.upload_id)?;
        write_blob(f, self.compressor, &self.digest)
    }
}

/// The part of a name from `blobs` or `compressed-blobs` on.
struct BlobName<'a> {
    compressor: Compressor,
    digest: Digest,
    tail: Option<&'a str>,
}

impl<'a> BlobName<'a> {
    fn parse(
        whole: &str,
        blob: &'a str,
        unmarked: impl FnOnce(usize) -> Option<DigestFunction>,
        malformed: impl Fn() -> ParseError,
    ) -> Result<Self, ParseError> {
        let (compressor, rest) = match blob.split_once('/').ok_or_else(&malformed)? {
            ("blobs", rest) => (Compressor::Identity, rest),
            ("compressed-blobs", rest) => match rest.split_once('/') {
                Some(("zstd", rest)) => (Compressor::Zstd, rest),
                _ => return Err(malformed()),
            },
            _ => return Err(malformed()),
        };
        let (first, after_first) = rest.split_once('/').ok_or_else(&malformed)?;
        let (function, hex, after_hash) = match DigestFunction::from_path_segment(first) {
            Some(function) => {
                let (hex, after_hash) = after_first.split_once('/').ok_or_else(&malformed)?;
                (Some(function), hex, after_hash)
            }
            None => (None, first, after_first),
        };
        let (size, tail) = match after_hash.split_once('/') {
            Some((size, tail)) => (size, Some(tail)),
            None => (after_hash, None),
        };
        let digits = size.bytes().all(|digit| digit.is_ascii_digit());
        let size: i64 = size.parse().ok().filter(|_| digits).ok_or_else(&malformed)?;
        let function = function
            .or_else(|| unmarked(hex.len()))
            .ok_or_else(|| ParseError::NoFunction { shown: shown(whole), hex_digits: hex.len() })?;
        Ok(Self { compressor, digest: Digest::parse(function, hex, size)?, tail })
    }
}

/// Splits before the first segment that is such a word: what stands before it, without the slash, and the rest.
fn split_at_word(name: &str, is_word: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    let mut start = 0;
    for segment in name.split('/') {
        if is_word(segment) {
            return Some((name[..start].strip_suffix('/').unwrap_or_default(), &name[start..]));
        }
        start += segment.len() + 1;
    }
    None
}

fn write_instance(f: &mut fmt::Formatter<'_>, instance: &InstanceName) -> fmt::Result {
    if instance.as_str().is_empty() { Ok(()) } else { write!(f, "{instance}/") }
}

fn write_blob(f: &mut fmt::Formatter<'_>, compressor: Compressor, digest: &Digest) -> fmt::Result {
    f.write_str(match compressor {
        Compressor::Identity => "blobs/",
        Compressor::Zstd => "compressed-blobs/zstd/",
    })?;
    if !digest.function().is_inferable() {
        write!(f, "{}/", digest.function().path_segment())?;
    }
    write!(f, "{digest}")
}

#[cfg(test)]
mod tests;
